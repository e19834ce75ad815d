"""A fault as somebody asks for it: in a scenario, over the admin API, on the command line. Checked, then planned."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Annotated, Any, Literal

import msgspec

from mdmsim.fakeapns.errors import REASONS, FaultMistake
from mdmsim.fakeapns.fault_names import CATALOGUE, TLS_ALERTS, Detail
from mdmsim.fakeapns.service import ApnsService
from mdmsim.faults import Fault
from mdmsim.mistakes import explain, no_such

_RULE = ("name", "why", "rate", "after", "every", "times")

Text = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class FaultSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault to plan. What each name does and takes stands in `fault_names.CATALOGUE`.

    The rule: `rate` 0 to 1; `after` how many occasions pass first; `every` n-th then; `times` at most. The aim:
    `topic`, `token` (hex), `device`, `environment`: only these pushes count as occasions. The rest are parameters:
    `status` (HTTP) and `reason` of a refusal, `seconds`, GOAWAY's error `code`, `processed`, a blackout's `side`.
    `why`: what the peer may rely on; there is one for each name.
    """

    name: str
    why: str | None = None
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    status: Annotated[int, msgspec.Meta(ge=400, le=599)] | None = None
    reason: Text | None = None
    seconds: Annotated[float, msgspec.Meta(ge=0, le=31_536_000)] | None = None
    code: Annotated[int, msgspec.Meta(ge=0, le=13)] | None = None
    processed: bool | None = None
    side: Literal["providers", "devices", "both"] | None = None
    topic: Text | None = None
    token: Text | None = None
    device: Text | None = None
    environment: Literal["production", "sandbox"] | None = None


def parse_fault(text: str) -> FaultSpec:
    """`NAME[,KEY=VALUE...]`, e.g. `push.refused,reason=TooManyRequests,rate=0.05`. Raises FaultMistake."""
    name, *pairs = (part.strip() for part in text.split(","))
    fields: dict[str, str] = {"name": name}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise FaultMistake(f'fault "{text}": "{pair}" is no KEY=VALUE. Write e.g. push.lost,rate=0.05')
        fields[key.strip()] = value.strip()
    known = CATALOGUE.get(name)
    takes = (*_RULE[1:], *known.takes) if known is not None else FaultSpec.__struct_fields__
    for key in fields:
        if key not in FaultSpec.__struct_fields__:
            raise FaultMistake(f'fault "{text}": {no_such(key, takes, "parameter")}')
    try:
        spec = msgspec.convert(fields, FaultSpec, strict=False)
    except msgspec.ValidationError as error:
        raise FaultMistake(f'fault "{text}": {explain(error, FaultSpec).replace(" or null", "")}') from None
    check_fault(spec)
    return spec


def check_fault(spec: FaultSpec) -> None:
    """Raises FaultMistake for an unknown name, and for parameters that this name does not take or that are missing."""
    known = CATALOGUE.get(spec.name)
    if known is None:
        near = get_close_matches(spec.name, CATALOGUE, 1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise FaultMistake(f'name "{spec.name}": no such fault.{hint} Allowed: {", ".join(CATALOGUE)}')
    for field in spec.__struct_fields__:
        if field not in _RULE and field not in known.takes and getattr(spec, field) is not None:
            raise FaultMistake(
                f'fault "{spec.name}" takes no {field}. It takes the rule (rate, after, every, times) and '
                f"{', '.join(known.takes) or 'nothing else'}."
            )
    if spec.name == "push.refused":
        if spec.reason is None:
            raise FaultMistake('fault "push.refused" needs a reason, e.g. TooManyRequests or InternalServerError')
        if spec.status is None and spec.reason not in REASONS:
            raise FaultMistake(
                f'reason "{spec.reason}" is not one of Apple\'s. Allowed: {", ".join(sorted(REASONS))}; '
                "or give a status, too, for one that Apple does not have"
            )
    if spec.name == "tls.refused" and (spec.reason or "internal_error") not in TLS_ALERTS:
        raise FaultMistake(f'reason "{spec.reason}": no TLS alert. Allowed: {", ".join(TLS_ALERTS)}')
    if spec.name in ("push.delayed", "answer.slow", "blackout") and spec.seconds is None:
        raise FaultMistake(f'fault "{spec.name}" needs seconds, e.g. seconds=5')


def plan_fault(service: ApnsService, spec: FaultSpec) -> Fault:
    """Plan it; a blackout without any rule begins at once. Raises FaultMistake as `check_fault`."""
    check_fault(spec)
    reason = spec.reason or ("internal_error" if spec.name == "tls.refused" else "")
    detail = Detail(
        status=spec.status or 0,
        reason=reason,
        seconds=spec.seconds or 0.0,
        code=spec.code or 0,
        processed=bool(spec.processed),
        side=spec.side or "both",
    )
    now = spec.name == "blackout" and (spec.rate, spec.after, spec.every) == (1.0, 0, 1)
    fault = service.faults.add(
        spec.name,
        why=CATALOGUE[spec.name].why if spec.why is None else spec.why,
        rate=spec.rate,
        after=spec.after,
        every=spec.every,
        # A push that meets a blackout prolongs nothing: one is one.
        times=spec.times or (1 if spec.name == "blackout" else None),
        answer=detail,
        match=_aim(spec),
    )
    if now:
        # It began once; whatever else was wished for, that was it.
        fault.times = fault.considered = fault.injected = 1
        service.counts.faults[spec.name] += 1
        service.events.emit("fault.injected", source="apns", fault=fault.name, why=fault.why, target={})
        service.darkness.begin(detail.seconds, detail.side, owner=id(fault))
    return fault


def end_fault(service: ApnsService, fault: Fault) -> None:
    """No more of it; one that has ended is left alone. A blackout is over at once."""
    service.faults.remove(fault)
    if fault.name == "blackout":
        service.darkness.end(owner=id(fault))


class Aim:
    """Which pushes a fault is for: those whose facts are all as `wanted`. A `Fault.match` that can be looked at."""

    def __init__(self, wanted: Mapping[str, str]) -> None:
        self.wanted = dict(wanted)

    def __call__(self, facts: Mapping[str, Any]) -> bool:
        return all(facts.get(name) == value for name, value in self.wanted.items())


def _aim(spec: FaultSpec) -> Aim | None:
    wanted = {
        name: value.lower() if name == "token" else value
        for name in ("topic", "token", "device", "environment")
        if (value := getattr(spec, name)) is not None
    }
    return Aim(wanted) if wanted else None

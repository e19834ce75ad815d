"""What the admin API takes and gives, as JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

import msgspec

from mdmsim.chance import Chance
from mdmsim.fakedep.core import FAULTS
from mdmsim.fakedep.errors import DepError
from mdmsim.fakedep.model import Device, stamp
from mdmsim.fakedep.portal import ADMIN, DeviceOrder
from mdmsim.fakedep.server import MdmServer
from mdmsim.faults import Fault, FaultPlan
from mdmsim.mistakes import explain, no_such


class NewOrganisation(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    org_type: str = "org"
    org_version: str = "v2"


class NewServer(msgspec.Struct, forbid_unknown_fields=True):
    """`certificate`: PEM, with the server's RSA public key."""

    name: str
    certificate: str | None = None
    organisation: str | None = None
    admin: str = ADMIN


class Order(msgspec.Struct, forbid_unknown_fields=True):
    """Devices to order: serial numbers, or objects with more."""

    devices: list[str | DeviceOrder]
    server: str | None = None
    organisation: str | None = None
    order_number: str | None = None
    by: str = ADMIN


class Assignment(msgspec.Struct, forbid_unknown_fields=True):
    """`server`: name or UUID; null unassigns."""

    serials: list[str]
    server: str | None
    by: str = ADMIN


class Serials(msgspec.Struct, forbid_unknown_fields=True):
    serials: list[str]


class DefaultServer(msgspec.Struct, forbid_unknown_fields=True):
    family: str
    server: str | None


class Terms(msgspec.Struct, forbid_unknown_fields=True):
    pending: bool
    organisation: str | None = None


class SessionsEnd(msgspec.Struct, forbid_unknown_fields=True):
    """`how`: "expire" (the next request gets 401) or "forget" (403)."""

    how: str
    server: str | None = None


class NewFault(msgspec.Struct, forbid_unknown_fields=True):
    """A fault to plan.

    `answer`: what the fault's description says. `status`, `body`, `retry_after_s`: what `request.refused` answers.
    `endpoint`, `method`, `server`, `serial`, `operation`: only there.
    """

    name: str
    why: str
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    after: Annotated[int, msgspec.Meta(ge=0)] = 0
    every: Annotated[int, msgspec.Meta(ge=1)] = 1
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    answer: Any = None
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    body: str = ""
    retry_after_s: int | None = None
    endpoint: str | None = None
    method: str | None = None
    server: str | None = None
    serial: str | None = None
    operation: str | None = None

    def what(self) -> Any:
        """The fault's answer as the service understands it. Raises ValueError."""
        refuses = self.status is not None or self.body or self.retry_after_s is not None
        if self.name != "request.refused":
            if refuses:
                raise ValueError("status, body and retry_after_s are for request.refused only")
            return self.answer
        if self.answer is not None:
            raise ValueError("request.refused takes status, body and retry_after_s instead of answer")
        if self.status is not None:
            return DepError(self.status, self.body, self.why, self.retry_after_s)
        return DepError.of(self.body, self.why, retry_after_s=self.retry_after_s) if refuses else None

    def plan(self, faults: FaultPlan) -> Fault:
        """Plan it. Raises ValueError for an unknown name and for values that are not allowed."""
        if self.name not in FAULTS:
            raise ValueError(f'name "{self.name[:40]}": no such fault. Allowed: {", ".join(FAULTS)}')
        return faults.add(
            self.name,
            why=self.why,
            rate=self.rate,
            after=self.after,
            every=self.every,
            times=self.times,
            answer=self.what(),
            match=self.match(),
        )

    def match(self) -> Callable[[Mapping[str, Any]], bool] | None:
        wanted = {
            name: value
            for name in ("endpoint", "method", "server", "serial", "operation")
            if (value := getattr(self, name)) is not None
        }
        if not wanted:
            return None
        return lambda facts: all(facts.get(name) == value for name, value in wanted.items())


def parse_fault(text: str) -> NewFault:
    """`NAME[,KEY=VALUE...]`, e.g. `assign.omitted,serial=C02XK1ABCD,times=1`. Raises ValueError."""
    name, *pairs = (part.strip() for part in text.split(","))
    fields: dict[str, Any] = {"name": name, "why": "asked for on the command line"}
    for pair in pairs:
        key, equals, value = (part.strip() for part in pair.partition("="))
        if not equals or key not in NewFault.__struct_fields__:
            known = no_such(key, NewFault.__struct_fields__, "parameter") if equals else f'"{pair}" is no KEY=VALUE'
            raise ValueError(f'fault "{text}": {known}')
        fields[key] = value
    answer = fields.get("answer")
    if answer is not None and answer.isdecimal() and len(answer) < 10:
        fields["answer"] = int(answer)
    try:
        fault = msgspec.convert(fields, NewFault, strict=False)
        fault.plan(FaultPlan(Chance("a fault is tried before it is planned")))
    except msgspec.ValidationError as error:
        raise ValueError(f'fault "{text}": {explain(error, NewFault)}') from None
    return fault


def fault_value(number: int, fault: Fault) -> dict[str, Any]:
    return {
        "number": number,
        "name": fault.name,
        "why": fault.why,
        "rate": fault.rate,
        "after": fault.after,
        "every": fault.every,
        "times": fault.times,
        "considered": fault.considered,
        "injected": fault.injected,
    }


def server_value(server: MdmServer) -> dict[str, Any]:
    token = server.tokens[-1] if server.tokens else None
    return {
        "uuid": server.uuid,
        "name": server.name,
        "organisation": server.organisation,
        "devices": server.count,
        "profiles": len(server.profiles),
        "has_certificate": server.certificate is not None,
        "consumer_key": token.consumer_key if token is not None else None,
        "token_expires": stamp(token.expires_ms) if token is not None else None,
    }


def device_value(device: Device, server: MdmServer | None) -> dict[str, Any]:
    """A device with everything that is known of it; times as DEP writes them, `server` as its name."""
    found: dict[str, Any] = {}
    for name, value in msgspec.structs.asdict(device).items():
        if name.endswith("_ms"):
            found[name.removesuffix("_ms")] = None if value is None else stamp(value)
        else:
            found[name] = value
    found["server"] = server.name if server is not None else None
    return found

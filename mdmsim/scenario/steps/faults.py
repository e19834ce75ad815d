"""Faults on the wire between devices and their server, by name, at the request that they are meant for."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

import msgspec

from mdmsim.faults import Fault
from mdmsim.http import Response
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.names import check_label
from mdmsim.scenario.registry import step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName
from mdmsim.scenario.typed import Arguments, about

FaultName = Literal[
    "network.down",
    "connection.refused",
    "tls.untrusted",
    "answer.status",
    "request.cut",
    "response.cut",
    "stall",
]


class PlanFault(Arguments, frozen=True, kw_only=True):
    """From now on something goes wrong on the wire, at the requests of this device that match `label`."""

    device: DeviceName
    name: Annotated[FaultName, about("What goes wrong", example="answer.status")]
    label: Annotated[str, about("Which requests: a label, or a pattern with *", example="checkin:TokenUpdate")] = "*"
    answer: Annotated[
        int | float | None,
        about("What the fault needs: a status, bytes after which to cut, seconds to stall", example="500"),
    ] = None
    code: Annotated[
        str | None, about('The "code" in the answer\'s JSON body', example="com.apple.unrecognized.device")
    ] = None
    after: Annotated[int, about("How many such requests pass first", minimum=0)] = 0
    times: Annotated[int | None, about("How often at most; null: always", minimum=1)] = 1
    why: Annotated[str, about("What a server may rely on")] = "networks and servers fail"
    as_: Annotated[str | None, about('The name for "heal"', example="outage")] = msgspec.field(default=None, name="as")

    def __post_init__(self) -> None:
        check_label(self.label)
        if self.name == "answer.status" and not (isinstance(self.answer, int) and 100 <= self.answer <= 599):
            raise ValueError('"answer.status" needs "answer", a status from 100 to 599, e.g. "answer: 500".')
        if self.name in ("network.down", "connection.refused", "tls.untrusted") and self.answer is not None:
            raise ValueError(f'"{self.name}" takes no "answer": the server is never reached.')
        if self.code is not None and self.name != "answer.status":
            raise ValueError('"code" goes with "name: answer.status": only an answer has a body.')


def _title(arguments: PlanFault) -> str:
    what = f"answer {arguments.answer}" if arguments.name == "answer.status" else arguments.name
    where = "every request" if arguments.label == "*" else arguments.label
    times = "" if arguments.times == 1 else " from now on" if arguments.times is None else f", {arguments.times} times"
    return f"fault: {what} to {where} of {arguments.device}{times}"


@step("fault", PlanFault, title=_title)
async def fault(run: Run, arguments: PlanFault) -> None:
    planned = plan(
        run,
        arguments.name,
        devices=run.ids(arguments.device),
        labels=(arguments.label,),
        answer=arguments.answer if arguments.code is None else _answer(arguments.answer, arguments.code),
        after=arguments.after,
        times=arguments.times,
        why=arguments.why,
    )

    async def end() -> None:
        run.world.wire.remove(planned)

    run.faults[arguments.as_ or arguments.name] = end


def _answer(status: int | float | None, code: str) -> Response:
    """An error as Apple's services word it (mdm/errors): a JSON body with a code."""
    body = json.dumps({"code": code}).encode()
    headers = (("Content-Type", "application/json"), ("Content-Length", str(len(body))))
    return Response(int(status or 0), headers, body)


def plan(
    run: Run,
    name: str,
    *,
    devices: list[str],
    labels: tuple[str, ...],
    answer: Any,
    after: int,
    times: int | None,
    why: str,
) -> Fault:
    """Plan a fault at the requests of these devices whose labels match; taken back when the case ends."""
    planned = run.world.wire.add(
        name, why=why, after=after, times=times, answer=answer, match=_matcher(frozenset(devices), labels)
    )
    run.planned.append(planned)
    return planned


def _matcher(devices: frozenset[str], labels: tuple[str, ...]) -> Callable[[Mapping[str, Any]], bool]:
    def matches(facts: Mapping[str, Any]) -> bool:
        return facts.get("device") in devices and any(fnmatchcase(str(facts.get("label")), label) for label in labels)

    return matches


class Heal(Arguments, frozen=True, kw_only=True):
    """A fault ends."""

    fault: Annotated[str, about('Name a fault: its "as", or what it does', example="answer.status")]


@step("heal", Heal, title=lambda a: f"{a.fault} ends")
async def heal(run: Run, arguments: Heal) -> None:
    end = run.faults.pop(arguments.fault, None)
    if end is None:
        there = ", ".join(run.faults) or "none"
        raise ScenarioError(run.case.where, f'step "heal" names the fault "{arguments.fault}". Planned are: {there}.')
    await end()

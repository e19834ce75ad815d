"""Faults of the device enrollment service: what Apple may refuse, leave out or say late."""

from __future__ import annotations

from typing import Annotated, Any, Literal, get_args

import msgspec

from mdmsim.fakedep.admin.values import NewFault
from mdmsim.fakedep.core import FAULTS
from mdmsim.scenario.registry import step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.apple import portal
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability
from mdmsim.world.dep import DepProblem

DepFaultName = Literal[
    "request.refused",
    "session.expired",
    "session.forgotten",
    "cursor.expired",
    "cursor.invalid",
    "cursor.exhausted",
    "cursor.stuck",
    "sync.duplicated",
    "sync.reordered",
    "sync.omitted",
    "record.sparse",
    "record.extended",
    "assign.refused",
    "assign.omitted",
    "assign.ignored",
    "answer.slow",
    "answer.cut",
    "answer.stalled",
    "activation.refused",
    "activation.withheld",
]

#: Said twice, because a schema needs the words themselves.
assert set(get_args(DepFaultName)) == set(FAULTS)


class DepFault(Arguments, frozen=True, kw_only=True):
    """From now on something goes wrong at Apple's device enrollment service, once unless told otherwise. `heal` ends it.

    What each fault does stands in [fake-dep.md](fake-dep.md).
    """

    name: Annotated[DepFaultName, about("What goes wrong", example="assign.omitted")]
    device: Annotated[
        str | None, about("Only for this device or group, of faults about devices", example="phone", refers_to="device")
    ] = None
    endpoint: Annotated[str | None, about("Only at this path", example="/profile/devices")] = None
    answer: Annotated[Any, about("What the fault takes as its answer")] = None
    status: Annotated[int | None, about("Of request.refused: the HTTP status", minimum=400)] = None
    body: Annotated[str, about("Of request.refused: Apple's word", example="T_C_NOT_SIGNED")] = ""
    after: Annotated[int, about("How many occasions pass first", minimum=0)] = 0
    times: Annotated[int | None, about("How often at most; null: always", minimum=1)] = 1
    why: Annotated[str, about("What a server may rely on")] = "services fail"
    as_: Annotated[str | None, about('The name for "heal"', example="outage")] = msgspec.field(default=None, name="as")

    def __post_init__(self) -> None:
        self.spec(None).what()

    def spec(self, serial: str | None) -> NewFault:
        """As the fake DEP takes it. Raises ValueError for parameters that the fault does not take."""
        return NewFault(
            name=self.name,
            why=self.why,
            after=self.after,
            times=self.times,
            answer=self.answer,
            status=self.status,
            body=self.body,
            endpoint=self.endpoint,
            serial=serial,
        )


def _title(arguments: DepFault) -> str:
    whom = f" for {arguments.device}" if arguments.device is not None else ""
    times = "" if arguments.times == 1 else " from now on" if arguments.times is None else f", {arguments.times} times"
    return f"DEP fault: {arguments.name}{whom}{times}"


@step("dep_fault", DepFault, title=_title, needs=lambda _: (Ability.DEP,))
async def dep_fault(run: Run, arguments: DepFault) -> None:
    dep = portal(run)
    serials: list[str | None] = [None]
    if arguments.device is not None:
        serials = [run.device(device_id).persona.serial for device_id in run.ids(arguments.device)]
    numbers = []
    for serial in serials:
        try:
            number = await dep.plan_fault(arguments.spec(serial))
        except DepProblem as problem:
            raise StepFailed("the fault can be planned", str(problem)) from None
        numbers.append(number)
        run.dep_faults.append(number)

    async def end() -> None:
        for number in numbers:
            run.dep_faults.remove(number)
            await dep.end_fault(number)

    run.faults[arguments.as_ or arguments.name] = end

"""Faults of APNs: what it may do to pushes, and what may happen to it."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec

from mdmsim.fakeapns.fault_names import CATALOGUE
from mdmsim.fakeapns.fault_spec import FaultSpec, check_fault
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.registry import step
from mdmsim.scenario.run import Run
from mdmsim.scenario.typed import Arguments, about
from mdmsim.world.abilities import Ability

ApnsFaultName = Literal[
    "push.refused",
    "push.lost",
    "push.delayed",
    "push.repeated",
    "push.reordered",
    "certificate.expired",
    "certificate.revoked",
    "answer.slow",
    "answer.stalled",
    "answer.cut",
    "stream.refused",
    "connection.reset",
    "goaway",
    "streams.limited",
    "tls.refused",
    "goaway.first",
    "blackout",
]

#: Said twice, because a schema needs the words themselves; a test holds them together.
assert set(get_args(ApnsFaultName)) == set(CATALOGUE)

Aim = Annotated[
    str | None, about("Only pushes for this device or group; without it, for all", example="phone", refers_to="device")
]


class ApnsFault(Arguments, frozen=True, kw_only=True):
    """From now on something goes wrong at APNs, once unless told otherwise. `heal` ends it.

    What each fault does stands in [fake-apns.md](fake-apns.md).
    """

    name: Annotated[ApnsFaultName, about("What goes wrong", example="push.lost")]
    device: Aim = None
    reason: Annotated[
        str | None,
        about(
            "Of push.refused: Apple's word; of goaway and goaway.first: its debug data; of tls.refused: the alert",
            example="Unregistered",
        ),
    ] = None
    status: Annotated[int | None, about("Of push.refused, where the reason is not one of Apple's")] = None
    seconds: Annotated[
        Duration | None, about("How long: of push.delayed, push.reordered, answer.slow, blackout", example="30s")
    ] = None
    code: Annotated[int | None, about("Of goaway and goaway.first: the HTTP/2 error code", minimum=0)] = None
    processed: Annotated[bool | None, about("Of goaway: whether the request counts")] = None
    side: Annotated[Literal["providers", "devices", "both"] | None, about("Of blackout: who is cut off")] = None
    rate: Annotated[float, about("How probable each time, 0 to 1")] = 1.0
    after: Annotated[int, about("How many occasions pass first", minimum=0)] = 0
    every: Annotated[int, about("Then each n-th", minimum=1)] = 1
    times: Annotated[int | None, about("How often at most; null: always", minimum=1)] = 1
    as_: Annotated[str | None, about('The name for "heal"', example="outage")] = msgspec.field(default=None, name="as")

    def __post_init__(self) -> None:
        check_fault(self.spec("aimed" if self.device is not None else None))

    def spec(self, device_id: str | None) -> FaultSpec:
        """As the fake APNs takes it."""
        return FaultSpec(
            name=self.name,
            rate=self.rate,
            after=self.after,
            every=self.every,
            times=self.times,
            status=self.status,
            reason=self.reason,
            seconds=self.seconds.ms / 1000 if self.seconds is not None else None,
            code=self.code,
            processed=self.processed,
            side=self.side,
            device=device_id,
        )


def _title(arguments: ApnsFault) -> str:
    what = f"{arguments.name} ({arguments.reason})" if arguments.reason else arguments.name
    whom = f" for {arguments.device}" if arguments.device is not None else ""
    times = "" if arguments.times == 1 else " from now on" if arguments.times is None else f", {arguments.times} times"
    return f"APNs fault: {what}{whom}{times}"


@step("apns_fault", ApnsFault, title=_title, needs=lambda _: (Ability.APNS,))
async def apns_fault(run: Run, arguments: ApnsFault) -> None:
    aims: list[str | None] = [*run.ids(arguments.device)] if arguments.device is not None else [None]
    numbers = []
    for device_id in aims:
        number = await run.world.apns.plan_fault(arguments.spec(device_id))
        numbers.append(number)
        run.apns_faults.append(number)

    async def end() -> None:
        for number in numbers:
            run.apns_faults.remove(number)
            await run.world.apns.end_fault(number)

    run.faults[arguments.as_ or arguments.name] = end

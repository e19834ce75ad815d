"""What happens to the server and what its administrator does; what it has on record."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mdmsim.scenario.match import mismatch, shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName, Within, patience
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability

Doing = Literal["stop", "start", "remove", "refuse", "allow"]


class Server(Arguments, frozen=True, kw_only=True):
    """The server machine stops or starts, or its administrator removes, refuses or allows a device."""

    do: Annotated[Doing, about("What happens")]
    device: Annotated[
        str | None, about('Name a device or a group from "devices"', example="phone", refers_to="device")
    ] = None
    at: Annotated[Literal["authenticate", "tokenupdate", "any"], about("At which message a refusal comes")] = "any"

    def __post_init__(self) -> None:
        about_device = self.do in ("remove", "refuse", "allow")
        if about_device and self.device is None:
            raise ValueError(f'"do: {self.do}" needs "device". Name a device or a group from "devices".')
        if not about_device and self.device is not None:
            raise ValueError(f'"do: {self.do}" is about the server machine and takes no "device".')


def _title(arguments: Server) -> str:
    if arguments.device is None:
        return "the server goes down" if arguments.do == "stop" else "the server is back"
    at = f" at {arguments.at}" if arguments.do == "refuse" and arguments.at != "any" else ""
    return f"the administrator {arguments.do}s {arguments.device}{at}"


def _needs(arguments: Server) -> tuple[Ability, ...]:
    by_word = {"remove": Ability.REMOVE, "refuse": Ability.REFUSE, "allow": Ability.REFUSE}
    return (by_word.get(arguments.do, Ability.SERVER_MACHINE),)


@step("server", Server, title=_title, needs=_needs)
async def server(run: Run, arguments: Server) -> None:
    if arguments.do == "stop":
        run.server_stopped = True
        await run.world.control.stop()
    elif arguments.do == "start":
        run.server_stopped = False
        await run.world.control.start()
    for device_id in run.ids(arguments.device) if arguments.device else ():
        udid = run.udid(device_id)
        if arguments.do == "remove":
            await run.adapter.remove(udid)
        elif arguments.do == "refuse":
            await run.adapter.refuse(udid=udid, at=arguments.at)
            run.refused.append(udid)
        else:
            await run.adapter.allow(udid=udid)


class ExpectServer(Arguments, frozen=True, kw_only=True):
    """What the server has on record about the device's enrollment."""

    device: DeviceName
    status: Annotated[
        Literal["unknown", "pending", "enrolled", "checked-out", "removed"] | None,
        about("The enrollment's state; unknown: there is no record"),
    ] = None
    record: Annotated[dict[str, Any], about("Keys of the record, as the server names them", filled=True)] = (
        msgspec.field(default_factory=dict)
    )
    within: Within = None

    def __post_init__(self) -> None:
        if self.status is None and not self.record:
            raise ValueError('it compares nothing. Give "status", "record" or both, e.g. "status: enrolled".')


@step(
    "expect_server",
    ExpectServer,
    title=lambda a: f"the server's record of {a.device}: {a.status or shown(a.record)}",
    expects=True,
    needs=lambda _: (Ability.RECORDS,),
)
async def expect_server(run: Run, arguments: ExpectServer) -> Outcome:
    wanted = f"status {arguments.status}" if arguments.status else ""
    if arguments.record:
        wanted = f"{wanted} and {shown(arguments.record)}" if wanted else shown(arguments.record)
    for device_id in run.ids(arguments.device):

        async def problem(device_id: str = device_id) -> str | None:
            record = await run.adapter.device(run.udid(device_id))
            status = record.get("status") if record is not None else "unknown"
            if arguments.status is not None and status != arguments.status:
                return f"status {status}"
            if not arguments.record:
                return None
            return mismatch(arguments.record, record) if record is not None else "the server has no record of it"

        found = await run.until(problem, within_ms=patience(arguments.within))
        if found is not None:
            raise StepFailed(f"the server's record of {device_id} has {wanted}", found)
    return Outcome(wanted, wanted)

"""The device itself, as someone who holds it in hand sees it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mdmsim.device.device import Device
from mdmsim.scenario.match import shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName, Within, patience
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed


class ExpectDevice(Arguments, frozen=True, kw_only=True):
    """What someone who holds the device in hand sees. Effects of commands are better seen by a later command."""

    device: DeviceName
    enrolled: Annotated[bool | None, about("Whether it has an enrollment profile")] = None
    profiles: Annotated[tuple[str, ...] | None, about("The identifiers of all its profiles but the enrollment's")] = (
        None
    )
    identities: Annotated[int | None, about("How many identities are in its keychain", minimum=0)] = None
    certificates: Annotated[int | None, about("How many certificates are in its keychain", minimum=0)] = None
    power: Annotated[Literal["on", "off", "restarting"] | None, about("Whether it runs")] = None
    locked: Annotated[bool | None, about("Whether its screen is locked")] = None
    behind_pin: Annotated[bool | None, about("Whether a Mac asks for a PIN")] = None
    message: Annotated[str | None, about("What stands on its lock screen")] = None
    phone: Annotated[str | None, about("The number on its lock screen, in quotes")] = None
    within: Within = None


_FACTS = ("enrolled", "profiles", "identities", "certificates", "power", "locked", "behind_pin", "message", "phone")


def facts(device: Device) -> dict[str, Any]:
    """What can be seen of a device, by the names of the step's arguments."""
    state = device.state
    enrollment = state.enrollment.profile if state.enrollment else None
    pin = state.pin_lock
    return {
        "enrolled": state.enrollment is not None,
        "profiles": tuple(sorted(p.identifier for p in state.profiles if p.identifier != enrollment)),
        "identities": sum(1 for kept in state.keychain if kept.key is not None),
        "certificates": len(state.keychain),
        "power": state.power,
        "locked": state.screen_locked,
        "behind_pin": pin is not None,
        "message": pin.message if pin else state.lock_message,
        "phone": pin.phone if pin else state.lock_phone,
    }


def _wanted(arguments: ExpectDevice) -> dict[str, Any]:
    wanted = {name: getattr(arguments, name) for name in _FACTS if getattr(arguments, name) is not None}
    if "profiles" in wanted:
        wanted["profiles"] = tuple(sorted(wanted["profiles"]))
    return wanted


@step("expect_device", ExpectDevice, title=lambda a: f"{a.device} shows {shown(_wanted(a))}", expects=True)
async def expect_device(run: Run, arguments: ExpectDevice) -> Outcome:
    wanted = _wanted(arguments)
    for device_id in run.ids(arguments.device):

        async def problem(device_id: str = device_id) -> str | None:
            seen = facts(run.device(device_id))
            wrong = {name: seen[name] for name, value in wanted.items() if seen[name] != value}
            return shown(wrong) if wrong else None

        found = await run.until(problem, within_ms=patience(arguments.within))
        if found is not None:
            raise StepFailed(f"{device_id} shows {shown(wanted)}", found)
    return Outcome(shown(wanted), shown(wanted))

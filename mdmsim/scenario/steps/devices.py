"""The device itself, as someone who holds it in hand sees it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from mdmsim.device.device import Device
from mdmsim.device.facts import supervised
from mdmsim.device.locking import apps_open
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
    setup: Annotated[
        Literal["welcome", "awaiting", "done"] | None,
        about("Setup Assistant: to be walked, held until DeviceConfigured, or behind it"),
    ] = None
    supervised: Annotated[bool | None, about("Whether it is supervised")] = None
    removable: Annotated[bool | None, about("Whether its user may remove the enrollment profile")] = None
    has_passcode: Annotated[bool | None, about("Whether a passcode is set")] = None
    apps_open: Annotated[bool | None, about("Whether apps open: not where a required passcode was never set")] = None
    user_apps: Annotated[int | None, about("How many apps are on it that did not come with the system")] = None
    within: Within = None

    def __post_init__(self) -> None:
        if not _wanted(self):
            raise ValueError('it compares nothing. Say what must be seen, e.g. "enrolled: true".')


_FACTS = tuple(name for name in ExpectDevice.__struct_fields__ if name not in ("device", "within"))


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
        "setup": state.setup,
        "supervised": supervised(state, device.clock.now_ms()),
        "removable": state.enrollment is not None and state.enrollment.removable,
        "has_passcode": bool(state.passcode),
        "apps_open": apps_open(device.work()),
        "user_apps": sum(1 for app in state.apps if not app.system),
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

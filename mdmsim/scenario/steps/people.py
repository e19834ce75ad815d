"""What people and nature do to a device: lock and unlock it, type PINs, press its button, cut its network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from mdmsim.device import locking, power
from mdmsim.device.device import Work
from mdmsim.device.locking import WrongPasscode
from mdmsim.device.system_update import CannotUpdate
from mdmsim.device.system_update import update_os as install_release
from mdmsim.device.tokens import renew_push_token
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed

OpensOrNot = Literal["opens", "refused"]


async def _each(run: Run, name: str, change: Callable[[Work], None]) -> None:
    for device_id in run.ids(name):
        await run.world.fleet.change(device_id, change)


class Lock(Arguments, frozen=True, kw_only=True):
    """Someone presses the side button: the screen locks."""

    device: DeviceName


@step("lock", Lock, title=lambda a: f"someone locks {a.device}")
async def lock(run: Run, arguments: Lock) -> None:
    await _each(run, arguments.device, lambda work: locking.lock_screen(work, by="user"))


class Unlock(Arguments, frozen=True, kw_only=True):
    """Someone unlocks the device; without `passcode` with the right one."""

    device: DeviceName
    passcode: Annotated[str | None, about("What is typed, in quotes", example='"246810"')] = None
    outcome: Annotated[OpensOrNot, about("Whether the device opens")] = "opens"


@step(
    "unlock",
    Unlock,
    title=lambda a: f"someone unlocks {a.device}" if a.outcome == "opens" else f"a wrong passcode for {a.device}",
)
async def unlock(run: Run, arguments: Unlock) -> Outcome:
    def typed(work: Work) -> None:
        passcode = work.state.passcode if arguments.passcode is None else arguments.passcode
        locking.unlock_screen(work, passcode)

    return await _typed(run, arguments.device, typed, arguments.outcome)


class EnterPin(Arguments, frozen=True, kw_only=True):
    """Someone starts the Mac, if it is off, and types a PIN."""

    device: DeviceName
    pin: Annotated[str, about("The PIN, in quotes", example='"123456"')]
    outcome: Annotated[OpensOrNot, about("Whether the Mac opens")] = "opens"


@step(
    "enter_pin",
    EnterPin,
    title=lambda a: f"someone types {'the' if a.outcome == 'opens' else 'a wrong'} PIN on {a.device}",
)
async def enter_pin(run: Run, arguments: EnterPin) -> Outcome:
    return await _typed(run, arguments.device, lambda work: locking.enter_pin(work, arguments.pin), arguments.outcome)


async def _typed(run: Run, name: str, change: Callable[[Work], None], outcome: OpensOrNot) -> Outcome:
    for device_id in run.ids(name):
        seen = "opens"
        try:
            await run.world.fleet.change(device_id, change)
        except WrongPasscode as error:
            seen = f"refused: {error}"
        if not seen.startswith(outcome):
            raise StepFailed(f"{device_id} {_words(outcome)}", seen)
    return Outcome(_words(outcome), _words(outcome))


def _words(outcome: OpensOrNot) -> str:
    return "opens" if outcome == "opens" else "stays locked"


class PressPower(Arguments, frozen=True, kw_only=True):
    """Someone presses the power button: a device that is off starts, one that runs is shut down."""

    device: DeviceName


@step("press_power", PressPower, title=lambda a: f"someone presses the power button of {a.device}")
async def press_power(run: Run, arguments: PressPower) -> None:
    def press(work: Work) -> None:
        if work.state.power == "off":
            power.switch_on(work)
        elif work.state.power == "on":
            power.shut_down(work, why="user")

    await _each(run, arguments.device, press)


class SetPasscode(Arguments, frozen=True, kw_only=True):
    """The user sets a passcode, changes it, or takes it away (an empty one)."""

    device: DeviceName
    passcode: Annotated[str, about('The new passcode, in quotes; "" for none', example='"246810"')]


@step(
    "set_passcode",
    SetPasscode,
    title=lambda a: f"the user {'sets' if a.passcode else 'removes'} the passcode of {a.device}",
)
async def set_passcode(run: Run, arguments: SetPasscode) -> None:
    await _each(run, arguments.device, lambda work: locking.set_passcode(work, arguments.passcode))


class PowerNap(Arguments, frozen=True, kw_only=True):
    """A Mac goes to sleep on battery and naps (dark wake), or wakes up in full."""

    device: DeviceName
    state: Annotated[Literal["napping", "awake"], about("What it does")]


@step("power_nap", PowerNap, title=lambda a: f"{a.device} is {a.state}")
async def power_nap(run: Run, arguments: PowerNap) -> None:
    await _each(run, arguments.device, lambda work: power.set_power_nap(work, napping=arguments.state == "napping"))


class Network(Arguments, frozen=True, kw_only=True):
    """The device loses its network, or finds one again."""

    device: DeviceName
    state: Annotated[Literal["up", "down"], about("What happens to it")]


@step("network", Network, title=lambda a: f"the network of {a.device} {'goes' if a.state == 'down' else 'returns'}")
async def network(run: Run, arguments: Network) -> None:
    await _each(run, arguments.device, lambda work: power.set_network(work, up=arguments.state == "up"))


class KillDevice(Arguments, frozen=True, kw_only=True):
    """The device crashes in the middle of whatever it does, and goes on from what it had saved."""

    device: DeviceName


@step("kill_device", KillDevice, title=lambda a: f"{a.device} crashes and restarts")
async def kill_device(run: Run, arguments: KillDevice) -> None:
    for device_id in run.ids(arguments.device):
        await run.world.fleet.kill(device_id)


class UpdateOs(Arguments, frozen=True, kw_only=True):
    """The user installs a later release of the system: the device restarts with it, and may have a new push token."""

    device: DeviceName
    version: Annotated[
        str | None, about("The release, in quotes; without it the newest that the model runs", example='"18.5"')
    ] = None


@step(
    "update_os",
    UpdateOs,
    title=lambda a: f"the user updates {a.device}{f' to {a.version}' if a.version else ''}",
)
async def update_os(run: Run, arguments: UpdateOs) -> Outcome:
    versions: list[str] = []
    for device_id in run.ids(arguments.device):
        try:
            await run.world.fleet.change(device_id, lambda work: install_release(work, arguments.version))
        except CannotUpdate as problem:
            raise StepFailed(f"{device_id} can be updated", str(problem)) from None
        versions.append(f"{device_id}: {run.device(device_id).persona.os_version}")
    return Outcome("updated", "; ".join(versions))


class NewPushToken(Arguments, frozen=True, kw_only=True):
    """APNs gives the device a new push token: the old one is gone, and the device tells the new one in a TokenUpdate."""

    device: DeviceName


@step("new_push_token", NewPushToken, title=lambda a: f"APNs gives {a.device} a new push token")
async def new_push_token(run: Run, arguments: NewPushToken) -> None:
    for device_id in run.ids(arguments.device):
        if run.device(device_id).state.enrollment is None:
            raise StepFailed(f"{device_id} has a push token for its server", "it is not enrolled")
        await run.world.fleet.change(device_id, renew_push_token)

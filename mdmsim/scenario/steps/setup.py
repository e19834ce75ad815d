"""Setup Assistant, erasing by hand, backups: what people do with a device from its first day on."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import msgspec

from mdmsim.clock import MINUTE
from mdmsim.device.backup import make_backup
from mdmsim.device.device import Device
from mdmsim.device.erase import erase as erase_now
from mdmsim.device.errors import NotSimulated
from mdmsim.device.flows.automated import Person, SetupStopped, walk_setup_assistant
from mdmsim.device.pairing import PairingRefused, can_pair
from mdmsim.device.pairing import pair as pair_now
from mdmsim.device.remote_management import management_of
from mdmsim.events import Event
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import DeviceName
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import NotApplicable, StepFailed

#: A device that was just erased starts first.
BOOT_PATIENCE_MS = 2 * MINUTE


class WalkSetup(Arguments, frozen=True, kw_only=True):
    """Someone walks a device through Setup Assistant: network, remote management, restore, passcode.

    `outcome`: `home` (at the home screen), `held` (enrolled, and waiting until the server says DeviceConfigured) or
    `stopped` (an error pane, or a pane that they need and the profile leaves out; the device stands where it stood).
    """

    device: DeviceName
    user: Annotated[str, about("Who signs in, where the server asks for it", example="anna")] = ""
    password: Annotated[str, about("With which password", example="s3cret")] = ""
    passcode: Annotated[str, about("The passcode they set, in quotes", example='"246810"')] = ""
    restore: Annotated[str | None, about('The backup that they restore: the "as" of a step "backup"')] = None
    backup_of: Annotated[
        str | None, about("Whose backup it is, if it is another device's", example="old", refers_to="device")
    ] = None
    skip_management: Annotated[bool, about("They skip Remote Management; where it is mandatory they are stopped")] = (
        False
    )
    outcome: Annotated[Literal["home", "held", "stopped"], about("Where it ends")] = "home"
    code: Annotated[str | None, about("The code of the server's 403", example="com.apple.softwareupdate.required")] = (
        None
    )
    why: Annotated[str, about("What the error pane says, or a part of it")] = ""

    def __post_init__(self) -> None:
        if (self.code is not None or self.why) and self.outcome != "stopped":
            raise ValueError('"code" and "why" go with "outcome: stopped".')
        if self.backup_of is not None and self.restore is None:
            raise ValueError('"backup_of" goes with "restore".')
        if self.skip_management and self.outcome == "held":
            raise ValueError('a device whose user skips Remote Management is never held: "outcome" is home or stopped.')


def _title(arguments: WalkSetup) -> str:
    restoring = f", restoring {arguments.restore}" if arguments.restore else ""
    ends = {"home": "", "held": ", and the device is held", "stopped": ", and it stops"}[arguments.outcome]
    skipping = ", skipping Remote Management" if arguments.skip_management else ""
    return f"{arguments.user or 'someone'} walks {arguments.device} through Setup Assistant{skipping}{restoring}{ends}"


@step("walk_setup", WalkSetup, title=_title)
async def walk_setup(run: Run, arguments: WalkSetup) -> Outcome:
    ended: list[str] = []
    for device_id in run.ids(arguments.device):
        await _started(run, device_id)
        outcome, code, why = await _walk(run, device_id, _person(run, arguments, device_id))
        seen = f"{outcome}: {why}" if why else outcome
        if outcome != arguments.outcome or arguments.why not in why:
            says = f" and says {arguments.why}" if arguments.why else ""
            raise StepFailed(f"Setup Assistant of {device_id} ends {arguments.outcome}{says}", seen)
        if arguments.code is not None and code != arguments.code:
            raise StepFailed(f"{device_id} is refused with {arguments.code}", code or f"no code: {why}")
        ended.append(f"{device_id}: {seen}")
    return Outcome(arguments.outcome, "; ".join(ended))


def _person(run: Run, arguments: WalkSetup, device_id: str) -> Person:
    data: bytes | None = None
    if arguments.restore is not None:
        backups = run.backups.get(arguments.restore)
        if backups is None:
            there = ", ".join(run.backups) or "none"
            raise ScenarioError(
                run.case.where, f'step "walk_setup" restores "{arguments.restore}". Backups so far: {there}.'
            )
        owner = run.ids(arguments.backup_of)[0] if arguments.backup_of else device_id
        if owner not in backups:
            raise ScenarioError(run.case.where, f'the backup "{arguments.restore}" is not of {owner}')
        data = backups[owner]
    return Person(
        user=arguments.user,
        password=arguments.password,
        passcode=arguments.passcode,
        backup=data,
        skip_management=arguments.skip_management,
    )


async def _walk(run: Run, device_id: str, person: Person) -> tuple[str, str | None, str]:
    """How it ended, the code of a refusal, and what the error pane says."""
    place = run.place()
    try:
        await run.world.fleet.perform(device_id, lambda device: walk_setup_assistant(device, person))
    except SetupStopped as stopped:
        if isinstance(stopped.__cause__, NotSimulated):
            raise NotApplicable(f"{stopped.__cause__} ({device_id}).") from stopped
        return "stopped", stopped.code, str(stopped)

    def left(event: Event) -> bool:
        return event.kind == "device.setup" and event.device == device_id

    # Not the device's state: the server may have released it by now.
    state = run.since(place, left)[-1].data["state"]
    return ("held" if state == "awaiting" else "home"), None, ""


async def _started(run: Run, device_id: str) -> None:
    """Wait until the device shows Setup Assistant: after an erase it starts first."""

    async def problem() -> str | None:
        state = run.device(device_id).state
        if state.present and state.setup == "welcome":
            return None
        pin = " behind a PIN" if state.pin_lock else ""
        return f"power {state.power}{pin}, Setup Assistant {state.setup}"

    found = await run.until(problem, within_ms=BOOT_PATIENCE_MS)
    if found is not None:
        raise StepFailed(f"{device_id} shows Setup Assistant", found)


class Erase(Arguments, frozen=True, kw_only=True):
    """The user erases the device: all content and settings. The server is not told."""

    device: DeviceName


@step("erase", Erase, title=lambda a: f"the user erases {a.device}")
async def erase(run: Run, arguments: Erase) -> None:
    for device_id in run.ids(arguments.device):
        await run.world.fleet.change(device_id, lambda work: erase_now(work, by="user"))


class Backup(Arguments, frozen=True, kw_only=True):
    """Someone backs the device up, with everything that is on it at this moment."""

    device: DeviceName
    as_: Annotated[str, about('The name by which "walk_setup" knows it', example="monday")] = msgspec.field(
        default="backup", name="as"
    )


@step("backup", Backup, title=lambda a: f"someone backs up {a.device}")
async def backup(run: Run, arguments: Backup) -> None:
    run.backups[arguments.as_] = {
        device_id: make_backup(run.device(device_id)) for device_id in run.ids(arguments.device)
    }


class Pair(Arguments, frozen=True, kw_only=True):
    """Someone connects an iPhone or iPad to a computer and tries to pair the two.

    `host`: `stranger` is any computer, `supervising` one whose certificate stands in `supervising_host_certs` of the DEP
    profile; where none stands there, every computer is a stranger. On other platforms the step does not apply.
    """

    device: DeviceName
    host: Annotated[Literal["stranger", "supervising"], about("Which computer")] = "stranger"
    outcome: Annotated[Literal["trusted", "refused"], about("Whether they pair")] = "trusted"


@step("pair", Pair, title=lambda a: f"someone pairs {a.device} with a {a.host} computer: {a.outcome}")
async def pair(run: Run, arguments: Pair) -> Outcome:
    for device_id in run.ids(arguments.device):
        device = run.device(device_id)
        if not can_pair(device.persona):
            raise NotApplicable(f"{device_id} does not pair with computers: only iPhones and iPads do.")
        certificate = _supervising_host(device) if arguments.host == "supervising" else None
        seen = "trusted"
        try:
            await run.world.fleet.change(device_id, partial(pair_now, host_certificate=certificate))
        except PairingRefused as refusal:
            seen = f"refused: {refusal}"
        if not seen.startswith(arguments.outcome):
            raise StepFailed(f"a {arguments.host} computer is {arguments.outcome} by {device_id}", seen)
    return Outcome(arguments.outcome, arguments.outcome)


def _supervising_host(device: Device) -> bytes | None:
    management = management_of(device.state, device.store)
    return next(iter(management.supervising_hosts), None) if management is not None else None

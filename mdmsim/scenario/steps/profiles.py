"""Profiles: the server or a person installs one, and removes it again."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec

from mdmsim.clock import SECOND
from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.unenroll import NotRemovable, leave_by_user
from mdmsim.device.profiles.store import remove_profile as remove_stored
from mdmsim.pki.cms import is_cms, verify
from mdmsim.protocol.payloads import MDM
from mdmsim.protocol.profile import Payload, build_profile, parse_profile
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.commands import queue_for, queue_needs
from mdmsim.scenario.steps.enrolling import install
from mdmsim.scenario.steps.shared import Codes, DeviceName, Recipient, chain_text, has_codes, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.world.abilities import Ability

_IDENTIFIER = about("A reverse-DNS name that identifies the profile", example="com.example.wifi")


class PayloadSpec(Arguments, frozen=True, kw_only=True):
    """One payload of a profile."""

    type: Annotated[str, about("Its PayloadType", example="com.apple.wifi.managed")]
    keys: Annotated[dict[str, Any], about("Its keys, in Apple's words")] = msgspec.field(default_factory=dict)


class InstallProfile(Arguments, frozen=True, kw_only=True):
    """The server installs a configuration profile by command, or a person does it by hand.

    `scep: true` puts in a SCEP payload of the server's CA: it counts as installed only with a real certificate.
    """

    to: Recipient
    identifier: Annotated[str, _IDENTIFIER]
    name: Annotated[str, about("What people see")] = "A profile"
    payloads: Annotated[tuple[PayloadSpec, ...], about("What is in it")] = ()
    scep: Annotated[bool, about("Put in a SCEP payload of the server's CA")] = False
    by: Annotated[Literal["server", "user"], about("Who installs it")] = "server"
    push: Annotated[bool, about("Whether the server pushes at once")] = True
    duration_until_removal: Annotated[
        Duration | None, about("After how long it removes itself (DurationUntilRemoval)", example="7d")
    ] = None
    removal_date: Annotated[
        str | None, about("When it removes itself (RemovalDate), in UTC", example='"2026-02-01T09:00:00Z"')
    ] = None
    error: Codes = ()
    as_: Annotated[str | None, about("The name by which later steps know the command", example="wifi")] = msgspec.field(
        default=None, name="as"
    )

    def __post_init__(self) -> None:
        if self.removal_date is not None:
            _date(self.removal_date)
        if self.error and self.by == "server":
            raise ValueError(
                '"error" goes with "by: user". What the device answers to a command is for expect_command.'
            )

    @property
    def queues(self) -> str | None:
        return "InstallProfile" if self.by == "server" else None


@step(
    "install_profile",
    InstallProfile,
    title=lambda a: f"{a.by} installs {a.identifier} on {a.to}",
    needs=lambda a: (queue_needs(push=a.push) if a.by == "server" else ()) + ((Ability.PROFILE,) if a.scep else ()),
)
async def install_profile(run: Run, arguments: InstallProfile) -> Outcome | None:
    content = await _content(run, arguments)
    if arguments.by == "server":
        await queue_for(
            run, arguments.to, "InstallProfile", {"Payload": content}, name=arguments.as_, push=arguments.push
        )
        return None
    for device_id in run.ids(arguments.to):
        _, chain = await install(run, device_id, content)
        if chain and not arguments.error:
            raise StepFailed(f"{arguments.identifier} is installed on {device_id}", chain_text(chain))
        if not has_codes(chain, arguments.error):
            raise StepFailed(f"an error chain with {words(arguments.error)}", chain_text(chain))
    return Outcome("the profile is installed", "installed")


async def _content(run: Run, arguments: InstallProfile) -> bytes:
    chance = run.draw()
    payloads = [
        Payload(
            type=spec.type,
            identifier=f"{arguments.identifier}.{number}",
            uuid=str(chance.uuid()).upper(),
            keys=spec.keys,
        )
        for number, spec in enumerate(arguments.payloads, 1)
    ]
    if arguments.scep:
        payloads.extend(await _identity_payloads(run))
    return build_profile(
        identifier=arguments.identifier,
        uuid=str(chance.uuid()).upper(),
        display_name=arguments.name,
        payloads=tuple(payloads),
        extra=_removal_keys(arguments),
    )


def _removal_keys(arguments: InstallProfile) -> dict[str, Any]:
    keys: dict[str, Any] = {}
    if arguments.duration_until_removal is not None:
        keys["DurationUntilRemoval"] = arguments.duration_until_removal.ms / SECOND
    if arguments.removal_date is not None:
        keys["RemovalDate"] = _date(arguments.removal_date)
    return keys


def _date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ValueError(f'"removal_date" is "{text}". Write a date and time in UTC: "2026-02-01T09:00:00Z".') from None


async def _identity_payloads(run: Run) -> list[Payload]:
    """The server's own SCEP payload with a challenge of its own, and the roots that go with it."""
    data = await run.adapter.enrollment_profile()
    profile = parse_profile(verify(data).content if is_cms(data) else data)
    return [payload for payload in profile.payloads if payload.type != MDM]


class RemoveProfile(Arguments, frozen=True, kw_only=True):
    """A person removes a profile by hand; without `identifier` the enrollment profile, which ends the enrollment."""

    device: DeviceName
    identifier: Annotated[str | None, _IDENTIFIER] = None
    outcome: Annotated[
        Literal["removed", "refused"], about("Whether the device lets them: automated enrollments may forbid it")
    ] = "removed"


@step(
    "remove_profile",
    RemoveProfile,
    title=lambda a: (
        f"the user {'cannot remove' if a.outcome == 'refused' else 'removes'} "
        f"{a.identifier or 'the enrollment profile'} from {a.device}"
    ),
)
async def remove_profile(run: Run, arguments: RemoveProfile) -> Outcome:
    for device_id in run.ids(arguments.device):
        state = run.device(device_id).state
        enrollment = state.enrollment
        identifier = arguments.identifier or (enrollment.profile if enrollment else None)
        if identifier is None or identifier not in {profile.identifier for profile in state.profiles}:
            raise StepFailed(f"{device_id} has the profile {identifier or 'of an enrollment'}", "it has not")
        if enrollment is not None and identifier == enrollment.profile:
            seen = "removed"
            try:
                await run.world.fleet.perform(device_id, _leave)
            except NotRemovable as refusal:
                seen = f"refused: {refusal}"
            if not seen.startswith(arguments.outcome):
                raise StepFailed(f"removing {identifier} from {device_id} is {arguments.outcome}", seen)
        else:
            await run.world.fleet.change(device_id, _removal(identifier))
    return Outcome(arguments.outcome, arguments.outcome)


def _leave(device: Device) -> Flow[None]:
    return leave_by_user(device)


def _removal(identifier: str) -> Callable[[Work], None]:
    return lambda work: remove_stored(work, identifier, why="user")

"""What a device has told its server: identity, push token, unlock token; and what makes it tell another."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from mdmsim.events import Event
from mdmsim.protocol.checkin import Authenticate, CheckIn, TokenUpdate, parse_checkin
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.match import shown
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Queued, Run
from mdmsim.scenario.steps.commands import queue_needs
from mdmsim.scenario.steps.enrolling import ProfileChanges, changes, profile_needs
from mdmsim.scenario.steps.shared import DeviceName, Recipient, Within, patience, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.target.adapter import NotOffered

Fact = Literal["udid", "serial", "identity", "push_token", "push_magic", "unlock_token"]

_NOTE = about('A name for "expect_told"', example="before")


def told(run: Run, device_id: str) -> dict[str, Any]:
    """What the server knows from this device, read off the exchanges that it accepted.

    `identity`: the certificate that the device showed or signed with last, by its fingerprint.
    """
    facts: dict[str, Any] = {}
    for event in reversed(run.since(run.opened, lambda event: _accepted(event, device_id))):
        facts.setdefault("identity", event.data["identity"])
        label = str(event.data["label"])
        if label not in ("checkin:TokenUpdate", "checkin:Authenticate"):
            continue
        message: CheckIn = parse_checkin(event.data["request_body"])
        facts.setdefault("udid", message.ids.udid)
        if isinstance(message, TokenUpdate):
            facts.setdefault("push_token", message.token.hex())
            facts.setdefault("push_magic", message.push_magic)
            if message.unlock_token is not None:
                facts.setdefault("unlock_token", message.unlock_token.hex())
        elif isinstance(message, Authenticate) and message.serial_number is not None:
            facts.setdefault("serial", message.serial_number)
    return facts


def _accepted(event: Event, device_id: str) -> bool:
    if event.kind != "exchange" or event.device != device_id:
        return False
    status = event.data.get("status")
    is_mdm = str(event.data.get("label")).startswith(("checkin:", "connect:"))
    return is_mdm and isinstance(status, int) and 200 <= status < 300


class Remember(Arguments, frozen=True, kw_only=True):
    """Take note of what the device has told the server so far, to compare it later."""

    device: DeviceName
    as_: Annotated[str, _NOTE] = msgspec.field(default="before", name="as")


@step("remember", Remember, title=lambda a: f"take note of what {a.device} has told", expects=True)
async def remember(run: Run, arguments: Remember) -> None:
    run.remembered[arguments.as_] = {device_id: told(run, device_id) for device_id in run.ids(arguments.device)}


class ExpectTold(Arguments, frozen=True, kw_only=True):
    """What the device has told the server in requests that were accepted, compared with what `remember` took note of.

    `identity` is the certificate of its last request: by TLS, or in the signature.
    """

    device: DeviceName
    since: Annotated[str, _NOTE] = "before"
    same: Annotated[tuple[Fact, ...], about("What must be as it was", example="[udid, serial]")] = ()
    new: Annotated[tuple[Fact, ...], about("What must have changed", example="[identity, push_token]")] = ()
    within: Within = None

    def __post_init__(self) -> None:
        if not self.same and not self.new:
            raise ValueError('it compares nothing. Give "same", "new" or both, e.g. "new: [push_token]".')


@step("expect_told", ExpectTold, title=lambda a: f"{a.device} tells {_compared(a)}", expects=True)
async def expect_told(run: Run, arguments: ExpectTold) -> Outcome:
    before = _noted(run, arguments.since)
    for device_id in run.ids(arguments.device):

        async def problem(device_id: str = device_id) -> str | None:
            old, now = before.get(device_id, {}), told(run, device_id)
            wrong = [f"no {name}" for name in (*arguments.same, *arguments.new) if name not in now]
            wrong += [f"another {name}" for name in arguments.same if name in now and now[name] != old.get(name)]
            wrong += [f"the same {name}" for name in arguments.new if name in now and now[name] == old.get(name)]
            wrong += [f"no {name} before" for name in arguments.new if name in now and name not in old]
            return words(wrong) if wrong else None

        found = await run.until(problem, within_ms=patience(arguments.within))
        if found is not None:
            raise StepFailed(f"{device_id} tells {_compared(arguments)}", found)
    return Outcome(_compared(arguments), _compared(arguments))


def _compared(arguments: ExpectTold) -> str:
    said = [f"the same {words(arguments.same)}"] if arguments.same else []
    if arguments.new:
        said.append(f"a new {words(arguments.new)}")
    return " and ".join(said)


def _noted(run: Run, name: str) -> dict[str, dict[str, Any]]:
    if name not in run.remembered:
        there = words(list(run.remembered)) or "none"
        raise ScenarioError(run.case.where, f'nothing was remembered as "{name}". Noted so far: {there}.')
    return run.remembered[name]


class ClearPasscode(Arguments, frozen=True, kw_only=True):
    """The administrator has the passcode cleared, with the unlock token that the device told last, or a wrong one."""

    to: Recipient
    token_of: Annotated[
        str | None, about("With the unlock token of this device instead", example="other", refers_to="device")
    ] = None
    token_from: Annotated[str | None, about('With the one that the device had told at that "remember"')] = None
    as_: Annotated[str | None, about("The name by which later steps know the command")] = msgspec.field(
        default=None, name="as"
    )

    def __post_init__(self) -> None:
        if self.token_of is not None and self.token_from is not None:
            raise ValueError('"token_of" and "token_from" exclude each other.')

    @property
    def queues(self) -> str:
        return "ClearPasscode"


@step(
    "clear_passcode",
    ClearPasscode,
    title=lambda a: f"queue ClearPasscode for {a.to}{_which(a)}",
    needs=lambda _: queue_needs(),
)
async def clear_passcode(run: Run, arguments: ClearPasscode) -> None:
    queued: list[Queued] = []
    for device_id in run.ids(arguments.to):
        place, token = run.place(), _other_token(run, arguments, device_id)
        udid = run.udid(device_id)
        try:
            command_uuid = await run.adapter.clear_passcode(udid, token=token)
        except NotOffered:
            if token is not None:
                raise
            command_uuid = await run.adapter.clear_passcode(udid, token=_unlock_token(told(run, device_id), device_id))
        queued.append(Queued(device_id, command_uuid, "ClearPasscode", place))
    run.commands[arguments.as_ or "ClearPasscode"] = queued


def _which(arguments: ClearPasscode) -> str:
    if arguments.token_of is not None:
        return f" with the unlock token of {arguments.token_of}"
    return " with an unlock token of earlier" if arguments.token_from is not None else ""


def _other_token(run: Run, arguments: ClearPasscode, device_id: str) -> bytes | None:
    if arguments.token_of is not None:
        owner = run.ids(arguments.token_of)[0]
        return _unlock_token(told(run, owner), owner)
    if arguments.token_from is not None:
        return _unlock_token(_noted(run, arguments.token_from).get(device_id, {}), device_id)
    return None


def _unlock_token(facts: dict[str, Any], device_id: str) -> bytes:
    if "unlock_token" not in facts:
        raise StepFailed(f"{device_id} has told an unlock token", f"it told {shown(sorted(facts))}")
    return bytes.fromhex(facts["unlock_token"])


class RenewEnrollment(Arguments, frozen=True, kw_only=True):
    """The server installs a fresh enrollment profile over the one that is there, by InstallProfile: a new identity."""

    to: Recipient
    profile: Annotated[ProfileChanges | None, about("What the profile should say otherwise")] = None
    as_: Annotated[str | None, about("The name by which later steps know the command")] = msgspec.field(
        default=None, name="as"
    )

    @property
    def queues(self) -> str:
        return "InstallProfile"


@step(
    "renew_enrollment",
    RenewEnrollment,
    title=lambda a: f"the server renews the enrollment of {a.to}",
    needs=lambda a: (*queue_needs(), *profile_needs(a.profile)),
)
async def renew_enrollment(run: Run, arguments: RenewEnrollment) -> None:
    queued: list[Queued] = []
    for device_id in run.ids(arguments.to):
        place = run.place()
        asked = changes(run, arguments.profile)
        command_uuid = await run.adapter.renew_enrollment(run.udid(device_id), **asked)
        queued.append(Queued(device_id, command_uuid, "InstallProfile", place))
    run.commands[arguments.as_ or "InstallProfile"] = queued

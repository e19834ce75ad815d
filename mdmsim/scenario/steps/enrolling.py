"""Enrolling by hand: a person installs the enrollment profile that the server offers."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from mdmsim.clock import SECOND
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.server import ServerSaidNo
from mdmsim.pki.authority import Authority
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.steps.shared import Codes, DeviceName, chain_text, has_codes, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.world.abilities import Ability


class ProfileChanges(Arguments, frozen=True, kw_only=True):
    """What the enrollment profile should say otherwise."""

    topic: Annotated[str | None, about("The push topic", example="com.apple.mgmt.External.x")] = None
    server_url: Annotated[str | None, about("ServerURL, where the device connects")] = None
    checkin_url: Annotated[str | None, about("CheckInURL, where the device checks in")] = None
    scep_url: Annotated[str | None, about("Where the device gets its identity")] = None
    access_rights: Annotated[int | None, about("AccessRights as a number", example="8191")] = None
    sign_message: Annotated[bool | None, about("Whether the device signs what it sends")] = None
    check_out_when_removed: Annotated[bool | None, about("Whether the device says goodbye")] = None
    identifier: Annotated[str | None, about("PayloadIdentifier of the profile")] = None
    wrong_challenge: Annotated[bool, about("Carry a challenge that the CA does not know")] = False
    anchors: Annotated[
        Literal["server", "other", "none"],
        about("Which root certificate the profile brings: the server's, somebody else's, or none"),
    ] = "server"
    sign: Annotated[bool, about("Whether the profile itself is signed")] = True
    identity: Annotated[
        Literal["scep", "pkcs12"] | None, about("How the identity comes: by SCEP, or in the profile as PKCS#12")
    ] = None
    wrong_password: Annotated[bool, about("Carry a password that does not open the PKCS#12")] = False
    duration_until_removal: Annotated[
        Duration | None, about("After how long the profile removes itself, and ends the enrollment", example="30d")
    ] = None


class Enroll(Arguments, frozen=True, kw_only=True):
    """A person fetches the server's enrollment profile and installs it on the device.

    `outcome`: `enrolled` (the profile is stored and TokenUpdate was accepted), `unconfirmed` (stored, but the first
    TokenUpdate has not come through), `failed` (nothing was installed) or `removed` (stored, and gone again because the
    server refused).
    """

    device: DeviceName
    profile: Annotated[ProfileChanges | None, about("What the profile should say otherwise")] = None
    outcome: Annotated[Literal["enrolled", "unconfirmed", "failed", "removed"], about("How it should end")] = "enrolled"
    error: Codes = ()

    def __post_init__(self) -> None:
        if self.error and self.outcome != "failed":
            raise ValueError(
                '"error" goes with "outcome: failed": only an installation that failed has an error chain.'
            )


def _title(arguments: Enroll) -> str:
    endings = {
        "enrolled": "enrol {}",
        "unconfirmed": "enrol {}, TokenUpdate does not come through",
        "failed": "{} cannot enrol",
        "removed": "{} enrols and is refused",
    }
    return endings[arguments.outcome].format(arguments.device)


@step("enroll", Enroll, title=_title, needs=lambda a: profile_needs(a.profile))
async def enroll(run: Run, arguments: Enroll) -> Outcome:
    ended: list[str] = []
    for device_id in run.ids(arguments.device):
        profile = await run.adapter.enrollment_profile(**changes(run, arguments.profile))
        outcome, chain = await install(run, device_id, profile)
        if outcome != arguments.outcome:
            detail = f": {chain_text(chain)}" if chain else ""
            raise StepFailed(f"{device_id} ends up {arguments.outcome}", f"{outcome}{detail}")
        if not has_codes(chain, arguments.error):
            raise StepFailed(f"an error chain with {words(arguments.error)}", chain_text(chain))
        ended.append(f"{device_id}: {chain_text(chain)}" if chain else f"{device_id} is {outcome}")
    return Outcome(arguments.outcome, "; ".join(ended))


async def install(run: Run, device_id: str, profile: bytes) -> tuple[str, list[dict[str, Any]]]:
    """Have a device install a profile by hand; how an enrollment ended, and the error chain if it failed.

    Raises NotApplicable where the profile asks for an enrollment that is not simulated.
    """
    place = run.place()
    try:
        await run.world.fleet.perform(device_id, lambda device: install_profile(device, profile))
    except NotSimulated as error:
        raise NotApplicable(f"{error} ({device_id}).") from error
    except DeviceError as error:
        return "failed", [
            {"ErrorCode": item.code, "ErrorDomain": item.domain, "LocalizedDescription": item.localized}
            for item in error.chain
        ]
    except ServerSaidNo as refusal:
        return f"stopped by the server: {refusal}", []
    state = run.device(device_id).state
    if state.enrollment is not None:
        return ("enrolled" if state.enrollment.confirmed else "unconfirmed"), []
    if run.since(place, lambda event: event.kind == "device.unenrolled" and event.device == device_id):
        return "removed", []
    return ("waiting for the CA" if state.installation is not None else "without an enrollment"), []


def profile_needs(profile: ProfileChanges | None) -> tuple[Ability, ...]:
    """What the server must offer for an enrollment profile with these changes."""
    changed = profile is not None and profile != ProfileChanges()
    return (Ability.PROFILE, Ability.PROFILE_CHANGES) if changed else (Ability.PROFILE,)


def changes(run: Run, profile: ProfileChanges | None) -> dict[str, Any]:
    """What to ask the server's administrator to put into the profile."""
    if profile is None:
        return {}
    asked: dict[str, Any] = {
        name: getattr(profile, name)
        for name in (
            "topic",
            "server_url",
            "checkin_url",
            "scep_url",
            "access_rights",
            "sign_message",
            "check_out_when_removed",
            "identifier",
            "identity",
        )
        if getattr(profile, name) is not None
    }
    if profile.duration_until_removal is not None:
        asked["duration_until_removal"] = profile.duration_until_removal.ms / SECOND
    if profile.wrong_challenge:
        asked["wrong_challenge"] = True
    if profile.wrong_password:
        asked["wrong_password"] = True
    if profile.anchors != "server":
        anchors = [_somebody_else(run)] if profile.anchors == "other" else []
        asked["anchors"] = [base64.b64encode(anchor).decode("ascii") for anchor in anchors]
    if not profile.sign:
        asked["sign"] = False
    return asked


def _somebody_else(run: Run) -> bytes:
    fleet = run.world.fleet
    stranger = Authority.create(
        "Somebody Else's Root CA", keys=fleet.keys, clock=fleet.clock, chance=run.draw(), kind="ec"
    )
    return stranger.root

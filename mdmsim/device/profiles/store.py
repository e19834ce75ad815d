"""The profile store: what is kept of an installed profile, and how it goes again, in reverse."""

from __future__ import annotations

from mdmsim.device.device import Work
from mdmsim.device.profiles.plan import Plan
from mdmsim.device.profiles.removal import removal_ms
from mdmsim.device.state import Enrollment, IdentityRef, InstalledProfile, KeychainItem


def store_profile(
    work: Work,
    plan: Plan,
    *,
    managed: bool,
    identities: dict[str, IdentityRef],
    enrollment: Enrollment | None,
    push_token: bytes,
    push_magic: str,
    unlock_token: bytes,
) -> None:
    """Keep a profile whose parts are all there: certificates, identities, MDM, the rest. Replaces one of its identifier."""
    identifier = plan.profile.identifier
    replaced = any(p.identifier == identifier for p in work.state.profiles)
    if replaced:
        _forget(work, identifier)
    for payload, certificate in plan.certificates:
        digest = work.store.put(certificate)
        work.state.keychain.append(KeychainItem(certificate=digest, payload_uuid=payload.uuid, profile=identifier))
    for payload in plan.identity_payloads:
        ref = identities[payload.uuid]
        work.state.keychain.append(
            KeychainItem(certificate=ref.certificate, key=ref.key, payload_uuid=payload.uuid, profile=identifier)
        )
    if enrollment is not None:
        work.state.enrollment = enrollment
        voice = work.state.channel()
        voice.push_token, voice.push_magic, voice.unlock_token = push_token, push_magic, unlock_token
        voice.attempts = 0
        voice.wakes["token-update"] = work.now_ms
    work.state.profiles.append(
        InstalledProfile(
            identifier=identifier,
            uuid=plan.profile.uuid,
            content=work.store.put(plan.content),
            managed=managed,
            installed_ms=work.now_ms,
            signers=[work.store.put(certificate) for certificate in plan.signers],
            encrypted=plan.profile.is_encrypted,
            removal_ms=removal_ms(plan.profile, work.now_ms),
        )
    )
    work.emit(
        "device.profile-installed", identifier=identifier, uuid=plan.profile.uuid, managed=managed, replaced=replaced
    )


def remove_profile(work: Work, identifier: str, *, why: str) -> None:
    """Remove an installed profile and what came with it. Raises KeyError when there is none of that identifier."""
    installed = next((p for p in work.state.profiles if p.identifier == identifier), None)
    if installed is None:
        raise KeyError(identifier)
    _forget(work, identifier)
    work.emit("device.profile-removed", identifier=identifier, uuid=installed.uuid, why=why)


def expired(work: Work) -> list[str]:
    """The identifiers of the installed profiles whose time is over (RemovalDate, DurationUntilRemoval)."""
    return [p.identifier for p in work.state.profiles if p.removal_ms is not None and p.removal_ms <= work.now_ms]


def remove_enrollment(work: Work, *, why: str) -> None:
    """Remove everything that is managed, last installed first, and the enrollment profile as the very last."""
    enrollment = work.state.enrollment
    if enrollment is None:
        return
    for installed in reversed(work.state.profiles.copy()):
        if installed.managed and installed.identifier != enrollment.profile:
            remove_profile(work, installed.identifier, why=why)
    remove_profile(work, enrollment.profile, why=why)
    work.state.enrollment = None
    if work.state.installation is not None and work.state.installation.managed:
        work.state.installation = None
    work.state.pin_pending = None
    heard = {name: voice.heard for name, voice in work.state.channels.items()}
    work.state.channels = {}
    for name, number in heard.items():  # the courier counts on; old pushes stay heard
        work.state.channel(name).heard = number


def _forget(work: Work, identifier: str) -> None:
    work.state.keychain = [kept for kept in work.state.keychain if kept.profile != identifier]
    work.state.profiles = [p for p in work.state.profiles if p.identifier != identifier]

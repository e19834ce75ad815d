"""Backup and restore: what a backup holds, and what comes back of management on the same and on another device.

Source: Apple, MDM Best Practices, "Dealing with Restores": restored to the same device, management comes back and a
TokenUpdate follows by itself, with a new push token; restored to another device, it does not.
A backup holds the cloud configuration as well, which counts on iOS 26 (`flows/automated.py`).
"""

from __future__ import annotations

import msgspec

from mdmsim.device.device import Device, Work
from mdmsim.device.state import DEVICE_CHANNEL, App, Enrollment, InstalledProfile, KeychainItem
from mdmsim.device.tokens import has_unlock_token, renew_push_token, renew_unlock_token

VERSION = 1


class UnreadableBackup(ValueError):
    """The bytes are no backup, or one of a later version."""


class _Backup(msgspec.Struct, frozen=True, kw_only=True):
    v: int
    udid: str
    platform: str
    device_name: str
    apps: list[App]
    profiles: list[InstalledProfile]
    keychain: list[KeychainItem]
    enrollment: Enrollment | None
    push_magic: str
    blobs: dict[str, bytes]
    cloud_configuration: str = ""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Backup)


def make_backup(device: Device) -> bytes:
    """Back up the device as it is. Private keys are in it, but open on this device only."""
    state = device.state
    digests = {p.content for p in state.profiles} | {d for p in state.profiles for d in p.signers}
    digests |= {k.certificate for k in state.keychain} | {k.key for k in state.keychain if k.key}
    if state.enrollment is not None:
        identity = state.enrollment.identity
        digests |= {identity.certificate, identity.key, *state.enrollment.anchors}
        digests |= {*state.enrollment.server_pins, *state.enrollment.checkin_pins}
    if state.cloud_configuration:
        digests.add(state.cloud_configuration)
    voice = state.channels.get(DEVICE_CHANNEL)
    return _encoder.encode(
        _Backup(
            v=VERSION,
            udid=state.persona.udid,
            platform=state.persona.platform,
            device_name=state.device_name,
            apps=[app for app in state.apps if not app.system],
            profiles=state.profiles,
            keychain=state.keychain,
            enrollment=state.enrollment,
            push_magic=voice.push_magic if voice else "",
            blobs={digest: device.store.get(digest) for digest in sorted(digests)},
            cloud_configuration=state.cloud_configuration,
        )
    )


def check_backup(data: bytes) -> None:
    """Raises UnreadableBackup for what `restore_backup` would not take."""
    _read(data)


def cloud_configuration_in(data: bytes, device: Device) -> bytes | None:
    """The cloud configuration (JSON) in a backup of this same device; None for one of another, or without any.

    Raises UnreadableBackup.
    """
    backup = _read(data)
    if backup.udid != device.persona.udid or not backup.cloud_configuration:
        return None
    return backup.blobs.get(backup.cloud_configuration)


def _read(data: bytes) -> _Backup:
    try:
        backup = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableBackup(f"not a backup: {error}") from None
    if backup.v > VERSION:
        raise UnreadableBackup(f"a backup of version {backup.v}; this mdmsim knows versions up to {VERSION}")
    return backup


def restore_backup(work: Work, data: bytes, *, with_management: bool = True, with_profiles: bool = True) -> None:
    """Put a backup's contents onto the device. Raises UnreadableBackup; nothing is changed then.

    Management comes back only onto the device that was backed up, and only if `with_management`: a device whose cloud
    configuration enrols it anew keeps the new enrollment. Without `with_profiles` no configuration profile comes back.
    """
    backup = _read(data)
    state = work.state
    same = backup.udid == state.persona.udid
    managed = same and with_management and backup.enrollment is not None
    for content in backup.blobs.values():
        work.store.put(content)
    state.device_name = backup.device_name
    state.apps = [app for app in state.apps if app.system] + list(backup.apps)
    if with_profiles:
        _restore_profiles(work, backup, managed=managed, same=same)
    if managed:
        state.enrollment = backup.enrollment
        state.channel().push_magic = backup.push_magic
        renew_push_token(work)
        if has_unlock_token(work, state.enrollment):
            renew_unlock_token(work)
    work.emit("device.restored", same_device=same, management=managed)


def _restore_profiles(work: Work, backup: _Backup, *, managed: bool, same: bool) -> None:
    """The user's own profiles come back everywhere; what belongs to management only with it; keys only on this device."""
    enrollment = backup.enrollment.profile if backup.enrollment else None
    kept = [p for p in backup.profiles if managed or (not p.managed and p.identifier != enrollment)]
    names = {p.identifier for p in kept}
    present = {p.identifier for p in work.state.profiles}
    work.state.profiles += [p for p in kept if p.identifier not in present]
    work.state.keychain += [
        item
        for item in backup.keychain
        if item.profile in names and item.profile not in present and (same or item.key is None)
    ]

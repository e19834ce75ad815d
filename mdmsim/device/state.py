"""Everything that one simulated device knows: one small value with a version, kept as msgpack.

Large things (profiles, certificates, keys) are kept by content hash in a `BlobStore`; state holds the hashes.
What the courier writes (the push number) is deliberately not in here: see `DeviceStore`.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mdmsim.device.personas import Persona
from mdmsim.pki.scep.client import Transaction

VERSION = 1

DEVICE_CHANNEL = "device"


class IdentityRef(msgspec.Struct, frozen=True):
    """A certificate and its private key, by the hashes of their DER forms."""

    certificate: str
    key: str


class KeychainItem(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate in the keychain; with a key it is an identity. `profile`: identifier of the profile it came with."""

    certificate: str
    key: str | None = None
    payload_uuid: str = ""
    profile: str = ""


class InstalledProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A configuration profile that is installed. `content`: hash of its bytes as plist, unwrapped.

    `removal_ms`: the world time at which the device removes it by itself (RemovalDate, DurationUntilRemoval).
    """

    identifier: str
    uuid: str
    content: str
    managed: bool
    installed_ms: int
    signers: list[str] = []
    encrypted: bool = False
    removal_ms: int | None = None


class Leaving(msgspec.Struct, frozen=True, kw_only=True):
    """The device is about to give up its enrollment. Written before CheckOut, so that CheckOut is tried once only."""

    reason: str
    url: str = ""
    status: int | None = None
    checkout_tried: bool = False


class Enrollment(msgspec.Struct, frozen=True, kw_only=True):
    """The tie to one MDM server, as the MDM payload set it up."""

    profile: str
    server_url: str
    checkin_url: str
    topic: str
    access_rights: int
    identity: IdentityRef
    sign_message: bool
    checkout_when_removed: bool
    anchors: list[str] = []
    server_pins: list[str] = []
    checkin_pins: list[str] = []
    dep: bool = False
    """Enrolled by Automated Device Enrollment."""
    supervises: bool = True
    """Whether automated enrollment made the device supervised: not always before iOS 13, tvOS 13 and macOS 11."""
    multi_user: bool = False
    """A Shared iPad."""
    removable: bool = True
    """Whether the user may remove the profile; the server always can."""
    awaiting: bool = False
    """Waiting in Setup Assistant until the server says DeviceConfigured."""
    confirmed: bool = False
    """The first TokenUpdate was accepted."""


class Undelivered(msgspec.Struct, frozen=True, kw_only=True):
    """A report that no 2xx has confirmed yet: its bytes, and what it is about."""

    body: bytes
    label: str
    status: str
    command_uuid: str
    request_type: str


class Channel(msgspec.Struct, kw_only=True):
    """One of the voices of a device (device, and later its users): own push token, own report, own wakes."""

    push_token: bytes = b""
    push_magic: str = ""
    unlock_token: bytes = b""
    heard: int = 0
    """Number of the last push that was heard; the courier's own number runs ahead of it."""
    undelivered: Undelivered | None = None
    after_report: str | None = None
    """What happens once, right after the report was sent: restart, shut-down, pin-lock, erase, unenroll."""
    not_now: str | None = None
    """NotNow was the last thing said: the device polls by itself once this ends (locked, first-unlock, power-nap)."""
    attempts: int = 0
    """Failed tries in a row; decides how long the next wait is."""
    wakes: dict[str, int] = {}
    """Reason to world time (ms): when this channel wants to act by itself. `connect`, `token-update`, `leave`."""


class PinLock(msgspec.Struct, frozen=True, kw_only=True):
    """A Mac behind a PIN: nothing runs until someone types it."""

    pin: str
    message: str = ""
    phone: str = ""


class App(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An app on the device. Sizes in bytes; `store_id`: its external version identifier, 0 if not from the store."""

    identifier: str
    name: str
    short_version: str
    version: str
    bundle_size: int = 0
    dynamic_size: int = 0
    store_id: int = 0
    system: bool = False
    managed: bool = False


class Erasure(msgspec.Struct, frozen=True, kw_only=True):
    """How the device is to be erased once its report was sent.

    `method`: content-and-settings (the usual on Macs with a T2 or Apple silicon), obliterate, or all (mobile devices).
    `mdm_profile`: hash of the profile to install in return to service.
    """

    method: str = "all"
    pin: str = ""
    preserve_data_plan: bool = False
    return_to_service: bool = False
    mdm_profile: str = ""


class PendingIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A SCEP transaction that the CA left pending: all that is needed to ask again."""

    payload_uuid: str
    key: str
    transaction: Transaction
    polls: int


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """A profile that waits for a CA before it can be stored; nothing of it counts as installed."""

    content: str
    managed: bool
    due_ms: int
    pending: PendingIdentity
    identities: dict[str, IdentityRef] = {}
    command: bytes | None = None


class DeviceState(msgspec.Struct, kw_only=True):
    """One device. Everything that may change lives here; `persona` is what it was built as."""

    device_id: str
    persona: Persona
    v: int = VERSION
    supervised: bool = False
    device_name: str = ""
    passcode: str = ""
    screen_locked: bool = False
    unlocked_since_boot: bool = True
    lock_message: str = ""
    lock_phone: str = ""
    power: str = "on"
    """on, off, or restarting (back on at `boot_ms`)."""
    boot_ms: int | None = None
    pin_lock: PinLock | None = None
    pin_pending: PinLock | None = None
    """A PIN that DeviceLock left, until its report was sent."""
    power_nap: bool = False
    network: bool = True
    returns: int = 0
    """How often the device came back from an absence: a flow that failed across one tries again at once."""
    setup: str = "done"
    """Setup Assistant: welcome (someone must walk it), awaiting (held until DeviceConfigured), done."""
    cloud_configuration: str = ""
    """Hash of the profile that Apple's device enrollment service had for this serial at the last activation, as JSON.

    Empty: none, or one that a person skipped."""
    factory: IdentityRef | None = None
    """The identity the device was built with; it signs MachineInfo."""
    factory_chain: list[str] = []
    apps: list[App] = []
    can_erase_content: bool = True
    """Whether a Mac's preflight for Erase All Content and Settings succeeds."""
    erasing: Erasure | None = None
    return_to_service: Erasure | None = None
    """Set by an erase that should go on to enrol by itself."""
    setup_due_ms: int | None = None
    """When a device in Setup Assistant next tries to go on by itself."""
    setup_attempts: int = 0
    passcode_deadline_ms: int | None = None
    """Until when the user may leave a required passcode unset; after that apps stay closed."""
    trusted: list[str] = []
    """Hashes of CAs that this device trusts besides its system's, whatever its profiles carry (`mdmsim enroll --trust`)."""
    keychain: list[KeychainItem] = []
    profiles: list[InstalledProfile] = []
    enrollment: Enrollment | None = None
    leaving: Leaving | None = None
    installation: Installation | None = None
    channels: dict[str, Channel] = {}
    draws: int = 0
    """How many times chance was asked: a restart goes on with the next number."""
    event_seq: int = 0
    outbox: list[dict[str, Any]] = []
    """Events that were committed with this state and not yet published."""

    @property
    def present(self) -> bool:
        """Switched on, past its boot and not behind a PIN."""
        return self.power == "on" and self.pin_lock is None

    def channel(self, name: str = DEVICE_CHANNEL) -> Channel:
        return self.channels.setdefault(name, Channel())


class UnreadableState(ValueError):
    """Stored bytes are not a device's state, or one of a later version."""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(DeviceState)


def encode(state: DeviceState) -> bytes:
    return _encoder.encode(state)


def decode(data: bytes) -> DeviceState:
    """Raises UnreadableState with the reason."""
    try:
        state = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UnreadableState(f"not a device's state: {error}") from None
    if state.v > VERSION:
        raise UnreadableState(f"device state of version {state.v}; this mdmsim knows versions up to {VERSION}")
    return state


def copied(state: DeviceState) -> DeviceState:
    """A deep copy: a command changes a copy, and the copy is committed with the report or dropped."""
    return _decoder.decode(_encoder.encode(state))

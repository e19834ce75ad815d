"""What goes into the storage and comes out of it: plain values, no requests, no certificates, no connections."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

EnrollmentStatus = Literal["pending", "enrolled", "checked-out", "removed"]
CommandState = Literal["queued", "notnow", "acknowledged", "error", "format-error", "superseded", "cancelled"]
RefuseAt = Literal["authenticate", "tokenupdate", "any"]


class PushState(msgspec.Struct, frozen=True, kw_only=True):
    """How pushing to one enrollment stands. `dead`: APNs said 410; only a new TokenUpdate changes that."""

    token: bool
    dead: bool
    due_ms: int | None
    sent: int
    last_status: int | None
    last_reason: str | None
    last_ms: int | None


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One enrollment as the API shows it. Identities are SHA-256 of the certificate in hex; times are world ms.

    `user`: who signed in at automated enrollment, or was assigned to the device beforehand.
    """

    id: str
    status: EnrollmentStatus
    udid: str | None
    enrollment_id: str | None
    serial_number: str | None
    product_name: str | None
    device_name: str | None
    os_version: str | None
    build_version: str | None
    model: str | None
    model_name: str | None
    imei: str | None
    meid: str | None
    user: str | None
    topic: str | None
    awaiting_configuration: bool | None
    has_unlock_token: bool
    token_updates: int
    identity: str | None
    pending_identity: str | None
    created_ms: int
    enrolled_ms: int | None
    last_seen_ms: int | None
    open_commands: int
    push: PushState


class CommandResult(msgspec.Struct, frozen=True, kw_only=True):
    """One report of a device about a command. `late`: it came after the command was closed."""

    status: str
    at_ms: int
    late: bool
    response: dict[str, Any]
    error_chain: list[Any]


class StoredResult(msgspec.Struct, frozen=True, kw_only=True):
    """A report as it was kept: `body` is the plist as the device sent it."""

    status: str
    at_ms: int
    late: bool
    body: bytes


class CommandRecord(msgspec.Struct, frozen=True, kw_only=True):
    """One command of one enrollment. `served` and `not_now` count; `results` is filled for single commands only."""

    seq: int
    device: str
    command_uuid: str
    request_type: str
    state: CommandState
    urgent: bool
    queued_ms: int
    served: int
    first_served_ms: int | None
    last_served_ms: int | None
    answered_ms: int | None
    not_now: int
    results: list[CommandResult] = []


class NewCommand(msgspec.Struct, frozen=True, kw_only=True):
    """A command to queue: `body` is the command plist, byte for byte as the device will get it.

    `setup`: a device that is held in Setup Assistant is not released before it has answered this.
    """

    command_uuid: str
    request_type: str
    body: bytes
    urgent: bool = False
    setup: bool = False


class DeviceDetails(msgspec.Struct, frozen=True, kw_only=True):
    """What an Authenticate tells about the device itself."""

    serial_number: str | None = None
    product_name: str | None = None
    device_name: str | None = None
    os_version: str | None = None
    build_version: str | None = None
    model: str | None = None
    model_name: str | None = None
    imei: str | None = None
    meid: str | None = None


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """An accepted Authenticate, to be kept."""

    enrollment_id: str
    udid: str | None
    user_enrollment_id: str | None
    identity: str
    topic: str
    details: DeviceDetails


class TokenNews(msgspec.Struct, frozen=True, kw_only=True):
    """What a TokenUpdate brings. None for `unlock_token` and `awaiting_configuration`: not said, so nothing changes."""

    enrollment_id: str
    identity: str
    topic: str
    push_token: bytes
    push_magic: str
    unlock_token: bytes | None
    awaiting_configuration: bool | None


class Connected(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a report brought about: `served` is the next command, None where the session ends.

    `closed`: the state that the reported command went into; None if it was closed before, unknown or NotNow.
    `push_due_ms`: when the next push is planned.
    """

    served_uuid: str | None = None
    served_type: str | None = None
    served: bytes | None = None
    closed: str | None = None
    request_type: str | None = None
    note: str | None = None
    push_due_ms: int | None = None


class PushTarget(msgspec.Struct, frozen=True, kw_only=True):
    """All that a push needs. `attempt` counts the rungs of the ladder from 0; None for a push by hand."""

    enrollment_id: str
    topic: str
    token: bytes
    push_magic: str
    attempt: int | None = None


class RefusalRule(msgspec.Struct, frozen=True, kw_only=True):
    """A device that is answered 401, by its UDID (or EnrollmentID) or its serial number."""

    id: int
    udid: str | None
    serial: str | None
    at: RefuseAt
    created_ms: int


class ChallengeTerms(msgspec.Struct, frozen=True, kw_only=True):
    """Whom a challenge is for. `owner`: the one enrollment that it is good for, by its id, which is the UDID of devices
    that enrol for themselves; None: whoever has it. `user`: whose the device will be that enrols with it. `limit`: how
    many challenges with a limit may be open; None: any number."""

    owner: str | None = None
    user: str | None = None
    limit: int | None = None


#: Anybody's.
NO_TERMS = ChallengeTerms()


class IssuedIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """A certificate that was given out, and what for: a challenge (its SHA-256), or the identity that it renews."""

    identity: str
    serial: str
    subject: str
    challenge: str | None
    renewal_of: str | None = None
    transaction_id: str
    at_ms: int
    not_after_ms: int

"""What the storage keeps of Apple's device enrollment service: accounts, profiles, devices. Plain values."""

from __future__ import annotations

from typing import Any

import msgspec

#: The profile that devices get unless another was chosen for them.
DEFAULT_PROFILE = "default"


class DepTrouble(msgspec.Struct, frozen=True, kw_only=True):
    """Why the last round with Apple failed; gone after the next that worked. `failures`: in a row."""

    reason: str
    since_ms: int
    failures: int


class DepAccount(msgspec.Struct, frozen=True, kw_only=True):
    """One server entry at Apple, under the name it has here. Times are world ms.

    `server_name` to `org_name`: what Apple says of it, null until it was asked. `devices`: how many it has now.
    `fetching`: a full list is being read; `fetched_ms`, `synced_ms`: when one was last complete, and the last round.
    `next_ms`: when Apple is asked next.
    """

    name: str
    server_name: str | None
    server_uuid: str | None
    admin_id: str | None
    org_name: str | None
    has_token: bool
    consumer_key: str | None
    token_expires_ms: int | None
    devices: int
    fetching: bool
    fetched_ms: int | None
    synced_ms: int | None
    next_ms: int | None
    trouble: DepTrouble | None
    created_ms: int


class DepProfile(msgspec.Struct, frozen=True, kw_only=True):
    """A profile for devices at Apple: `definition` as it goes there. `uuid`: what Apple calls it; null: not yet sent.

    `wishes`: the keys that were set for it, null where they come from the server's settings.
    """

    name: str
    wishes: dict[str, Any] | None
    definition: dict[str, Any] | None
    uuid: str | None
    defined_ms: int | None


class DepDevice(msgspec.Struct, frozen=True, kw_only=True):
    """A device that Apple says is, or was, this account's.

    `gone`: it is not any more. `wanted`: the name of the profile it is to have. `result`: Apple's word for the last
    assignment that failed, and `retry_ms` when it is tried again. `record`: all that Apple says, keys unknown here too.
    """

    account: str
    serial_number: str
    gone: bool
    profile_status: str | None
    profile_uuid: str | None
    wanted: str
    result: str | None
    retry_ms: int | None
    record: dict[str, Any]


class DepSecrets(msgspec.Struct, frozen=True, kw_only=True):
    """What must not leave the server: the key pair of an account (DER), and its token as JSON."""

    certificate: bytes
    key: bytes
    token: bytes | None


class DepPlace(msgspec.Struct, frozen=True, kw_only=True):
    """Where an account stands in its list. `cursor` None: at the beginning. `pass_number` counts full readings."""

    cursor: str | None
    fetching: bool
    pass_number: int
    fetched_ms: int | None
    account: dict[str, Any] | None
    account_ms: int | None


class DepChanges(msgspec.Struct, frozen=True, kw_only=True):
    """How many devices a page brought, changed, and took away."""

    added: int = 0
    modified: int = 0
    deleted: int = 0

    def __add__(self, other: DepChanges) -> DepChanges:
        return DepChanges(
            added=self.added + other.added,
            modified=self.modified + other.modified,
            deleted=self.deleted + other.deleted,
        )


class DeviceUser(msgspec.Struct, frozen=True, kw_only=True):
    """How a device gets its user at automated enrollment: `user` was assigned to it beforehand, or whoever enrols it
    must sign in (`login`); one of the two."""

    user: str | None = None
    login: bool = False


class AutomatedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A profile was given out by automated enrollment: to which device, and whether its user may remove it."""

    serial_number: str
    udid: str
    removable: bool
    at_ms: int

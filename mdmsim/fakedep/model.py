"""What the fake DEP keeps: organisations, devices, profiles, tokens, and the changes that sync reports. Plain values."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import msgspec

from mdmsim.clock import SECOND, utc

ProfileStatus = Literal["empty", "assigned", "pushed", "removed"]
Operation = Literal["added", "modified", "deleted"]


class Organisation(msgspec.Struct, kw_only=True):
    """A customer of Apple's. `org_type`: org or edu; `org_version`: v1 (old programs) or v2."""

    name: str
    org_id: str
    org_id_hash: str
    email: str
    phone: str
    address: str
    org_type: str = "org"
    org_version: str = "v2"
    #: Apple changed its terms and nobody here has accepted them: everything is T_C_NOT_SIGNED.
    terms_pending: bool = False
    #: AppleSeed for IT, whose tokens are read at /os-beta-enrollment/tokens; None: turned off.
    beta_tokens: tuple[dict[str, str], ...] | None = ()
    #: For account-driven enrollment, and when it was set.
    discovery_url: str | None = None
    discovery_set_ms: int = 0
    #: Device family to the UUID of the server that new devices of it go to.
    default_servers: dict[str, str] = {}


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device of an organisation as it is now; a change makes a new value. Times are milliseconds, None: never."""

    serial_number: str
    organisation: str
    model: str
    description: str
    device_family: str
    os: str
    color: str | None = None
    asset_tag: str | None = None
    order_number: str | None = None
    order_date_ms: int | None = None
    #: UUID of the MDM server it is assigned to.
    server: str | None = None
    device_assigned_ms: int | None = None
    device_assigned_by: str | None = None
    profile_status: ProfileStatus = "empty"
    profile_uuid: str | None = None
    profile_assign_ms: int | None = None
    profile_push_ms: int | None = None
    mdm_migration_deadline_ms: int | None = None
    imei: tuple[str, ...] = ()
    meid: tuple[str, ...] = ()
    eid: str | None = None
    wifi_mac_address: str | None = None
    bluetooth_mac_address: str | None = None
    ethernet_mac_address: tuple[str, ...] = ()
    is_replacement_device: bool | None = None
    released_by_replacement: bool | None = None
    #: The device that this one replaced, and when.
    original_serial_number: str | None = None
    replaced_ms: int | None = None
    activation_locked: bool = False


class Change(msgspec.Struct, frozen=True):
    """One line of a server's log: what sync reports. `device` is the device as it was right after."""

    sequence: int
    operation: Operation
    at_ms: int
    device: Device


class Profile(msgspec.Struct, frozen=True):
    """A profile that an MDM server defined; it never changes. `definition`: as sent, without `devices`."""

    uuid: str
    definition: dict[str, Any]
    defined_ms: int


class ServerToken(msgspec.Struct, frozen=True):
    """The credentials of an MDM server. `replaced_ms`: when the portal made a new one."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_secret: str
    expires_ms: int
    replaced_ms: int | None = None

    def __repr__(self) -> str:
        return f"ServerToken({self.consumer_key[:9]}…)"

    def keys(self) -> dict[str, str]:
        """The five keys of a token file."""
        return {
            "consumer_key": self.consumer_key,
            "consumer_secret": self.consumer_secret,
            "access_token": self.access_token,
            "access_secret": self.access_secret,
            "access_token_expiry": stamp(self.expires_ms),
        }


def stamp(at_ms: int) -> str:
    """World time as DEP writes it, to the second: `2018-09-08T16:49:09Z` (captured: device records)."""
    return _stamp(at_ms // SECOND)


@lru_cache(maxsize=4096)
def _stamp(at_s: int) -> str:
    return utc(at_s * SECOND).strftime("%Y-%m-%dT%H:%M:%SZ")


def day(at_ms: int) -> str:
    """The date alone, `2018-09-08`."""
    return stamp(at_ms)[:10]

"""What the API takes and gives, as types: the OpenAPI document is made from them, and bodies are checked by them."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from reference_server.storage.records import (
    CommandRecord,
    CommandState,
    Device,
    EnrollmentStatus,
    RefusalRule,
    RefuseAt,
)

Limit = Annotated[int, msgspec.Meta(ge=1, le=1000, description="How many at most")]
#: SQLite's integers end here.
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1, description="`seq` of the last command seen")]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """Why a call was refused. `error` is a stable word; `where` names the field at fault, where there is one."""

    error: str
    what: str
    where: str = ""
    hint: str = ""


class Model(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A body or a query whose every field is known; a misspelt one is refused."""


class DeviceQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    after: Annotated[str, msgspec.Meta(description="`id` of the last device seen")] = ""
    status: Annotated[EnrollmentStatus | None, msgspec.Meta(description="Only enrollments in this state")] = None
    serial: Annotated[str | None, msgspec.Meta(description="Only devices with this serial number")] = None


class DevicePage(msgspec.Struct, frozen=True, kw_only=True):
    """Devices by id. `next`: what to give as `after` for the following page; null on the last."""

    devices: list[Device]
    next: str | None


class CommandQuery(Model, frozen=True, kw_only=True):
    limit: Limit = 100
    after: Seq = 0
    state: Annotated[CommandState | None, msgspec.Meta(description="Only commands in this state")] = None


class CommandPage(msgspec.Struct, frozen=True, kw_only=True):
    """Commands in the order in which they were queued, without their results."""

    commands: list[CommandRecord]
    next: int | None


class CommandOrder(Model, frozen=True, kw_only=True):
    """A command to queue: `request_type` with `keys`, or a whole command `plist` (base64, sent byte for byte).

    A `plist` brings its own CommandUUID; without one a new UUID is given. In `keys`, data is `{"base64": "..."}` and a date `{"date": "2026-01-01T00:00:00Z"}`. `urgent`: before all that
    is not. `push`: whether the device is pushed to at once. ClearPasscode without `UnlockToken` gets the one that the device told last.
    """

    request_type: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    keys: dict[str, Any] = {}
    plist: bytes | None = None
    command_uuid: Annotated[str, msgspec.Meta(min_length=1, max_length=128)] | None = None
    urgent: bool = False
    push: bool = True


class CommandOrders(CommandOrder, frozen=True, kw_only=True):
    """The same command for many devices: queued for all of them, or for none."""

    devices: Annotated[list[str], msgspec.Meta(min_length=1, max_length=100_000)]


class Commands(msgspec.Struct, frozen=True, kw_only=True):
    commands: list[CommandRecord]


class Cancelled(msgspec.Struct, frozen=True, kw_only=True):
    """How many open commands were closed without an answer."""

    cancelled: int


class Pushed(msgspec.Struct, frozen=True, kw_only=True):
    """What APNs answered. `status` 0: it was not reached, and `reason` says why."""

    status: int
    reason: str | None
    apns_id: str | None


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A minted enrollment profile. `content` is the .mobileconfig, base64."""

    identifier: str
    uuid: str
    topic: str
    server_url: str
    checkin_url: str
    challenge: str | None
    signed: bool
    content: bytes


class RefusalOrder(Model, frozen=True, kw_only=True):
    """Whom to answer 401: a device by its UDID (or EnrollmentID) or by its serial number, one of the two."""

    udid: str | None = None
    serial: str | None = None
    at: RefuseAt = "any"


class RefusalList(msgspec.Struct, frozen=True, kw_only=True):
    refusals: list[RefusalRule]

"""Whether a command exists for a device, decided before any handler runs.

Source of every rule: supportedOS of mdm/commands/*.yaml, with the meaning that docs/schema.yaml gives its keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from mdmsim.protocol.ids import Channel
from mdmsim.schema import facts
from mdmsim.schema.overrides import SHARED_IPAD_ONLY
from mdmsim.schema.platforms import AccessRights, Enrollment, Platform, version

__all__ = [
    "AccessRights",
    "Channel",
    "Enrollment",
    "Platform",
    "Reason",
    "Unavailable",
    "commands",
    "decide",
    "introduced",
]


class Reason(StrEnum):
    """Why something is not available, in the order in which it is decided."""

    UNKNOWN = "unknown"
    PLATFORM = "platform"
    OS_VERSION = "os_version"
    REMOVED = "removed"
    CHANNEL = "channel"
    ENROLLMENT = "enrollment"
    SHARED_IPAD = "shared_ipad"
    SUPERVISION = "supervision"
    DEP = "dep"
    ACCESS_RIGHT = "access_right"


_AFTER_SHARED_IPAD = (Reason.SUPERVISION, Reason.DEP, Reason.ACCESS_RIGHT)


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The first reason for which a command (or message) is not available; `detail` says it in a sentence's end."""

    name: str
    reason: Reason
    detail: str

    def __str__(self) -> str:
        return f"{self.name} {self.detail}"


def answer_keys(request_type: str) -> Mapping[str, Any] | None:
    """The names of the keys that the schema gives an answer to this command, see `CommandFacts`; None if it gives none."""
    known = facts.load().commands.get(request_type)
    return known.answer if known is not None and known.answer else None


def commands() -> tuple[str, ...]:
    """Every request type of the schema, sorted."""
    return tuple(facts.load().commands)


def introduced(request_type: str, platform: Platform) -> str | None:
    """The first OS version that has a command; None if it is not on the platform. Raises KeyError for an unknown one."""
    row = facts.load().commands[request_type].platforms.get(platform.column)
    return row.introduced if row is not None and row.available else None


def decide(
    request_type: str,
    *,
    platform: Platform,
    os_version: str,
    supervised: bool,
    dep: bool,
    access_rights: int,
    channel: Channel,
    enrollment: Enrollment,
    shared_ipad: bool = False,
) -> Unavailable | None:
    """Why the device does not have the command; None if it has.

    `dep`: enrolled through Automated Device Enrollment. `access_rights` does not count in a User Enrollment, where the
    rights are fixed (com.apple.mdm.yaml). Raises Malformed for an `os_version` that is no version.
    """
    command = facts.load().commands.get(request_type)
    if command is None:
        return Unavailable(request_type, Reason.UNKNOWN, "is no request type of the schema")
    found = judge(
        request_type,
        command.platforms,
        platform=platform,
        os_version=os_version,
        supervised=supervised,
        dep=dep,
        access_rights=access_rights,
        channel=channel,
        enrollment=enrollment,
        shared_ipad=shared_ipad,
    )
    if not shared_ipad and request_type in SHARED_IPAD_ONLY and (found is None or found.reason in _AFTER_SHARED_IPAD):
        return Unavailable(request_type, Reason.SHARED_IPAD, "exists on a Shared iPad only")
    return found


def judge(
    name: str,
    platforms: dict[str, facts.Availability],
    *,
    platform: Platform,
    os_version: str,
    supervised: bool,
    dep: bool,
    access_rights: int,
    channel: Channel,
    enrollment: Enrollment,
    shared_ipad: bool,
) -> Unavailable | None:
    """`decide` for anything that has availability by platform: commands and check-in messages."""
    row = platforms.get(platform.column)
    if row is None or not row.available:
        return Unavailable(name, Reason.PLATFORM, f"does not exist on {platform.column}")
    now = version(os_version)
    if row.introduced is not None and now < version(row.introduced):
        return Unavailable(name, Reason.OS_VERSION, f"needs {platform.column} {row.introduced}; this is {os_version}")
    if row.removed is not None and now >= version(row.removed):
        return Unavailable(name, Reason.REMOVED, f"is gone since {platform.column} {row.removed}; this is {os_version}")
    if not has_channel(row, channel, shared_ipad=shared_ipad):
        return Unavailable(name, Reason.CHANNEL, f"does not exist on the {channel} channel of {platform.column}")
    if wrong := wrong_enrollment(row, enrollment):
        return Unavailable(name, Reason.ENROLLMENT, wrong)
    if wrong := wrong_for_shared_ipad(row, shared_ipad=shared_ipad):
        return Unavailable(name, Reason.SHARED_IPAD, wrong)
    if row.supervised and not supervised:
        return Unavailable(name, Reason.SUPERVISION, f"needs a supervised device on {platform.column}")
    if row.dep and not dep:
        return Unavailable(name, Reason.DEP, f"needs Automated Device Enrollment on {platform.column}")
    if lacks_right(row, access_rights, enrollment):
        return Unavailable(
            name, Reason.ACCESS_RIGHT, f"needs access right {row.right}; the enrollment has {access_rights}"
        )
    return None


def has_channel(row: facts.Availability, channel: Channel, *, shared_ipad: bool) -> bool:
    """Whether the thing is there on the channel.

    Only macOS rows state channels of their own, and Shared iPad rows: everything else has the device channel alone.
    """
    shared = row.shared_ipad if shared_ipad else None
    if channel == "device":
        stated = shared.device if shared is not None else row.device
        return True if stated is None else stated
    stated = shared.user if shared is not None else row.user
    return False if stated is None else stated


def wrong_enrollment(row: facts.Availability, enrollment: Enrollment) -> str | None:
    # Rows of tvOS and watchOS say nothing of User Enrollment because there is none on these platforms.
    if enrollment == "user" and row.user_enrollment in (None, "forbidden"):
        return "is not allowed in a User Enrollment"
    if enrollment == "device" and row.user_enrollment == "required":
        return "exists in a User Enrollment only"
    return None


def wrong_for_shared_ipad(row: facts.Availability, *, shared_ipad: bool) -> str | None:
    mode = row.shared_ipad.mode if row.shared_ipad is not None else "allowed"
    if shared_ipad and mode == "forbidden":
        return "is not allowed on a Shared iPad"
    if not shared_ipad and mode == "required":
        return "exists on a Shared iPad only"
    return None


def lacks_right(row: facts.Availability, access_rights: int, enrollment: Enrollment) -> bool:
    return isinstance(row.right, int) and enrollment == "device" and access_rights & row.right != row.right

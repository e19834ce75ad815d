"""Platforms, OS versions and access rights: the axes along which the schema decides."""

from __future__ import annotations

import re
from enum import IntFlag, StrEnum
from functools import lru_cache
from typing import Literal

from mdmsim.protocol.errors import Malformed


class Platform(StrEnum):
    """What kind of device it is. iPadOS reads the schema's iOS column: the schema has none of its own."""

    IOS = "ios"
    IPADOS = "ipados"
    MACOS = "macos"
    TVOS = "tvos"
    WATCHOS = "watchos"
    VISIONOS = "visionos"

    @property
    def column(self) -> str:
        """The platform's name in the schema."""
        return _COLUMNS[self]


_COLUMNS = {
    Platform.IOS: "iOS",
    Platform.IPADOS: "iOS",
    Platform.MACOS: "macOS",
    Platform.TVOS: "tvOS",
    Platform.WATCHOS: "watchOS",
    Platform.VISIONOS: "visionOS",
}

#: The schema's columns, in the order of its files.
COLUMNS = ("iOS", "macOS", "tvOS", "visionOS", "watchOS")


#: "device": an enrollment of the whole device, however it came about; "user": a User Enrollment (BYOD).
Enrollment = Literal["device", "user"]


class AccessRights(IntFlag):
    """What an enrollment allows the server to do: AccessRights of mdm/profiles/com.apple.mdm.yaml."""

    INSPECT_PROFILES = 1
    INSTALL_PROFILES = 2
    LOCK_AND_REMOVE_PASSCODE = 4
    ERASE = 8
    QUERY_DEVICE = 16
    QUERY_NETWORK = 32
    INSPECT_PROVISIONING = 64
    INSTALL_PROVISIONING = 128
    INSPECT_APPS = 256
    QUERY_RESTRICTIONS = 512
    QUERY_SECURITY = 1024
    SETTINGS = 2048
    MANAGE_APPS = 4096
    ALL = 8191

    @classmethod
    def problem(cls, value: int) -> str | None:
        """Why a device would not take that mask (com.apple.mdm.yaml: not 0, 2 needs 1, 128 needs 64); None if it would."""
        if not 0 < value <= cls.ALL:
            return f"AccessRights is {value}; allowed are 1 to {int(cls.ALL)}"
        if value & cls.INSTALL_PROFILES and not value & cls.INSPECT_PROFILES:
            return f"AccessRights is {value}; installing profiles (2) needs inspecting them (1)"
        if value & cls.INSTALL_PROVISIONING and not value & cls.INSPECT_PROVISIONING:
            return f"AccessRights is {value}; installing provisioning profiles (128) needs inspecting them (64)"
        return None


_VERSION = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9}){0,9}", re.ASCII)


@lru_cache(maxsize=1024)
def version(text: str) -> tuple[int, ...]:
    """An OS version as a tuple that compares: 10.9 < 10.15, and 18.1 equals 18.1.0.

    Raises Malformed for anything but numbers with dots between them.
    """
    if not _VERSION.fullmatch(text):
        raise Malformed(
            "OS version", f"{text[:40]!r} is not numbers with dots between, such as 18.1.1", problem="value"
        )
    parts = [int(part) for part in text.split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)

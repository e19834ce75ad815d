"""Who is talking: the identifier keys that every message to the server carries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.fields import Fields

Channel = Literal["device", "user"]

#: UserID of every user of a Shared iPad (mdm/checkin/tokenupdate.yaml).
SHARED_IPAD_USER_ID = "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF"

# Captured: 40 hex digits, chip id and hex, or a UUID. Wider than that, but never a colon: a UDID of "A:B" could pose
# as user B of device A, whose key is written so.
_IDENTIFIER = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Ids:
    """The identifier keys of one message; those that were absent are None.

    Device enrollments send UDID, User Enrollments EnrollmentID instead (captured: iOS 18.2.1). The user keys come on
    user channels only (captured: macOS 10.11 and 10.12).
    """

    udid: str | None = None
    enrollment_id: str | None = None
    user_id: str | None = None
    user_short_name: str | None = None
    user_long_name: str | None = None
    enrollment_user_id: str | None = None
    not_on_console: bool | None = None

    @property
    def channel(self) -> Channel:
        """Which channel: "user" as soon as any key that names a user is there."""
        return "user" if self._user() is not None else "device"

    @property
    def key(self) -> str:
        """The normalised enrollment id: `UDID`, `UDID:UserID`, `UDID:UserShortName` on Shared iPad, or `EnrollmentID`
        and `EnrollmentID:EnrollmentUserID`; a UDID wins over an EnrollmentID. Raises Malformed when neither is there.
        """
        user = self._user()
        return self.device_key if user is None else f"{self.device_key}:{user}"

    @property
    def device_key(self) -> str:
        """The `key` of this enrollment's device channel."""
        device = self.udid or self.enrollment_id
        if not device:
            raise Malformed("identifiers", "neither UDID nor EnrollmentID; one of them is needed", problem="missing")
        return device

    def _user(self) -> str | None:
        if not self.udid and self.enrollment_user_id:
            return self.enrollment_user_id
        if self.user_id and self.user_id != SHARED_IPAD_USER_ID:
            return self.user_id
        return self.user_short_name or self.user_id or self.enrollment_user_id or None


def take_ids(fields: Fields) -> Ids:
    """The identifiers of a message. Raises Malformed when there is no device in them or one is of the wrong form."""
    udid = _identifier(fields, "UDID")
    enrollment_id = _identifier(fields, "EnrollmentID")
    if udid is None and enrollment_id is None:
        raise fields.error("UDID", "and EnrollmentID are both missing; one of them is needed", "missing")
    return Ids(
        udid=udid,
        enrollment_id=enrollment_id,
        user_id=_identifier(fields, "UserID"),
        user_short_name=fields.string("UserShortName"),
        user_long_name=fields.string("UserLongName"),
        enrollment_user_id=_identifier(fields, "EnrollmentUserID"),
        not_on_console=fields.boolean("NotOnConsole"),
    )


def put_ids(ids: Ids) -> dict[str, Any]:
    """The wire keys of the identifiers that are there."""
    keys = {
        "UDID": ids.udid,
        "EnrollmentID": ids.enrollment_id,
        "UserID": ids.user_id,
        "UserShortName": ids.user_short_name,
        "UserLongName": ids.user_long_name,
        "EnrollmentUserID": ids.enrollment_user_id,
        "NotOnConsole": ids.not_on_console,
    }
    return {key: value for key, value in keys.items() if value is not None}


def _identifier(fields: Fields, key: str) -> str | None:
    value = fields.string(key)
    if value is not None and not _IDENTIFIER.fullmatch(value):
        raise fields.error(key, f"is {value[:40]!r}; allowed are 1 to 128 letters, digits, dots, dashes, underscores")
    return value

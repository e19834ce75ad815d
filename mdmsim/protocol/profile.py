"""Configuration profiles as data: the envelope and its payloads (mdm/profiles/TopLevel.yaml, CommonPayloadKeys.yaml).

Typed views of the payloads that an enrollment needs are in `payloads`. Unwrapping a signed profile is `pki`'s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from mdmsim.protocol import device_plist, plist
from mdmsim.protocol.fields import DeviceFields, Fields
from mdmsim.protocol.payloads import CERTIFICATE_TYPES, CertificatePayload, MdmPayload, Payload, ScepPayload

__all__ = [
    "CERTIFICATE_TYPES",
    "CertificatePayload",
    "MdmPayload",
    "Payload",
    "Profile",
    "ScepPayload",
    "build_profile",
    "parse_profile",
    "profile_of",
]

Scope = Literal["System", "User"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A configuration profile. `raw` is the whole dictionary it was made from.

    `removal_disallowed`: PayloadRemovalDisallowed. `encrypted`: the CMS in EncryptedPayloadContent, in place of
    payloads. `duration_until_removal` is in seconds. `scope` is macOS's; None where it is absent or nothing that is
    known. `version`: None where PayloadVersion is absent or no integer, which macOS accepts and iOS does not
    (mosen/profiledocs pull request 8).
    """

    identifier: str
    uuid: str
    version: int | None = 1
    display_name: str | None = None
    organization: str | None = None
    description: str | None = None
    payloads: tuple[Payload, ...] = ()
    removal_disallowed: bool = False
    has_removal_passcode: bool = False
    is_encrypted: bool = False
    encrypted: bytes | None = field(default=None, repr=False)
    scope: Scope | None = None
    removal_date: datetime | None = None
    duration_until_removal: float | None = None
    raw: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def of_type(self, payload_type: str) -> tuple[Payload, ...]:
        """The payloads of that type, in order."""
        return tuple(payload for payload in self.payloads if payload.type == payload_type)

    def payload(self, uuid: str) -> Payload | None:
        """The payload with that PayloadUUID, compared as written."""
        return next((payload for payload in self.payloads if payload.uuid == uuid), None)


def parse_profile(plist_bytes: bytes) -> Profile:
    """The profile in an unsigned plist, as a device reads it. Raises Malformed naming the key."""
    return profile_of(device_plist.loads(plist_bytes, what="profile"))


def profile_of(values: dict[str, Any]) -> Profile:
    """The profile in a parsed plist. Raises Malformed naming the key."""
    fields = DeviceFields("profile", values)
    kind = fields.required_string("PayloadType")
    if kind != "Configuration":
        raise fields.error("PayloadType", f"is {kind[:60]!r}; a profile's is Configuration")
    encrypted = fields.data("EncryptedPayloadContent")
    contents = fields.dictionaries("PayloadContent")
    if contents is None and encrypted is None:
        raise fields.error("PayloadContent", "is missing; it must be an array of dictionaries", "missing")
    removal_date = fields.take("RemovalDate")
    if removal_date is not None and not isinstance(removal_date, datetime):
        raise fields.error("RemovalDate", f"is {plist.kind_of(removal_date)}; it must be a date", "type")
    duration = fields.take("DurationUntilRemoval")
    if duration is not None and (isinstance(duration, bool) or not isinstance(duration, int | float)):
        raise fields.error("DurationUntilRemoval", f"is {plist.kind_of(duration)}; it must be a real", "type")
    if duration is not None and not math.isfinite(duration):
        raise fields.error("DurationUntilRemoval", f"is {duration}; it must be a number of seconds")
    return Profile(
        identifier=fields.required_string("PayloadIdentifier"),
        uuid=fields.required_string("PayloadUUID"),
        version=fields.integer_or_leave("PayloadVersion"),
        display_name=fields.string("PayloadDisplayName"),
        organization=fields.string("PayloadOrganization"),
        description=fields.string("PayloadDescription"),
        payloads=tuple(Payload.of(item, where=f"PayloadContent[{n}].") for n, item in enumerate(contents or ())),
        removal_disallowed=fields.boolean("PayloadRemovalDisallowed") or False,
        has_removal_passcode=fields.boolean("HasRemovalPasscode") or False,
        is_encrypted=fields.boolean("IsEncrypted") or False,
        encrypted=encrypted,
        scope=_scope(fields),
        removal_date=removal_date,
        duration_until_removal=None if duration is None else float(duration),
        raw=values,
    )


def _scope(fields: Fields) -> Scope | None:
    """Profiles in the field write "system", too (rtrouton/privacy_preferences_control_profiles)."""
    value = fields.take("PayloadScope")
    known: dict[str, Scope] = {"system": "System", "user": "User"}
    return known.get(value.lower()) if isinstance(value, str) else None


def build_profile(
    *,
    identifier: str,
    uuid: str,
    payloads: Iterable[Payload],
    display_name: str | None = None,
    organization: str | None = None,
    description: str | None = None,
    removal_disallowed: bool | None = None,
    scope: Scope | None = None,
    extra: dict[str, Any] | None = None,
) -> bytes:
    """An unsigned profile as a plist; what is None is left out. `extra`: further top-level keys.

    Raises Malformed for what a plist cannot hold.
    """
    keys = {
        "PayloadContent": [payload.to_plist() for payload in payloads],
        "PayloadDescription": description,
        "PayloadDisplayName": display_name,
        "PayloadIdentifier": identifier,
        "PayloadOrganization": organization,
        "PayloadRemovalDisallowed": removal_disallowed,
        "PayloadScope": scope,
        "PayloadType": "Configuration",
        "PayloadUUID": uuid,
        "PayloadVersion": 1,
    }
    return plist.dumps((extra or {}) | {key: value for key, value in keys.items() if value is not None})

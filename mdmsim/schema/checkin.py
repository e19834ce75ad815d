"""The shape of check-in messages: which keys, of which type, required, optional or forbidden for whom.

Source: mdm/checkin/*.yaml with the corrections of `overrides`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from mdmsim.protocol.ids import Channel
from mdmsim.protocol.plist import kind_of
from mdmsim.schema import facts
from mdmsim.schema.availability import Unavailable, judge, lacks_right, wrong_enrollment, wrong_for_shared_ipad
from mdmsim.schema.overrides import OVERRIDES, Override, Presence
from mdmsim.schema.platforms import AccessRights, Enrollment, Platform, version

__all__ = ["KeyRule", "Presence", "Sender", "Violation", "available", "check", "messages", "rules", "shape"]

Rule = Literal["unavailable", "missing", "forbidden", "type", "value", "unknown"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """Who sends a message, as far as its shape depends on it."""

    platform: Platform
    os_version: str
    channel: Channel = "device"
    enrollment: Enrollment = "device"
    access_rights: int = AccessRights.ALL
    shared_ipad: bool = False


@dataclass(frozen=True, slots=True)
class KeyRule:
    """What holds for one key: its schema type, presence, the only values allowed (none: any), and keys inside it.

    `override`: the name of the correction that decided, if one did.
    """

    name: str
    type: str
    presence: Presence
    values: tuple[str | int | float, ...] = ()
    subkeys: tuple[KeyRule, ...] = ()
    override: str | None = None


@dataclass(frozen=True, slots=True)
class Violation:
    """One departure from the shape. `key` is a path such as "TokenParameters.PhoneUDID"; "" for the whole message."""

    key: str
    rule: Rule
    detail: str

    def __str__(self) -> str:
        return f"{self.key} {self.detail}" if self.key else self.detail


def messages() -> tuple[str, ...]:
    """Every check-in message type of the schema, sorted."""
    return tuple(facts.load().checkin)


def shape(message: str) -> facts.CheckinFacts:
    """The schema's own account of a message, without corrections. Raises KeyError for an unknown type."""
    return facts.load().checkin[message]


def available(message: str, sender: Sender) -> Unavailable | None:
    """Why such a sender never sends the message; None if it does. Raises KeyError and Malformed as `rules` does."""
    return judge(
        message,
        shape(message).platforms,
        platform=sender.platform,
        os_version=sender.os_version,
        supervised=True,  # supervision and how the device was enrolled show in no key, so they are not judged
        dep=True,
        access_rights=sender.access_rights,
        channel=sender.channel,
        enrollment=sender.enrollment,
        shared_ipad=sender.shared_ipad,
    )


def rules(message: str, sender: Sender) -> tuple[KeyRule, ...]:
    """What holds for each key of a message from that sender, forbidden keys included, in the schema's order.

    Raises KeyError for an unknown message type, Malformed for an OS version that is none.
    """
    found = [_rule(message, key, sender) for key in shape(message).keys]
    names = {rule.name for rule in found}
    for override in OVERRIDES:
        if override.type is not None:
            for name in override.keys:
                if name not in names and _fits(override, message, name, sender):
                    found.append(KeyRule(name, override.type, override.presence, override=override.name))
    return tuple(found)


def check(
    values: Mapping[str, Any],
    platform: Platform,
    os_version: str,
    channel: Channel = "device",
    enrollment: Enrollment = "device",
    access_rights: int = AccessRights.ALL,
    *,
    shared_ipad: bool = False,
) -> list[Violation]:
    """Where a check-in message, as a parsed plist, departs from its shape; an empty list if nowhere.

    Keys that nobody knows are reported by the rule "unknown": servers tolerate them, a simulated device never sends
    them. Raises Malformed for an `os_version` that is no version, and nothing else whatever the values.
    """
    message = values.get("MessageType")
    if not isinstance(message, str) or message not in facts.load().checkin:
        return [Violation("MessageType", "value", f"is not one of {', '.join(messages())}")]
    sender = Sender(
        platform=platform,
        os_version=os_version,
        channel=channel,
        enrollment=enrollment,
        access_rights=access_rights,
        shared_ipad=shared_ipad,
    )
    if unavailable := available(message, sender):
        return [Violation("", "unavailable", str(unavailable))]
    return list(_violations(values, rules(message, sender), ""))


def _violations(values: Mapping[str, Any], key_rules: tuple[KeyRule, ...], where: str) -> Iterator[Violation]:
    for rule in key_rules:
        key = where + rule.name
        if rule.name not in values:
            if rule.presence == "required":
                yield Violation(key, "missing", f"is missing; it must be {_ARTICLES[rule.type]}")
            continue
        value = values[rule.name]
        if rule.presence == "forbidden":
            yield Violation(key, "forbidden", "must not be sent by such a device")
        elif not _is(value, rule.type):
            yield Violation(key, "type", f"is {kind_of(value)}; it must be {_ARTICLES[rule.type]}")
        elif rule.values and value not in rule.values:
            yield Violation(key, "value", f"must be one of {', '.join(map(str, rule.values))}")
        elif rule.subkeys and isinstance(value, Mapping):
            yield from _violations(value, rule.subkeys, f"{key}.")
    known = {rule.name for rule in key_rules}
    for name in values:
        if name not in known:
            yield Violation(where + name, "unknown", "is no key of this message")


_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "real": (int, float),
    "boolean": bool,
    "date": datetime,
    "data": bytes,
    "array": list,
    "dictionary": Mapping,
    "any": object,
}


_ARTICLES = {
    "string": "a string",
    "integer": "an integer",
    "real": "a real",
    "boolean": "a boolean",
    "date": "a date",
    "data": "data",
    "array": "an array",
    "dictionary": "a dictionary",
    "any": "there",
}


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind in ("boolean", "any")
    return isinstance(value, _TYPES[kind])


def _rule(message: str, key: facts.Key, sender: Sender, path: str = "") -> KeyRule:
    presence: Presence = "required" if key.required else "optional"
    if not _has(key.platforms.get(sender.platform.column), sender):
        presence = "forbidden"
    decided = None
    for override in OVERRIDES:
        if _fits(override, message, path + key.name, sender):
            if not (override.presence == "required" and presence == "forbidden"):
                presence, decided = override.presence, override.name
            break
    subkeys = tuple(_rule(message, inner, sender, f"{path}{key.name}.") for inner in key.subkeys)
    return KeyRule(key.name, key.type, presence, key.values, subkeys, decided)


def _has(row: facts.Availability | None, sender: Sender) -> bool:
    """Whether a sender of the message has the key; what a key's row does not state is as for the message."""
    if row is None:
        return True
    if not row.available or (row.introduced and version(sender.os_version) < version(row.introduced)):
        return False
    if row.removed and version(sender.os_version) >= version(row.removed):
        return False
    on_channel = row.device if sender.channel == "device" else row.user
    shared = row.shared_ipad
    if sender.shared_ipad and shared is not None:
        stated = shared.device if sender.channel == "device" else shared.user
        on_channel = on_channel if stated is None else stated
    if on_channel is False or wrong_for_shared_ipad(row, shared_ipad=sender.shared_ipad):
        return False
    if row.user_enrollment is not None and wrong_enrollment(row, sender.enrollment):
        return False
    return not lacks_right(row, sender.access_rights, sender.enrollment)


def _fits(override: Override, message: str, key: str, sender: Sender) -> bool:
    return override.fits(
        message,
        key,
        platform=sender.platform,
        channel=sender.channel,
        enrollment=sender.enrollment,
        shared_ipad=sender.shared_ipad,
    )

"""What people are shown of a request: never its secrets, unless they ask.

A push magic wakes a device together with its token (Apple, "Checkin": PushMagic), and a provider token is good for an
hour: both are shown by their length.
"""

from __future__ import annotations

from typing import Any

import msgspec

from mdmsim.http import Headers

#: The key whose value is the push magic in an MDM push (Apple, "Setting up push notifications for your MDM customers").
_MAGIC = "mdm"
_SECRET_HEADERS = ("authorization", "proxy-authorization", "cookie")
_SHOWN = 200


def masked(secret: str) -> str:
    """How a secret is shown: that there is one, and how long it is."""
    return f"•••• {len(secret)} characters"


def payload_text(payload: bytes, *, reveal: bool = False) -> str:
    """A payload for people. The push magic is masked unless `reveal`; what is no JSON may hold it anywhere."""
    if not payload:
        return ""
    if reveal:
        return payload.decode("utf-8", "replace")
    try:
        value = msgspec.json.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return f"{len(payload)} bytes that are no JSON"
    return msgspec.json.encode(_without_magic(value)).decode("utf-8")


def header_lines(headers: Headers) -> list[tuple[str, str]]:
    """Headers for people: credentials masked, long values cut."""
    return [(name, _header(name, value)) for name, value in headers]


def _header(name: str, value: str) -> str:
    if name.lower() in _SECRET_HEADERS:
        scheme, blank, secret = value.partition(" ")
        return f"{scheme} {masked(secret)}" if blank else masked(value)
    return value if len(value) <= _SHOWN else f"{value[:_SHOWN]}… {len(value)} characters"


def _without_magic(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: masked(item) if key == _MAGIC and isinstance(item, str) else _without_magic(item)
            for key, item in value.items()
        }
    if isinstance(value, list):
        return [_without_magic(item) for item in value]
    return value

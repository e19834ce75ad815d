"""JSON from clients, read strictly: what is ambiguous or cannot be kept is refused, never guessed at."""

from __future__ import annotations

import json
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")


class BadJson(msgspec.DecodeError):
    """Valid to the decoder, and not to be relied on; the text says why."""


def decode_json(data: bytes | bytearray, kind: type[T]) -> T:
    """The value in `data`, of that type.

    Raises msgspec.MsgspecError, UnicodeDecodeError or RecursionError, also for a key that comes twice in an object (RFC
    8259 section 4: what that means is anybody's guess) and for a number of more digits than can be read.
    """
    value = msgspec.json.decode(data, type=kind)
    refuse_ambiguous(bytes(data))
    return value


def refuse_ambiguous(text: str | bytes) -> Any:
    """The value in `text`. Raises BadJson for a key that comes twice and a number without bounds, else as json.loads."""
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except (BadJson, json.JSONDecodeError, UnicodeDecodeError):
        raise
    except ValueError:
        # sys.set_int_max_str_digits: what Python refuses to convert.
        raise BadJson("a number has too many digits") from None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BadJson(f"the key {twice[:60]!r} comes twice in an object")
    return value


def _no_number(word: str) -> Any:
    raise BadJson(f"{word} is no number of JSON (RFC 8259 section 6)")

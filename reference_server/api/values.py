"""Plist values as JSON and back: data as `{"base64": "..."}`, dates as `{"date": "2026-01-01T00:00:00Z"}`."""

from __future__ import annotations

import base64
import binascii
import math
from datetime import UTC, datetime
from typing import Any

from reference_server.errors import ApiProblem

#: Deeper than any command that exists, and far from what recursion can bear.
MAX_DEPTH = 64


def to_json(value: Any) -> Any:
    """A parsed plist value as JSON can carry it. Numbers that JSON cannot hold become strings."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, datetime):
        return {"date": value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="seconds") + "Z"}
    if isinstance(value, dict):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return str(value)
    return value


def from_json(value: Any, *, where: str = "keys", depth: int = 0) -> Any:
    """A JSON value as a plist can carry it. Raises ApiProblem naming the place."""
    if depth > MAX_DEPTH:
        raise _problem("nested too deeply", where[:80], f"At most {MAX_DEPTH} levels")
    if value is None:
        raise _problem("null has no place in a plist", where, "Leave the key out")
    if isinstance(value, dict):
        if len(value) == 1 and (kind := next(iter(value))) in ("base64", "date"):
            return _special(kind, value[kind], where)
        return {key: from_json(item, where=f"{where}.{key}", depth=depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [from_json(item, where=f"{where}[{n}]", depth=depth + 1) for n, item in enumerate(value)]
    return value


def _special(kind: str, value: Any, where: str) -> Any:
    try:
        if kind == "base64":
            return base64.b64decode(value, validate=True)
        at = datetime.fromisoformat(value)
        return at.astimezone(UTC) if at.tzinfo is not None else at.replace(tzinfo=UTC)
    except (ValueError, TypeError, OverflowError, binascii.Error) as error:
        raise _problem(f"not a {kind}: {error}", where, 'Data is {"base64": "..."}, a date {"date": "..."}') from None


def _problem(what: str, where: str, hint: str) -> ApiProblem:
    return ApiProblem(400, "bad-value", what, where=where, hint=hint)

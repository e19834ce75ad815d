"""Moments as people and programs write them: ISO 8601, seconds or milliseconds since 1970."""

from __future__ import annotations

from datetime import UTC, datetime

from mdmsim.clock import from_utc

#: A number from here on is milliseconds: as seconds it would lie beyond the year 5000.
_MILLISECONDS = 100_000_000_000


def moment_ms(value: str | float) -> int:
    """World time in milliseconds. A time without offset is UTC. Raises ValueError, saying how to write one."""
    if isinstance(value, str):
        text = value.strip()
        try:
            value = float(text)
        except ValueError:
            return _written(text)
    if isinstance(value, bool) or not 0 <= value < 1e15:
        raise ValueError(f"{value}: no time since 1970 in seconds or milliseconds")
    return round(value) if value >= _MILLISECONDS else round(value * 1000)


def _written(text: str) -> int:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(
            f'"{text[:40]}": no time. Write e.g. 2026-01-31T12:00:00Z, or seconds or milliseconds since 1970'
        ) from None
    return from_utc(at if at.tzinfo is not None else at.replace(tzinfo=UTC))

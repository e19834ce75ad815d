"""Durations as people write them in scenarios: `500ms`, `30s`, `5m`, `2h`, `30d`."""

from __future__ import annotations

import re

from mdmsim.clock import DAY, HOUR, MINUTE, SECOND

UNITS = {"ms": 1, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY}
PATTERN = r"^[0-9]+(ms|s|m|h|d)$"

_FORM = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)\Z")


class Duration:
    """A stretch of world time. `text` is as it was written, `ms` what it means."""

    __slots__ = ("ms", "text")

    def __init__(self, text: str) -> None:
        """Raises ValueError for anything but a whole number and one of the units."""
        match = _FORM.match(text)
        if match is None:
            raise ValueError("write a whole number and a unit: 500ms, 30s, 5m, 2h or 30d")
        self.text = text
        self.ms = int(match[1]) * UNITS[match[2]]

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return f"Duration({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return self.ms == other.ms if isinstance(other, Duration) else NotImplemented

    def __hash__(self) -> int:
        return hash(self.ms)

"""How long a courier client waits before it connects again."""

from __future__ import annotations

from mdmsim.chance import Chance

FIRST = 0.25
LONGEST = 30.0


class Backoff:
    """Doubling waits with jitter, so that a restarted fake is not met by all fleet processes at once."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._span = FIRST

    def next(self) -> float:
        """Seconds to wait now: half to all of a span that doubles from a quarter second to half a minute."""
        span, self._span = self._span, min(self._span * 2, LONGEST)
        return self._chance.uniform(span / 2, span)

    def reset(self) -> None:
        """A connection was good: begin anew."""
        self._span = FIRST

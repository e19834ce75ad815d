"""A blackout: for a while one side of the fake, or both, cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mdmsim.clock import Clock
from mdmsim.fakeapns.timers import Timers

Side = Literal["providers", "devices"]


class Darkness:
    """Until when each side is dark, and who must know that it begins or is over."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._until_ms: dict[str, int] = {"providers": 0, "devices": 0}
        self._watchers: dict[str, list[Callable[[], None]]] = {"providers": [], "devices": []}

    def begin(self, seconds: float, side: Literal["providers", "devices", "both"] = "both") -> None:
        """From now on for that long; one that is on already is made longer, never shorter."""
        until_ms = self._clock.now_ms() + round(seconds * 1000)
        for one in ("providers", "devices"):
            if side in (one, "both"):
                self._until_ms[one] = max(self._until_ms[one], until_ms)
                for begins in tuple(self._watchers[one]):
                    begins()

    def end(self) -> None:
        """Light again, at once."""
        self._until_ms = {"providers": 0, "devices": 0}

    def over(self, side: Side) -> bool:
        """Whether that side is dark now."""
        return self._clock.now_ms() < self._until_ms[side]

    def until_ms(self, side: Side) -> int | None:
        """When that side can be reached again; None while it can."""
        return self._until_ms[side] if self.over(side) else None

    def watch(self, side: Side, begins: Callable[[], None]) -> Callable[[], None]:
        """Call `begins` whenever that side goes dark; returns what ends that."""
        self._watchers[side].append(begins)
        return lambda: self._watchers[side].remove(begins) if begins in self._watchers[side] else None

"""A blackout: for a while one side of the fake, or both, cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from mdmsim.clock import Clock
from mdmsim.fakeapns.timers import Timers

Side = Literal["providers", "devices"]
SIDES: tuple[Side, Side] = ("providers", "devices")


class Darkness:
    """Until when each side is dark, and who must know that it begins or is over. Several may overlap: each has an owner."""

    def __init__(self, clock: Clock, timers: Timers) -> None:
        self._clock = clock
        self._timers = timers
        self._until_ms: dict[Side, dict[object, int]] = {side: {} for side in SIDES}
        self._begins: dict[Side, list[Callable[[], None]]] = {side: [] for side in SIDES}
        self._ends: dict[Side, list[Callable[[], None]]] = {side: [] for side in SIDES}

    def begin(
        self, seconds: float, side: Literal["providers", "devices", "both"] = "both", *, owner: object = None
    ) -> None:
        """From now on for that long. `owner`: whose it is, for `end`; the same owner's is made longer, never shorter."""
        until_ms = self._clock.now_ms() + round(seconds * 1000)
        for one in SIDES:
            if side in (one, "both"):
                owned = self._until_ms[one]
                owned[owner] = max(owned.get(owner, 0), until_ms)
                for begins in tuple(self._begins[one]):
                    begins()
                self._timers.at(owned[owner], lambda one=one: self._look(one))  # type: ignore[misc]

    def end(self, *, owner: object = None) -> None:
        """Light again, at once, but for what other owners made dark. Without an owner all of it is over."""
        for side in SIDES:
            if owner is None:
                self._until_ms[side].clear()
            else:
                self._until_ms[side].pop(owner, None)
            self._look(side)

    def over(self, side: Side) -> bool:
        """Whether that side is dark now."""
        return self.until_ms(side) is not None

    def until_ms(self, side: Side) -> int | None:
        """When that side can be reached again; None while it can."""
        owned = self._until_ms[side]
        if not owned:
            return None
        until_ms = max(owned.values())
        return until_ms if self._clock.now_ms() < until_ms else None

    def watch(
        self, side: Side, begins: Callable[[], None], ends: Callable[[], None] | None = None
    ) -> Callable[[], None]:
        """Call `begins` whenever that side goes dark, `ends` when it can be reached again; returns what ends that."""
        self._begins[side].append(begins)
        if ends is not None:
            self._ends[side].append(ends)

        def stop() -> None:
            if begins in self._begins[side]:
                self._begins[side].remove(begins)
            if ends is not None and ends in self._ends[side]:
                self._ends[side].remove(ends)

        return stop

    def _look(self, side: Side) -> None:
        if not self.over(side):
            self._until_ms[side].clear()
            for ends in tuple(self._ends[side]):
                ends()

"""Pushes that a fault keeps from their devices for a while: delayed ones, and those that others overtake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdmsim.fakeapns.injection import Injection, detail_of
from mdmsim.fakeapns.session import Slot
from mdmsim.fakeapns.storage import Push
from mdmsim.fakeapns.timers import Timers

#: How long a reordered push waits at most for another to overtake it, where the fault does not say.
REORDER_SECONDS = 5.0


class Detained:
    """The detained pushes of one service. `hand_over` sends one on its way when its time has come.

    A detained push is `slot.held`; it may be the kept one, too, so that a restart of the fake lets it go, not lose it.
    """

    def __init__(self, timers: Timers, injection: Injection, hand_over: Callable[[Slot, Push], None]) -> None:
        self._timers = timers
        self._injection = injection
        self._hand_over = hand_over
        self._overtaken: list[tuple[Slot, Push]] = []

    def takes(self, slot: Slot, push: Push, facts: dict[str, Any]) -> bool:
        """Whether a fault keeps this push from its device for now."""
        if (fault := self._injection.draw("push.delayed", facts)) is not None:
            self._detain(slot, push, detail_of(fault).seconds)
            return True
        if (fault := self._injection.draw("push.reordered", facts)) is not None:
            self._overtaken.append((slot, push))
            self._detain(slot, push, detail_of(fault).seconds or REORDER_SECONDS)
            return True
        return False

    def overtaken_by(self, push: Push) -> list[tuple[Slot, Push]]:
        """Those that waited for another push to be delivered before them; `push` was."""
        if not self._overtaken:
            return []
        waiting, self._overtaken = self._overtaken, []
        return [(slot, detained) for slot, detained in waiting if detained is not push]

    def _detain(self, slot: Slot, push: Push, seconds: float) -> None:
        slot.held = push
        self._timers.at(push.accepted_ms + round(seconds * 1000), lambda: self._release(slot, push))

    def _release(self, slot: Slot, push: Push) -> None:
        """Its time has come; one that was replaced or retired meanwhile stays away."""
        self._overtaken = [entry for entry in self._overtaken if entry[1] is not push]
        if slot.held is push:
            slot.held = None
            self._hand_over(slot, push)

"""Pushes that a fault keeps from their devices for a while: delayed ones, and those that others overtake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdmsim.fakeapns.injection import Injection, detail_of
from mdmsim.fakeapns.session import Slot
from mdmsim.fakeapns.storage import Push
from mdmsim.fakeapns.timers import Timer, Timers

#: How long a reordered push waits at most for another to overtake it, where the fault does not say.
REORDER_SECONDS = 5.0


class Detained:
    """The detained pushes of one service. `release` sends one on its way when its time has come.

    A detained push is `slot.held`; it may be the kept one, too, so that a restart of the fake lets it go, not lose it.
    """

    def __init__(self, timers: Timers, injection: Injection, release: Callable[[Slot, Push], None]) -> None:
        self._timers = timers
        self._injection = injection
        self._release = release
        # By number: the slot, and what wakes it.
        self._waiting: dict[int, tuple[Slot, Push, Timer]] = {}
        self._overtaken: dict[int, tuple[Slot, Push]] = {}

    def takes(self, slot: Slot, push: Push, facts: dict[str, Any]) -> str:
        """The fault that keeps this push from its device for now; empty for none."""
        for name in ("push.delayed", "push.reordered"):
            if (fault := self._injection.draw(name, facts)) is not None:
                seconds = detail_of(fault).seconds
                if name == "push.reordered":
                    self._overtaken[push.number] = (slot, push)
                    seconds = seconds or REORDER_SECONDS
                self._detain(slot, push, seconds)
                return name
        return ""

    def comes_anyway(self, push: Push) -> bool:
        """Whether it waits to be overtaken, and comes even after a newer one for its device."""
        return push.number in self._overtaken

    def forget(self, slot: Slot) -> None:
        """What was held for this device is not any more: it was replaced, expired or retired."""
        if (held := slot.held) is not None:
            slot.held = None
            if not self.comes_anyway(held):
                self._done(held.number)

    def overtaken_by(self, push: Push) -> list[tuple[Slot, Push]]:
        """Those that waited for another push to be delivered before them; `push` was."""
        if not self._overtaken:
            return []
        waiting = [entry for number, entry in self._overtaken.items() if number != push.number]
        for _, detained in waiting:
            self._done(detained.number)
        return waiting

    def _detain(self, slot: Slot, push: Push, seconds: float) -> None:
        slot.held = push
        timer = self._timers.at(push.accepted_ms + round(seconds * 1000), lambda: self._due(slot, push))
        self._waiting[push.number] = (slot, push, timer)

    def _due(self, slot: Slot, push: Push) -> None:
        """Its time has come; one that was replaced or retired meanwhile stays away."""
        self._done(push.number)
        if slot.held is push:
            slot.held = None
            self._release(slot, push)

    def _done(self, number: int) -> None:
        self._overtaken.pop(number, None)
        if (entry := self._waiting.pop(number, None)) is not None:
            entry[2].cancel()

"""From accepted to acknowledged: what happens to a push on its way to its device, and who is told."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.fakeapns.detained import Detained
from mdmsim.fakeapns.injection import Injection
from mdmsim.fakeapns.journal import Counts, Journal, Step
from mdmsim.fakeapns.session import Slot
from mdmsim.fakeapns.storage import Push, Storage
from mdmsim.fakeapns.timers import Timers

SOURCE = "apns"


class Deliveries:
    """The pushes of one service after they were accepted. `next_number` draws the number of a further push.

    Sessions call it; it never calls a session but to offer a push.
    """

    def __init__(
        self,
        clock: Clock,
        events: Events,
        journal: Journal,
        counts: Counts,
        storage: Storage,
        injection: Injection,
        timers: Timers,
        next_number: Callable[[], int],
    ) -> None:
        self._clock = clock
        self._events = events
        self._journal = journal
        self._counts = counts
        self._storage = storage
        self._injection = injection
        self._detained = Detained(timers, injection, self._hand_over)
        self._next_number = next_number

    def take_in(self, slot: Slot, push: Push, facts: dict[str, Any]) -> None:
        """An accepted push. `facts`: for the faults; empty where none is planned."""
        if (replaced := slot.newest_waiting()) is not None:
            self._counts.superseded += 1
            self._journal.step(replaced.number, "superseded", push.accepted_ms)
        slot.accepted_ms = push.accepted_ms
        # Of a push that was detained and is replaced, nothing is left but what `_overtake` is told of it.
        slot.held = None
        if push.expires_ms:
            slot.kept = push
            self._storage.keep_push(push)
        if facts and self._detained.takes(slot, push, facts):
            return
        self._hand_over(slot, push)

    def delivered(self, slot: Slot, push: Push) -> None:
        now_ms = self._clock.now_ms()
        self._counts.delivered += 1
        self._counts.delivery.add(now_ms - push.accepted_ms)
        slot.delivered_ms = now_ms
        self._tell("push.delivered", "delivered", slot, push, now_ms)
        self._overtake(slot, push)

    def acknowledged(self, slot: Slot, push: Push) -> None:
        """The device has `push`: what was kept up to it is let go."""
        self._counts.acknowledged += 1
        if slot.kept is not None and slot.kept.number <= push.number:
            self._storage.drop_push(slot.kept)
            slot.kept = None
        self._tell("push.acknowledged", "acknowledged", slot, push, self._clock.now_ms())

    def acted(self, slot: Slot) -> None:
        """The device did what the last push it has asked for: it connected to its server. Without one, nothing."""
        if slot.heard is not None:
            now_ms = self._clock.now_ms()
            number, accepted_ms = slot.heard
            slot.heard, slot.acted_ms = None, now_ms
            self._counts.acted += 1
            self._counts.acting.add(now_ms - accepted_ms)
            self._journal.step(number, "acted", now_ms)

    def expired(self, slot: Slot, push: Push) -> None:
        """`push` is dropped undelivered: its time is over, or it was now or never and nobody was there."""
        self._counts.expired += 1
        if slot.kept is push:
            self._storage.drop_push(push)
            slot.kept = None
        self._tell("push.expired", "expired", slot, push, self._clock.now_ms())

    def sweep(self, slots: Iterable[Slot]) -> None:
        """Let go of what expired among these. Nothing depends on it but memory: what expired is never delivered."""
        now_ms = self._clock.now_ms()
        for slot in slots:
            kept = slot.kept
            # What is on its way may still be acknowledged.
            if kept is not None and kept.expires_ms <= now_ms and slot.in_flight is not kept:
                if slot.queued is kept:
                    slot.queued = None
                self.expired(slot, kept)

    def left(self, slot: Slot, orphans: Iterable[Push]) -> None:
        """A session let go of a slot with these pushes undelivered or not acknowledged."""
        now_ms = self._clock.now_ms()
        for push in orphans:
            if slot.kept is push and push.expires_ms > now_ms:
                self._tell("push.stored", "stored", slot, push, now_ms, expires_ms=push.expires_ms)
            elif slot.kept is push or push.expires_ms <= now_ms:
                self.expired(slot, push)

    def repetition(self, slot: Slot, push: Push) -> Push | None:
        """The same push once more, under a number of its own, where a fault wants that."""
        if push.repetition or not self._injection.planned:
            return None
        facts = {
            "topic": push.topic,
            "token": push.token.hex(),
            "apns_id": push.apns_id,
            "device": slot.registration.device,
            "environment": slot.registration.environment,
        }
        if self._injection.draw("push.repeated", facts) is None:
            return None
        return self._once_more(push)

    def dropped(self, push: Push) -> None:
        """An accepted push that goes nowhere: a fault loses it, or a setting lets it end in silence."""
        self._journal.step(push.number, "lost", push.accepted_ms)

    def _hand_over(self, slot: Slot, push: Push) -> None:
        if slot.session is not None:
            slot.session.offer(slot, push)
        elif push.expires_ms:
            self._tell("push.stored", "stored", slot, push, self._clock.now_ms(), expires_ms=push.expires_ms)
        else:
            self.expired(slot, push)

    def _overtake(self, slot: Slot, push: Push) -> None:
        """`push` was delivered: what it overtook comes now, under a newer number where it is the same device's."""
        for other, detained in self._detained.overtaken_by(push):
            if other is slot:
                slot.later = self._once_more(detained)
            elif other.held is detained:
                other.held = None
                self._hand_over(other, detained)

    def _once_more(self, push: Push) -> Push:
        return push.again(self._next_number())

    def _tell(self, kind: str, step: Step, slot: Slot, push: Push, now_ms: int, **data: int) -> None:
        self._journal.step(push.number, step, now_ms)
        if step == "acknowledged":
            slot.heard = (push.number, push.accepted_ms)
        if self._events.heard:
            self._events.emit(
                kind,
                source=SOURCE,
                device=slot.registration.device or None,
                apns_id=push.apns_id,
                topic=push.topic,
                token=push.token.hex(),
                **data,
            )

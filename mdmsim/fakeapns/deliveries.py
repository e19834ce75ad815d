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
        self._detained = Detained(timers, injection, self._release)
        self._next_number = next_number

    def take_in(self, slot: Slot, push: Push, facts: dict[str, Any]) -> None:
        """An accepted push. `facts`: for the faults; empty where none is planned."""
        now_ms = push.accepted_ms
        for replaced in self._replaced(slot, push.expires_ms):
            if replaced.expires_ms and replaced.expires_ms <= now_ms:
                self.expired(slot, replaced)
            else:
                self._superseded(replaced, now_ms)
        slot.accepted_ms = now_ms
        self._detained.forget(slot)
        if push.expires_ms:
            slot.kept = push
            self._storage.keep_push(push)
        if facts and (fault := self._detained.takes(slot, push, facts)):
            self._journal.met(push.number, fault)
            return
        self._hand_over(slot, push)

    def replaced_by(self, slot: Slot, expires_ms: int) -> Push | None:
        """The push that one with this expiry would take the place of now, for whoever tells of it."""
        now_ms = self._clock.now_ms()
        found = (push for push in self._replaced(slot, expires_ms) if not 0 < push.expires_ms <= now_ms)
        return next(found, None)

    def delivered(self, slot: Slot, push: Push) -> None:
        now_ms = self._clock.now_ms()
        self._counts.delivered += 1
        self._counts.delivery.add(now_ms - push.accepted_ms)
        slot.delivered_ms, slot.handed_ms = now_ms, push.accepted_ms
        self._tell("push.delivered", "delivered", slot, push, now_ms)
        self._overtake(slot, push)

    def acknowledged(self, slot: Slot, push: Push) -> None:
        """The device has `push`: what was kept up to it is let go."""
        self._counts.acknowledged += 1
        kept = slot.kept
        # What a fault delivers once more, or late, says nothing about newer ones.
        if kept is not None and kept.number <= push.number and not push.repetition:
            self._storage.drop_push(kept)
            slot.kept = None
            if kept.number != push.number and kept is not slot.later and not self._detained.comes_anyway(kept):
                self._superseded(kept, self._clock.now_ms())
                self._detained.forget(slot)
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
                if slot.held is kept:
                    self._detained.forget(slot)
                self.expired(slot, kept)

    def left(self, slot: Slot, in_flight: Push | None, queued: Push | None) -> None:
        """A session let go of a slot with these pushes not acknowledged, or not delivered."""
        now_ms = self._clock.now_ms()
        for push in (in_flight, queued):
            if push is None:
                continue
            if slot.kept is push and push.expires_ms > now_ms:
                self._tell("push.stored", "stored", slot, push, now_ms, expires_ms=push.expires_ms)
            elif slot.kept is push:
                self.expired(slot, push)
            elif push is in_flight:
                # Handed over, and nobody knows whether it arrived; it is not kept.
                self._journal.step(push.number, "lost", now_ms)
            elif push.expires_ms <= now_ms:
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
        self._journal.met(push.number, "push.repeated")
        return self.once_more(push)

    def once_more(self, push: Push) -> Push:
        """The same push under a newer number, as the courier's rule wants it: numbers grow."""
        again = push.again(self._next_number())
        self._journal.also(push.number, again.number)
        return again

    def retired(self, slot: Slot) -> None:
        """The device is gone: nothing waits for it any more."""
        self._detained.forget(slot)
        if slot.kept is not None:
            self._storage.drop_push(slot.kept)
            slot.kept = None

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

    def _release(self, slot: Slot, push: Push) -> None:
        if push.expires_ms and push.expires_ms <= self._clock.now_ms():
            self.expired(slot, push)
        else:
            self._hand_over(slot, push)

    def _overtake(self, slot: Slot, push: Push) -> None:
        """`push` was delivered: what it overtook comes now, after it where it is the same device's."""
        for other, detained in self._detained.overtaken_by(push):
            if other is slot:
                # A newer push may be held by a fault of its own: it keeps its place.
                if slot.held is detained:
                    slot.held = None
                slot.later = detained
            elif other.held is detained:
                other.held = None
                self._release(other, detained)

    def _replaced(self, slot: Slot, expires_ms: int) -> list[Push]:
        """What is given up when a push with this expiry is taken in."""
        kept, queued, held = slot.kept, slot.queued, slot.held
        found = []
        # One that may not be stored takes no stored one's place; if the device hears it, that is the older one's end.
        if expires_ms and kept is not None and kept is not slot.in_flight:
            found.append(kept)
        if queued is not None and queued is not kept:
            found.append(queued)
        if held is not None and held is not kept:
            found.append(held)
        return [push for push in found if not self._detained.comes_anyway(push) and not push.repetition]

    def _superseded(self, push: Push, now_ms: int) -> None:
        self._counts.superseded += 1
        self._journal.step(push.number, "superseded", now_ms)

    def _tell(self, kind: str, step: Step, slot: Slot, push: Push, now_ms: int, **data: int) -> None:
        self._journal.step(push.number, step, now_ms)
        if step == "acknowledged" and not push.repetition:
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

"""A courier connection as the service sees it: what it subscribed, and the pushes on their way to it.

Pushes are pulled: the service says `wake`, the connection calls `take` when it can write. Until then a newer push
takes the place of an older one, so that a slow reader costs one push of memory per token, however fast providers send.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

from mdmsim.fakeapns.storage import Push, Registration

if TYPE_CHECKING:
    from mdmsim.fakeapns.provider import Environment
    from mdmsim.fakeapns.service import ApnsService

SOURCE = "apns"


class Listener(Protocol):
    """Who is told: the connection behind a session."""

    def wake(self) -> None:
        """There is something to take. Called inside the service: must return at once and may take at once."""

    def replaced(self, topic: str, token: bytes) -> None:
        """Another connection subscribed this token later; nothing more comes here."""


class Slot:
    """One token of one topic: who listens, and the pushes for it."""

    __slots__ = (
        "accepted_ms",
        "acted_ms",
        "delivered_ms",
        "handed_ms",
        "heard",
        "held",
        "in_flight",
        "kept",
        "later",
        "listed",
        "queued",
        "registration",
        "session",
    )

    def __init__(self, registration: Registration) -> None:
        self.registration = registration
        self.session: Session | None = None
        #: Handed to the connection, not acknowledged yet.
        self.in_flight: Push | None = None
        #: To be handed over as soon as the connection writes and `in_flight` is acknowledged.
        self.queued: Push | None = None
        #: The one pending push that outlives the connection: the newest that may be stored and was not acknowledged.
        self.kept: Push | None = None
        #: A push that a fault keeps back; it may be the kept one.
        self.held: Push | None = None
        #: A push that comes after all others were acknowledged: a fault's repetition or reordering.
        self.later: Push | None = None
        #: Whether the session's list of what is ready holds this slot.
        self.listed = False
        #: When the last push was accepted, delivered, acted upon (ms; 0: never since the start), and number and time
        #: of acceptance of the last one that the device has and did not act upon.
        self.accepted_ms = self.delivered_ms = self.acted_ms = 0
        self.heard: tuple[int, int] | None = None
        #: When the push that was delivered last had been accepted.
        self.handed_ms = 0


class Session:
    """One courier connection's subscriptions. Closed once; after that every call is without effect."""

    def __init__(self, service: ApnsService, listener: Listener, name: str) -> None:
        self.name = name
        self.opened_ms = service.clock.now_ms()
        self._service = service
        self._listener = listener
        self._slots: dict[Slot, None] = {}
        self._ready: deque[Slot] = deque()
        self._in_flight: dict[int, Slot] = {}
        self._closed = False
        service.events.emit("courier.connected", source=SOURCE, connection=name, subscriptions=0)

    @property
    def closed(self) -> bool:
        return self._closed

    @property
    def subscriptions(self) -> int:
        return len(self._slots)

    @property
    def in_flight(self) -> int:
        """How many pushes the connection took and did not acknowledge yet."""
        return len(self._in_flight)

    def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        devices: Iterable[str] = (),
        environment: Environment = "production",
        channels: Iterable[str] = (),
    ) -> list[tuple[str, bytes]]:
        """Listen for these tokens; return the pairs that are refused (retired, unknown, not a token).

        What is pending for them is ready at once. Another connection that had one of them loses it and is told.
        A pair that this connection already has stays as it is. `devices`: whose each is, in the same order, and
        `channels`: of which channel; `environment`: of those that are registered by this.
        """
        if self._closed:
            return list(pairs)
        slots, refused = self._service.slots_for(pairs, devices, environment, channels)
        now_ms = self._service.clock.now_ms()
        for slot in slots:
            if slot.session is self:
                continue
            if (older := slot.session) is not None:
                older.let_go(slot)
                older._listener.replaced(slot.registration.topic, slot.registration.token)
            slot.session = self
            self._slots[slot] = None
            if (kept := slot.kept) is None or kept is slot.held:
                continue
            if kept.expires_ms <= now_ms:
                self._service.deliveries.expired(slot, kept)
            else:
                slot.queued = kept
                self._list(slot)
        if (events := self._service.events).heard:
            events.emit(
                "courier.subscribed", source=SOURCE, connection=self.name, tokens=len(slots), refused=len(refused)
            )
        if self._ready:
            self._listener.wake()
        return refused

    def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        """Listen no more; tokens stay registered, and pushes for them are kept. Pairs it does not have are ignored."""
        slots = [slot for pair in pairs if (slot := self._service.slot(*pair)) is not None and slot.session is self]
        for slot in slots:
            self.let_go(slot)
        if slots and (events := self._service.events).heard:
            events.emit("courier.unsubscribed", source=SOURCE, connection=self.name, tokens=len(slots))

    def take(self, limit: int = 64) -> list[Push]:
        """Up to `limit` pushes to write now. Each is in flight until it is acknowledged."""
        taken: list[Push] = []
        now_ms = self._service.clock.now_ms()
        while self._ready and len(taken) < limit:
            slot = self._ready.popleft()
            slot.listed = False
            push = slot.queued
            if slot.session is not self or push is None or slot.in_flight is not None:
                continue
            slot.queued = None
            # A push that was now or never found its connection: it is delivered, even if writing took a while.
            if push.expires_ms and push.expires_ms <= now_ms:
                self._service.deliveries.expired(slot, push)
                continue
            slot.in_flight = push
            self._in_flight[push.number] = slot
            self._service.deliveries.delivered(slot, push)
            taken.append(push)
        return taken

    def acknowledge(self, number: int) -> bool:
        """The device has the push of that number; False if no such push is in flight here."""
        slot = self._in_flight.pop(number, None)
        if slot is None or (push := slot.in_flight) is None:
            return False
        slot.in_flight = None
        self._service.deliveries.acknowledged(slot, push)
        if slot.queued is None:
            deliveries, later = self._service.deliveries, slot.later
            slot.later = None
            slot.queued = deliveries.once_more(later) if later is not None else deliveries.repetition(slot, push)
        if slot.queued is not None:
            self._list(slot)
            self._listener.wake()
        return True

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        """The devices of these pairs connected to their servers, because of the last push they heard."""
        for topic, token in pairs:
            slot = self._service.slot(topic, token)
            if slot is not None and slot.session is self:
                self._service.deliveries.acted(slot)

    def offer(self, slot: Slot, push: Push) -> None:
        """A new push for a token of this session: it replaces one that was not handed over yet."""
        slot.queued = push
        if slot.in_flight is None:
            self._list(slot)
            self._listener.wake()

    def let_go(self, slot: Slot) -> None:
        """End this subscription; what was not acknowledged stays pending with its original expiry."""
        in_flight, queued = slot.in_flight, slot.queued
        if in_flight is not None:
            self._in_flight.pop(in_flight.number, None)
        slot.in_flight = slot.queued = slot.later = slot.session = None
        slot.listed = False
        self._slots.pop(slot, None)
        self._service.deliveries.left(slot, in_flight, queued)

    def close(self, why: str) -> None:
        """The connection is gone. `why` is for people."""
        if self._closed:
            return
        self._closed = True
        subscriptions = len(self._slots)
        for slot in tuple(self._slots):
            self.let_go(slot)
        self._ready.clear()
        self._service.forget_session(self)
        self._service.events.emit(
            "courier.disconnected", source=SOURCE, connection=self.name, why=why, subscriptions=subscriptions
        )

    def _list(self, slot: Slot) -> None:
        if not slot.listed:
            slot.listed = True
            self._ready.append(slot)

"""The fake APNs itself: tokens, pushes, and who listens. Pure logic: no sockets, no waiting, no clock of its own.

Providers come in through `push`, devices through sessions. Per topic and token there is one slot: at most one push is
on its way to the device and not acknowledged yet, at most one newer push waits for that, and at most one is kept for
when the device is not there (Apple: only the most recent notification per device and topic is stored). A kept push
is let go when the device acknowledged it or a newer one, when it expires, or when the token is retired; a session that
ends before that leaves it as it was, with its original expiry.
"""

from __future__ import annotations

import json
from collections.abc import Iterable

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.checks import MAX_TOKEN, Checks, Judgement
from mdmsim.fakeapns.errors import ApnsError, UnknownToken
from mdmsim.fakeapns.session import Listener, Session, Slot
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakeapns.storage import MemoryStorage, Push, Registration, Storage
from mdmsim.faults import Fault, FaultPlan
from mdmsim.http import Headers

SOURCE = "apns"

#: The faults that the service and its fronts carry out when a plan names them.
FAULTS: dict[str, str] = {
    "push.refused": "answer=ApnsError: the push is refused with that status and reason",
    "push.lost": "the push is answered 200 and forgotten",
    "push.repeated": "a delivered push is delivered once more",
    "answer.cut": "the connection is dropped instead of the answer; the push counts",
    "answer.stalled": "the answer never comes; the push counts",
}


class PushRequest(msgspec.Struct, frozen=True):
    """A provider's request. Header names are lower case, pseudo-headers left out; `certificate` is the client's, DER."""

    method: str
    path: str
    headers: Headers = ()
    payload: bytes = b""
    certificate: bytes | None = None


class Answer(msgspec.Struct, frozen=True):
    """What goes back. `wire`: "" for a plain answer, or the name of the fault that the front carries out instead."""

    status: int
    headers: Headers
    body: bytes = b""
    wire: str = ""


class Counts:
    """How many pushes went which way since the service started."""

    __slots__ = ("accepted", "acknowledged", "delivered", "expired", "refused")

    def __init__(self) -> None:
        self.accepted = self.refused = self.delivered = self.acknowledged = self.expired = 0


class ApnsService:
    """One APNs. Everything but `durable` is a plain call that returns at once."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        events: Events | None = None,
        faults: FaultPlan | None = None,
        settings: ApnsSettings | None = None,
        *,
        certificates: PushCertificates | None = None,
        storage: Storage | None = None,
    ) -> None:
        self.clock = clock
        self.events = events or Events(clock)
        self.faults = faults or FaultPlan(chance.stream("faults"))
        self.settings = settings or ApnsSettings()
        self.certificates = certificates or PushCertificates(clock)
        self.counts = Counts()
        self._tokens = chance.stream("tokens")
        self._ids = chance.stream("apns-id")
        self._storage = storage or MemoryStorage()
        self._slots: dict[tuple[str, bytes], Slot] = {}
        self._topics: dict[bytes, tuple[str, ...]] = {}
        self._single_topics: dict[str, tuple[str]] = {}
        self._devices: dict[tuple[str, str, str], Slot] = {}
        self._checks = Checks(self.settings, self.certificates, self)
        self._sessions = 0
        stored = self._storage.load(chance.stream("epoch").hex(8))
        #: Names the run of push numbers: a courier client forgets the numbers it saw when this changes.
        self.epoch = stored.epoch
        self._number = stored.number
        for registration in stored.registrations:
            self._install(registration)
        for push in stored.pushes:
            self._number = max(self._number, push.number)
            if (slot := self._slots.get((push.topic, push.token))) is not None:
                slot.kept = push
        for der in stored.certificates:
            self.certificates.register(der)
        self.sweep(self.slots())

    # what a provider does

    def push(self, request: PushRequest) -> Answer:
        """Judge one request and, when it is in order, take the push in."""
        now_ms = self.clock.now_ms()
        judgement = Judgement(
            request.method, request.path, request.headers, request.payload, request.certificate, now_ms
        )
        # Byte for byte, on errors too, whatever it looks like: clients match answers to requests by this string.
        apns_id = judgement.headers.get("apns-id") or str(self._ids.uuid()).upper()
        refusal = self._checks.judge(judgement)
        facts = {"topic": judgement.topic, "token": judgement.token.hex(), "apns_id": apns_id}
        if refusal is None and (fault := self.faults.draw("push.refused", **facts)) is not None:
            self._injected(fault, facts)
            refusal = fault.answer if isinstance(fault.answer, ApnsError) else ApnsError.of("InternalServerError")
            if refusal.status == 410 and refusal.timestamp_ms is None:
                refusal = ApnsError(refusal.status, refusal.reason, now_ms)
        slot = self._slots.get((judgement.topic, judgement.token))
        device = slot.registration.device or None if slot is not None else None
        if refusal is not None:
            self.counts.refused += 1
            self.events.emit(
                "push.refused", source=SOURCE, device=device, status=refusal.status, reason=refusal.reason, **facts
            )
            return _refused(refusal, apns_id)
        expires_ms = judgement.expires_ms
        if expires_ms is None:
            expires_ms = now_ms + self.settings.default_storage_ms if self.settings.default_storage_ms else 0
        push = Push(
            self._next_number(now_ms), judgement.topic, judgement.token, request.payload, apns_id, now_ms, expires_ms
        )
        replaced = slot.newest_waiting() if slot is not None else None
        lost = self.faults.draw("push.lost", **facts)
        self.counts.accepted += 1
        self.events.emit(
            "push.accepted",
            source=SOURCE,
            device=device,
            apns_id=apns_id,
            topic=push.topic,
            token=facts["token"],
            expiration=expires_ms,
            payload=push.payload,
            replaced=replaced.apns_id if replaced is not None else None,
            dropped="fault" if lost is not None else judgement.silent,
        )
        if lost is not None:
            self._injected(lost, facts)
        elif slot is not None and judgement.silent is None:
            self._take_in(slot, push)
        wire = ""
        for name in ("answer.cut", "answer.stalled"):
            if (fault := self.faults.draw(name, **facts)) is not None:
                self._injected(fault, facts)
                wire = name
        return Answer(200, (("apns-id", apns_id),), b"", wire)

    async def durable(self) -> None:
        """Return once all that was told so far would survive a crash: a front awaits this before it sends 200s.

        Raises NotDurable: then what goes out instead of an answer is `not_durable(answer)`.
        """
        await self._storage.durable()

    @property
    def trouble(self) -> str | None:
        """Why what was told last would not survive a crash, for people; None while it would."""
        return self._storage.trouble

    def register_certificate(self, der: bytes) -> str:
        """Make a push certificate known, for good; return its topic. Raises BadPushCertificate."""
        topic = self.certificates.register(der)
        self._storage.keep_certificate(der)
        return topic

    # what a device does

    def register(self, device: str, topic: str, channel: str = "device") -> bytes:
        """The token of that device for that topic and channel: the same until it is retired, then a new one.

        32 bytes, drawn from the world's seed and these three names alone, so that order does not matter.
        """
        known = self._devices.get((device, topic, channel))
        if known is not None and known.registration.retired_ms is None:
            return known.registration.token
        generation = known.registration.generation + 1 if known is not None else 0
        token = self._tokens.stream("\0".join((device, topic, channel, str(generation)))).bytes(32)
        self._register(topic, token, device, channel, generation)
        return token

    def adopt(self, topic: str, token: bytes, *, device: str = "", channel: str = "device") -> None:
        """Register a token that was made elsewhere; one that was retired is active again.

        Raises ValueError for a token that no device could have.
        """
        if not 1 <= len(token) <= MAX_TOKEN or (self.settings.strict_tokens and len(token) != 32):
            raise ValueError(
                f"token of {len(token)} bytes: "
                + ("32 bytes are needed (strict_tokens)" if self.settings.strict_tokens else f"1 to {MAX_TOKEN} bytes")
            )
        known = self._slots.get((topic, token))
        if known is None:
            self._register(topic, token, device, channel, 0)
        elif known.registration.retired_ms is not None:
            before = known.registration
            self._register(topic, token, device or before.device, before.channel, before.generation)

    def retire(self, topic: str, token: bytes) -> None:
        """The device is gone, erased or unenrolled: nothing is delivered any more, and providers get 410.

        Retiring again keeps the first time. Raises UnknownToken.
        """
        slot = self._slots.get((topic, token))
        if slot is None:
            raise UnknownToken(f"token {token.hex()}: not registered for {topic}")
        if slot.registration.retired_ms is not None:
            return
        slot.registration = msgspec.structs.replace(slot.registration, retired_ms=self.clock.now_ms())
        self._storage.keep_registration(slot.registration)
        if slot.kept is not None:
            self._storage.drop_push(slot.kept)
            slot.kept = None
        if slot.session is not None:
            slot.session.let_go(slot)
        self.events.emit(
            "token.retired", source=SOURCE, device=slot.registration.device or None, topic=topic, token=token.hex()
        )

    def open_session(self, listener: Listener, name: str = "") -> Session:
        """A new courier connection. `name` is for people; without one it is numbered."""
        self._sessions += 1
        return Session(self, listener, name or f"courier-{self._sessions}")

    # what others look at

    def registration(self, topic: str, token: bytes) -> Registration | None:
        """The registration of that token for that topic, retired ones included."""
        slot = self._slots.get((topic, token))
        return slot.registration if slot is not None else None

    def topics(self, token: bytes) -> tuple[str, ...]:
        """The topics that this token is or was registered for."""
        return self._topics.get(token, ())

    def registrations(self) -> list[Registration]:
        """All registrations, oldest first, retired ones included."""
        return [slot.registration for slot in self._slots.values()]

    def pending(self) -> list[Push]:
        """Pushes kept for devices that have not acknowledged them, expired ones left out."""
        now_ms = self.clock.now_ms()
        return [slot.kept for slot in self._slots.values() if slot.kept is not None and slot.kept.expires_ms > now_ms]

    def listening(self) -> int:
        """How many tokens have a device at the other end just now."""
        return sum(slot.session is not None for slot in self._slots.values())

    # what sessions need

    def slots_for(self, pairs: Iterable[tuple[str, bytes]]) -> tuple[list[Slot], list[tuple[str, bytes]]]:
        """The slots of active tokens among `pairs`, and the pairs refused: retired, unknown, or not a token."""
        found: list[Slot] = []
        refused: list[tuple[str, bytes]] = []
        for topic, token in pairs:
            slot = self._slots.get((topic, token))
            if slot is None and self.settings.auto_register:
                try:
                    self.adopt(topic, token)
                except ValueError:
                    refused.append((topic, token))
                    continue
                slot = self._slots[topic, token]
            if slot is None or slot.registration.retired_ms is not None:
                refused.append((topic, token))
            else:
                found.append(slot)
        return found, refused

    def slot(self, topic: str, token: bytes) -> Slot | None:
        return self._slots.get((topic, token))

    def delivered(self, slot: Slot, push: Push) -> None:
        self.counts.delivered += 1
        self._tell("push.delivered", slot, push)

    def acknowledged(self, slot: Slot, push: Push) -> None:
        """The device has `push`: what was kept up to it is let go."""
        self.counts.acknowledged += 1
        if slot.kept is not None and slot.kept.number <= push.number:
            self._storage.drop_push(slot.kept)
            slot.kept = None
        self._tell("push.acknowledged", slot, push)

    def expired(self, slot: Slot, push: Push) -> None:
        """`push` is dropped undelivered: its time is over, or it was now or never and nobody was there."""
        self.counts.expired += 1
        if slot.kept is push:
            self._storage.drop_push(push)
            slot.kept = None
        self._tell("push.expired", slot, push)

    def slots(self) -> list[Slot]:
        """All slots, those of retired tokens included."""
        return list(self._slots.values())

    def sweep(self, slots: Iterable[Slot]) -> None:
        """Let go of what expired among these. Nothing depends on it but memory: what expired is never delivered."""
        now_ms = self.clock.now_ms()
        for slot in slots:
            kept = slot.kept
            # What is on its way may still be acknowledged.
            if kept is not None and kept.expires_ms <= now_ms and slot.in_flight is not kept:
                if slot.queued is kept:
                    slot.queued = None
                self.expired(slot, kept)

    def left(self, slot: Slot, orphans: Iterable[Push]) -> None:
        """A session let go of a slot with these pushes undelivered or not acknowledged."""
        now_ms = self.clock.now_ms()
        for push in orphans:
            if slot.kept is push and push.expires_ms > now_ms:
                self._tell("push.stored", slot, push, expires_ms=push.expires_ms)
            elif slot.kept is push or push.expires_ms <= now_ms:
                self.expired(slot, push)

    def repetition(self, push: Push) -> Push | None:
        """The same push once more, under a number of its own, where a fault wants that."""
        if push.repetition:
            return None
        facts = {"topic": push.topic, "token": push.token.hex(), "apns_id": push.apns_id}
        if (fault := self.faults.draw("push.repeated", **facts)) is None:
            return None
        self._injected(fault, facts)
        return msgspec.structs.replace(push, number=self._next_number(self.clock.now_ms()), repetition=True)

    # inside

    def _next_number(self, now_ms: int) -> int:
        # Grows across restarts too: the clock does not go back, and no second holds a million pushes.
        self._number = max(self._number + 1, now_ms * 1000)
        return self._number

    def _register(self, topic: str, token: bytes, device: str, channel: str, generation: int) -> None:
        registration = Registration(
            topic=topic,
            token=token,
            device=device,
            channel=channel,
            generation=generation,
            registered_ms=self.clock.now_ms(),
        )
        self._install(registration)
        self._storage.keep_registration(registration)
        self.events.emit("token.registered", source=SOURCE, device=device or None, topic=topic, token=token.hex())

    def _install(self, registration: Registration) -> None:
        topic, token = registration.topic, registration.token
        slot = self._slots.get((topic, token))
        if slot is None:
            slot = self._slots[topic, token] = Slot(registration)
            single = self._single_topics.setdefault(topic, (topic,))
            others = self._topics.get(token)
            self._topics[token] = single if others is None else (*others, topic)
        else:
            slot.registration = registration
        if registration.device:
            key = (registration.device, topic, registration.channel)
            latest = self._devices.get(key)
            if latest is None or latest.registration.generation <= registration.generation:
                self._devices[key] = slot

    def _take_in(self, slot: Slot, push: Push) -> None:
        if push.expires_ms:
            slot.kept = push
            self._storage.keep_push(push)
        if slot.session is not None:
            slot.session.offer(slot, push)
        elif push.expires_ms:
            self._tell("push.stored", slot, push, expires_ms=push.expires_ms)
        else:
            self.expired(slot, push)

    def _tell(self, kind: str, slot: Slot, push: Push, **data: int) -> None:
        self.events.emit(
            kind,
            source=SOURCE,
            device=slot.registration.device or None,
            apns_id=push.apns_id,
            topic=push.topic,
            token=push.token.hex(),
            **data,
        )

    def _injected(self, fault: Fault, facts: dict[str, str]) -> None:
        self.events.emit("fault.injected", source=SOURCE, fault=fault.name, why=fault.why, target=dict(facts))


def not_durable(answer: Answer) -> Answer:
    """What goes out when `durable` failed: the push may have been taken in or not, and nobody can promise it."""
    if answer.status != 200:
        return answer
    return _refused(ApnsError.of("InternalServerError"), dict(answer.headers)["apns-id"])


def _refused(refusal: ApnsError, apns_id: str) -> Answer:
    body: dict[str, str | int] = {"reason": refusal.reason}
    if refusal.timestamp_ms is not None:
        body["timestamp"] = refusal.timestamp_ms
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return Answer(refusal.status, (("apns-id", apns_id), ("content-type", "application/json")), encoded)

"""The fake APNs itself: tokens, pushes, and who listens. Pure logic: no sockets, no waiting, no clock of its own.

Providers come in through `push`, devices through sessions. Per topic and token there is one slot: at most one push is
on its way to the device and not acknowledged yet, at most one newer push waits for that, and at most one is kept for
when the device is not there (Apple: only the most recent notification per device and topic is stored). A kept push
is let go when the device acknowledged it or a newer one, when it expires, or when the token is retired; a session that
ends before that leaves it as it was, with its original expiry.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.fakeapns.answers import Answer, PushRequest, not_durable, refused
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.checks import MAX_TOKEN, Checks, Judgement
from mdmsim.fakeapns.darkness import Darkness
from mdmsim.fakeapns.deliveries import Deliveries
from mdmsim.fakeapns.errors import ApnsError, TooManyTokens, UnknownToken
from mdmsim.fakeapns.fault_names import Wire
from mdmsim.fakeapns.injection import Injection
from mdmsim.fakeapns.journal import Counts, Journal
from mdmsim.fakeapns.provider import Environment, Provider
from mdmsim.fakeapns.provider_tokens import SigningKeys
from mdmsim.fakeapns.session import Listener, Session, Slot
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakeapns.storage import NoStorage, Push, Registration, Storage
from mdmsim.fakeapns.timers import Timers
from mdmsim.fakeapns.tokens import Tokens
from mdmsim.faults import FaultPlan
from mdmsim.http import Headers

SOURCE = "apns"


class ApnsService:
    """One APNs. Everything but `durable` is a plain call that returns at once.

    `timers` make delayed pushes come: whoever runs the service runs `timers.run`, too.
    """

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
        self.signing_keys = SigningKeys()
        self.counts = Counts()
        self.journal = Journal(self.settings.journal_size)
        self.timers = Timers(clock)
        self.darkness = Darkness(clock, self.timers)
        self.tokens = Tokens(chance.stream("tokens"), limit=self.settings.max_pushes_per_minute)
        self._ids = chance.stream("apns-id")
        #: What a front draws its legal variety from.
        self.variety = chance.stream("variety")
        self._storage = storage or NoStorage()
        self._checks = Checks(self.settings, self.certificates, self.signing_keys, self.tokens)
        self._providers: dict[int, Provider] = {}
        self._last_provider = 0
        self._last_session = 0
        self._sessions: dict[Session, None] = {}
        #: When it began: what happened before that, nobody here knows.
        self.started_ms = clock.now_ms()
        self._injection = Injection(self.faults, self.counts, self.events, self.darkness)
        self.deliveries = Deliveries(
            clock,
            self.events,
            self.journal,
            self.counts,
            self._storage,
            self._injection,
            self.timers,
            lambda: self._next_number(clock.now_ms()),
        )
        # Without a storage every start has numbers of its own, with the same seed, too.
        stored = self._storage.load(chance.stream(f"epoch/{self.started_ms}").hex(8))
        #: Names the run of push numbers: a courier client forgets the numbers it saw when this changes.
        self.epoch = stored.epoch
        self._number = stored.number
        if stored.number:
            # Another start, other ids: those of the last one are in stores and logs, with the same seed, too.
            self._ids = self._ids.stream(str(stored.number))
        for registration in stored.registrations:
            self.tokens.install(registration)
        for push in stored.pushes:
            self._number = max(self._number, push.number)
            if (slot := self.tokens.slot(push.topic, push.token)) is not None:
                # With the very same token in memory, and not a copy.
                slot.kept = msgspec.structs.replace(push, token=slot.registration.token)
        for der in stored.certificates:
            self.certificates.register(der)
        self.deliveries.sweep(self.slots())

    # what a provider does

    def open_provider(
        self,
        certificate: bytes | None = None,
        *,
        environment: Environment = "production",
        peer: str = "",
        plain: bool = False,
    ) -> Provider:
        """A provider's connection was made. `certificate`: the client's, DER; `peer`: its address, for people.

        `plain`: it came without TLS, see `Provider.plain`.

        See `Provider.refusal`: a connection that has one is to be ended before it is served.
        """
        self._last_provider += 1
        provider = Provider(self._last_provider, certificate, environment, peer, self.clock.now_ms(), plain)
        self._providers[provider.number] = provider
        self._checks.recognise(provider)
        self.events.emit(
            "provider.connected",
            source=SOURCE,
            connection=provider.number,
            environment=environment,
            topic=provider.known.topic if provider.known is not None else None,
            refusal=provider.refusal.reason if provider.refusal is not None else None,
        )
        return provider

    def close_provider(self, provider: Provider, why: str) -> None:
        """The connection is gone; a second time is without effect. `why` is for people."""
        if provider.closed_ms is None:
            provider.closed_ms = self.clock.now_ms()
            del self._providers[provider.number]
            self.events.emit("provider.disconnected", source=SOURCE, connection=provider.number, why=why)

    def push(self, request: PushRequest, provider: Provider) -> Answer:
        """Judge one request and, when it is in order, take the push in."""
        now_ms = self.clock.now_ms()
        judgement = Judgement(request.method, request.path, request.headers, request.payload, provider, now_ms)
        # Byte for byte, on errors too, whatever it looks like: clients match answers to requests by this string.
        apns_id = judgement.headers.get("apns-id") or str(self._ids.uuid()).upper()
        refusal = self._checks.judge(judgement)
        slot = self.tokens.slot(judgement.topic, judgement.token)
        device = slot.registration.device if slot is not None else ""
        facts: dict[str, Any] = {}
        wire: Wire | None = None
        fault = ""
        if self.faults.planned:
            facts = {
                "topic": judgement.topic or (provider.known.topic if provider.known is not None else ""),
                "token": judgement.token.hex() or request.path.rpartition("/")[2].lower(),
                "apns_id": apns_id,
                "device": device,
                "environment": provider.environment,
            }
            if (wire := self._injection.before(facts)) is not None and not wire.processed:
                if refusal is None or refusal.reason == "TooManyRequests":
                    self.tokens.forgive(judgement.topic, judgement.token)
                self.journal.note(judgement, apns_id, device, 0, "", "nothing was looked at", wire.name, 0, 0)
                return Answer(503, (), b"", wire)
            if refusal is None and (drawn := self._injection.refusal(facts, judgement)) is not None:
                fault, refusal = drawn
        if refusal is not None:
            return self._refuse(judgement, refusal, apns_id, device, fault, wire)
        expires_ms = judgement.expires_ms
        if expires_ms is None:
            expires_ms = now_ms + self.settings.default_storage_ms if self.settings.default_storage_ms else 0
        topic, token = judgement.topic, judgement.token
        if slot is not None:
            # The very same objects: a hundred thousand pending pushes need no copies of them.
            topic, token = slot.registration.topic, slot.registration.token
        push = Push.of(self._next_number(now_ms), topic, token, request.payload, apns_id, now_ms, expires_ms)
        replaced = self.deliveries.replaced_by(slot, expires_ms) if slot is not None and self.events.heard else None
        lost = self._injection.draw("push.lost", facts) if facts else None
        if facts and wire is None:
            wire = self._injection.instead(facts)
        provider.accepted += 1
        self.counts.accepted += 1
        dropped = "fault" if lost is not None else judgement.silent
        fault = lost.name if lost is not None else wire.name if wire is not None else ""
        self.journal.note(judgement, apns_id, device, 200, "", judgement.silent or "", fault, push.number, expires_ms)
        if self.events.heard:
            self.events.emit(
                "push.accepted",
                source=SOURCE,
                device=device or None,
                apns_id=apns_id,
                topic=push.topic,
                token=judgement.token.hex(),
                expiration=expires_ms,
                payload=push.payload,
                replaced=replaced.apns_id if replaced is not None else None,
                dropped=dropped,
            )
        if dropped is not None:
            if slot is not None:
                slot.accepted_ms = now_ms
            self.deliveries.dropped(push)
        elif slot is not None:
            self.deliveries.take_in(slot, push, facts)
        return Answer(200, self._good_headers(provider, apns_id), b"", wire)

    def refuse(self, request: PushRequest, provider: Provider, refusal: ApnsError) -> Answer:
        """Refuse a request without judging it, as a front does that goes down (503 Shutdown)."""
        judgement = Judgement(
            request.method, request.path, request.headers, request.payload, provider, self.clock.now_ms()
        )
        apns_id = judgement.headers.get("apns-id") or str(self._ids.uuid()).upper()
        return self._refuse(judgement, refusal, apns_id, "", "", None)

    async def durable(self) -> None:
        """Return once all that was told so far would survive a crash: a front awaits this before it sends 200s.

        Raises NotDurable: then what goes out instead of an answer is `self.not_durable(answer)`.
        """
        await self._storage.durable()

    def not_durable(self, answer: Answer) -> Answer:
        """What goes out instead when `durable` failed; what was told of the request is put right."""
        if answer.status == 200:
            self.counts.accepted -= 1
            self.counts.refused += 1
            self.counts.reasons["InternalServerError"] += 1
            apns_id = dict(answer.headers)["apns-id"]
            why = "the store could not be written: nobody can promise the push, which may come all the same"
            self.journal.amend(apns_id, 500, "InternalServerError", why)
        return not_durable(answer)

    @property
    def trouble(self) -> str | None:
        """Why what was told last would not survive a crash, for people; None while it would."""
        return self._storage.trouble

    def register_certificate(self, der: bytes) -> str:
        """Make a push certificate known, for good; return its topic. Raises BadPushCertificate."""
        topic = self.certificates.register(der)
        self._storage.keep_certificate(der)
        return topic

    def revoke_certificate(self, der: bytes) -> None:
        """A push certificate was taken back: 403, and after a restart nobody knows it. Unknown ones are left alone."""
        self.certificates.revoke(der)
        self._storage.drop_certificate(der)

    def remove_certificate(self, der: bytes) -> None:
        """Forget a push certificate, for good: pushes with it get 403 BadCertificate from now on."""
        self.certificates.remove(der)
        self._storage.drop_certificate(der)

    def greet(self, environment: Environment = "production", *, plain: bool = False) -> Wire | None:
        """Somebody connects: the fault that meets the connection before HTTP, or None. `plain`: without TLS. For fronts."""
        if self.darkness.over("providers"):
            return Wire("blackout")
        if not self.faults.planned:
            return None
        facts = {"environment": environment}
        refused = None if plain else self._injection.wire("tls.refused", facts)
        return refused or self._injection.wire("goaway.first", facts)

    def on_blackout(self, callback: Callable[[], None]) -> None:
        """Call `callback` whenever a blackout of the providers' side begins: a front cuts what is open."""
        self.darkness.watch("providers", callback)

    # what a device does

    def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        """The token of that device for that topic and channel: the same until it is retired, then a new one.

        32 bytes, drawn from the world's seed and these names alone, so that order does not matter. Raises TooManyTokens.
        """
        known = self.tokens.of_device(device, topic, channel, environment)
        if known is not None and known.registration.retired_ms is None:
            return known.registration.token
        generation = known.registration.generation + 1 if known is not None else 0
        self._has_room()
        while self.tokens.slot(topic, token := self.tokens.draw(device, topic, channel, environment, generation)):
            # It was adopted for something else after its device had given it up.
            generation += 1
        self._register(topic, token, device, channel, generation, environment)
        return token

    def adopt(
        self,
        topic: str,
        token: bytes,
        *,
        device: str = "",
        channel: str = "device",
        environment: Environment = "production",
    ) -> None:
        """Register a token that was made elsewhere; one that was retired is active again.

        Raises ValueError for a token that no device could have.
        """
        if not 1 <= len(token) <= MAX_TOKEN or (self.settings.strict_tokens and len(token) != 32):
            raise ValueError(
                f"token of {len(token)} bytes: "
                + ("32 bytes are needed (strict_tokens)" if self.settings.strict_tokens else f"1 to {MAX_TOKEN} bytes")
            )
        known = self.tokens.slot(topic, token)
        if known is None:
            self._has_room()
            self._register(topic, token, device, channel, 0, environment)
        elif known.registration.retired_ms is not None:
            before = known.registration
            self._register(topic, token, device or before.device, channel, before.generation, environment)
        elif device and not known.registration.device:
            # Whoever adopted it first did not say whose it is, nor then of which channel.
            named = known.registration.channel if channel == "device" else sys.intern(channel)
            self._keep(msgspec.structs.replace(known.registration, device=device, channel=named))

    def retire(self, topic: str, token: bytes) -> None:
        """The device is gone, erased or unenrolled: nothing is delivered any more, and providers get 410.

        Retiring again keeps the first time. Raises UnknownToken.
        """
        slot = self.tokens.slot(topic, token)
        if slot is None:
            raise UnknownToken(f"token {token.hex()}: not registered for {topic}")
        if slot.registration.retired_ms is not None:
            return
        slot.registration = msgspec.structs.replace(slot.registration, retired_ms=self.clock.now_ms())
        self._storage.keep_registration(slot.registration)
        self.deliveries.retired(slot)
        if slot.session is not None:
            slot.session.let_go(slot)
        self.events.emit(
            "token.retired", source=SOURCE, device=slot.registration.device or None, topic=topic, token=token.hex()
        )

    def open_session(self, listener: Listener, name: str = "") -> Session:
        """A new courier connection. `name` is for people; without one it is numbered."""
        self._last_session += 1
        session = Session(self, listener, name or f"courier-{self._last_session}")
        self._sessions[session] = None
        return session

    def forget_session(self, session: Session) -> None:
        """A courier connection is over. For sessions, when they close."""
        self._sessions.pop(session, None)

    # what others look at

    def registration(self, topic: str, token: bytes) -> Registration | None:
        """The registration of that token for that topic, retired ones included."""
        return self.tokens.registration(topic, token)

    def registrations(self) -> list[Registration]:
        """All registrations, by topic and oldest first, retired ones included."""
        return [slot.registration for slot in self.tokens]

    def pending(self) -> list[Push]:
        """Pushes kept for devices that have not acknowledged them, expired ones left out."""
        now_ms = self.clock.now_ms()
        return [slot.kept for slot in self.tokens if slot.kept is not None and slot.kept.expires_ms > now_ms]

    def listening(self) -> int:
        """How many tokens have a device at the other end just now."""
        return sum(slot.session is not None for slot in self.tokens)

    def providers(self) -> tuple[Provider, ...]:
        """The connections that are open just now, oldest first."""
        return tuple(self._providers.values())

    def sessions(self) -> tuple[Session, ...]:
        """The courier connections that are open just now, oldest first."""
        return tuple(self._sessions)

    # what sessions need

    def slots_for(
        self,
        pairs: Iterable[tuple[str, bytes]],
        devices: Iterable[str] = (),
        environment: Environment = "production",
        channels: Iterable[str] = (),
    ) -> tuple[list[Slot], list[tuple[str, bytes]]]:
        """The slots of active tokens among `pairs`, and the pairs refused: retired, unknown, or not a token.

        `devices`: whose each token is, in the same order, and `channels`: of which channel ("": the device's); for
        tokens that are registered by this.
        """
        found: list[Slot] = []
        refused: list[tuple[str, bytes]] = []
        names, kinds = iter(devices), iter(channels)
        for topic, token in pairs:
            device, channel = next(names, ""), next(kinds, "") or "device"
            slot = self.tokens.slot(topic, token)
            if (slot is None and self.settings.auto_register) or (
                slot is not None and device and not slot.registration.device and slot.registration.retired_ms is None
            ):
                try:
                    self.adopt(topic, token, device=device, channel=channel, environment=environment)
                except ValueError:
                    refused.append((topic, token))
                    continue
                slot = self.tokens.slot(topic, token)
            if slot is None or slot.registration.retired_ms is not None:
                refused.append((topic, token))
            else:
                found.append(slot)
        return found, refused

    def slot(self, topic: str, token: bytes) -> Slot | None:
        return self.tokens.slot(topic, token)

    def slots(self) -> list[Slot]:
        """All slots, those of retired tokens included."""
        return list(self.tokens)

    # inside

    def _refuse(
        self,
        judgement: Judgement,
        refusal: ApnsError,
        apns_id: str,
        device: str,
        fault: str,
        wire: Wire | None,
    ) -> Answer:
        judgement.provider.refused += 1
        self.counts.refused += 1
        self.counts.reasons[refusal.reason] += 1
        self.journal.note(judgement, apns_id, device, refusal.status, refusal.reason, judgement.why, fault, 0, 0)
        if self.events.heard:
            self.events.emit(
                "push.refused",
                source=SOURCE,
                device=device or None,
                status=refusal.status,
                reason=refusal.reason,
                topic=judgement.topic,
                token=judgement.token.hex(),
                apns_id=apns_id,
            )
        return refused(refusal, apns_id, wire)

    def _good_headers(self, provider: Provider, apns_id: str) -> Headers:
        wanted = self.settings.unique_id
        if wanted == "always" or (wanted == "sandbox" and provider.environment == "sandbox"):
            return (("apns-id", apns_id), ("apns-unique-id", str(self._ids.uuid())))
        return (("apns-id", apns_id),)

    def _next_number(self, now_ms: int) -> int:
        # Grows across restarts too: the clock does not go back, and no second holds a million pushes.
        self._number = max(self._number + 1, now_ms * 1000)
        return self._number

    def _register(self, topic: str, token: bytes, device: str, channel: str, generation: int, environment: str) -> None:
        # Few topics and channels, many tokens, and every frame brings strings of its own.
        self._keep(
            Registration(
                topic=sys.intern(topic),
                token=token,
                device=device,
                channel=sys.intern(channel),
                environment=environment,
                generation=generation,
                registered_ms=self.clock.now_ms(),
            )
        )
        self.events.emit("token.registered", source=SOURCE, device=device or None, topic=topic, token=token.hex())

    def _has_room(self) -> None:
        if len(self.tokens) >= self.settings.max_tokens:
            raise TooManyTokens(f"there are {len(self.tokens)} tokens already (max_tokens)")

    def _keep(self, registration: Registration) -> None:
        self.tokens.install(registration)
        self._storage.keep_registration(registration)

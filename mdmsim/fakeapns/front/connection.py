"""One provider's connection on trio: a task that reads and judges, a task that writes, and one that watches the clock.

Reading goes on while accepted pushes are being made durable: whatever was judged meanwhile goes into the next commit
and the next write. A client that does not read its answers is not read from, either.
"""

from __future__ import annotations

import json
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple, Unpack

import msgspec
import trio

from mdmsim.fakeapns.errors import ApnsError, NotDurable
from mdmsim.fakeapns.fault_names import Wire
from mdmsim.fakeapns.front.context import Hello, environment_of
from mdmsim.fakeapns.front.http2 import Arrived, ProviderConnection
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.front.transport import Transport
from mdmsim.fakeapns.provider import Environment, Provider
from mdmsim.fakeapns.service import Answer, ApnsService, PushRequest, not_durable

Given = TypeVarTuple("Given")

_TLS_HANDSHAKE = b"\x16"
_PING = b"mdmsim-p"


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's connection from outside. Times are milliseconds of the world's clock; bytes are those of TCP."""

    number: int
    peer: str
    environment: str
    tls: str
    alpn: str | None
    #: Subject and topic of the client's certificate; None without one.
    certificate: str | None
    topic: str | None
    opened_ms: int
    requests: int
    open_streams: int
    received: int
    sent: int


class Connection:
    """A connection to its end. `environment` holds unless the client asks for one of Apple's names.

    It ends by itself, by `drain` or by `goaway` in good order, or by `cut` at once, and is counted then, once.
    """

    def __init__(
        self,
        service: ApnsService,
        settings: FrontSettings,
        counters: Counter[str],
        stream: trio.abc.Stream,
        environment: Environment,
    ) -> None:
        self.transport = Transport(stream)
        self.provider: Provider | None = None
        self._service = service
        self._settings = settings
        self._counters = counters
        self._environment: Environment = environment
        self._http2 = ProviderConnection(settings)
        self._tls: trio.SSLStream[Transport] | None = None
        self._tasks: trio.Nursery | None = None
        # What `_end` cancels: the handshake, then the tasks.
        self._phase: trio.CancelScope | None = None
        # Judged and not answered: what was accepted becomes durable first.
        self._due: list[tuple[int, Answer]] = []
        self._settling = 0
        self._sending = False
        self._room = trio.Event()
        self._heard = self._asked = 0.0
        self._pinged: float | None = None
        self._blocked: float | None = None
        self._no_more = False
        self._cut_next = False
        self._draining = False
        # The highest stream that was begun before draining did.
        self._drained = 0
        self._ended = ""
        self._reset = False

    @property
    def shaking_hands(self) -> bool:
        return self.provider is None

    # from outside

    def info(self) -> ConnectionInfo | None:
        """How it is; None before it is through the handshake."""
        if self.provider is None or self._tls is None:
            return None
        known = self.provider.known
        alpn = self._tls.selected_alpn_protocol()
        return ConnectionInfo(
            number=self.provider.number,
            peer=self.provider.peer,
            environment=self.provider.environment,
            tls=self._tls.version() or "",
            alpn=alpn if isinstance(alpn, str) else None,
            certificate=subject_of(self._tls),
            topic=known.topic if known is not None else None,
            opened_ms=self.provider.opened_ms,
            requests=self._http2.requests,
            open_streams=self._http2.open_streams,
            received=self.transport.received,
            sent=self.transport.sent,
        )

    def goaway(self, reason: str = "", code: int = 0, last_stream: int | None = None) -> None:
        """Say GOAWAY now, answer the open streams up to `last_stream` (default: all that arrived), and close."""
        self._http2.leave(_debug(reason), code=code, last_stream=last_stream)
        self._go_on()

    def drain(self) -> None:
        """Answer what is open, refuse what comes with 503 Shutdown, then say GOAWAY and close."""
        if self.shaking_hands:
            self.cut("cut")
        elif not self._draining:
            self._draining = True
            self._drained = self._http2.highest_begun
            self._leave_if_drained()
            self._go_on()

    def cut(self, why: str) -> None:
        """End it at once, with a TCP reset."""
        self._reset = True
        self._end(why)

    def ended(self, why: str) -> None:
        """Count the connection as ended, in one of the words of `ENDINGS`; only the first time counts."""
        if not self._ended:
            self._ended = why
            self._counters[why] += 1

    # its life

    async def run(self, context: ssl.SSLContext, alert: str = "") -> None:
        """Serve it to its end. `alert`: the TLS alert that it ends with."""
        hello = Hello(alert)
        tls = trio.SSLStream(self.transport, context, server_side=True, https_compatible=True)
        try:
            with trio.move_on_after(self._settings.handshake_timeout) as self._phase, hello:
                await tls.do_handshake()
        except trio.BrokenResourceError as error:
            self.ended(self._failed_handshake(error, alert))
            await self._say_alert(tls)
            return
        if self._phase.cancelled_caught:
            self.ended("handshake-timeout")
            await self.transport.reset()
            return
        self._phase, self._tls = None, tls
        certificate: bytes | None = tls.getpeercert(binary_form=True)
        environment = environment_of(hello.host or "") or self._environment
        provider = self._service.open_provider(certificate, environment=environment, peer=self.transport.peer)
        self.provider = provider
        try:
            if certificate is None and self._settings.token_ramp:
                self._http2 = ProviderConnection(self._settings, ramp=True)
            if provider.refusal is not None:
                # Seen from Apple: settings, a GOAWAY for stream 0 without an error, and nothing more.
                self._http2.goaway(_debug(provider.refusal.reason), last_stream=0)
                self.ended("refused")
                await self._guarded(self._flush)
            else:
                await self._talk()
            if self._reset:
                await self.transport.reset()
            else:
                with trio.move_on_after(self._settings.write_deadline):
                    await self._guarded(tls.aclose)
        finally:
            self.ended("cut")
            self._service.close_provider(provider, self._ended)

    def _failed_handshake(self, error: trio.BrokenResourceError, alert: str) -> str:
        if alert:
            return "tls-refused"
        if self.transport.first not in (b"", _TLS_HANDSHAKE):
            return "not-tls"
        cause = error.__cause__
        left = isinstance(cause, ssl.SSLEOFError) or not isinstance(cause, ssl.SSLError)
        return "handshake-cut" if left else "handshake-failed"

    async def _say_alert(self, tls: trio.SSLStream[Transport]) -> None:
        # trio forgets the alert that OpenSSL has ready after a failed handshake, and clients would not know why.
        pending = getattr(tls, "_outgoing", None)
        if isinstance(pending, ssl.MemoryBIO) and (alert := pending.read()):
            with trio.move_on_after(self._settings.write_deadline):
                try:
                    await self.transport.send_all(alert)
                    await self.transport.aclose()
                except (trio.BrokenResourceError, trio.ClosedResourceError):
                    pass

    async def _talk(self) -> None:
        self._heard = self._asked = trio.current_time()
        async with trio.open_nursery() as tasks:
            self._tasks, self._phase = tasks, tasks.cancel_scope
            tasks.start_soon(self._guarded, self._flush)
            tasks.start_soon(self._guarded, self._read)
            tasks.start_soon(self._watch)

    async def _guarded(self, work: Callable[[Unpack[Given]], Awaitable[None]], *given: *Given) -> None:
        try:
            await work(*given)
        except trio.TooSlowError:
            self._reset = True
            self._end("too-slow")
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._end("closed")

    def _end(self, why: str) -> None:
        self.ended(why)
        self._tasks = None
        if self._phase is not None:
            self._phase.cancel()

    # reading

    async def _read(self) -> None:
        tls, http2 = self._tls, self._http2
        assert tls is not None
        while not http2.finished:
            data = await tls.receive_some(65536)
            if not data:
                self._no_more = True
                break
            self._heard = now = trio.current_time()
            arrived = http2.receive(bytes(data), now)
            if arrived:
                self._asked = now
                for request in arrived:
                    self._judge(request)
            self._go_on()
            while http2.backlog() > self._settings.max_backlog:
                self._room = trio.Event()
                await self._room.wait()
        self._go_on()

    def _judge(self, request: Arrived) -> None:
        stream = request.stream
        if self._ended or not self._http2.awaits(stream):
            # A fault ended the connection, or said GOAWAY, at a request before this one.
            return
        asked = PushRequest(request.method, request.path, request.headers, request.body)
        assert self.provider is not None
        if self._draining and stream > self._drained:
            answer = self._service.refuse(asked, self.provider, ApnsError.of("Shutdown"))
        else:
            answer = self._service.push(asked, self.provider)
        if (wire := answer.wire) is None:
            self._due.append((stream, answer))
        elif wire.name == "stream.refused":
            self._http2.refuse(stream)
        elif wire.name == "connection.reset":
            self.cut("reset")
        elif wire.name == "answer.stalled":
            self._http2.stall(stream)
        elif wire.name == "answer.slow":
            if self._tasks is not None:
                self._tasks.start_soon(self._answer_later, stream, answer, wire.seconds)
        elif wire.name == "goaway":
            self._say_goaway(stream, wire)
        else:
            # answer.cut and streams.limited have their turn when the answer has.
            self._due.append((stream, answer))

    def _say_goaway(self, stream: int, wire: Wire) -> None:
        last = max(stream, self._http2.last_stream) if wire.processed else max(stream - 2, 0)
        self._http2.drop(stream)
        self._http2.leave(_debug(wire.reason), code=wire.code, last_stream=last)

    async def _answer_later(self, stream: int, answer: Answer, seconds: float) -> None:
        await trio.sleep(seconds)
        self._due.append((stream, answer))
        self._go_on()

    # writing

    def _go_on(self) -> None:
        """Have written what there is to write: answers when they are promises that can be kept, all else at once."""
        if self._tasks is None:
            return
        if not self._sending and (self._http2.backlog() or self._http2.finished or self._no_more):
            self._tasks.start_soon(self._guarded, self._flush)
        if self._due:
            due, self._due = self._due, []
            self._settling += 1
            self._tasks.start_soon(self._guarded, self._settle, due)

    async def _settle(self, due: list[tuple[int, Answer]]) -> None:
        durable = await self._commit()
        self._settling -= 1
        for stream, answer in due:
            if not durable:
                # A 200 would promise what a crash may take back.
                answer = not_durable(answer)
            if answer.wire is not None and answer.wire.name == "answer.cut":
                self._cut_next = True
                break
            self._http2.answer(stream, answer)
            if answer.wire is not None and answer.wire.name == "streams.limited":
                self._http2.limit_streams(1)
        if self._draining:
            self._leave_if_drained()
        await self._flush()

    async def _commit(self) -> bool:
        try:
            await self._service.durable()
        except NotDurable:
            return False
        return True

    async def _flush(self) -> None:
        # One at a time: whoever comes meanwhile has left its bytes where this finds them.
        if self._sending:
            return
        assert self._tls is not None
        self._sending = True
        while data := self._http2.outgoing():
            with trio.fail_after(self._settings.write_deadline):
                await self._tls.send_all(data)
            self._room.set()
        self._sending = False
        if self._cut_next:
            self.cut("cut")
        elif self._http2.finished:
            self._end(self._http2.why or "closed")
        elif self._no_more and not self._settling:
            self._end("closed")

    def _leave_if_drained(self) -> None:
        if not self._http2.open_streams:
            self._http2.leave()

    # watching the clock

    async def _watch(self) -> None:
        settings, http2 = self._settings, self._http2
        began = trio.current_time()
        while True:
            now = trio.current_time()
            at = [self._when_silent(now), self._when_blocked(now)]
            if not http2.begun:
                at.append(began + settings.handshake_timeout)
                if now >= at[-1]:
                    self._end("preface-timeout")
            if settings.idle_timeout is not None:
                at.append(self._when_idle(now, settings.idle_timeout))
            await trio.sleep_until(min(at))

    def _when_silent(self, now: float) -> float:
        if self._pinged is not None and self._heard <= self._pinged:
            if now >= self._pinged + self._settings.ping_timeout:
                self._reset = True
                self._end("no-answer-to-ping")
            return min(self._pinged + self._settings.ping_timeout, now + self._settings.ping_interval)
        self._pinged = None
        if now >= self._heard + self._settings.ping_interval:
            self._pinged = now
            self._http2.ping(_PING)
            self._go_on()
            return now + min(self._settings.ping_timeout, self._settings.ping_interval)
        return self._heard + self._settings.ping_interval

    def _when_blocked(self, now: float) -> float:
        # A client that never opens its window gets no answer by it, and keeps its streams.
        if not self._http2.blocked:
            self._blocked = None
        elif self._blocked is None:
            self._blocked = now
        elif now >= self._blocked + self._settings.write_deadline:
            self._reset = True
            self._end("too-slow")
        return (now if self._blocked is None else self._blocked) + self._settings.write_deadline

    def _when_idle(self, now: float, timeout: float) -> float:
        if self._http2.open_streams:
            self._asked = now
        elif now >= self._asked + timeout and not self._http2.leaving:
            self._http2.leave(_debug("IdleTimeout"))
            self.ended("idle")
            self._go_on()
            return now + timeout
        return self._asked + timeout


def _debug(reason: str) -> bytes:
    # The form of an error's body (Apple, "Handling notification responses from APNs").
    return json.dumps({"reason": reason}, separators=(",", ":")).encode() if reason else b""


def subject_of(tls: trio.SSLStream[Transport]) -> str | None:
    """The common name of the client's certificate, or its whole subject without one; None without a certificate."""
    found = tls.getpeercert()
    if not found:
        return None
    pairs = [pair for relative in found.get("subject", ()) for pair in relative]
    named = [value for name, value in pairs if name == "commonName"]
    return named[0] if named else ", ".join(f"{name}={value}" for name, value in pairs)

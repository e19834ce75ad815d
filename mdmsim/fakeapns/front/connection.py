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

from mdmsim.fakeapns.answers import Answer, PushRequest
from mdmsim.fakeapns.errors import ApnsError, NotDurable
from mdmsim.fakeapns.fault_names import Wire
from mdmsim.fakeapns.front.context import Hello, environment_of
from mdmsim.fakeapns.front.guard import PREFACE
from mdmsim.fakeapns.front.handshake import NoHandshake, shake_hands, subject_of
from mdmsim.fakeapns.front.http1 import Begun, Http1, sniff
from mdmsim.fakeapns.front.http2 import Arrived, ProviderConnection, goaway_frame
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.front.transport import Transport
from mdmsim.fakeapns.front.watch import Times, Watch
from mdmsim.fakeapns.provider import Environment, Provider
from mdmsim.fakeapns.service import ApnsService

#: How often a batch of answers is accompanied by a PING that nobody asked for, where there is variety.
PING_RATE = 0.01
_UNASKED_PING = b"mdmsim-v"

Given = TypeVarTuple("Given")

#: Endings after which the socket is reset: there is nobody to say anything to.
RESET = frozenset(("cut", "reset", "handshake-timeout", "too-slow", "no-answer-to-ping"))


class ConnectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's connection from outside. Times are milliseconds of the world's clock; bytes are those of TCP.

    `tls` is empty for a connection without it.
    """

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
        # What HTTP/2 is spoken on.
        self._stream: trio.abc.Stream = self.transport
        self._http1: Http1 | None = None
        self._tasks: trio.Nursery | None = None
        # What `_end` cancels: the handshake, then the tasks.
        self._phase: trio.CancelScope | None = None
        # Judged and not answered: what was accepted becomes durable first.
        self._due: list[tuple[int, Answer]] = []
        self._settling = 0
        self._sending = False
        self._room = trio.Event()
        self._times = Times(0.0)
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

    @property
    def dispensable(self) -> tuple[int, float] | None:
        """How well others can do without it, least is best; None while it is being served or is ending.

        First those in their handshake, then without HTTP, then without a request, then by how long they were idle.
        """
        if self._ended:
            return None
        if self.provider is None:
            return 0, 0.0
        if self._http1 is not None:
            return None if self._http1.open_streams else (3 if self._http1.requests else 2, self._http1.asked)
        if self._http2.open_streams or self._http2.leaving:
            return None
        return 3 if self._http2.requests else 2 if self._http2.begun else 1, self._times.asked

    # from outside

    def info(self) -> ConnectionInfo | None:
        """How it is; None before it is through the handshake."""
        if self.provider is None:
            return None
        known, spoken = self.provider.known, self._http1 or self._http2
        alpn = self._tls.selected_alpn_protocol() if self._tls is not None else None
        return ConnectionInfo(
            number=self.provider.number,
            peer=self.provider.peer,
            environment=self.provider.environment,
            tls=(self._tls.version() or "") if self._tls is not None else "",
            alpn=alpn if isinstance(alpn, str) else None,
            certificate=subject_of(self._tls) if self._tls is not None else None,
            topic=known.topic if known is not None else None,
            opened_ms=self.provider.opened_ms,
            requests=spoken.requests,
            open_streams=spoken.open_streams,
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
        elif self._http1 is not None:
            if self._http1.drain():
                self._end("closed")
        elif not self._draining:
            self._draining = True
            self._drained = self._http2.highest_begun
            self._leave_if_drained()
            self._go_on()

    def make_room(self) -> None:
        """End it for a newer one: with a GOAWAY, where the client speaks HTTP/2 and reads."""
        if self._http1 is not None:
            self._end("crowded-out")
        elif self._tasks is None or not self._http2.begun or self._sending or self._http2.backlog():
            self.cut("crowded-out")
        else:
            self._http2.leave(why="crowded-out")
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

    async def run(self, context: ssl.SSLContext, fault: Wire | None = None) -> None:
        """Serve it to its end, over TLS. `fault`: tls.refused or goaway.first."""
        refused = fault is not None and fault.name == "tls.refused"
        hello = Hello((fault.reason or "internal_error") if refused and fault is not None else "")
        with trio.CancelScope() as self._phase:
            try:
                self._tls = await shake_hands(self.transport, context, hello, self._settings.handshake_timeout)
            except NoHandshake as failed:
                self.ended(failed.why)
                if failed.alert:
                    await self._guarded(self.transport.send_all, failed.alert)
        if self._tls is None:
            await self._close(self.transport)
            return
        certificate: bytes | None = self._tls.getpeercert(binary_form=True)
        ramp = certificate is None and self._settings.token_ramp
        self._open(certificate, environment_of(hello.host or "") or self._environment)
        await self._serve(self._tls, ramp, fault)

    async def run_plain(self, fault: Wire | None = None) -> None:
        """Serve it to its end, without TLS: HTTP/2 by prior knowledge or HTTP/1.1, as it begins. `fault`: goaway.first."""
        with trio.CancelScope() as self._phase:
            try:
                start = await sniff(self.transport, self._settings.handshake_timeout)
            except NoHandshake as failed:
                self.ended(failed.why)
        if self._ended:
            await self._close(self.transport)
            return
        provider = self._open(None, self._environment, plain=True)
        if start.startswith(PREFACE[:16]):
            await self._serve(Begun(self.transport, start), False, fault)
            return
        if fault is not None:
            # HTTP/1.1 has no GOAWAY: the connection ends.
            self.ended("goaway")
            await self._close(self.transport)
            return
        self._http1 = Http1(self._service, provider, self._settings, self.transport)
        with trio.CancelScope() as self._phase:
            await self._guarded(self._talk_http1, start)
        await self._close(self.transport)

    def _open(self, certificate: bytes | None, environment: Environment, *, plain: bool = False) -> Provider:
        self.provider = self._service.open_provider(
            certificate, environment=environment, peer=self.transport.peer, plain=plain
        )
        return self.provider

    async def _talk_http1(self, start: bytes) -> None:
        assert self._http1 is not None
        self.ended(await self._http1.serve(start))

    async def _serve(self, stream: trio.abc.Stream, ramp: bool, fault: Wire | None) -> None:
        self._stream = stream
        if fault is not None:
            self.ended("goaway")
            await self._guarded(stream.send_all, goaway_frame(0, fault.code, _debug(fault.reason)))
            await self._close(stream)
            return
        if ramp:
            self._http2 = ProviderConnection(self._settings, ramp=True)
        assert self.provider is not None
        if self.provider.refusal is not None:
            # Seen from Apple: settings, a GOAWAY for stream 0 without an error, and nothing more.
            self._http2.goaway(_debug(self.provider.refusal.reason), last_stream=0)
            self.ended("refused")
            await self._guarded(self._flush)
        else:
            await self._talk()
        await self._close(stream)

    async def _close(self, stream: trio.abc.Stream) -> None:
        if self._reset or self._ended in RESET:
            await self.transport.reset()
        else:
            with trio.move_on_after(self._settings.write_deadline):
                await self._guarded(stream.aclose)

    def close(self) -> None:
        """Tell the service that it is over, whatever became of it."""
        self.ended("cut")
        if self.provider is not None:
            self._service.close_provider(self.provider, self._ended)

    async def _talk(self) -> None:
        self._times = Times(trio.current_time())
        async with trio.open_nursery() as tasks:
            self._tasks, self._phase = tasks, tasks.cancel_scope
            tasks.start_soon(self._guarded, self._flush)
            tasks.start_soon(self._guarded, self._read)
            tasks.start_soon(Watch(self._settings, self._http2, self._times, self._go_on, self._end).run)

    async def _guarded(self, work: Callable[[Unpack[Given]], Awaitable[None]], *given: *Given) -> None:
        try:
            await work(*given)
        except trio.TooSlowError:
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
        stream, http2 = self._stream, self._http2
        while not http2.finished:
            data = await stream.receive_some(65536)
            if not data:
                self._no_more = True
                break
            self._times.heard = now = trio.current_time()
            arrived = http2.receive(bytes(data), now)
            if arrived:
                self._times.asked = now
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
        if self._draining:
            # The last open stream may have gone without an answer: cancelled, refused, given up.
            self._leave_if_drained()
        if not self._sending and (self._http2.backlog() or self._http2.finished or self._no_more):
            self._tasks.start_soon(self._guarded, self._flush)
        if self._due:
            due, self._due = self._due, []
            self._settling += 1
            self._tasks.start_soon(self._guarded, self._settle, due)

    async def _settle(self, due: list[tuple[int, Answer]]) -> None:
        durable = await self._commit()
        self._settling -= 1
        if self._settings.variety:
            self._vary(due)
        for stream, answer in due:
            if not durable:
                # A 200 would promise what a crash may take back.
                answer = self._service.not_durable(answer)
            if answer.wire is not None and answer.wire.name == "answer.cut":
                self._cut_next = True
                break
            self._http2.answer(stream, answer)
            if answer.wire is not None and answer.wire.name == "streams.limited":
                self._http2.limit_streams(1)
        if self._draining:
            self._leave_if_drained()
        await self._flush()

    def _vary(self, due: list[tuple[int, Answer]]) -> None:
        chance = self._service.variety
        # Where a fault cuts the connection, what came before it is answered.
        if len(due) > 1 and all(answer.wire is None for _, answer in due):
            chance.shuffle(due)
        if chance.happens(PING_RATE):
            self._http2.ping(_UNASKED_PING)

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
        self._sending = True
        while data := self._http2.outgoing():
            with trio.fail_after(self._settings.write_deadline):
                await self._stream.send_all(data)
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


def _debug(reason: str) -> bytes:
    # The form of an error's body (Apple, "Handling notification responses from APNs").
    return json.dumps({"reason": reason}, separators=(",", ":")).encode() if reason else b""

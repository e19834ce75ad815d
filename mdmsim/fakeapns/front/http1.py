"""Providers without TLS: HTTP/1.1, one request at a time, for servers whose switch for developers takes a plain URL.

Apple has no such way in. Fleet's development variable takes `http://`, and its pushes have no certificate then: no
credential is judged, and a push without `apns-topic` is for the topic that its token is registered for.
"""

from __future__ import annotations

import h11
import trio

from mdmsim.fakeapns.answers import Answer, PushRequest
from mdmsim.fakeapns.errors import ApnsError, NotDurable
from mdmsim.fakeapns.front.guard import PREFACE
from mdmsim.fakeapns.front.handshake import NoHandshake
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.front.transport import Transport
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.service import ApnsService
from mdmsim.http import has_content

#: As for HTTP/2: bytes of a header list, of a body that are kept, and of a body after which nobody waits for its end.
_LONGEST_HEAD = 8000
_KEPT_BODY = 8192
_LONGEST_BODY = 1 << 20


async def sniff(transport: Transport, timeout: float) -> bytes:
    """The first bytes of a connection, enough to tell HTTP/2 from HTTP/1.1. Raises NoHandshake."""
    start = b""
    try:
        with trio.fail_after(timeout):
            while len(start) < 16 and PREFACE.startswith(start):
                data = await transport.receive_some(65536)
                if not data:
                    raise NoHandshake("closed")
                start += data
    except trio.TooSlowError:
        raise NoHandshake("preface-timeout") from None
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        raise NoHandshake("closed") from None
    return start


class Begun(trio.abc.Stream):
    """A stream of which some bytes were read already: they come first."""

    def __init__(self, stream: Transport, start: bytes) -> None:
        self._stream = stream
        self._start = start

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        if self._start:
            start, self._start = self._start, b""
            return start
        return await self._stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Ended(Exception):
    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


class Http1:
    """One connection that speaks HTTP/1.1."""

    def __init__(self, service: ApnsService, provider: Provider, settings: FrontSettings, stream: Transport) -> None:
        self._service = service
        self._provider = provider
        self._settings = settings
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=_LONGEST_HEAD)
        self._draining = False
        #: When the connection began, or the last request was complete; seconds of trio's clock.
        self.asked = trio.current_time()
        self.requests = 0
        #: Whether a request is under way, as 0 or 1.
        self.open_streams = 0

    def drain(self) -> bool:
        """End after the request that is under way; true if there is none."""
        self._draining = True
        return not self.open_streams

    async def serve(self, start: bytes) -> str:
        """Answer requests until either end has enough; the word for how it ended. `start`: what was read already.

        Raises TooSlowError and BrokenResourceError as streams do.
        """
        self._h11.receive_data(start)
        try:
            while True:
                request = await self._request()
                await self._answer(request)
                self.open_streams = 0
                if self._draining or self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                    return "closed"
                self._h11.start_next_cycle()
        except _Ended as ended:
            return ended.why
        except h11.RemoteProtocolError as error:
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(h11.Response(status_code=error.error_status_hint, headers=[("connection", "close")]))
                await self._send(h11.EndOfMessage())
            return "protocol-error"

    async def _request(self) -> PushRequest:
        if not self._h11.trailing_data[0]:
            await self._begin()
        body, length = bytearray(), 0
        with trio.fail_after(self._settings.request_timeout):
            head = await self._event(None)
            if not isinstance(head, h11.Request):
                raise _Ended("closed")
            self.open_streams = 1
            while isinstance(event := await self._event(head), h11.Data):
                length += len(event.data)
                body += event.data[: max(0, _KEPT_BODY - len(body))]
                if length > _LONGEST_BODY:
                    break
        self.asked = trio.current_time()
        headers = tuple(
            (name.decode("ascii"), value.decode("latin-1")) for name, value in head.headers if name != b"host"
        )
        self.requests += 1
        return PushRequest(head.method.decode("ascii"), head.target.decode("latin-1"), headers, bytes(body))

    async def _begin(self) -> None:
        """Wait for the first bytes of a request. HTTP/1.1 has no PING: whoever is silent for long may be gone."""
        idle = self._settings.http1_idle_timeout
        if (asked := self._settings.idle_timeout) is not None:
            idle = min(idle, asked)
        try:
            with trio.fail_after(idle):
                self._h11.receive_data(bytes(await self._stream.receive_some(65536)))
        except trio.TooSlowError:
            raise _Ended("idle") from None

    async def _event(self, head: h11.Request | None) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if head is not None and self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(bytes(await self._stream.receive_some(65536)))
        if isinstance(event, h11.ConnectionClosed):
            raise _Ended("closed")
        return event

    async def _answer(self, request: PushRequest) -> None:
        if self._draining:
            answer = self._service.refuse(request, self._provider, ApnsError.of("Shutdown"))
        else:
            answer = self._service.push(request, self._provider)
        try:
            await self._service.durable()
        except NotDurable:
            answer = self._service.not_durable(answer)
        await self._carry_out(answer)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        headers.append((b"content-length", b"%d" % len(answer.body)))
        if self._draining:
            headers.append((b"connection", b"close"))
        await self._send(h11.Response(status_code=answer.status, headers=headers))
        if has_content(request.method, answer.status):
            await self._send(h11.Data(data=answer.body))
        await self._send(h11.EndOfMessage())

    async def _carry_out(self, answer: Answer) -> None:
        # There are no other streams: what would happen to one of HTTP/2's happens to the connection.
        name = answer.wire.name if answer.wire is not None else ""
        if name == "answer.slow" and answer.wire is not None:
            await trio.sleep(answer.wire.seconds)
        elif name == "answer.stalled":
            await trio.sleep_forever()
        elif name == "answer.cut":
            raise _Ended("cut")
        elif name not in ("", "streams.limited"):
            raise _Ended("reset")

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            with trio.fail_after(self._settings.write_deadline):
                await self._stream.send_all(data)

"""HTTP/1.1 with whole messages over h11 and trio: a server's end, and a client's end that reconnects."""

from __future__ import annotations

from dataclasses import dataclass

import h11
import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.asgi import TooSlow, receive_paced
from mdmsim.http import ConnectFailed, Headers, Response, find_header, has_content
from mdmsim.pace import USUAL, Awaited, PaceLimits, RequestPace

#: The longest body that is taken, either way: above what devices send and servers answer (17 MiB).
MAX_BODY = 32 << 20

#: Seconds that the server behind may take for an answer.
PATIENCE = 90.0


class Unreachable(Exception):
    """The upstream server does not answer, or not in HTTP/1.1."""


@dataclass(frozen=True, slots=True)
class WholeRequest:
    """A request with all of its body. Header names keep their spelling."""

    method: str
    target: str
    headers: Headers
    body: bytes

    @property
    def host(self) -> str:
        return find_header(self.headers, "host") or ""


class Http1Server:
    """The server's end of one connection."""

    def __init__(self, stream: trio.abc.Stream, limits: PaceLimits = USUAL) -> None:
        self._stream = stream
        self._limits = limits
        self._pace = RequestPace(limits, trio.current_time())
        self._h11 = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
        # Of the request in hand.
        self._method = ""

    async def request(self) -> WholeRequest | None:
        """The next request, or None when the client has no more.

        Raises h11.ProtocolError for what is none (after an answer that says so), and trio's errors.
        """
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
            ahead = bool(self._h11.trailing_data[0])
            self._pace.turn(Awaited.HEAD if ahead else Awaited.QUIET, trio.current_time())
        elif self._h11.our_state is not h11.IDLE:
            return None
        try:
            head = await self._next()
            if not isinstance(head, h11.Request):
                return None
            self._method = head.method.decode("ascii")
            self._pace.turn(Awaited.BODY, trio.current_time())
            body = bytearray()
            while isinstance(event := await self._next(), h11.Data):
                body += event.data
                self._pace.received(len(event.data))
                if len(body) > MAX_BODY:
                    await self.answer(Response(413), ())
                    return None
            if not isinstance(event, h11.EndOfMessage):
                return None
        except TooSlow as error:
            if self._pace.awaited is not Awaited.QUIET:
                await self._send(408, (("connection", "close"),), f"{error}\n".encode())
            return None
        except h11.RemoteProtocolError as error:
            if self._h11.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                await self._send(error.error_status_hint, (("connection", "close"),), b"")
            raise
        return WholeRequest(self._method, head.target.decode("latin-1"), _headers(head), bytes(body))

    async def answer(self, response: Response, headers: Headers) -> None:
        """Send an answer with these headers; its length is added. To HEAD it is the length that `response` speaks of."""
        length = None if response.body else find_header(response.headers, "content-length")
        await self._send(response.status, headers, response.body, length)

    async def _send(self, status: int, headers: Headers, body: bytes, length: str | None = None) -> None:
        head = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        content = has_content(self._method, status)
        if has_content("", status):
            said = len(body) if content or length is None else length
            head.append((b"content-length", str(said).encode("latin-1")))
        data = self._h11.send(h11.Response(status_code=status, headers=head)) or b""
        if body and content:
            data += self._h11.send(h11.Data(data=body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        with trio.fail_after(self._limits.write):
            await self._stream.send_all(data)

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while (event := self._h11.next_event()) is h11.NEED_DATA:
            if self._h11.they_are_waiting_for_100_continue:
                go_on = self._h11.send(h11.InformationalResponse(status_code=100, headers=[]))
                await self._stream.send_all(go_on or b"")
            self._h11.receive_data(await receive_paced(self._stream, self._pace))
        return event


class Http1Client:
    """The client's end towards one server; connected when first needed, and again after the server hung up."""

    def __init__(self, address: tuple[str, int]) -> None:
        self._address = address
        self._stream: trio.SocketStream | None = None
        self._h11 = h11.Connection(h11.CLIENT)

    async def exchange(self, request: WholeRequest) -> Response:
        """Send a request, once, and return the whole answer. Raises Unreachable."""
        try:
            with trio.fail_after(PATIENCE):
                return await self._once(request)
        except (OSError, trio.BrokenResourceError, h11.ProtocolError, trio.TooSlowError, ConnectFailed) as error:
            await self.close()
            raise Unreachable(str(error) or type(error).__name__) from None

    async def close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await trio.aclose_forcefully(stream)

    async def _once(self, request: WholeRequest) -> Response:
        # Nothing can come on an idle connection but its end. Sending again after a failure would repeat requests.
        if self._stream is not None and self._stream.socket.is_readable():
            await self.close()
        if self._stream is None:
            await refuse_apple_resolved(*self._address)
            self._stream = await trio.open_tcp_stream(*self._address)
            self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=65536)
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in request.headers]
        if request.body or request.method in ("POST", "PUT", "PATCH"):
            headers.append((b"content-length", b"%d" % len(request.body)))
        head = h11.Request(method=request.method, target=request.target.encode("latin-1"), headers=headers)
        data = self._h11.send(head) or b""
        if request.body:
            data += self._h11.send(h11.Data(data=request.body)) or b""
        data += self._h11.send(h11.EndOfMessage()) or b""
        await self._stream.send_all(data)
        response = await self._answer(self._stream)
        if self._h11.our_state is h11.DONE and self._h11.their_state is h11.DONE:
            self._h11.start_next_cycle()
        else:
            await self.close()
        return response

    async def _answer(self, stream: trio.SocketStream) -> Response:
        head: h11.Response | None = None
        body = bytearray()
        while True:
            event = self._h11.next_event()
            if event is h11.NEED_DATA:
                self._h11.receive_data(bytes(await stream.receive_some(65536)))
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY:
                    raise h11.RemoteProtocolError("its answer is too long")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return Response(head.status_code, _headers(head), bytes(body))
            elif not isinstance(event, h11.InformationalResponse):
                raise h11.RemoteProtocolError("it hung up without an answer")


def _headers(message: h11.Request | h11.Response) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in message.headers.raw_items())

"""A small HTTP/1.1 server for ASGI apps on trio: what the fakes' fronts and admin surfaces need, in one loop.

One request at a time per connection, no upgrade, no lifespan; meant for loopback. An app that raises `Dropped` instead
of answering drops the connection, here and in the in-process network.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

import h11
import trio

from mdmsim.http import has_content
from mdmsim.pace import USUAL, Awaited, PaceLimits, RequestPace

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]


class Dropped(ConnectionError):
    """Raised by an app whose client is to get no answer, only the end of the connection: a fault that was asked for."""


#: Seconds after a deadline at which it is surely over.
_MOMENT = 0.001


class TooSlow(Exception):
    """The client is slower than the limits allow; the text says at what."""


async def receive_paced(stream: trio.abc.Stream, pace: RequestPace) -> bytes:
    """Bytes of a client, b"" at its end, within what `pace` allows. Raises TooSlow, and what streams raise."""
    while True:
        with trio.move_on_at(pace.deadline + _MOMENT):
            data = bytes(await stream.receive_some(65536))
            if data and pace.awaited is Awaited.QUIET:
                pace.turn(Awaited.HEAD, trio.current_time())
            return data
        if (why := pace.overdue(trio.current_time())) is not None:
            raise TooSlow(why)


async def serve_asgi(
    app: App,
    listeners: Sequence[trio.SocketListener],
    *,
    context: ssl.SSLContext | None = None,
    limits: PaceLimits = USUAL,
    task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. With a `context`, TLS is spoken. A client slower than `limits` gets 408, or is cut."""

    async def handle(stream: trio.SocketStream) -> None:
        transport: trio.abc.Stream = stream
        if context is not None:
            transport = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        connection = _Connection(app, transport, "http" if context is None else "https", limits)
        try:
            await connection.run()
        except (trio.BrokenResourceError, trio.TooSlowError, h11.ProtocolError, Dropped):
            # The client is gone, or speaks something else (h11's own answer was sent where there is one), or the app
            # wants the connection dropped.
            pass
        except Exception:
            # A defect of the app, already answered with 500: it must not take the rest of the process down.
            _log.exception("an ASGI app failed")
        finally:
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(handle, list(listeners), task_status=task_status)


class _Connection:
    def __init__(self, app: App, stream: trio.abc.Stream, scheme: str, limits: PaceLimits) -> None:
        self._limits = limits
        self._pace = RequestPace(limits, trio.current_time())
        self._app = app
        self._stream = stream
        self._scheme = scheme
        self._h11 = h11.Connection(h11.SERVER)

    async def run(self) -> None:
        while True:
            try:
                event = await self._next()
            except h11.RemoteProtocolError as error:
                await self._refuse(error.error_status_hint)
                return
            except TooSlow:
                # A connection on which nothing was asked ends without a word.
                if self._pace.awaited is Awaited.HEAD:
                    await self._refuse(408)
                return
            if not isinstance(event, h11.Request):
                return
            self._pace.turn(Awaited.BODY, trio.current_time())
            try:
                await self._request(event)
            except TooSlow:
                await self._refuse(408)
                return
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()
            # What a hasty client sent ahead is the beginning of a request.
            ahead = bool(self._h11.trailing_data[0])
            self._pace.turn(Awaited.HEAD if ahead else Awaited.QUIET, trio.current_time())

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(await receive_paced(self._stream, self._pace))

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            with trio.fail_after(self._limits.write):
                await self._stream.send_all(data)

    async def _refuse(self, status: int) -> None:
        if self._h11.our_state is not h11.IDLE and self._h11.our_state is not h11.SEND_RESPONSE:
            return
        headers = [("content-length", "0"), ("connection", "close")]
        await self._send(h11.Response(status_code=status, headers=headers))
        await self._send(h11.EndOfMessage())

    async def _request(self, request: h11.Request) -> None:
        raw_path, _, query = request.target.partition(b"?")
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": self._scheme,
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
            "client": None,
            "server": None,
        }
        ended = False
        # When the last piece of the body was read.
        read = trio.current_time()

        async def receive() -> Message:
            nonlocal ended, read
            if ended:
                # Nothing more is due but the end of the connection; what a hasty client sends ahead is kept.
                while data := await self._stream.receive_some(65536):
                    self._h11.receive_data(bytes(data))
                return {"type": "http.disconnect"}
            # The app's own time between two pieces is not the client's.
            self._pace.held(trio.current_time() - read)
            event = await self._next()
            read = trio.current_time()
            if isinstance(event, h11.Data):
                self._pace.received(len(event.data))
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            ended = True
            self._pace.turn(Awaited.NOTHING, trio.current_time())
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.disconnect"}

        content = True

        async def send(message: Message) -> None:
            nonlocal content
            if message["type"] == "http.response.start":
                status, headers = message["status"], message["headers"]
                content = has_content(scope["method"], status)
                if status == 204:
                    # RFC 9110 section 8.6: no Content-Length there.
                    headers = [pair for pair in headers if pair[0].lower() != b"content-length"]
                await self._send(h11.Response(status_code=status, headers=headers))
            elif message["type"] == "http.response.body":
                if (body := message.get("body")) and content:
                    await self._send(h11.Data(data=body))
                if not message.get("more_body"):
                    await self._send(h11.EndOfMessage())

        await self._app(scope, receive, send)
        # What the app did not read of the body, so that the next request can be found.
        while self._h11.their_state is h11.SEND_BODY:
            if isinstance(event := await self._next(), h11.Data):
                self._pace.received(len(event.data))
            elif isinstance(event, h11.EndOfMessage):
                break

"""A small HTTP/1.1 server for ASGI apps on trio: what the admin surface needs, beside the front in one loop.

One request at a time per connection, whole bodies, no upgrade, no lifespan; loopback.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any
from urllib.parse import unquote

import h11
import trio

_log = logging.getLogger(__name__)

Message = MutableMapping[str, Any]
App = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

#: Seconds that a client may take between bytes of a request, and to read an answer.
PATIENCE = 30.0


async def serve_asgi(
    app: App,
    listeners: Sequence[trio.SocketListener],
    *,
    task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled."""

    async def handle(stream: trio.SocketStream) -> None:
        connection = _Connection(app, stream)
        try:
            with trio.move_on_after(PATIENCE) as scope:
                await connection.run(scope)
        except (trio.BrokenResourceError, h11.ProtocolError):
            # The client is gone, or speaks something else; h11's own answer was sent where there is one.
            pass
        except Exception:
            # A defect of the app, already answered with 500: it must not take the rest of the process down.
            _log.exception("the admin API failed")
        finally:
            await trio.aclose_forcefully(stream)

    await trio.serve_listeners(handle, list(listeners), task_status=task_status)


class _Connection:
    def __init__(self, app: App, stream: trio.abc.Stream) -> None:
        self._app = app
        self._stream = stream
        self._h11 = h11.Connection(h11.SERVER)

    async def run(self, patience: trio.CancelScope) -> None:
        while True:
            patience.deadline = trio.current_time() + PATIENCE
            try:
                event = await self._next()
            except h11.RemoteProtocolError as error:
                await self._refuse(error)
                return
            if not isinstance(event, h11.Request):
                return
            await self._request(event)
            if self._h11.our_state is not h11.DONE or self._h11.their_state is not h11.DONE:
                return
            self._h11.start_next_cycle()

    async def _next(self) -> h11.Event | type[h11.NEED_DATA] | type[h11.PAUSED]:
        while True:
            event = self._h11.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._h11.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            self._h11.receive_data(bytes(await self._stream.receive_some(65536)))

    async def _send(self, event: h11.Event) -> None:
        if data := self._h11.send(event):
            await self._stream.send_all(data)

    async def _refuse(self, error: h11.RemoteProtocolError) -> None:
        if self._h11.our_state is not h11.IDLE and self._h11.our_state is not h11.SEND_RESPONSE:
            return
        headers = [("content-length", "0"), ("connection", "close")]
        await self._send(h11.Response(status_code=error.error_status_hint, headers=headers))
        await self._send(h11.EndOfMessage())

    async def _request(self, request: h11.Request) -> None:
        raw_path, _, query = request.target.partition(b"?")
        scope: Message = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": unquote(raw_path.decode("latin-1")),
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": [(bytes(name), bytes(value)) for name, value in request.headers],
            "client": None,
            "server": None,
        }

        async def receive() -> Message:
            event = await self._next()
            if isinstance(event, h11.Data):
                return {"type": "http.request", "body": bytes(event.data), "more_body": True}
            if isinstance(event, h11.EndOfMessage):
                return {"type": "http.request", "body": b"", "more_body": False}
            return {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._send(h11.Response(status_code=message["status"], headers=message["headers"]))
            elif message["type"] == "http.response.body":
                if body := message.get("body"):
                    await self._send(h11.Data(data=body))
                if not message.get("more_body"):
                    await self._send(h11.EndOfMessage())

        await self._app(scope, receive, send)
        # What the app did not read of the body, so that the next request can be found.
        while self._h11.their_state is h11.SEND_BODY and not isinstance(await self._next(), h11.EndOfMessage):
            continue

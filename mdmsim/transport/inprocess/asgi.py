"""An HTTP/1.1 server for ASGI apps over connections in memory: what uvicorn is to the live world.

Requests really are bytes here, so that a device's client, keep-alive, cut connections and all, is the one it uses
live. The client certificate reaches the app through ASGI's TLS extension only.
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass, field
from functools import lru_cache
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import httptools
import trio

from mdmsim.asgi import Dropped
from mdmsim.printable import printable
from mdmsim.transport.conversation import LinkBroken
from mdmsim.transport.inprocess.memory import MemoryEnd

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
App = Callable[[Scope, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]

log = logging.getLogger("mdmsim.transport.inprocess")

#: ASGI's TLS extension names version and suite by number (RFC 8446 sections 4.1.2 and B.4): TLS 1.3, AES-128-GCM.
_TLS_1_3 = 0x0304
_AES_128_GCM_SHA256 = 0x1301


@lru_cache(maxsize=4096)
def _pem(der: bytes) -> str:
    return ssl.DER_cert_to_PEM_cert(der)


@lru_cache(maxsize=4096)
def _client_name(der: bytes) -> str | None:
    from cryptography import x509

    try:
        return x509.load_der_x509_certificate(der).subject.rfc4514_string()
    except ValueError:
        return None


class _Asked:
    """One request as its bytes come in. httptools calls the `on_` methods."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.body = bytearray()
        self.head_done = self.done = False
        self._parser = httptools.HttpRequestParser(self)

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_done:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        self.head_done = True

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.done = True

    def feed(self, data: bytes) -> None:
        """Raises ValueError for what is no request."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            raise ValueError(str(error)) from None

    @property
    def method(self) -> str:
        method: bytes = self._parser.get_method()
        return method.decode("ascii")

    @property
    def keep_alive(self) -> bool:
        return not any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)


class _Exchange:
    """What an app sees of one request: `receive` and `send`."""

    def __init__(self, end: MemoryEnd, asked: _Asked) -> None:
        self._end, self._asked = end, asked
        self._body_given = False
        self._head: bytes | None = None
        self._chunked = False
        self._no_body = asked.method == "HEAD"
        self.started = self.complete = self.gone = False
        self.keep_alive = asked.keep_alive

    async def receive(self) -> Message:
        while not self._asked.done and not self._asked.body and not self.gone:
            await self.read_on()
        if not self._body_given and (self._asked.body or self._asked.done):
            body = bytes(self._asked.body)
            self._asked.body.clear()
            self._body_given = self._asked.done
            return {"type": "http.request", "body": body, "more_body": not self._asked.done}
        while not self.gone and not self.complete:
            await self.read_on()  # nothing more is due: what comes is the end of the connection
        return {"type": "http.disconnect"}

    async def read_on(self) -> None:
        """Take the next bytes of the connection in; its end makes it `gone`."""
        try:
            data = await self._end.receive()
        except LinkBroken:
            data = b""
        if not data:
            self.gone = True
            return
        try:
            self._asked.feed(data)
        except ValueError:
            self.gone = True

    async def send(self, message: Message) -> None:
        await trio.lowlevel.checkpoint()  # as a server over sockets would
        if message["type"] == "http.response.start":
            self._start(message["status"], message.get("headers", ()))
        elif message["type"] == "http.response.body":
            await self._body(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise RuntimeError(f"the app sent {message['type']!r}, which HTTP does not know")

    def _start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        if self.started:
            raise RuntimeError("the app started its answer twice")
        self.started = True
        phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
        lines = [f"HTTP/1.1 {status} {phrase}\r\n".encode()]
        framed = False
        for name, value in headers:
            lower = bytes(name).lower()
            framed = framed or lower in (b"content-length", b"transfer-encoding")
            if lower == b"connection" and b"close" in bytes(value).lower():
                self.keep_alive = False
            lines.append(b"%b: %b\r\n" % (bytes(name), bytes(value)))
        if not self._asked.done:
            # The rest of the request may still come, and the next one must not be taken for it.
            self.keep_alive = False
            lines.append(b"connection: close\r\n")
        if status in (204, 304):
            self._no_body = True
        elif not framed:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._head = b"".join(lines)

    async def _body(self, body: bytes, *, more: bool) -> None:
        if not self.started or self.complete:
            raise RuntimeError("the app sent a body before the start of its answer, or after its end")
        out = self._head or b""
        self._head = None
        self.complete = not more
        if not self._no_body:
            if not self._chunked:
                out += body
            else:
                if body:
                    out += b"%x\r\n%b\r\n" % (len(body), body)
                if not more:
                    out += b"0\r\n\r\n"
        try:
            await self._end.transmit(out)
        except LinkBroken:
            self.gone = True  # the app may finish its work all the same


@dataclass(slots=True)
class AsgiServer:
    """Serves one app to many connections. `keep_alive`: seconds an idle connection stays open.

    `errors`: what the app raised, oldest first; each was answered with a 500, as uvicorn does.
    """

    app: App
    scheme: str
    server: tuple[str, int]
    server_certificate: bytes | None
    state: dict[str, Any] = field(default_factory=dict)
    keep_alive: float = 5.0
    errors: list[Exception] = field(default_factory=list)

    async def serve(self, end: MemoryEnd) -> None:
        """One connection, from its first byte to its end."""
        try:
            while await self._exchange(end):
                pass
        finally:
            end.close()

    async def _exchange(self, end: MemoryEnd) -> bool:
        asked = _Asked()
        try:
            with trio.move_on_after(self.keep_alive) as idle:
                while not asked.head_done:
                    data = await end.receive()
                    if not data:
                        return False
                    asked.feed(data)
            if idle.cancelled_caught:
                return False
        except LinkBroken:
            return False
        except ValueError as error:
            log.warning("no HTTP request: %s", printable(str(error)))
            await _refuse(end, b"400 Bad Request")
            return False
        exchange = _Exchange(end, asked)
        try:
            await self.app(self._scope(asked, end), exchange.receive, exchange.send)
            if not exchange.complete:
                raise RuntimeError(f"the app left {asked.method} {asked.url!r} without a complete answer")
        except Dropped:
            end.abort()
            return False
        except Exception as error:
            self.errors.append(error)
            log.error("%s %s: the app raised", asked.method, printable(asked.url.decode("latin-1")), exc_info=error)
            if not exchange.complete:
                if not exchange.started:
                    await _refuse(end, b"500 Internal Server Error")
                    return False
                end.abort()
                return False
        while not asked.done and not exchange.gone:
            asked.body.clear()
            await exchange.read_on()
        return exchange.keep_alive and not exchange.gone

    def _scope(self, asked: _Asked, end: MemoryEnd) -> Scope:
        path, _, query = asked.url.partition(b"?")
        scope: Scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": asked.method,
            "scheme": self.scheme,
            "path": unquote(path.decode("ascii")),
            "raw_path": path,
            "query_string": query,
            "root_path": "",
            "headers": asked.headers,
            "client": (end.peer.address, 40_000 + end.number % 20_000),
            "server": self.server,
            "state": dict(self.state),
            "extensions": {},
        }
        if self.server_certificate is not None:
            chain = end.peer.client_chain
            scope["extensions"]["tls"] = {
                "server_cert": _pem(self.server_certificate),
                "client_cert_chain": [_pem(der) for der in chain],
                "client_cert_name": _client_name(chain[0]) if chain else None,
                "client_cert_error": None,
                "tls_version": _TLS_1_3,
                "cipher_suite": _AES_128_GCM_SHA256,
            }
        return scope


async def _refuse(end: MemoryEnd, status: bytes) -> None:
    try:
        await end.transmit(b"HTTP/1.1 %b\r\nconnection: close\r\ncontent-length: 0\r\n\r\n" % status)
    except LinkBroken:
        pass


class Lifespan:
    """An app's lifespan, entered and left in one task."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._stop = trio.Event()
        self._done = trio.Event()
        self._scope = trio.CancelScope(shield=True)
        self._failure: str | None = None
        self.state: dict[str, Any] = {}

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Report started once the app says so, then stay until `stop` or `kill`. Raises RuntimeError for a failed start.

        An app that knows no lifespan raises on the scope; it is served all the same, as ASGI asks.
        """
        asked = started = False

        async def receive() -> Message:
            nonlocal asked
            if not asked:
                asked = True
                return {"type": "lifespan.startup"}
            await self._stop.wait()
            return {"type": "lifespan.shutdown"}

        async def send(message: Message) -> None:
            nonlocal started
            if message["type"] == "lifespan.startup.complete":
                started = True
                task_status.started()
            elif message["type"] in ("lifespan.startup.failed", "lifespan.shutdown.failed"):
                self._failure = message.get("message") or message["type"]

        scope: Scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.4"}, "state": self.state}
        try:
            with self._scope:
                try:
                    await self._app(scope, receive, send)
                except Exception as error:
                    if started or self._failure is not None:
                        raise
                    log.info("the app knows no lifespan: %r", error)
            if self._failure is not None and not self._scope.cancel_called:
                raise RuntimeError(f"the app's lifespan failed: {self._failure}")
            if not started:
                task_status.started()
        finally:
            self._done.set()

    async def stop(self) -> None:
        """Ask the app to shut down and wait until it has, cancelled or not."""
        self._stop.set()
        with trio.CancelScope(shield=True):
            await self._done.wait()

    def kill(self) -> None:
        """End it where it stands, without shutdown: what SIGKILL is to a process."""
        self._scope.cancel()

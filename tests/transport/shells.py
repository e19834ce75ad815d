"""The three shells under one name: each plays a script's server and offers `send` against it."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio
import trio.testing

from mdmsim.clock import WallClock
from mdmsim.http import Identity, Request, Response, Trust
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.conversation import LinkBroken
from mdmsim.transport.inprocess import MemoryEnd, Network
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.transport.wire import Tap
from tests.transport.certs import HOST, ROOT, SERVER
from tests.transport.script import Ended, Script

T = TypeVar("T")
SHELLS = ("trio", "blocking", "in-process")
#: Long enough to connect on a busy machine, short enough to wait for.
SOON = 0.8
URL = f"https://{HOST}/mdm"
TRUST = Trust(anchors=(ROOT.der,))


def put(body: bytes = b"<plist/>", **changes: Any) -> Request:
    """A legal request; change one thing."""
    return Request(**{"method": "PUT", "url": URL, "body": body, "trust": TRUST, "timeout": 20.0, **changes})


@dataclass
class Shell:
    """`send` as the shell under test has it, async in all three."""

    kind: str
    send: Callable[..., Awaitable[Response]]
    close: Callable[[], None]
    client: Any


class SocketStream:
    """A server's end over trio: TLS where `stream` is an SSLStream."""

    def __init__(self, stream: trio.SSLStream[trio.SocketStream] | trio.SocketStream) -> None:
        self._stream = stream

    async def get(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(65536))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""

    async def put(self, data: bytes) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise Ended from None

    async def shut(self) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            await self._stream.aclose()

    async def cut(self) -> None:
        bare = self._stream.transport_stream if isinstance(self._stream, trio.SSLStream) else self._stream
        await bare.aclose()


class MemoryStream:
    """A server's end in memory."""

    def __init__(self, end: MemoryEnd) -> None:
        self._end = end

    async def get(self) -> bytes:
        try:
            return await self._end.receive()
        except LinkBroken:
            return b""

    async def put(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()  # as a socket would: each piece travels alone
        try:
            await self._end.transmit(data)
        except LinkBroken:
            raise Ended from None
        await trio.testing.wait_all_tasks_blocked()

    async def shut(self) -> None:
        self._end.close()

    async def cut(self) -> None:
        self._end.abort()


def server_context(identity: Identity, *, client_anchor: bytes | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.NamedTemporaryFile() as file:
        pem = ssl.DER_cert_to_PEM_cert
        key = ssl.DER_cert_to_PEM_cert(identity.key).replace("CERTIFICATE", "PRIVATE KEY")
        Path(file.name).write_text(key + "".join(pem(der) for der in (identity.certificate, *identity.chain)))
        context.load_cert_chain(file.name)
    if client_anchor is not None:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(cadata=client_anchor)
    return context


@asynccontextmanager
async def playing(
    kind: str,
    script: Script,
    *,
    server: Identity = SERVER,
    host: str = HOST,
    client_anchor: bytes | None = ROOT.der,
    tls: bool = True,
    **settings: Any,
) -> AsyncIterator[Shell]:
    """A shell whose network has one host, `https://mdm.example.test`, that plays the script."""
    port = 443 if tls else 80
    chain = (server.certificate, *server.chain) if tls else ()
    anchors = None if client_anchor is None else (client_anchor,)
    if kind == "in-process":

        async def handle(end: MemoryEnd) -> None:
            shown = end.peer.client_chain
            with script.connection():
                await script.play(MemoryStream(end), shown[0] if shown else None)

        network = Network(clock=WallClock())
        async with network.serving_bytes(host, port, handle, chain=chain, client_anchors=anchors):
            client = network.client("device", **settings)
            try:
                yield Shell(kind, client.send, client.close, client)
            finally:
                client.close()
                await script.finished()
        return
    async with serving_script(script, server=server, client_anchor=client_anchor, tls=tls) as listening:
        settings = {"connect_to": {f"{host}:{port}": ("127.0.0.1", listening)}, **settings}
        if kind == "trio":
            with TrioTransport(**settings) as transport:
                yield Shell(kind, transport.send, transport.close, transport)
        else:
            with BlockingTransport(**settings) as blocking:

                async def send(request: Request, *, tap: Tap | None = None) -> Response:
                    return await trio.to_thread.run_sync(lambda: blocking.send(request, tap=tap))

                yield Shell(kind, send, blocking.close, blocking)


@asynccontextmanager
async def serving_script(
    script: Script, *, server: Identity = SERVER, client_anchor: bytes | None = ROOT.der, tls: bool = True
) -> AsyncIterator[int]:
    """The port on which the script is played over sockets; leaves once every connection was played to its end."""
    context = server_context(server, client_anchor=client_anchor)

    async def serve(stream: trio.SocketStream) -> None:
        with script.connection():
            if not tls:
                await script.play(SocketStream(stream))
                return
            wrapped = trio.SSLStream(stream, context, server_side=True)
            try:
                await wrapped.do_handshake()
            except (trio.BrokenResourceError, OSError):
                # trio keeps the alert to itself; every real server sends it.
                with suppress(trio.BrokenResourceError):
                    await stream.send_all(wrapped._outgoing.read())
                await stream.aclose()
                return
            await script.play(SocketStream(wrapped), wrapped.getpeercert(binary_form=True))

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, serve, 0)  # noqa: RUF100
        try:
            yield listeners[0].socket.getsockname()[1]
        finally:
            await script.finished()
            nursery.cancel_scope.cancel()


def run(kind: str, main: Callable[[], Awaitable[T]]) -> T:
    """Run a test's body: with virtual time where there are no sockets."""
    try:
        if kind == "in-process":
            return trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
        return trio.run(main)
    except BaseExceptionGroup as group:
        inner: BaseException = group
        while isinstance(inner, BaseExceptionGroup) and len(inner.exceptions) == 1:
            inner = inner.exceptions[0]
        raise inner from None

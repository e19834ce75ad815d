"""The HTTP/1.1 client for fleets: trio on bare sockets, TLS in memory between.

Lean on purpose: no task, no lock and no stream object per request. trio's own SSLStream would cost a lock and a
checkpoint on both sides of every call.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Protocol, cast

import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.http import ConnectFailed, Request, Response, TimedOut, TLSFailed, TransportError
from mdmsim.transport.conversation import Connect, Conversation, House, LinkBroken, Receive, Steps, Transmit
from mdmsim.transport.descriptors import own_limit
from mdmsim.transport.http1 import Limits
from mdmsim.transport.kept import KEEP, Kept, Link
from mdmsim.transport.place import Place, refuse_apple
from mdmsim.transport.tls import TlsClient, TlsPipe
from mdmsim.transport.wire import Tap

_CHUNK = 65536


class AsyncLink(Link, Protocol):
    """A connection that trio code can use."""

    async def transmit(self, data: bytes) -> None:
        """Send all of it. Raises LinkBroken."""

    async def receive(self) -> bytes:
        """Some bytes, or b"" after an orderly end. Raises LinkBroken."""


class WireClient:
    """Runs conversations under trio; what a link is, the subclass knows."""

    def __init__(self, *, keep: int, keep_seconds: float, limits: Limits) -> None:
        self._house = House(kept=Kept(keep, keep_seconds), limits=limits, now=trio.current_time, check=self._check)
        self._numbers = 0

    def _check(self, place: Place) -> None:
        """Raise ConnectFailed for a place that this client does not go to."""

    async def _dial(self, place: Place, request: Request) -> AsyncLink:
        raise ConnectFailed(f"nothing leads to {place.at}")

    async def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """The complete answer, redirects followed. Raises TransportError when none came."""
        conversation = Conversation(request, self._house, tap)
        steps = conversation.steps()
        try:
            with trio.move_on_after(request.timeout):
                return await self._carry_out(steps)
        finally:
            steps.close()  # a cancelled exchange drops its connection
        raise conversation.explain(TimedOut(f"no complete answer within {request.timeout:g} s"))

    async def _carry_out(self, steps: Steps) -> Response:
        reply: Link | bytes | None = None
        failure: LinkBroken | TransportError | None = None
        while True:
            try:
                step = steps.send(reply) if failure is None else steps.throw(failure)
            except StopIteration as end:
                response: Response = end.value
                return response
            reply = failure = None
            try:
                if isinstance(step, Transmit):
                    await cast(AsyncLink, step.link).transmit(step.data)
                elif isinstance(step, Receive):
                    reply = await cast(AsyncLink, step.link).receive()
                elif isinstance(step, Connect):
                    reply = await self._dial(step.place, step.request)
                else:
                    await trio.sleep(step.seconds)
            except (LinkBroken, TransportError) as error:
                failure = error

    def close(self) -> None:
        """Close the connections that are kept; the client can still be used."""
        self._house.kept.close()


class TrioTransport(WireClient):
    """Sends over TCP and TLS.

    `allow_hosts`: names of Apple's that may be connected to all the same. `connect_to`: from `host:port` to the
    address and port to connect to in its stead; Host header and certificate check keep the name. `keep`: idle
    connections kept in all; `keep_seconds`: for how long one is used again.
    """

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] = (),
        connect_to: Mapping[str, tuple[str, int]] | None = None,
        keep: int = KEEP,
        keep_seconds: float = 60.0,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(keep=keep, keep_seconds=keep_seconds, limits=limits or Limits())
        self._allow_hosts = frozenset(allow_hosts)
        self._connect_to = dict(connect_to or {})
        self._tls = TlsClient()

    def __enter__(self) -> TrioTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, place: Place) -> None:
        refuse_apple(place, self._allow_hosts, self._connect_to)

    async def _dial(self, place: Place, request: Request) -> AsyncLink:
        host, port = self._connect_to.get(place.at, (place.host, place.port))
        if place.host not in self._allow_hosts:
            await refuse_apple_resolved(host, port, self._allow_hosts)
        try:
            stream = await trio.open_tcp_stream(host, port)
        except OSError as error:
            failed = ConnectFailed(f"cannot connect to {place.at}: {_os_reason(error)}")
            raise own_limit(error, place.at) or failed from None
        # trio's stream and socket have done their part: from here on the bare socket, found by its number.
        bare = socket.socket(fileno=stream.socket.detach())
        bare.setblocking(False)
        self._numbers += 1
        if not place.tls:
            return PlainLink(bare, self._numbers)
        try:
            # No await between the identity's loading and the making of the pipe: both happen in begin().
            pipe = self._tls.begin(place, request.trust, request.identity)
            link = TlsLink(bare, self._numbers, pipe, self._tls, place, request)
            await link.handshake()
        except BaseException:
            bare.close()
            raise
        return link


def _os_reason(error: OSError) -> str:
    # trio wraps the attempts at several addresses in a group; one reason is enough for a person.
    cause: BaseException = error
    while isinstance(cause.__cause__, BaseException):
        cause = cause.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError) and cause.errno and not isinstance(cause, socket.gaierror):
        return os.strerror(cause.errno)
    return (cause.strerror if isinstance(cause, OSError) else None) or str(error)


class PlainLink:
    """A TCP connection."""

    __slots__ = ("_socket", "idle_since", "number")

    def __init__(self, bare: socket.socket, number: int) -> None:
        self._socket = bare
        self.number = number
        self.idle_since = 0.0

    async def transmit(self, data: bytes) -> None:
        await _send(self._socket, data)

    async def receive(self) -> bytes:
        return await _receive(self._socket)

    def close(self) -> None:
        self._socket.close()

    def abort(self) -> None:
        self._socket.close()


class TlsLink:
    """A TCP connection with TLS in memory on top."""

    __slots__ = ("_identity", "_place", "_socket", "_tls", "_trust", "idle_since", "number", "pipe")

    def __init__(
        self, bare: socket.socket, number: int, pipe: TlsPipe, tls: TlsClient, place: Place, request: Request
    ) -> None:
        self._socket = bare
        self._tls = tls
        self._place = place
        # Not the whole request: a kept connection must not keep a body alive.
        self._trust, self._identity = request.trust, request.identity
        self.pipe = pipe
        self.number = number
        self.idle_since = 0.0

    async def handshake(self) -> None:
        """Raises TLSFailed."""
        pipe = self.pipe
        try:
            while not pipe.handshake():
                await _send(self._socket, pipe.outgoing())
                pipe.incoming(await _receive(self._socket))
            await _send(self._socket, pipe.outgoing())
        except LinkBroken as broken:
            raise TLSFailed(f"{self._place.at} ended the connection during the TLS handshake: {broken}") from None
        except TLSFailed:
            self._say(pipe.outgoing())
            raise

    async def transmit(self, data: bytes) -> None:
        await _send(self._socket, self.pipe.seal(data))

    async def receive(self) -> bytes:
        pipe = self.pipe
        while True:
            if pipe.pending():
                piece = pipe.unseal()
                if piece is not None:
                    return piece
            pipe.incoming(await _receive(self._socket))

    def _say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.send(data)

    def close(self) -> None:
        self._tls.keep_session(self.pipe, self._place, self._trust, self._identity)
        self._say(self.pipe.farewell())
        self._socket.close()

    def abort(self) -> None:
        self._tls.keep_session(self.pipe, self._place, self._trust, self._identity)
        self._socket.close()


async def _send(bare: socket.socket, data: bytes) -> None:
    view: bytes | memoryview = data
    while view:
        try:
            sent = bare.send(view)
        except BlockingIOError:
            await trio.lowlevel.wait_writable(bare.fileno())
            continue
        except OSError as error:
            raise LinkBroken(error.strerror or str(error)) from None
        if sent == len(view):
            return
        view = memoryview(view)[sent:]


async def _receive(bare: socket.socket) -> bytes:
    # Waiting first: the answer to a request is never there yet, and each exchange yields to the others once.
    while True:
        await trio.lowlevel.wait_readable(bare.fileno())
        try:
            return bare.recv(_CHUNK)
        except BlockingIOError:
            continue
        except OSError as error:
            raise LinkBroken(error.strerror or str(error)) from None

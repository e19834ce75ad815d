"""The same client for blocking code: a REPL, a thread, or gevent's greenlets once `gevent.monkey` has patched sockets.

Needs nothing of trio's. One transport may serve many greenlets or threads at a time.
"""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Collection, Mapping
from types import TracebackType
from typing import Protocol, cast

from mdmsim.apple_network import refuse_apple_resolved_blocking
from mdmsim.clock import SECOND, Clock, WallClock
from mdmsim.http import ConnectFailed, Request, Response, TimedOut, TLSFailed, TransportError
from mdmsim.transport.conversation import Connect, Conversation, House, LinkBroken, Receive, Steps, Transmit
from mdmsim.transport.descriptors import own_limit
from mdmsim.transport.http1 import Limits
from mdmsim.transport.kept import KEEP, Kept, Link
from mdmsim.transport.place import Place, refuse_apple
from mdmsim.transport.tls import TlsClient, TlsPipe
from mdmsim.transport.wire import Tap

_CHUNK = 65536
_DAY = 86_400.0


class _OutOfTime(Exception):
    """The exchange's deadline passed."""


class _Deadline:
    """Seconds left of one exchange."""

    __slots__ = ("_at_ms", "_clock")

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._at_ms = clock.now_ms() + seconds * SECOND

    def left(self) -> float:
        """More than zero. Raises _OutOfTime."""
        left = (self._at_ms - self._clock.now_ms()) / SECOND
        if left <= 0:
            raise _OutOfTime
        return min(left, _DAY)  # sockets know no infinite timeout


class BlockingLink(Link, Protocol):
    """A connection that blocking code can use."""

    def transmit(self, data: bytes, deadline: _Deadline) -> None:
        """Send all of it. Raises LinkBroken."""

    def receive(self, deadline: _Deadline) -> bytes:
        """Some bytes, or b"" after an orderly end. Raises LinkBroken."""


class BlockingTransport:
    """Sends over TCP and TLS. For the settings see TrioTransport; `clock` measures timeouts, the wall's by default."""

    def __init__(
        self,
        *,
        allow_hosts: Collection[str] = (),
        connect_to: Mapping[str, tuple[str, int]] | None = None,
        keep: int = KEEP,
        keep_seconds: float = 60.0,
        limits: Limits | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._clock = clock or WallClock()
        self._house = House(
            kept=Kept(keep, keep_seconds), limits=limits or Limits(), now=self._seconds, check=self._check
        )
        self._allow_hosts = frozenset(allow_hosts)
        self._connect_to = dict(connect_to or {})
        self._tls = TlsClient()
        self._numbers = 0

    def __enter__(self) -> BlockingTransport:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _seconds(self) -> float:
        return self._clock.now_ms() / SECOND

    def _check(self, place: Place) -> None:
        refuse_apple(place, self._allow_hosts, self._connect_to)

    def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """The complete answer, redirects followed. Raises TransportError when none came."""
        conversation = Conversation(request, self._house, tap)
        steps = conversation.steps()
        try:
            return self._carry_out(steps, _Deadline(self._clock, request.timeout))
        except _OutOfTime:
            raise conversation.explain(TimedOut(f"no complete answer within {request.timeout:g} s")) from None
        finally:
            steps.close()  # an interrupted exchange drops its connection

    def _carry_out(self, steps: Steps, deadline: _Deadline) -> Response:
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
                    cast(BlockingLink, step.link).transmit(step.data, deadline)
                elif isinstance(step, Receive):
                    reply = cast(BlockingLink, step.link).receive(deadline)
                elif isinstance(step, Connect):
                    reply = self._dial(step.place, step.request, deadline)
                else:
                    time.sleep(min(step.seconds, deadline.left()))
                    deadline.left()
            except (LinkBroken, TransportError) as error:
                failure = error

    def close(self) -> None:
        """Close the connections that are kept; the transport can still be used."""
        self._house.kept.close()

    def _dial(self, place: Place, request: Request, deadline: _Deadline) -> Link:
        address = self._connect_to.get(place.at, (place.host, place.port))
        if place.host not in self._allow_hosts:
            refuse_apple_resolved_blocking(*address, self._allow_hosts)
        try:
            bare = socket.create_connection(address, timeout=deadline.left())
        except TimeoutError:
            raise _OutOfTime from None
        except OSError as error:
            failed = ConnectFailed(f"cannot connect to {place.at}: {error.strerror or error}")
            raise own_limit(error, place.at) or failed from None
        self._numbers += 1
        try:
            bare.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not place.tls:
                return PlainLink(bare, self._numbers)
            pipe = self._tls.begin(place, request.trust, request.identity)
            link = TlsLink(bare, self._numbers, pipe, self._tls, place, request)
            link.handshake(deadline)
        except BaseException:
            bare.close()
            raise
        return link


class PlainLink:
    """A TCP connection."""

    __slots__ = ("_socket", "idle_since", "number")

    def __init__(self, bare: socket.socket, number: int) -> None:
        self._socket = bare
        self.number = number
        self.idle_since = 0.0

    def transmit(self, data: bytes, deadline: _Deadline) -> None:
        _send(self._socket, data, deadline)

    def receive(self, deadline: _Deadline) -> bytes:
        return _receive(self._socket, deadline)

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

    def handshake(self, deadline: _Deadline) -> None:
        """Raises TLSFailed."""
        pipe = self.pipe
        try:
            while not pipe.handshake():
                _send(self._socket, pipe.outgoing(), deadline)
                pipe.incoming(_receive(self._socket, deadline))
            _send(self._socket, pipe.outgoing(), deadline)
        except LinkBroken as broken:
            raise TLSFailed(f"{self._place.at} ended the connection during the TLS handshake: {broken}") from None
        except TLSFailed:
            self._say(pipe.outgoing())
            raise

    def transmit(self, data: bytes, deadline: _Deadline) -> None:
        _send(self._socket, self.pipe.seal(data), deadline)

    def receive(self, deadline: _Deadline) -> bytes:
        pipe = self.pipe
        while True:
            if pipe.pending():
                piece = pipe.unseal()
                if piece is not None:
                    return piece
            pipe.incoming(_receive(self._socket, deadline))

    def _say(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._socket.settimeout(0)
            self._socket.send(data)

    def close(self) -> None:
        self._tls.keep_session(self.pipe, self._place, self._trust, self._identity)
        self._say(self.pipe.farewell())
        self._socket.close()

    def abort(self) -> None:
        self._tls.keep_session(self.pipe, self._place, self._trust, self._identity)
        self._socket.close()


def _send(bare: socket.socket, data: bytes, deadline: _Deadline) -> None:
    try:
        bare.settimeout(deadline.left())
        bare.sendall(data)
    except TimeoutError:
        raise _OutOfTime from None
    except OSError as error:
        raise LinkBroken(error.strerror or str(error)) from None


def _receive(bare: socket.socket, deadline: _Deadline) -> bytes:
    try:
        bare.settimeout(deadline.left())
        return bare.recv(_CHUNK)
    except TimeoutError:
        raise _OutOfTime from None
    except OSError as error:
        raise LinkBroken(error.strerror or str(error)) from None

"""The front on trio: accepts providers over TLS, keeps their number bounded, and goes down gracefully."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Sequence
from functools import partial
from operator import itemgetter

import trio

from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.front.connection import Connection, ConnectionInfo
from mdmsim.fakeapns.front.context import server_context, strange_names_are_no_news
from mdmsim.fakeapns.front.engines import engine
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.provider import Environment
from mdmsim.fakeapns.service import ApnsService
from mdmsim.http import Identity

_log = logging.getLogger(__name__)

#: Everything that connections are counted under, beside `accepted`, by how they ended.
ENDINGS: dict[str, str] = {
    "closed": "by either end, in good order or without a word",
    "cut": "by a fault instead of an answer, or at shutdown when the grace was over",
    "reset": "by a fault",
    "blackout": "by a blackout",
    "tls-refused": "by a fault in the handshake",
    "goaway": "by a fault, with a GOAWAY instead of SETTINGS",
    "refused": "with the reason in a GOAWAY: the certificate is for the other environment",
    "full": "refused: as many connections as are allowed were open",
    "crowded-out": "in the handshake or idle, to make room for a newer connection",
    "not-tls": "the first byte was none of TLS",
    "handshake-failed": "by an error of TLS, such as an unknown certificate",
    "handshake-cut": "the client left in the handshake",
    "handshake-timeout": "the client did not finish the handshake",
    "preface-timeout": "the client did not begin HTTP/2",
    "not-http2": "the first bytes in TLS were not HTTP/2",
    "idle": "no request for `idle_timeout`, or `http1_idle_timeout`",
    "no-answer-to-ping": "the client is gone",
    "too-slow": "the client did not read its answers, or did not finish its HTTP/1.1 request",
    "protocol-error": "frames that make no sense or came out of order",
    "compression-error": "header compression that cannot be undone",
    "flow-control-error": "more data than the window, or a window beyond all bounds",
    "frame-too-large": "a frame larger than announced",
    "header-list-too-long": "a header list over the announced size, however small when compressed",
    "continuation-flood": "a header block without end",
    "rapid-reset": "streams opened and cancelled without end",
    "stream-flood": "streams over the limit without end",
    "settings-flood": "SETTINGS without end",
    "ping-flood": "PING without end",
    "goaway-flood": "GOAWAY without end",
    "empty-data-flood": "empty DATA without end",
    "window-update-flood": "WINDOW_UPDATE without end",
    "priority-flood": "PRIORITY without end",
    "unknown-frame-flood": "frames of unknown types without end",
    "defect": "by a bug here",
}


class Front:
    """Serves a service over HTTP/2 and TLS, with `identity` as the server's certificate and key.

    `counters` count connections: `accepted`, and by how they ended (`ENDINGS`). Raises NoEngine where the settings ask
    for a library that is not installed.
    """

    def __init__(self, service: ApnsService, identity: Identity, settings: FrontSettings | None = None) -> None:
        self.service = service
        self.settings = settings or FrontSettings()
        self.counters: Counter[str] = Counter()
        engine(self.settings.http2)
        self._identity = identity
        self._context: ssl.SSLContext | None = None
        self._outdated = False
        # In the order in which they came.
        self._connections: dict[Connection, trio.CancelScope] = {}
        self._all_closed = trio.Event()
        self._draining = False
        service.certificates.watch(self._certificates_changed)
        service.on_blackout(partial(self._cut_all, "blackout"))

    @property
    def connections(self) -> int:
        return len(self._connections)

    def connections_info(self) -> list[ConnectionInfo]:
        """Every connection that is through its handshake, oldest first."""
        return [info for connection in self._connections if (info := connection.info()) is not None]

    def goaway(
        self,
        reason: str = "",
        code: int = 0,
        *,
        connections: Sequence[int] | int | None = None,
        last_stream: int | None = None,
    ) -> int:
        """Say GOAWAY on the connections of these numbers (default: all); return how many there were.

        `reason` goes into the debug data as Apple's reason words do, empty: no debug data. `code` is HTTP/2's error
        code. Open streams up to `last_stream` (default: all that arrived) are answered, then each connection is closed.
        Raises ValueError for values that a GOAWAY frame cannot carry.
        """
        for name, value in (("code", code), ("last_stream", last_stream)):
            if value is not None and not 0 <= value < 1 << 31:
                raise ValueError(f"{name}={value}: 0 to {(1 << 31) - 1}")
        if reason:
            ApnsError.of(reason)
        wanted = (connections,) if isinstance(connections, int) else connections
        told = 0
        for connection in tuple(self._connections):
            provider = connection.provider
            if provider is not None and (wanted is None or provider.number in wanted):
                connection.goaway(reason, code, last_stream)
                told += 1
        return told

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        environment: Environment = "production",
        plain: bool = False,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; then let open requests finish, say GOAWAY on every connection, and close.

        `environment` is that of clients which ask for none of Apple's names; these say theirs themselves. `plain`:
        without TLS, HTTP/2 by prior knowledge or HTTP/1.1, and no credential is judged (`Provider.plain`).
        """
        if not plain:
            self._tls()
        with strange_names_are_no_news():
            await self._serve_listeners(listeners, environment, plain, task_status)

    async def _serve_listeners(
        self,
        listeners: Sequence[trio.SocketListener],
        environment: Environment,
        plain: bool,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]],
    ) -> None:
        async with trio.open_nursery() as handlers:
            try:
                await trio.serve_listeners(
                    partial(self.handle, environment=environment, plain=plain),
                    list(listeners),
                    handler_nursery=handlers,
                    task_status=task_status,
                )
            finally:
                await self._drain()

    async def handle(
        self, stream: trio.abc.Stream, *, environment: Environment = "production", plain: bool = False
    ) -> None:
        """One connection, to its end."""
        self.counters["accepted"] += 1
        connection = Connection(self.service, self.settings, self.counters, stream, environment)
        # Cancelling the server must not cut requests short: a connection ends by draining, or when grace is over.
        with trio.CancelScope(shield=True) as scope:
            try:
                await self._serve(connection, environment, plain, scope)
            except Exception:
                # A defect, here or in h2: one provider's connection must not take all others down.
                _log.exception("a provider's connection failed")
                connection.ended("defect")
            finally:
                connection.close()
                self._connections.pop(connection, None)
                if self._draining and not self._connections:
                    self._all_closed.set()
                with trio.move_on_after(0):
                    await trio.aclose_forcefully(stream)

    async def _serve(
        self, connection: Connection, environment: Environment, plain: bool, scope: trio.CancelScope
    ) -> None:
        if self._draining:
            # Accepted at the last moment: nothing was asked on it yet.
            connection.ended("cut")
            await connection.transport.reset()
            return
        if len(self._connections) >= self.settings.max_connections and not self._make_room():
            connection.ended("full")
            await connection.transport.reset()
            return
        self._connections[connection] = scope
        greeting = self.service.greet(environment, plain=plain)
        if greeting is not None and greeting.name == "blackout":
            connection.ended("blackout")
            await connection.transport.reset()
            return
        if plain:
            await connection.run_plain(greeting)
            return
        await connection.run(self._tls(), greeting)

    def _make_room(self) -> bool:
        # Connections that nothing is asked on must not keep out those that would ask.
        ranked = (
            (rank, connection) for connection in self._connections if (rank := connection.dispensable) is not None
        )
        _, least = min(ranked, key=itemgetter(0), default=(None, None))
        if least is None:
            return False
        del self._connections[least]
        least.make_room()
        return True

    def _cut_all(self, why: str) -> None:
        for connection in tuple(self._connections):
            connection.cut(why)

    async def _drain(self) -> None:
        self._draining = True
        for connection in tuple(self._connections):
            connection.drain()
        with trio.move_on_after(self.settings.grace, shield=True):
            while self._connections:
                # Whoever serves several ports waits for the same event several times.
                if self._all_closed.is_set():
                    self._all_closed = trio.Event()
                await self._all_closed.wait()
        for scope in tuple(self._connections.values()):
            scope.cancel()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None or self._outdated:
            known = [certificate.der for certificate in self.service.certificates.registered()]
            try:
                self._context = server_context(self._identity, known, self.service.settings)
            except OSError as error:
                # It takes a file, and with many connections open there may be none to be had for a while.
                if self._context is None:
                    raise
                _log.warning("no TLS context with the certificates of now (%s): the one before is used", error)
            else:
                self._outdated = False
        return self._context

    def _certificates_changed(self) -> None:
        # Made anew at the next connection: hundreds may be registered in one go.
        self._outdated = True

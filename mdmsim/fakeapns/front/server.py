"""The front on trio: accepts providers over TLS, and goes down gracefully."""

from __future__ import annotations

import logging
import ssl
from collections import Counter
from collections.abc import Sequence

import trio

from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.front.context import server_context
from mdmsim.fakeapns.front.http2 import ProviderConnection
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.service import Answer, ApnsService, PushRequest, not_durable
from mdmsim.http import Identity

_log = logging.getLogger(__name__)

HANDSHAKE_TIMEOUT = 30.0
WRITE_DEADLINE = 30.0
#: Seconds that open requests get at shutdown before their connections are cut.
GRACE = 5.0


class Front:
    """Serves a service over HTTP/2 and TLS, with `identity` as the server's certificate and key.

    `counters` count connections by how they ended, for whoever looks inside: `accepted`, `handshake-failed`,
    `protocol-error`, `too-slow`, `cut`, `closed`, `defect`.
    """

    def __init__(self, service: ApnsService, identity: Identity, *, grace: float = GRACE) -> None:
        self.service = service
        self.counters: Counter[str] = Counter()
        self._identity = identity
        self._grace = grace
        self._context: ssl.SSLContext | None = None
        self._connections: set[_Connection] = set()
        self._all_closed = trio.Event()
        self._draining = False
        service.certificates.watch(self._certificates_changed)

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled; then let open requests finish, say GOAWAY on every connection, and close."""
        async with trio.open_nursery() as handlers:
            try:
                await trio.serve_listeners(
                    self.handle, list(listeners), handler_nursery=handlers, task_status=task_status
                )
            finally:
                await self._drain()

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end."""
        self.counters["accepted"] += 1
        # Cancelling the server must not cut requests short: a connection ends by draining, or when grace is over.
        with trio.CancelScope(shield=True) as scope:
            connection = _Connection(self, stream, scope)
            self._connections.add(connection)
            try:
                if self._draining:
                    connection.drain()
                self.counters[await connection.run(self._tls())] += 1
            except Exception:
                # A defect, here or in h2: one provider's connection must not take all others down.
                _log.exception("a provider's connection failed")
                self.counters["defect"] += 1
            finally:
                self._connections.discard(connection)
                if self._draining and not self._connections:
                    self._all_closed.set()
                with trio.move_on_after(0):
                    await trio.aclose_forcefully(stream)

    async def _drain(self) -> None:
        self._draining = True
        for connection in tuple(self._connections):
            connection.drain()
        with trio.move_on_after(self._grace, shield=True):
            while self._connections:
                self._all_closed = trio.Event()
                await self._all_closed.wait()
        for connection in tuple(self._connections):
            connection.scope.cancel()

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            known = [certificate.der for certificate in self.service.certificates.registered()]
            self._context = server_context(self._identity, known, self.service.settings)
        return self._context

    def _certificates_changed(self) -> None:
        # Made anew at the next connection: hundreds may be registered in one go.
        self._context = None


class _Connection:
    def __init__(self, front: Front, stream: trio.abc.Stream, scope: trio.CancelScope) -> None:
        self.scope = scope
        self._service = front.service
        self._transport = stream
        self._http2 = ProviderConnection()
        self._draining = False
        self._waiting: trio.CancelScope | None = None

    def drain(self) -> None:
        """End as soon as no request is open."""
        self._draining = True
        if self._waiting is not None and not self._http2.open_streams:
            self._waiting.cancel()

    async def run(self, context: ssl.SSLContext) -> str:
        """Serve the connection; return the word that it is counted under."""
        tls = trio.SSLStream(self._transport, context, server_side=True, https_compatible=True)
        try:
            with trio.fail_after(HANDSHAKE_TIMEOUT):
                await tls.do_handshake()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return "handshake-failed"
        certificate: bytes | None = tls.getpeercert(binary_form=True)
        provider = self._service.open_provider(certificate)
        try:
            with trio.fail_after(WRITE_DEADLINE):
                await tls.send_all(self._http2.outgoing())
            while True:
                if self._draining and not self._http2.open_streams:
                    self._http2.goaway()
                    self._http2.finished = True
                elif (ended := await self._exchange(tls, provider)) is not None:
                    return ended
                if data := self._http2.outgoing():
                    with trio.fail_after(WRITE_DEADLINE):
                        await tls.send_all(data)
                if self._http2.finished:
                    with trio.move_on_after(1):
                        await tls.aclose()
                    return "protocol-error" if self._http2.why else "closed"
        except trio.TooSlowError:
            return "too-slow"
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return "closed"
        finally:
            self._service.close_provider(provider, "closed")

    async def _exchange(self, tls: trio.SSLStream[trio.abc.Stream], provider: Provider) -> str | None:
        """Read once, and answer what is complete; why the connection is over, or None while it goes on."""
        data = b""
        with trio.CancelScope() as self._waiting:
            data = bytes(await tls.receive_some(65536))
        idle, self._waiting = self._waiting, None
        if not data:
            return None if idle.cancelled_caught else "closed"
        answers: list[tuple[int, Answer]] = []
        answered = cut = False
        for request in self._http2.receive(data):
            answer = self._service.push(
                PushRequest(request.method, request.path, request.headers, request.body), provider
            )
            answered = True
            wire = answer.wire.name if answer.wire is not None else ""
            if wire in ("answer.cut", "connection.reset"):
                cut = True
            elif wire != "answer.stalled":
                answers.append((request.stream, answer))
        if answered:
            try:
                # Before any 200 goes out, whatever it promises is safe.
                await self._service.durable()
            except NotDurable:
                answers = [(stream, not_durable(answer)) for stream, answer in answers]
        for stream, answer in answers:
            self._http2.answer(stream, answer)
        return "cut" if cut else None

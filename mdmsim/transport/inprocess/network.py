"""The network of an in-process world: who can be reached under which name, and by whom.

Connections carry bytes between a client and a handler task; every handler runs in its host's nursery, so that a
device that dies or is cancelled takes nothing of the server with it. TLS is judged when a connection is made.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from mdmsim.clock import SECOND, Clock
from mdmsim.http import ConnectFailed, ExchangeCut, Request, TLSFailed
from mdmsim.transport.groups import only
from mdmsim.transport.http1 import Limits
from mdmsim.transport.inprocess.asgi import App, AsgiServer, Lifespan
from mdmsim.transport.inprocess.judge import Judge
from mdmsim.transport.inprocess.memory import MemoryEnd, Peer, connection
from mdmsim.transport.place import Place
from mdmsim.transport.trio_client import AsyncLink, WireClient

Handler = Callable[[MemoryEnd], Awaitable[None]]


@dataclass(slots=True, eq=False)
class Host:
    """One server on the network. `errors`: what its app raised, each answered with a 500."""

    name: str
    port: int
    chain: tuple[bytes, ...]
    client_anchors: tuple[bytes, ...] | None
    handler: Handler
    nursery: trio.Nursery
    errors: list[Exception] = field(default_factory=list)
    up: bool = True
    _kill: Callable[[], None] | None = None

    def kill(self) -> None:
        """End it at once, requests and lifespan where they stand: what SIGKILL is to a process."""
        if self._kill is not None:
            self._kill()


class Network:
    """Hosts and clients of one world.

    `clock`: at whose time certificates are judged. `system_anchors`: DER roots that `Trust.system` stands for.
    `latency_ms`: one way, in world time.
    """

    def __init__(self, clock: Clock, *, system_anchors: tuple[bytes, ...] = (), latency_ms: int = 0) -> None:
        self._clock = clock
        self._judge = Judge(system_anchors)
        self._latency = latency_ms / SECOND
        self._hosts: dict[tuple[str, int], Host] = {}
        self._down_hosts: dict[str, None] = {}
        self._down_devices: dict[str, None] = {}
        self._links: dict[MemoryEnd, Host] = {}
        self._numbers = 0

    def client(
        self, name: str, *, address: str = "127.0.0.1", keep: int = 8, keep_seconds: float = 60.0
    ) -> InProcessTransport:
        """What a device or an API client called `name` sends with; servers see it come from `address`."""
        return InProcessTransport(self, name, address, keep, keep_seconds)

    @asynccontextmanager
    async def serving(
        self,
        host: str,
        port: int,
        app: App,
        *,
        chain: tuple[bytes, ...] = (),
        client_anchors: tuple[bytes, ...] | None = None,
        keep_alive: float = 5.0,
    ) -> AsyncIterator[Host]:
        """An ASGI app under that name while the block runs, its lifespan around it.

        `chain`: the server's certificates, DER, leaf first; without any it speaks plain HTTP. `client_anchors`:
        refuse client certificates of other authorities in the handshake; None: let the app judge. `keep_alive`:
        seconds an idle connection stays open. Raises ValueError when the name is taken, RuntimeError when the app
        does not start.
        """
        server = AsgiServer(
            app, "https" if chain else "http", (host, port), chain[0] if chain else None, keep_alive=keep_alive
        )
        try:
            async with trio.open_nursery() as nursery:
                lifespan = Lifespan(app)
                await nursery.start(lifespan.run)
                server.state = lifespan.state
                try:
                    async with self.serving_bytes(
                        host, port, server.serve, chain=chain, client_anchors=client_anchors
                    ) as place:
                        place.errors = server.errors
                        end_connections = place._kill

                        def kill() -> None:
                            if end_connections is not None:
                                end_connections()
                            lifespan.kill()

                        place._kill = kill
                        yield place
                finally:
                    await lifespan.stop()
        except BaseExceptionGroup as group:
            raise only(group) from None

    @asynccontextmanager
    async def serving_bytes(
        self,
        host: str,
        port: int,
        handler: Handler,
        *,
        chain: tuple[bytes, ...] = (),
        client_anchors: tuple[bytes, ...] | None = None,
    ) -> AsyncIterator[Host]:
        """A handler for each connection under that name while the block runs. See `serving` for the rest."""
        key = (host.lower(), port)
        if key in self._hosts:
            raise ValueError(f"{host}:{port} is taken on this network: give the second server another name or port")
        try:
            async with trio.open_nursery() as outer:
                # In a task of its own: killing the host must not cancel the block that uses it.
                nursery: trio.Nursery = await outer.start(_hold)
                place = Host(key[0], port, chain, client_anchors, handler, nursery)

                def leave() -> None:
                    place.up = False
                    if self._hosts.get(key) is place:
                        del self._hosts[key]
                    self._cut(lambda link, at: at is place, "Connection reset by peer")
                    nursery.cancel_scope.cancel()

                place._kill = leave
                self._hosts[key] = place
                try:
                    yield place
                finally:
                    leave()
        except BaseExceptionGroup as group:
            raise only(group) from None

    def down(self, *, host: str | None = None, device: str | None = None) -> None:
        """Take a host or a device off the network: exchanges under way are cut, new ones fail to connect."""
        if host is not None:
            self._down_hosts[host.lower()] = None
            self._cut(lambda link, at: at.name == host.lower(), "Network is down")
        if device is not None:
            self._down_devices[device] = None
            self._cut(lambda link, at: link.peer.device == device, "Network is down")

    def up(self, *, host: str | None = None, device: str | None = None) -> None:
        """Put it back."""
        if host is not None:
            self._down_hosts.pop(host.lower(), None)
        if device is not None:
            self._down_devices.pop(device, None)

    def is_down(self, *, host: str | None = None, device: str | None = None) -> bool:
        return (host is not None and host.lower() in self._down_hosts) or device in self._down_devices

    def _cut(self, which: Callable[[MemoryEnd, Host], bool], why: str) -> None:
        for link in [link for link, host in self._links.items() if which(link, host)]:
            link.abort(why)

    def _forget(self, link: MemoryEnd) -> None:
        self._links.pop(link, None)

    async def dial(self, client: InProcessTransport, place: Place, request: Request) -> MemoryEnd:
        """A connection, TLS judged. Raises ConnectFailed, TLSFailed."""
        if self._latency:
            await trio.sleep(2 * self._latency)
        else:
            await trio.lowlevel.checkpoint()
        if client.name in self._down_devices:
            raise ConnectFailed(f"cannot connect to {place.at}: Network is down")
        if place.host in self._down_hosts:
            raise ConnectFailed(f"cannot connect to {place.at}: No route to host")
        host = self._hosts.get((place.host, place.port))
        if host is None:
            known = any(name == place.host for name, _ in self._hosts)
            reason = "Connection refused" if known else "Name or service not known"
            raise ConnectFailed(f"cannot connect to {place.at}: {reason}")
        shown: tuple[bytes, ...] = ()
        if place.tls:
            if not host.chain:
                raise TLSFailed(f"the TLS handshake with {place.at} failed: it speaks plain HTTP", problem="not-tls")
            self._judge.server(host.chain, request.trust, place, self._clock.now_ms())
            if request.identity is not None:
                self._judge.client(request.identity, host.client_anchors)
                shown = (request.identity.certificate, *request.identity.chain)
        elif host.chain:
            raise ExchangeCut(f"{place.at} speaks TLS and was asked in plain HTTP")
        self._numbers += 1
        peer = Peer(client.name, client.address, shown)
        mine, theirs = connection(peer, self._numbers, latency=self._latency, on_gone=self._forget)
        self._links[mine] = host
        host.nursery.start_soon(host.handler, theirs)
        return mine


class InProcessTransport(WireClient):
    """A device's or API client's own way into the network."""

    def __init__(self, network: Network, name: str, address: str, keep: int, keep_seconds: float) -> None:
        super().__init__(keep=keep, keep_seconds=keep_seconds, limits=Limits())
        self._network = network
        self.name = name
        self.address = address

    async def _dial(self, place: Place, request: Request) -> AsyncLink:
        return await self._network.dial(self, place, request)


async def _hold(*, task_status: trio.TaskStatus[trio.Nursery] = trio.TASK_STATUS_IGNORED) -> None:
    """A nursery that stays open until it is cancelled."""
    async with trio.open_nursery() as nursery:
        task_status.started(nursery)
        await trio.sleep_forever()

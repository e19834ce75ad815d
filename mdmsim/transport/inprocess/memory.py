"""A connection in memory: two ends, bytes in order, an orderly end told apart from a broken one. Nothing polls."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import trio

from mdmsim.transport.conversation import LinkBroken


@dataclass(frozen=True, slots=True)
class Peer:
    """Who is at the other end, as a server gets to know it: `client_chain` is DER, leaf first, shown in TLS."""

    device: str
    address: str
    client_chain: tuple[bytes, ...] = ()


class _Pipe:
    """One direction."""

    __slots__ = ("_broken", "_data", "_ended", "_news")

    def __init__(self) -> None:
        self._data = bytearray()
        self._ended = False
        self._broken: str | None = None
        self._news: trio.Event | None = None

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set()
            self._news = None

    def put(self, data: bytes) -> None:
        if self._broken is not None or self._ended:
            raise LinkBroken(self._broken or "Broken pipe")
        self._data += data
        self._tell()

    def end(self) -> None:
        if self._broken is None:
            self._ended = True
            self._tell()

    def break_off(self, why: str) -> None:
        if self._broken is None:
            self._broken = why
            self._tell()

    async def get(self) -> bytes:
        """What came, all of it; b"" after an orderly end. Raises LinkBroken. Cancelling loses no byte."""
        while not self._data and not self._ended and self._broken is None:
            if self._news is None:
                self._news = trio.Event()
            await self._news.wait()
        if self._data:
            data = bytes(self._data)
            self._data.clear()
            return data
        if self._ended:
            return b""
        raise LinkBroken(self._broken)


class MemoryEnd:
    """One end of a connection; an `AsyncLink` for the client, a stream for the server.

    `latency` in seconds delays what this end sends and what it receives. `peer`: who the server's end talks to.
    """

    __slots__ = ("_incoming", "_latency", "_on_gone", "_outgoing", "idle_since", "number", "peer")

    def __init__(self, incoming: _Pipe, outgoing: _Pipe, peer: Peer, number: int) -> None:
        self._incoming, self._outgoing = incoming, outgoing
        self._latency = 0.0
        self._on_gone: Callable[[MemoryEnd], None] | None = None
        self.idle_since = 0.0
        self.number = number
        self.peer = peer

    async def transmit(self, data: bytes) -> None:
        """Send all of it. Raises LinkBroken."""
        if self._latency:
            await trio.sleep(self._latency)
        self._outgoing.put(data)

    async def receive(self) -> bytes:
        """Some bytes, or b"" after an orderly end. Raises LinkBroken."""
        data = await self._incoming.get()
        if self._latency:
            await trio.sleep(self._latency)
        return data

    def close(self) -> None:
        """An orderly end, as a TLS close_notify is."""
        self._outgoing.end()
        self._leave("Connection reset by peer")

    def abort(self, why: str = "Connection reset by peer") -> None:
        """The end of a cable that was pulled."""
        self._outgoing.break_off(why)
        self._leave(why)

    def _leave(self, why: str) -> None:
        self._incoming.break_off(why)
        if self._on_gone is not None:
            gone, self._on_gone = self._on_gone, None
            gone(self)


def connection(
    peer: Peer, number: int, *, latency: float = 0.0, on_gone: Callable[[MemoryEnd], None] | None = None
) -> tuple[MemoryEnd, MemoryEnd]:
    """A new connection: the client's end and the server's. `on_gone` is called once when the client's end is given up."""
    up, down = _Pipe(), _Pipe()
    client, server = MemoryEnd(down, up, peer, number), MemoryEnd(up, down, peer, number)
    client._latency = latency
    client._on_gone = on_gone
    return client, server

"""One script language for what a server does with bytes, played over sockets and in memory alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Protocol

import trio


class Ask:
    """Read one whole request: head, and a body of the length it announces."""


@dataclass(frozen=True)
class Say:
    """Send these bytes, in pieces of `piece` bytes where given."""

    data: bytes
    piece: int | None = None


class Shut:
    """End the connection in order (over TLS: with close_notify)."""


class Cut:
    """End it as a killed process would: no close_notify."""


class Hush:
    """Say nothing more until the other end goes."""


Action = Ask | Say | Shut | Cut | Hush


class Ended(Exception):
    """The other end went away."""


class Stream(Protocol):
    """A server's end of a connection, whatever carries it."""

    async def get(self) -> bytes: ...  # b"" at any end

    async def put(self, data: bytes) -> None: ...  # raises Ended

    async def shut(self) -> None: ...

    async def cut(self) -> None: ...


@dataclass
class Played:
    """What a script's server saw."""

    requests: list[list[bytes]] = field(default_factory=list)
    clients: list[bytes | None] = field(default_factory=list)
    endings: list[bytes] = field(default_factory=list)

    @property
    def all_requests(self) -> list[bytes]:
        return [request for connection in self.requests for request in connection]


@dataclass
class Script:
    """For each connection in turn what the server does; a connection too many is shut at once."""

    connections: Sequence[Sequence[Action]]
    played: Played = field(default_factory=Played)
    _running: int = 0
    _quiet: trio.Event = field(default_factory=trio.Event)

    async def finished(self) -> None:
        """Return once no connection is being played."""
        while self._running:
            self._quiet = trio.Event()
            await self._quiet.wait()

    @contextmanager
    def connection(self) -> Iterator[None]:
        """To be held around all that happens on one connection."""
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._quiet.set()

    async def play(self, stream: Stream, client: bytes | None = None) -> None:
        number = len(self.played.requests)
        asked: list[bytes] = []
        self.played.requests.append(asked)
        self.played.clients.append(client)
        actions = self.connections[number] if number < len(self.connections) else (Shut(),)
        rest = b""
        try:
            for action in actions:
                if isinstance(action, Ask):
                    request, rest = await _read_request(stream, rest)
                    asked.append(request)
                elif isinstance(action, Say):
                    step = action.piece or len(action.data) or 1
                    for start in range(0, len(action.data), step):
                        await stream.put(action.data[start : start + step])
                elif isinstance(action, Hush):
                    while data := await stream.get():
                        rest += data
                    self.played.endings.append(rest)
                elif isinstance(action, Cut):
                    await stream.cut()
                else:
                    await stream.shut()
        except Ended:
            pass
        await stream.shut()


async def _read_request(stream: Stream, data: bytes) -> tuple[bytes, bytes]:
    while b"\r\n\r\n" not in data:
        more = await stream.get()
        if not more:
            raise Ended
        data += more
    head, _, _ = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    size = len(head) + 4 + length
    while len(data) < size:
        more = await stream.get()
        if not more:
            raise Ended
        data += more
    return data[:size], data[size:]


def ok(body: bytes = b"", *headers: str) -> Say:
    """A plain 200 with Content-Length."""
    lines = ["HTTP/1.1 200 OK", *headers, f"Content-Length: {len(body)}", "", ""]
    return Say("\r\n".join(lines).encode() + body)


def status(code: int, *headers: str, body: bytes = b"") -> Say:
    lines = [f"HTTP/1.1 {code} Whatever", *headers, f"Content-Length: {len(body)}", "", ""]
    return Say("\r\n".join(lines).encode() + body)

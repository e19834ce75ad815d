"""A front that serves on a bench, h2's client on a trio TLS stream, and frames by hand."""

from __future__ import annotations

import ssl
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import h2.config
import h2.connection
import h2.events
import trio
from hyperframe.frame import Frame

from mdmsim.fakeapns.front.guard import PREFACE
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench, client_context, serving

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 1
END_HEADERS = 4


def frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + struct.pack(">I", stream) + payload


#: What every client begins with.
BEGIN = PREFACE + frame(SETTINGS)

#: A complete header block for a push, every name and value literal and not indexed.
BLOCK = (
    b"\x83\x87\x04\x0d/3/device/abc"  # POST, https, :path
    b"\x01\x09localhost"
)


def opened(stream: int, flags: int = END_HEADERS) -> bytes:
    return frame(HEADERS, flags, stream, BLOCK)


def frames(data: bytes) -> list[Frame]:
    found = []
    while data:
        head, length = Frame.parse_frame_header(memoryview(data[:9]))
        head.parse_body(memoryview(data[9 : 9 + length]))
        found.append(head)
        data = data[9 + length :]
    return found


class Served:
    def __init__(self, bench: Bench, authority: Authority, front: Front, port: int) -> None:
        self.bench = bench
        self.authority = authority
        self.front = front
        self.port = port
        self.token = bench.service.register("ipad-1", TOPIC)

    def url(self, token: str | None = None) -> str:
        return f"https://127.0.0.1:{self.port}/3/device/{token or self.token.hex()}"

    def context(self, identity: Identity | None, *alpn: str) -> ssl.SSLContext:
        return client_context(self.authority.certificate, identity, alpn)

    def client(self, identity: Identity | None, *alpn: str, host: str = "localhost") -> ByHand:
        return ByHand(self, identity, *alpn, host=host)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait for something that happens on the other side of a socket, which tells nobody."""
        with trio.fail_after(15):
            while not condition():
                await trio.sleep(0.005)

    async def counted(self, why: str) -> None:
        """Wait until a connection was counted as ended so."""
        await self.until(lambda: self.front.counters[why])


class ByHand:
    """h2's client on a trio TLS stream; or only the stream, for bytes of one's own."""

    def __init__(self, served: Served, identity: Identity | None, *alpn: str, host: str = "localhost") -> None:
        self._served = served
        self._context = served.context(identity, *alpn)
        self._host = host
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[h2.events.Event] = []
        self.statuses: dict[int, str] = {}

    async def connect(self) -> trio.SSLStream[trio.SocketStream]:
        """The handshake alone."""
        stream = await trio.open_tcp_stream("127.0.0.1", self._served.port)
        self.tls = trio.SSLStream(stream, self._context, server_hostname=self._host, https_compatible=True)
        await self.tls.do_handshake()
        return self.tls

    async def __aenter__(self) -> ByHand:
        await self.connect()
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def __aexit__(self, *error: object) -> None:
        await trio.aclose_forcefully(self.tls)

    async def flush(self) -> None:
        await self.tls.send_all(self.h2.data_to_send())

    async def ask(self, stream: int, *headers: tuple[str, str], path: str | None = None, end: bool = True) -> None:
        path = path or f"/3/device/{self._served.token.hex()}"
        self.h2.send_headers(
            stream,
            [
                (":method", "POST"),
                (":scheme", "https"),
                (":authority", "api.push.apple.com"),
                (":path", path),
                *headers,
            ],
        )
        self.h2.send_data(stream, PAYLOAD, end_stream=end)
        await self.flush()

    async def until(self, *kinds: type[h2.events.Event]) -> h2.events.Event | None:
        """The next event of these kinds; None at the end of the connection."""
        with trio.fail_after(15):
            while True:
                for position, event in enumerate(self.events):
                    if isinstance(event, kinds):
                        del self.events[: position + 1]
                        return event
                self.events.clear()
                data = await self.tls.receive_some(65536)
                if not data:
                    return None
                self.events += self.h2.receive_data(data)
                await self.flush()

    async def status(self, stream: int) -> str:
        """The status that the request on that stream is answered with."""
        while stream not in self.statuses:
            event = await self.until(h2.events.ResponseReceived)
            assert isinstance(event, h2.events.ResponseReceived), "the connection ended without an answer"
            self.statuses[event.stream_id] = dict(event.headers)[":status"]
        return self.statuses[stream]

    async def rest(self) -> list[Frame]:
        """Every frame that is still to come, to the end of the connection."""
        received = b""
        with trio.fail_after(15):
            try:
                while data := await self.tls.receive_some(65536):
                    received += data
            except trio.BrokenResourceError:
                pass
        return frames(received)


@asynccontextmanager
async def served_front(
    bench: Bench, authority: Authority, identity: Identity, settings: FrontSettings | None = None
) -> AsyncIterator[Served]:
    front = Front(bench.service, identity, settings)
    async with serving(front.serve) as port:
        yield Served(bench, authority, front, port)

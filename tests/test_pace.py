"""A client that drips is cut by every listener that speaks HTTP/1.1, whatever it drips."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import h11
import pytest
import trio
import trio.testing

from mdmsim.asgi import serve_asgi
from mdmsim.pace import Awaited, PaceLimits, RequestPace
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.direct import DirectFront
from mdmsim.proxy.exchange import Http1Server

LIMITS = PaceLimits(quiet=75, head=20, body=30, body_bytes=1000, write=30)

HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


def test_a_body_that_brings_enough_in_time_may_take_as_long_as_it_likes() -> None:
    pace = RequestPace(LIMITS, 0)
    pace.turn(Awaited.BODY, 0)
    for second in range(31, 1000, 31):
        pace.received(1000)
        assert pace.overdue(second) is None
    pace.received(999)
    assert pace.overdue(1100) == "less than 1000 bytes of its body came in 30 s"


def test_the_servers_own_time_is_not_the_clients() -> None:
    pace = RequestPace(LIMITS, 0)
    pace.turn(Awaited.NOTHING, 0)
    assert pace.overdue(10_000) is None
    pace.turn(Awaited.BODY, 0)
    pace.held(100)
    assert pace.overdue(130) is None
    assert pace.overdue(131) is not None


class _Listeners:
    """What each kind of listener does with a connection; streams in memory, trio's clock jumps."""

    @staticmethod
    async def asgi(stream: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            while (await receive()).get("more_body"):
                continue
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        await _served(lambda listeners: serve_asgi(app, listeners, limits=LIMITS), stream)

    @staticmethod
    async def asgi_that_reads_no_body(stream: Any) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})

        await _served(lambda listeners: serve_asgi(app, listeners, limits=LIMITS), stream)

    @staticmethod
    async def tls_front(stream: Any) -> None:
        async with stream:
            with contextlib.suppress(h11.ProtocolError):  # as TlsFront does, once the client was told
                assert await Http1Server(stream, LIMITS).request() is None

    @staticmethod
    async def hosts_file_front(stream: Any) -> None:
        await DirectFront({}).handle(stream)

    @staticmethod
    async def proxy(stream: Any) -> None:
        await ConnectProxy({}).handle(stream)


class _OneConnection(trio.abc.Listener[Any]):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def accept(self) -> Any:
        if self._stream is None:
            await trio.sleep_forever()
        stream, self._stream = self._stream, None
        return stream

    async def aclose(self) -> None:
        return None


async def _served(serve: Callable[[Any], Any], stream: Any) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, [_OneConnection(stream)])
        # Until the end of the run, by the test.


#: What is said at once, and what is dripped, a piece every five seconds; and within how many seconds the end must come.
DRIPS = {
    "nothing": (b"", b"", 80),
    "blank lines": (b"", b"\r\n", 80),
    "a request line": (b"", b"A", 30),
    "headers": (HEAD, b"x: y\r\n", 30),
    "a TLS record": (b"\x16\x03\x01\x40\x00\x01\x00\x3f\xfc", b"\x03", 35),
    "a body": (HEAD + b"Content-Length: 100000\r\n\r\n", b"x", 45),
    "chunks": (CHUNKED, b"1\r\nx\r\n", 45),
}


@pytest.mark.parametrize("listener", ["asgi", "asgi_that_reads_no_body", "tls_front", "proxy", "hosts_file_front"])
@pytest.mark.parametrize("drip", DRIPS)
def test_a_client_that_drips_is_cut(listener: str, drip: str) -> None:
    first, piece, within = DRIPS[drip]
    handle = getattr(_Listeners, listener)

    async def main() -> tuple[float, bytes]:
        client, server = trio.testing.memory_stream_pair()
        said = bytearray()
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle, server)

            async def speak() -> None:
                try:
                    if first:
                        await client.send_all(first)
                    while True:
                        await trio.sleep(5)
                        if piece:
                            await client.send_all(piece)
                except trio.BrokenResourceError:
                    pass

            nursery.start_soon(speak)
            with trio.fail_after(1000):
                try:
                    while data := await client.receive_some(65536):
                        said += data
                except trio.BrokenResourceError:
                    pass
            nursery.cancel_scope.cancel()
        return trio.current_time() - began, bytes(said)

    seconds, said = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert seconds <= within
    if drip in ("headers", "a body", "chunks") and listener in ("asgi", "tls_front"):
        assert said.startswith(b"HTTP/1.1 408 ")

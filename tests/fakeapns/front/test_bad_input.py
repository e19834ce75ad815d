"""What no client of good will sends, over real TLS: it ends with the right word, and others do not notice."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame

from mdmsim.fakeapns.front.connection import Connection
from mdmsim.fakeapns.front.settings import FloodLimits, FrontSettings
from mdmsim.http import Identity
from tests.fakeapns.front.support import (
    BEGIN,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    Served,
    frame,
    opened,
)
from tests.fakeapns.support import client_context

pytestmark = pytest.mark.anyio


def settled(**switches: object) -> pytest.MarkDecorator:
    """Run a test on a front with these settings."""
    return pytest.mark.parametrize("front_settings", [FrontSettings(**switches)], ids=[""])  # type: ignore[arg-type]


def streams(count: int, each: Callable[[int], bytes]) -> bytes:
    return b"".join(each(stream) for stream in range(1, 2 * count, 2))


#: A field of 4000 bytes that goes into HPACK's table, and that field again by its index, 5000 times: 20 MB.
HPACK_BOMB = b"\x40\x01a\x7f\xa1\x1e" + b"b" * 4000 + b"\xbe" * 5000

#: What is sent after the preface, how the connection is counted, and the error code of its GOAWAY.
ATTACKS: dict[str, tuple[Callable[[], bytes], str, int]] = {
    "frames out of order": (lambda: frame(DATA, END_STREAM, 1, b"{}"), "protocol-error", 1),
    "headers interrupted": (lambda: opened(1, 0) + opened(3), "protocol-error", 1),
    "header bomb": (
        lambda: frame(HEADERS, END_HEADERS, 1, b"\x00\x01a\x7f\x81\x3f" + b"b" * 8192), "header-list-too-long", 11,
    ),
    "hpack bomb": (lambda: frame(HEADERS, END_HEADERS, 1, HPACK_BOMB), "header-list-too-long", 11),
    "broken hpack": (lambda: frame(HEADERS, END_HEADERS, 1, b"\xff\xff\xff"), "compression-error", 9),
    "continuation flood": (
        lambda: frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, b"\0") * 10_000, "continuation-flood", 11,
    ),
    "rapid reset": (
        lambda: streams(100_000, lambda stream: opened(stream) + frame(RST_STREAM, 0, stream, bytes(4))),
        "rapid-reset", 11,
    ),
    "streams over the limit": (lambda: streams(5000, opened), "stream-flood", 11),
    "settings flood": (lambda: frame(SETTINGS) * 10_000, "settings-flood", 11),
    "ping flood": (lambda: frame(PING, 0, 0, bytes(8)) * 10_000, "ping-flood", 11),
    "empty data flood": (lambda: opened(1) + frame(DATA, 0, 1) * 10_000, "empty-data-flood", 11),
    "window updates": (lambda: frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1") * 20_000, "window-update-flood", 11),
    "a window beyond bounds": (lambda: frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"), "flow-control-error", 3),
    "priority flood": (lambda: frame(PRIORITY, 0, 1, bytes(5)) * 20_000, "priority-flood", 11),
    "unknown frames": (lambda: frame(200, 0, 0, bytes(20)) * 10_000, "unknown-frame-flood", 11),
    "a frame too large": (lambda: frame(DATA, 0, 1, bytes(1 << 20)), "frame-too-large", 6),
}  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS)
async def test_an_attack_ends_with_its_own_word_and_others_do_not_notice(
    served: Served, provider: Identity, attack: str
) -> None:
    data, why, code = ATTACKS[attack]
    sent = BEGIN + data()
    async with served.client(provider) as good:
        await good.ask(1)
        assert await good.status(1) == "200"
        bad = served.client(provider)
        await bad.connect()

        async def attacking() -> None:
            try:
                await bad.tls.send_all(sent)
            except trio.BrokenResourceError:
                # Cut off in the middle of it.
                pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(attacking)
            await good.ask(3)
            assert await good.status(3) == "200"
            rest = await bad.rest()
        assert [found.error_code for found in rest if isinstance(found, GoAwayFrame)] == [code]
        assert served.front.counters[why] == 1
        await good.ask(5)
        assert await good.status(5) == "200"
        await trio.aclose_forcefully(bad.tls)


@pytest.mark.parametrize("attack", ["rapid reset", "hpack bomb", "continuation flood", "a frame too large"])
async def test_memory_stays_bounded_under_an_attack(served: Served, provider: Identity, attack: str) -> None:
    sent = BEGIN + ATTACKS[attack][0]()
    bad = served.client(provider)
    await bad.connect()
    tracemalloc.start()
    try:
        try:
            await bad.tls.send_all(sent)
        except trio.BrokenResourceError:
            pass
        await served.until(lambda: not served.front.connections)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The client's end encrypts what it sends, in this process: that much is its own.
    assert peak < 2 * len(sent) + 4_000_000


# the TLS port


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "not-tls"),
        (BEGIN, "not-tls"),
        (b"", "handshake-cut"),
        (b"\x16\x03\x01\x02\x00\x01", "handshake-cut"),
        (b"\x16\x03\x01\x00\x05hello", "handshake-failed"),
    ],
    ids=["http/1.1", "http/2 without tls", "nothing", "truncated tls", "nonsense in tls"],
)
async def test_what_is_not_tls_is_let_go_and_others_do_not_notice(
    served: Served, provider: Identity, text: bytes, why: str
) -> None:
    async with served.client(provider) as good:
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(text)
            await stream.send_eof()
            with trio.fail_after(10):
                try:
                    while await stream.receive_some(4096):
                        continue
                except trio.BrokenResourceError:
                    pass
        await good.ask(1)
        assert await good.status(1) == "200"
        await served.counted(why)


async def test_http_1_in_tls_ends_with_goaway(served: Served, provider: Identity) -> None:
    bad = served.client(provider)
    await bad.connect()
    await bad.tls.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    _, goodbye = await bad.rest()
    assert isinstance(goodbye, GoAwayFrame) and goodbye.error_code == 1
    assert served.front.counters["not-http2"] == 1


@settled(handshake_timeout=0.5)
async def test_a_handshake_that_is_never_finished_is_given_up(served: Served, provider: Identity) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", served.port):
        await served.counted("handshake-timeout")
    async with served.client(provider) as good:
        await good.ask(1)
        assert await good.status(1) == "200"


@settled(handshake_timeout=0.5)
async def test_a_client_that_never_begins_http2_is_given_up(served: Served, provider: Identity) -> None:
    client = served.client(provider)
    await client.connect()
    await served.counted("preface-timeout")
    await served.until(lambda: not served.front.connections)
    await trio.aclose_forcefully(client.tls)


@settled(max_connections=3)
async def test_half_open_connections_keep_nobody_out(served: Served, provider: Identity) -> None:
    silent = [await trio.open_tcp_stream("127.0.0.1", served.port) for _ in range(6)]
    async with served.client(provider) as good:
        await good.ask(1)
        assert await good.status(1) == "200"
        assert served.front.connections <= 3
    assert served.front.counters["crowded-out"] >= 4
    for stream in silent:
        await trio.aclose_forcefully(stream)


# bodies and windows


async def test_a_body_without_end_is_answered_and_let_go(served: Served, provider: Identity) -> None:
    async with served.client(provider) as bad, served.client(provider) as good:
        await bad.until(h2.events.RemoteSettingsChanged)
        await bad.ask(1, end=False)
        reset: h2.events.Event | None = None
        with trio.fail_after(20):
            while not isinstance(reset, h2.events.StreamReset):
                try:
                    window = min(bad.h2.local_flow_control_window(1), 16384)
                    if window:
                        bad.h2.send_data(1, bytes(window))
                        await bad.flush()
                except h2.exceptions.StreamClosedError:
                    window = 0
                if not window:
                    reset = await bad.until(h2.events.WindowUpdated, h2.events.StreamReset)
        assert reset.error_code == h2.errors.ErrorCodes.NO_ERROR
        await good.ask(1)
        assert await good.status(1) == "200"
        await bad.ask(3)
        assert await bad.status(3) == "200"


@settled(request_timeout=0.1)
async def test_a_request_that_goes_on_for_ever_is_given_up_and_the_connection_goes_on(
    served: Served, provider: Identity
) -> None:
    async with served.client(provider) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        await client.ask(1, end=False)
        reset = await client.until(h2.events.StreamReset)
        assert isinstance(reset, h2.events.StreamReset) and reset.error_code == h2.errors.ErrorCodes.CANCEL
        await client.ask(3)
        assert await client.status(3) == "200"


@settled(request_timeout=0.1)
@pytest.mark.parametrize(
    "start",
    [
        frame(HEADERS, 0, 1, b"\x83\x87"),
        frame(HEADERS, END_HEADERS, 1, bytes(500))[:20],
        frame(DATA, 0, 1, bytes(9))[:3],
    ],
    ids=["header block", "frame", "frame header"],
)
async def test_a_frame_that_drips_ends_the_connection(served: Served, provider: Identity, start: bytes) -> None:
    bad = served.client(provider)
    await bad.connect()
    await bad.tls.send_all(BEGIN + start)
    await served.counted("too-slow")
    await trio.aclose_forcefully(bad.tls)


@settled(write_deadline=0.1, stream_limit=20)
async def test_a_client_that_never_opens_its_window_is_let_go(served: Served, provider: Identity) -> None:
    bad = served.client(provider)
    await bad.connect()
    no_window = frame(SETTINGS, 0, 0, b"\0\4\0\0\0\0")
    whole = streams(20, lambda stream: frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x82\x87\x84\x01\x01a"))
    await bad.tls.send_all(BEGIN + no_window + whole)
    await served.counted("too-slow")
    await served.until(lambda: not served.front.connections)
    await trio.aclose_forcefully(bad.tls)


# slow readers


class Unread:
    """A client that never reads, on a stream that takes nothing in until it is read: writes block at once."""

    def __init__(self, served: Served, identity: Identity) -> None:
        self.served = served
        near, far = trio.testing.lockstep_stream_pair()
        self.far = far
        context = client_context(served.authority.certificate, identity)
        self.tls = trio.SSLStream(near, context, server_hostname="localhost", https_compatible=True)
        self.sent = 0

    async def send(self) -> None:
        """The preface, and then PINGs for ever."""
        data = BEGIN
        try:
            while True:
                await self.tls.send_all(data)
                self.sent += len(data)
                data = frame(PING, 0, 0, bytes(8)) * 100
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


#: PINGs as they come, as far as floods are concerned.
PATIENT = FloodLimits(pings=1 << 30)


@settled(floods=PATIENT, max_backlog=10_000)
async def test_a_client_that_does_not_read_is_not_read_from(served: Served, provider: Identity) -> None:
    client = Unread(served, provider)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(served.front.handle, client.far)
        with trio.fail_after(10):
            await client.tls.do_handshake()
            nursery.start_soon(client.send)
            await served.until(lambda: served.front.connections_info())
        (connection,) = served.front._connections
        assert isinstance(connection, Connection)
        await trio.testing.wait_all_tasks_blocked(0.1)
        # What is read at a time may go over the bound, once.
        assert connection._http2.backlog() < 10_000 + 65536
        assert client.sent < 200_000
        await trio.aclose_forcefully(client.tls.transport_stream)


@settled(floods=PATIENT, max_backlog=10_000, write_deadline=0.1)
async def test_a_client_that_does_not_read_is_let_go_in_the_end(served: Served, provider: Identity) -> None:
    client = Unread(served, provider)
    async with served.client(provider) as good, trio.open_nursery() as nursery:
        nursery.start_soon(served.front.handle, client.far)
        with trio.fail_after(10):
            await client.tls.do_handshake()
        nursery.start_soon(client.send)
        await good.ask(1)
        assert await good.status(1) == "200"
        await served.counted("too-slow")

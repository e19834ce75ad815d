"""How splices end: a reset stays a reset, a vanished peer is found out, and shutdown lets open requests finish."""

from __future__ import annotations

import socket
import struct
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import pytest
import trio
import trio.testing

from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.pki.authority import Authority
from mdmsim.proxy.connect import ESTABLISHED, ConnectProxy
from mdmsim.proxy.splice import Splices
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench, client_context

pytestmark = pytest.mark.anyio

HOST = "api.push.apple.com"


async def _pair() -> tuple[trio.SocketStream, trio.SocketStream]:
    """Both ends of one TCP connection."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with listener:
        near = await trio.open_tcp_stream("127.0.0.1", listener.socket.getsockname()[1])
        return near, await listener.accept()


@pytest.fixture
async def ends() -> AsyncIterator[tuple[trio.SocketStream, trio.SocketStream]]:
    """A client and a server with a splice between them."""
    client, inner_client = await _pair()
    inner_server, server = await _pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Splices().carry, inner_client, inner_server, b"first")
        assert await server.receive_some(100) == b"first"
        yield client, server
        for stream in (client, server):
            await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("turned", [False, True])
async def test_a_reset_on_one_side_is_a_reset_on_the_other(
    ends: tuple[trio.SocketStream, trio.SocketStream], turned: bool
) -> None:
    left, right = ends[::-1] if turned else ends
    await left.send_all(b"last words")
    assert await right.receive_some(100) == b"last words"
    left.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    await trio.aclose_forcefully(left)
    with trio.fail_after(10), pytest.raises(trio.BrokenResourceError) as found:
        await right.receive_some(100)
    assert isinstance(found.value.__cause__, ConnectionResetError)


@pytest.mark.parametrize("turned", [False, True])
async def test_one_side_may_end_and_still_hear_the_other(
    ends: tuple[trio.SocketStream, trio.SocketStream], turned: bool
) -> None:
    left, right = ends[::-1] if turned else ends
    await left.send_eof()
    with trio.fail_after(10):
        assert await right.receive_some(100) == b""
        await right.send_all(b"an answer")
        assert await left.receive_some(100) == b"an answer"
        await right.send_eof()
        assert await left.receive_some(100) == b""


async def test_tcp_finds_out_on_both_sides_when_a_peer_has_vanished() -> None:
    client, inner_client = await _pair()
    inner_server, server = await _pair()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Splices().carry, inner_client, inner_server, b"first")
        await server.receive_some(100)
        for inner in (inner_client, inner_server):
            assert inner.socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for stream in (client, server):
            await trio.aclose_forcefully(stream)


# shutdown


class _Client:
    """h2's client on TLS through the proxy."""

    def __init__(self, tls: trio.SSLStream[trio.SocketStream]) -> None:
        self._tls = tls
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.seen: list[h2.events.Event] = []

    async def flush(self) -> None:
        await self._tls.send_all(self.h2.data_to_send())

    async def until(self, kind: type[h2.events.Event]) -> None:
        while not any(isinstance(event, kind) for event in self.seen):
            data = await self._tls.receive_some(65536)
            assert data, "the connection ended before"
            self.seen += self.h2.receive_data(bytes(data))

    async def close(self) -> None:
        await trio.aclose_forcefully(self._tls)


async def _through(port: int, authority: Authority, bench: Bench) -> _Client:
    stream = await trio.open_tcp_stream("127.0.0.1", port)
    await stream.send_all(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
    assert await stream.receive_some(len(ESTABLISHED)) == ESTABLISHED
    context = client_context(authority.certificate, bench.provider)
    tls = trio.SSLStream(stream, context, server_hostname=HOST, https_compatible=True)
    client = _Client(tls)
    await client.flush()
    await client.until(h2.events.RemoteSettingsChanged)
    await client.flush()
    return client


async def _listen(nursery: trio.Nursery, served: Front | ConnectProxy) -> int:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    await nursery.start(served.serve, listeners)
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def test_at_shutdown_an_open_request_is_answered_through_the_proxy_and_goaway_is_heard(
    authority: Authority,
) -> None:
    bench = Bench(authority.issue_push(TOPIC))
    token = bench.service.register("mac-1", TOPIC)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            apns = await _listen(nursery, Front(bench.service, authority.issue_server(SERVER_NAMES)))
            port = await _listen(nursery, ConnectProxy({HOST: ("127.0.0.1", apns)}, grace=1000))
            with trio.CancelScope(shield=True):
                client = await _through(port, authority, bench)
                head = [(":method", "POST"), (":scheme", "https"), (":authority", HOST)]
                client.h2.send_headers(1, [*head, (":path", f"/3/device/{token.hex()}")])
                client.h2.ping(b"12345678")
                await client.flush()
                await client.until(h2.events.PingAckReceived)
                nursery.cancel_scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                client.h2.send_data(1, PAYLOAD, end_stream=True)
                await client.flush()
                await client.until(h2.events.ConnectionTerminated)
                await client.close()
    (answer,) = [event for event in client.seen if isinstance(event, h2.events.ResponseReceived)]
    assert dict(answer.headers or ())[":status"] == "200"  # type: ignore[comparison-overlap,call-overload,index]


@pytest.mark.parametrize("leaves", [False, True])
async def test_shutdown_does_not_wait_for_a_client_without_open_requests(authority: Authority, leaves: bool) -> None:
    bench = Bench(authority.issue_push(TOPIC))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            apns = await _listen(nursery, Front(bench.service, authority.issue_server(SERVER_NAMES)))
            port = await _listen(nursery, ConnectProxy({HOST: ("127.0.0.1", apns)}, grace=1000))
            with trio.CancelScope(shield=True):
                client = await _through(port, authority, bench)
                nursery.cancel_scope.cancel()
                if leaves:
                    await client.until(h2.events.ConnectionTerminated)
                    await client.close()
    if not leaves:
        await client.close()


async def test_shutdown_does_not_wait_for_who_has_not_asked_yet(authority: Authority) -> None:
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            port = await _listen(nursery, ConnectProxy({}, grace=1000))
            stream = await trio.open_tcp_stream("127.0.0.1", port)
            await stream.send_all(b"CONNECT")
            await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)


@pytest.mark.parametrize("grace", [0.0, 0.05])
async def test_what_does_not_end_by_itself_is_ended_after_the_grace(grace: float) -> None:
    client, server = None, None
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            port = await _listen(nursery, ConnectProxy({HOST: listener.socket.getsockname()}, grace=grace))
            client = await trio.open_tcp_stream("127.0.0.1", port)
            await client.send_all(f"CONNECT {HOST}:443 HTTP/1.1\r\n\r\n".encode())
            await client.receive_some(100)
            server = await listener.accept()
            nursery.cancel_scope.cancel()
        assert await client.receive_some(100) == b""
    for each in (client, server, listener):
        await trio.aclose_forcefully(each)

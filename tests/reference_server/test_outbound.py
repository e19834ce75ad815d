"""Pushes over real HTTP/2 and TLS, to the fake APNs and to servers that fail."""

from __future__ import annotations

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.service import ApnsService
from mdmsim.http import BadAnswer, ConnectFailed, Identity, Request, TimedOut, TLSFailed, TransportError, Trust
from mdmsim.pki.authority import Authority
from reference_server.outbound import LiveOutbound
from reference_server.tls import server_context
from tests.reference_server.kit import KEYS, TOPIC

AUTHORITY = Authority.create("Live Test CA", keys=KEYS, clock=WallClock(), chance=Chance("live"))
SERVER = AUTHORITY.issue_server(["localhost"], ["127.0.0.1"])
PUSH = AUTHORITY.issue_push(TOPIC)
TRUST = Trust(anchors=(AUTHORITY.certificate,))


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


pytestmark = pytest.mark.anyio


@asynccontextmanager
async def _apns() -> AsyncIterator[tuple[str, bytes]]:
    """The fake APNs' URL, and a token that it knows."""
    service = ApnsService(WallClock(), Chance("apns"))
    service.certificates.register(PUSH.certificate)
    token = service.register("device", TOPIC)
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(Front(service, SERVER).serve, listeners)
        yield f"https://127.0.0.1:{port}", token
        nursery.cancel_scope.cancel()


def _push(
    url: str, token: bytes, *, identity: Identity | None = PUSH, trust: Trust = TRUST, topic: str = TOPIC
) -> Request:
    headers = (("apns-topic", topic), ("apns-push-type", "mdm"))
    return Request(
        "POST", f"{url}/3/device/{token.hex()}", headers, b'{"mdm":"M"}', identity=identity, trust=trust, timeout=10
    )


async def test_a_push_is_accepted_by_the_fake_apns() -> None:
    async with _apns() as (url, token), LiveOutbound() as outbound:
        answer = await outbound.send(_push(url, token))
        assert (answer.status, bool(answer.header("apns-id"))) == (200, True)


async def test_many_pushes_at_once_share_few_connections() -> None:
    async with _apns() as (url, token), LiveOutbound() as outbound:
        statuses: list[int] = []

        async def push() -> None:
            statuses.append((await outbound.send(_push(url, token))).status)

        async with trio.open_nursery() as nursery:
            for _ in range(60):
                nursery.start_soon(push)
        assert statuses == [200] * 60


async def test_a_refusal_comes_back_with_its_reason() -> None:
    async with _apns() as (url, token), LiveOutbound() as outbound:
        answer = await outbound.send(_push(url, token, topic="com.apple.mgmt.External.other"))
        assert (answer.status, json.loads(answer.body)["reason"]) == (400, "TopicDisallowed")


async def test_an_apns_of_another_ca_is_a_tls_failure() -> None:
    other = Authority.create("Other", keys=KEYS, clock=WallClock(), chance=Chance("other"))
    async with _apns() as (url, token), LiveOutbound() as outbound:
        with pytest.raises(TLSFailed):
            await outbound.send(_push(url, token, trust=Trust(anchors=(other.certificate,))))


async def test_nobody_there_is_a_failed_connection() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    async with LiveOutbound() as outbound:
        with pytest.raises(ConnectFailed) as failed:
            await outbound.send(_push(f"https://127.0.0.1:{port}", b"\x01" * 32))
    assert str(port) in str(failed.value)
    assert "01" * 32 not in str(failed.value), "the path of a push is the device's token"


async def test_an_apns_that_restarts_is_reached_again() -> None:
    async with LiveOutbound() as outbound:
        for _ in range(2):
            async with _apns() as (url, token):
                assert (await outbound.send(_push(url, token))).status == 200


async def test_an_apns_that_hangs_up_in_the_handshake_is_a_transport_error() -> None:
    async def hang_up(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.aclose()

    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, hang_up, listeners)
        port = listeners[0].socket.getsockname()[1]
        async with LiveOutbound() as outbound:
            with pytest.raises(TransportError):
                await outbound.send(_push(f"https://127.0.0.1:{port}", b"\x01" * 32))
        nursery.cancel_scope.cancel()


async def test_a_silent_apns_is_a_timeout() -> None:
    async def say_nothing(stream: trio.SSLStream[trio.SocketStream]) -> None:
        await stream.receive_some()
        await trio.sleep_forever()

    context = server_context(SERVER, (AUTHORITY.certificate,))
    context.set_alpn_protocols(["h2"])
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, say_nothing, listeners)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        async with LiveOutbound() as outbound:
            with pytest.raises(TimedOut):
                await outbound.send(replace(_push(f"https://127.0.0.1:{port}", b"\x01" * 32), timeout=0.2))
        nursery.cancel_scope.cancel()


Say = Callable[[h2.connection.H2Connection, int], AsyncIterator[None]]


async def _letters(peer: h2.connection.H2Connection, stream: int) -> AsyncIterator[None]:
    peer.send_headers(stream, [(":status", "abc")], end_stream=True)
    yield


async def _drip(peer: h2.connection.H2Connection, stream: int) -> AsyncIterator[None]:
    peer.send_headers(stream, [(":status", "400")])
    while True:
        peer.send_data(stream, b"x")
        yield
        await trio.sleep(0.05)


async def _flood(peer: h2.connection.H2Connection, stream: int) -> AsyncIterator[None]:
    peer.send_headers(stream, [(":status", "400")])
    while True:
        room = min(16_000, peer.local_flow_control_window(stream))
        if room:
            peer.send_data(stream, b"x" * room)
        yield


@pytest.mark.parametrize(
    ("say", "error"), [(_letters, BadAnswer), (_drip, TimedOut), (_flood, BadAnswer)], ids=["letters", "drip", "flood"]
)
async def test_an_apns_out_of_its_mind_is_a_transport_error(say: Say, error: type[TransportError]) -> None:
    async def serve(stream: trio.SSLStream[trio.SocketStream]) -> None:
        peer = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, validate_outbound_headers=False))
        peer.initiate_connection()
        await stream.send_all(peer.data_to_send())
        asked: list[int] = []
        while not asked:
            events = peer.receive_data(await stream.receive_some())
            asked = [event.stream_id for event in events if isinstance(event, h2.events.StreamEnded)]
        async for _ in say(peer, asked[0]):
            await stream.send_all(peer.data_to_send())
            if not peer.local_flow_control_window(asked[0]):
                peer.receive_data(await stream.receive_some())

    async def forgiving(stream: trio.SSLStream[trio.SocketStream]) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError, h2.exceptions.ProtocolError):
            await serve(stream)

    context = server_context(SERVER, (AUTHORITY.certificate,))
    context.set_alpn_protocols(["h2"])
    listeners = await trio.open_ssl_over_tcp_listeners(0, context, host="127.0.0.1")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, forgiving, listeners)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        async with LiveOutbound() as outbound:
            with pytest.raises(error):
                await outbound.send(replace(_push(f"https://127.0.0.1:{port}", b"\x01" * 32), timeout=2))
        nursery.cancel_scope.cancel()

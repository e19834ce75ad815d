"""The way in without TLS, for servers whose switch for developers takes a plain URL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio

from mdmsim.fakeapns.fault_names import Detail
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from tests.fakeapns.front.support import Served
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
async def plain(
    bench: Bench, authority: Authority, server_identity: Identity, front_settings: FrontSettings
) -> AsyncIterator[Served]:
    front = Front(bench.service, server_identity, front_settings)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(lambda: front.serve(listeners, plain=True))
        yield Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        nursery.cancel_scope.cancel()


def url(plain: Served, token: bytes | None = None) -> str:
    return f"http://127.0.0.1:{plain.port}/3/device/{(token or plain.token).hex()}"


async def test_a_push_over_http_1_is_taken_in_without_a_credential(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(plain), content=PAYLOAD)
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/1.1", 200, b"")
    (pending,) = plain.bench.service.pending()
    assert (pending.topic, pending.payload, answer.headers["apns-id"]) == (TOPIC, PAYLOAD, pending.apns_id)


async def test_the_topic_may_be_said(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(plain), content=PAYLOAD, headers={"apns-topic": OTHER_TOPIC})
    assert (answer.status_code, answer.json()) == (400, {"reason": "DeviceTokenNotForTopic"})


async def test_a_token_of_several_topics_needs_one_said(plain: Served) -> None:
    plain.bench.service.adopt(OTHER_TOPIC, plain.token)
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(plain), content=PAYLOAD)
    assert (answer.status_code, answer.json()) == (400, {"reason": "MissingTopic"})


async def test_an_unknown_token_is_refused_as_ever(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(plain, bytes(32)), content=PAYLOAD)
    assert (answer.status_code, answer.json()) == (400, {"reason": "BadDeviceToken"})


async def test_one_connection_carries_many_requests(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(3):
            assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200
        (info,) = plain.front.connections_info()
    assert (info.requests, info.tls, plain.front.counters["accepted"]) == (3, "", 1)


async def test_a_fault_of_the_tls_handshake_waits_for_a_connection_with_tls(plain: Served) -> None:
    plain.bench.service.faults.add("tls.refused", why="a test asks for it", times=1, answer=Detail())
    async with httpx.AsyncClient() as client:
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200
    assert plain.bench.service.faults.planned[0].injected == 0


async def test_a_connection_over_http_1_ends_where_http_2_would_say_goaway(plain: Served) -> None:
    plain.bench.service.faults.add("goaway.first", why="a test asks for it", times=1, answer=Detail())
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post(url(plain), content=PAYLOAD)
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200


async def test_a_huge_payload_is_413(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.post(url(plain), content=b"x" * 300_000)
    assert (answer.status_code, answer.json()) == (413, {"reason": "PayloadTooLarge"})


async def test_http2_by_prior_knowledge_works_on_the_same_port(plain: Served) -> None:
    client = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="utf-8"))
    client.initiate_connection()
    client.send_headers(
        1,
        [
            (":method", "POST"),
            (":scheme", "http"),
            (":authority", "x"),
            (":path", f"/3/device/{plain.token.hex()}"),
        ],
    )
    client.send_data(1, PAYLOAD, end_stream=True)
    async with await trio.open_tcp_stream("127.0.0.1", plain.port) as stream:
        # The preface in two parts: there is not enough to tell by at first.
        data = client.data_to_send()
        await stream.send_all(data[:7])
        await trio.testing.wait_all_tasks_blocked()
        await stream.send_all(data[7:])
        events: list[h2.events.Event] = []
        with trio.fail_after(10):
            while not any(isinstance(event, h2.events.ResponseReceived) for event in events):
                events += client.receive_data(bytes(await stream.receive_some(4096)))
        (answer,) = [event for event in events if isinstance(event, h2.events.ResponseReceived)]
        assert dict(answer.headers)[":status"] == "200"


@pytest.mark.parametrize("text", [b"nonsense\r\n\r\n", b"GET /\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n", b"X" * 20_000])
async def test_what_is_not_http_is_told_so_and_let_go(plain: Served, text: bytes) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", plain.port) as stream:
        await stream.send_all(text)
        answer = b""
        with trio.fail_after(10):
            while data := await stream.receive_some(4096):
                answer += data
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431"))
    assert plain.front.counters["protocol-error"] == 1


@pytest.mark.parametrize("front_settings", [FrontSettings(handshake_timeout=0.05)], ids=[""])
async def test_a_client_that_says_nothing_is_let_go(plain: Served) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", plain.port):
        await plain.counted("preface-timeout")


@pytest.mark.parametrize("front_settings", [FrontSettings(request_timeout=0.05)], ids=[""])
@pytest.mark.parametrize("begun", [b"G", b"POST /3/device/x HTTP/1.1\r\nhost: a\r\n"])
async def test_a_head_without_end_is_given_up(plain: Served, begun: bytes) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", plain.port) as stream:
        await stream.send_all(begun)
        await plain.counted("too-slow")


@pytest.mark.parametrize("front_settings", [FrontSettings(http1_idle_timeout=0.05)], ids=[""])
async def test_a_connection_that_stays_without_a_request_is_let_go(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200
        await plain.counted("idle")
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200


@pytest.mark.parametrize("front_settings", [FrontSettings(max_connections=3)], ids=[""])
async def test_heads_without_end_keep_nobody_out(plain: Served) -> None:
    slow = [await trio.open_tcp_stream("127.0.0.1", plain.port) for _ in range(3)]
    for stream in slow:
        await stream.send_all(b"G")
    await plain.until(lambda: len(plain.front.connections_info()) == 3)
    async with httpx.AsyncClient() as client:
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200
    assert plain.front.counters["crowded-out"] == 1
    for stream in slow:
        await trio.aclose_forcefully(stream)


async def test_head_is_told_what_get_is_without_the_content(plain: Served) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(2):
            answer = await client.head(url(plain))
            assert (answer.status_code, answer.content) == (405, b"")
            assert int(answer.headers["content-length"]) > 0
    assert (plain.front.counters["accepted"], plain.front.counters["defect"]) == (1, 0)


async def test_a_header_of_other_bytes_than_ascii_is_answered(plain: Served) -> None:
    async with await trio.open_tcp_stream("127.0.0.1", plain.port) as stream:
        await stream.send_all(b"POST /3/device/x HTTP/1.1\r\nhost: a\r\napns-id: \xff\r\ncontent-length: 2\r\n\r\n{}")
        assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 400 ")
    await plain.counted("closed")
    assert not plain.front.counters["defect"]


@pytest.mark.parametrize(
    ("name", "counted"), [("answer.cut", "cut"), ("connection.reset", "reset"), ("goaway", "reset")]
)
async def test_faults_of_connections_end_them(plain: Served, name: str, counted: str) -> None:
    plain.bench.service.faults.add(name, why="a test asks for it", times=1, answer=Detail())
    async with httpx.AsyncClient() as client:
        with pytest.raises(httpx.TransportError):
            await client.post(url(plain), content=PAYLOAD)
        await plain.counted(counted)
        assert (await client.post(url(plain), content=PAYLOAD)).status_code == 200


async def test_at_shutdown_an_idle_connection_is_closed_at_once(
    bench: Bench, authority: Authority, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity)
    async with httpx.AsyncClient() as client, trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(lambda: front.serve(listeners, plain=True))
        served = Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        answer = await client.post(url(served), content=b"")
        assert (answer.status_code, json.loads(answer.content)) == (400, {"reason": "PayloadEmpty"})
        nursery.cancel_scope.cancel()
    assert (front.connections, front.counters["closed"]) == (0, 1)

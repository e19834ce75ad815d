"""A full front: who has to go when one more connects, and who may stay."""

from __future__ import annotations

import h2.events
import pytest
import trio

from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.http import Identity
from tests.fakeapns.front.support import BEGIN, ByHand, Served

pytestmark = pytest.mark.anyio

three = pytest.mark.parametrize("front_settings", [FrontSettings(max_connections=3)], ids=[""])


async def _one_more(served: Served, provider: Identity) -> ByHand:
    """A client whose push is accepted."""
    client = await served.client(provider).__aenter__()
    await client.ask(1)
    assert await client.status(1) == "200"
    return client


async def _close(*clients: ByHand) -> None:
    for client in clients:
        await client.__aexit__()


@three
async def test_those_that_never_begin_http2_keep_nobody_out(served: Served, provider: Identity) -> None:
    asking = await _one_more(served, provider)
    silent = [served.client(provider) for _ in range(2)]
    for client in silent:
        await client.connect()
    await served.until(lambda: len(served.front.connections_info()) == 3)
    newcomer = await _one_more(served, provider)
    assert served.front.counters["crowded-out"] == 1
    # The one that came before is still there.
    await asking.ask(3)
    assert await asking.status(3) == "200"
    await _close(asking, newcomer, *silent)


@three
async def test_those_that_never_ask_go_before_those_that_did(served: Served, provider: Identity) -> None:
    asking = await _one_more(served, provider)
    silent = served.client(provider)
    await silent.connect()
    await silent.tls.send_all(BEGIN)
    await silent.tls.receive_some(65536)
    also_asking = await _one_more(served, provider)
    newcomer = await _one_more(served, provider)
    for client in (asking, also_asking, newcomer):
        await client.ask(3)
        assert await client.status(3) == "200"
    assert served.front.counters["crowded-out"] == 1
    await _close(asking, also_asking, newcomer, silent)


@three
async def test_else_the_one_that_was_idle_longest_is_told_goaway(served: Served, provider: Identity) -> None:
    clients = [await _one_more(served, provider) for _ in range(3)]
    await clients[0].ask(3)
    assert await clients[0].status(3) == "200"
    newcomer = await _one_more(served, provider)
    goodbye = await clients[1].until(h2.events.ConnectionTerminated)
    assert isinstance(goodbye, h2.events.ConnectionTerminated)
    assert (goodbye.error_code, goodbye.last_stream_id) == (0, 1)
    await served.counted("crowded-out")
    for client in (clients[0], clients[2], newcomer):
        await client.ask(5)
        assert await client.status(5) == "200"
    await _close(*clients, newcomer)


@three
async def test_where_requests_are_open_everywhere_the_newcomer_is_refused(served: Served, provider: Identity) -> None:
    clients = [await _one_more(served, provider) for _ in range(3)]
    for client in clients:
        await client.ask(3, end=False)
        client.h2.ping(b"12345678")
        await client.flush()
        await client.until(h2.events.PingAckReceived)
    with pytest.raises((OSError, trio.BrokenResourceError)):
        await served.client(provider).connect()
    assert served.front.counters["full"] == 1
    for client in clients:
        client.h2.end_stream(3)
        await client.flush()
        assert await client.status(3) == "200"
    await _close(*clients)

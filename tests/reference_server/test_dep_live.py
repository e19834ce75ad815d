"""The server's calls to DEP over real sockets: HTTP/1.1, plain on loopback and with TLS."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from mdmsim.asgi import serve_asgi
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.pki.authority import Authority
from reference_server.outbound import LiveOutbound
from reference_server.tls import server_context
from tests.reference_server.apple import AppleServer
from tests.reference_server.kit import KEYS

pytestmark = [pytest.mark.anyio, pytest.mark.live]

AUTHORITY = Authority.create("Live Test CA", keys=KEYS, clock=WallClock(), chance=Chance("live DEP"))


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@asynccontextmanager
async def _live(*, tls: bool, **changes: Any) -> AsyncIterator[AppleServer]:
    """A server whose calls go over sockets to a fake DEP of its own clock."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    server = AppleServer(dep_url=url, **({"dep_anchors": (AUTHORITY.certificate,)} | changes))
    context = None
    if tls:
        context = server_context(AUTHORITY.issue_server(["localhost"], ["127.0.0.1"]), (AUTHORITY.certificate,))
    async with LiveOutbound() as outbound, trio.open_nursery() as nursery:
        server.apns.send = outbound.send  # type: ignore[method-assign]
        nursery.start_soon(lambda: serve_asgi(server.way.asgi, listeners, context=context))
        yield server
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("tls", [False, True], ids=["http", "https"])
async def test_a_whole_round_over_sockets(tls: bool) -> None:
    async with _live(tls=tls) as server:
        await server.connect_dep(*(f"S{n:04}" for n in range(1500)))
        assert (await server.synced())["assigned"] == {"SUCCESS": 1500}


async def test_a_dep_of_another_ca_is_a_trouble() -> None:
    other = Authority.create("Other", keys=KEYS, clock=WallClock(), chance=Chance("other DEP"))
    async with _live(tls=True, dep_anchors=(other.certificate,)) as server:
        await server.connect_dep("A")
        assert (await server.sync()).status == 502
        assert "TLSFailed" in (await server.account())["trouble"]["reason"]


async def test_a_connection_that_is_cut_is_a_trouble_that_passes() -> None:
    async with _live(tls=True) as server:
        await server.connect_dep("A")
        server.fault("answer.cut")
        assert (await server.sync()).status == 502
        await server.synced()


async def test_nobody_there_is_a_trouble() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    server = AppleServer(dep_url=f"http://127.0.0.1:{port}")
    async with LiveOutbound() as outbound:
        server.apns.send = outbound.send  # type: ignore[method-assign]
        await server.connect_dep("A")
        assert (await server.sync()).status == 502
        assert "ConnectFailed" in (await server.account())["trouble"]["reason"]

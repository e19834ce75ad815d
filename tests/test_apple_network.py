"""No client connects to Apple by name, by address, or because a harmless name leads there, unless its user named it."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import trio

from mdmsim.apple_network import is_apples, refuse_apple
from mdmsim.chance import Chance
from mdmsim.cli.apns_due import due
from mdmsim.cli.diagnosis.way import Target
from mdmsim.cli.enrollment.untrusted import presented_chain
from mdmsim.cli.exits import Mistake
from mdmsim.clock import ManualClock
from mdmsim.fakeapns.courier.blocking import BlockingCourier
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.errors import CourierUnreachable
from mdmsim.http import ConnectFailed, Request, Trust
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.exchange import Http1Client, Unreachable, WholeRequest
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.trio_client import TrioTransport
from reference_server.outbound import LiveOutbound
from tests.fakeapns.support import serving

pytestmark = pytest.mark.anyio

APPLES = "17.253.144.10"
HARMLESS = "mdm.example.com"


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.mark.parametrize(
    "host",
    [
        "apple.com", "API.push.apple.com.", "swcdn.cdn-apple.com", "gateway.icloud.com", "is1-ssl.mzstatic.com",
        "17.0.0.1", "17.255.255.255", "17.1", "0x11000001", "::ffff:17.1.2.3", "[64:ff9b::1101:203]", "2002:1101:203::",
        "2620:149:a44::1",
    ],
)  # fmt: skip
def test_a_name_or_an_address_of_apple_is_known_in_every_spelling(host: str) -> None:
    assert is_apples(host)


@pytest.mark.parametrize(
    "host",
    ["localhost", "127.0.0.1", "::1", "16.255.255.255", "18.0.0.1", "pineapple.com", "apple.com.example", "notmzstatic.com", "a17.0.0.1"],
)  # fmt: skip
def test_what_only_looks_like_apples_is_not(host: str) -> None:
    assert not is_apples(host)


def test_a_host_that_is_named_may_be_connected_to() -> None:
    refuse_apple("api.push.apple.com", {"api.push.apple.com"})
    refuse_apple(HARMLESS, {HARMLESS}, [APPLES])
    with pytest.raises(ConnectFailed, match=rf"{HARMLESS}: it leads to {APPLES}, which is Apple's"):
        refuse_apple(HARMLESS, {"api.push.apple.com"}, ["127.0.0.1", APPLES])


# What the resolver says: the harmless name is one of Apple's addresses. Nothing is ever connected.


class _Resolver(trio.abc.HostnameResolver):
    async def getaddrinfo(self, host: Any, port: Any, *_: Any, **__: Any) -> Any:
        return _answer(host, port)

    async def getnameinfo(self, *_: Any) -> Any:
        raise NotImplementedError


def _answer(host: Any, port: Any, *_: Any, **__: Any) -> Any:
    name = host.decode("ascii") if isinstance(host, bytes) else host
    assert name == HARMLESS
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (APPLES, port))]


def _no_connection(*_: Any, **__: Any) -> Any:
    raise AssertionError("a connection to Apple was tried")


@pytest.fixture
async def leads_to_apple(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", _answer)
    monkeypatch.setattr(socket, "create_connection", _no_connection)
    monkeypatch.setattr(trio, "open_tcp_stream", _no_connection)
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    trio.socket.set_custom_hostname_resolver(_Resolver())


REQUEST = Request("GET", f"https://{HARMLESS}/", trust=Trust())


async def _device_trio() -> None:
    with TrioTransport() as transport:
        await transport.send(REQUEST)


async def _device_blocking() -> None:
    with BlockingTransport(clock=ManualClock()) as transport:
        transport.send(REQUEST)


async def _api_client() -> None:
    async with HttpOutbound() as outbound:
        await outbound.send(REQUEST)


async def _reference_server() -> None:
    async with LiveOutbound() as outbound:
        await outbound.send(REQUEST)


async def _tls_front() -> None:
    await Http1Client((HARMLESS, 443)).exchange(WholeRequest("GET", "/", (("host", HARMLESS),), b""))


async def _courier() -> None:
    async with CourierClient(HARMLESS, 443, on_push=_no_connection, chance=Chance(1)):
        pass


async def _courier_blocking() -> None:
    with BlockingCourier(HARMLESS, 443, on_push=_no_connection, chance=Chance(1)):
        pass


@pytest.mark.parametrize(
    ("client", "error"),
    [
        (_device_trio, ConnectFailed),
        (_device_blocking, ConnectFailed),
        (_api_client, ConnectFailed),
        (_reference_server, ConnectFailed),
        (_tls_front, Unreachable),
        (_courier, CourierUnreachable),
        (_courier_blocking, CourierUnreachable),
    ],
    ids=lambda value: value.__name__.strip("_"),
)
@pytest.mark.usefixtures("leads_to_apple")
async def test_a_harmless_name_that_leads_to_apple_is_refused(
    client: Callable[[], Awaitable[None]], error: type[Exception]
) -> None:
    with pytest.raises(error, match=f"it leads to {APPLES}, which is Apple's"):
        await client()


@pytest.mark.usefixtures("leads_to_apple")
async def test_the_chain_of_a_host_at_apple_is_not_looked_at() -> None:
    assert presented_chain(HARMLESS, 443) == ()


async def test_the_proxy_takes_nobody_to_apple(caplog: pytest.LogCaptureFixture) -> None:
    proxy = ConnectProxy({"api.push.apple.com": (APPLES, 443)})
    async with serving(proxy.serve) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(b"CONNECT api.push.apple.com:443 HTTP/1.1\r\nHost: x\r\n\r\n")
        with trio.fail_after(10):
            assert (await stream.receive_some(65536)).startswith(b"HTTP/1.1 502 ")
    assert "which is Apple's" in caplog.text or "that is Apple's" in caplog.text


def test_the_doctor_knows_apples_addresses() -> None:
    assert Target(APPLES, 443, None).is_apples


@pytest.mark.parametrize("url", ["https://mdmenrollment.apple.com/session", f"https://{APPLES}/"])
@pytest.mark.parametrize("client", [HttpOutbound, LiveOutbound])
async def test_the_servers_own_calls_stay_away_from_apple(
    client: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY", raising=False)
    async with client() as outbound:
        with pytest.raises(ConnectFailed, match="Apple's"):
            await outbound.send(Request("GET", url))


def test_apns_due_asks_nobody_at_apple() -> None:
    with pytest.raises(Mistake, match="Apple's"):
        due(from_server=f"https://{APPLES}", api_key="k", key="k", admin="http://127.0.0.1:1")

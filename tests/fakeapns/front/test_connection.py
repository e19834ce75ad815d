"""A connection over real TLS: its environment, its limits, its clocks, what is told about it, and how it ends."""

from __future__ import annotations

import json

import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, HeadersFrame, SettingsFrame

from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from tests.fakeapns.front.support import BEGIN, ByHand, Served, served_front
from tests.fakeapns.support import TOPIC, Bench

pytestmark = pytest.mark.anyio

STREAMS = h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS


def settled(**switches: object) -> pytest.MarkDecorator:
    """Run a test on a front with these settings."""
    return pytest.mark.parametrize("front_settings", [FrontSettings(**switches)], ids=[""])  # type: ignore[arg-type]


async def limit(client: ByHand) -> int:
    """The next MAX_CONCURRENT_STREAMS that the server announces."""
    while True:
        event = await client.until(h2.events.RemoteSettingsChanged)
        assert isinstance(event, h2.events.RemoteSettingsChanged)
        if (changed := event.changed_settings.get(STREAMS)) is not None:
            return changed.new_value


# the beginning


@pytest.mark.parametrize("alpn", [(), ("h2",), ("http/1.1", "h2")])
async def test_prior_knowledge_and_any_order_of_alpn_work(
    served: Served, provider: Identity, alpn: tuple[str, ...]
) -> None:
    async with served.client(provider, *alpn) as client:
        await client.ask(1)
        assert await client.status(1) == "200"


@pytest.mark.parametrize(
    ("host", "environment"),
    [
        ("api.push.apple.com", "production"),
        ("api.sandbox.push.apple.com", "sandbox"),
        ("api.development.push.apple.com", "sandbox"),
        ("localhost", "production"),
    ],
)
async def test_the_name_asked_for_says_the_environment(served: Served, host: str, environment: str) -> None:
    async with served.client(None, host=host):
        await served.until(lambda: served.front.connections_info())
        (info,) = served.front.connections_info()
        assert info.environment == environment


async def test_where_no_name_of_apples_is_asked_for_the_listener_says_the_environment(
    bench: Bench, authority: Authority, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(lambda: front.serve(listeners, environment="sandbox"))
        served = Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        for host, environment in (("localhost", "sandbox"), ("api.push.apple.com", "production")):
            async with served.client(None, host=host):
                await served.until(lambda: front.connections_info())
                assert [info.environment for info in front.connections_info()] == [environment]
            await served.until(lambda: not front.connections)
        nursery.cancel_scope.cancel()


async def test_a_certificate_for_the_other_environment_gets_a_goaway_and_nothing_else(
    served: Served, provider: Identity
) -> None:
    # An MDM push certificate is for production only.
    client = served.client(provider, host="api.sandbox.push.apple.com")
    await client.connect()
    await client.tls.send_all(BEGIN)
    settings, goodbye = await client.rest()
    assert isinstance(settings, SettingsFrame)
    assert isinstance(goodbye, GoAwayFrame)
    assert (goodbye.last_stream_id, goodbye.error_code) == (0, 0)
    assert json.loads(goodbye.additional_data) == {"reason": "BadCertificateEnvironment"}
    assert served.front.counters["refused"] == 1


# stream limits


async def test_with_a_certificate_all_streams_are_there_at_once(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client:
        assert await limit(client) == 1000


async def test_without_a_certificate_there_is_one_stream(served: Served) -> None:
    async with served.client(None) as client:
        assert await limit(client) == 1


@settled(token_ramp=False, stream_limit=7)
async def test_the_limit_is_a_setting(served: Served) -> None:
    async with served.client(None) as client:
        assert await limit(client) == 7


@settled(throttle_after_reject=True)
async def test_after_a_refused_push_there_is_one_stream_until_one_is_accepted(
    served: Served, provider: Identity
) -> None:
    async with served.client(provider) as client:
        assert await limit(client) == 1000
        await client.ask(1, path="/3/device/ab")
        assert await limit(client) == 1
        await client.ask(3)
        assert await limit(client) == 1000


@settled(stream_limit=2)
async def test_a_stream_over_the_limit_is_refused_and_the_connection_goes_on(
    served: Served, provider: Identity
) -> None:
    async with served.client(provider) as client:
        await client.until(h2.events.RemoteSettingsChanged)
        client.h2.remote_settings[STREAMS] = 100
        client.h2.remote_settings.acknowledge()
        for stream in (1, 3, 5):
            await client.ask(stream, end=False)
        reset = await client.until(h2.events.StreamReset)
        assert isinstance(reset, h2.events.StreamReset)
        assert (reset.stream_id, reset.error_code) == (5, h2.errors.ErrorCodes.REFUSED_STREAM)
        client.h2.end_stream(1)
        await client.flush()
        assert await client.status(1) == "200"


# being told about


async def test_connections_are_listed_with_what_is_known_about_them(served: Served, provider: Identity) -> None:
    async with served.client(provider, "h2") as client, served.client(None):
        await client.ask(1)
        await client.status(1)
        await served.until(lambda: len(served.front.connections_info()) == 2)
        known, stranger = served.front.connections_info()
        assert (known.topic, known.alpn, known.tls, known.requests) == (TOPIC, "h2", "TLSv1.3", 1)
        assert known.certificate and known.peer.startswith("127.0.0.1:") and known.received and known.sent
        assert (stranger.topic, stranger.certificate, stranger.alpn) == (None, None, None)
        assert stranger.number != known.number


# reading on while pushes become durable


class Disk:
    """Stands for a storage whose commits take as long as the test says, or fail."""

    def __init__(self, bench: Bench) -> None:
        self.asked = trio.Event()
        self.written = trio.Event()
        self.error: Exception | None = None
        bench.service.durable = self.durable  # type: ignore[method-assign]

    async def durable(self) -> None:
        self.asked.set()
        await self.written.wait()
        if self.error is not None:
            raise self.error


async def test_while_a_commit_takes_its_time_pings_are_answered_and_requests_taken_in(
    bench: Bench, served: Served, provider: Identity
) -> None:
    disk = Disk(bench)
    async with served.client(provider) as client:
        await client.ask(1)
        await disk.asked.wait()
        await client.ask(3)
        client.h2.ping(b"12345678")
        await client.flush()
        assert await client.until(h2.events.PingAckReceived) is not None
        await served.until(lambda: bench.service.counts.accepted == 2)
        disk.written.set()
        assert [await client.status(1), await client.status(3)] == ["200", "200"]


async def test_what_could_not_be_made_durable_is_not_promised(bench: Bench, served: Served, provider: Identity) -> None:
    disk = Disk(bench)
    disk.error = NotDurable("disk full")
    disk.written.set()
    async with served.client(provider) as client:
        await client.ask(1, ("apns-id", "8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"))
        answer = await client.until(h2.events.ResponseReceived)
        assert isinstance(answer, h2.events.ResponseReceived)
        body = await client.until(h2.events.DataReceived)
        assert isinstance(body, h2.events.DataReceived)
    headers = dict(answer.headers)
    assert (headers[":status"], headers["apns-id"]) == ("500", "8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D")
    assert json.loads(body.data or b"") == {"reason": "InternalServerError"}


# clocks


@settled(ping_interval=0.05)
async def test_a_silent_client_is_pinged_and_may_stay_when_it_answers(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client:
        assert await client.until(h2.events.PingReceived) is not None
        assert await client.until(h2.events.PingReceived) is not None
        await client.ask(1)
        assert await client.status(1) == "200"


@settled(ping_interval=0.05, ping_timeout=0.05)
async def test_a_client_that_answers_no_ping_is_let_go(served: Served, provider: Identity) -> None:
    client = served.client(provider)
    await client.connect()
    await client.tls.send_all(BEGIN)
    await served.counted("no-answer-to-ping")
    await served.until(lambda: not served.front.connections)


@settled(idle_timeout=0.1)
async def test_an_idle_client_is_told_idle_timeout(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client:
        goodbye = await client.until(h2.events.ConnectionTerminated)
        assert isinstance(goodbye, h2.events.ConnectionTerminated)
        assert json.loads(goodbye.additional_data or b"") == {"reason": "IdleTimeout"}
        assert served.front.counters["idle"] == 1


# goodbyes


async def test_goaway_on_demand_carries_reason_code_and_last_stream(served: Served, provider: Identity) -> None:
    async with served.client(provider) as client, served.client(provider) as other:
        await client.ask(1)
        await client.status(1)
        await other.ask(1)
        await other.status(1)
        (number, _) = (info.number for info in served.front.connections_info())
        assert served.front.goaway("ServiceUnavailable", 11, connections=number) == 1
        goodbye = await client.until(h2.events.ConnectionTerminated)
        assert isinstance(goodbye, h2.events.ConnectionTerminated)
        assert (goodbye.error_code, goodbye.last_stream_id) == (11, 1)
        assert json.loads(goodbye.additional_data or b"") == {"reason": "ServiceUnavailable"}
        await other.ask(3)
        assert await other.status(3) == "200"


async def test_goaway_on_demand_answers_what_is_open_first(bench: Bench, served: Served, provider: Identity) -> None:
    disk = Disk(bench)
    client = served.client(provider)
    async with client:
        await client.ask(1)
        await disk.asked.wait()
        served.front.goaway()
        await client.ask(3)
        disk.written.set()
        rest = await client.rest()
    goodbye = [number for number, found in enumerate(rest) if isinstance(found, GoAwayFrame)]
    answers = [(number, found.stream_id) for number, found in enumerate(rest) if isinstance(found, HeadersFrame)]
    assert [stream for _, stream in answers] == [1]
    assert goodbye[0] < answers[0][0]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [({"reason": "Nonsense"}, "Nonsense"), ({"code": -1}, "code=-1"), ({"last_stream": 1 << 31}, "last_stream")],
)
async def test_a_goaway_that_cannot_be_said_is_a_mistake(served: Served, wrong: dict[str, object], word: str) -> None:
    with pytest.raises(ValueError, match=word):
        served.front.goaway(**wrong)  # type: ignore[arg-type]


async def test_a_client_that_says_goaway_still_gets_its_answers(
    bench: Bench, served: Served, provider: Identity
) -> None:
    disk = Disk(bench)
    async with served.client(provider) as client:
        await client.ask(1)
        await disk.asked.wait()
        client.h2.close_connection()
        await client.flush()
        disk.written.set()
        rest = await client.rest()
    assert [found.stream_id for found in rest if isinstance(found, HeadersFrame)] == [1]


async def test_at_shutdown_open_requests_are_answered_before_goaway(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(front.serve, listeners)
        served = Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        # The shield is outside of the client: its end would be cancelled otherwise, and take a failure with it.
        with trio.CancelScope(shield=True):
            async with served.client(provider) as client:
                await client.until(h2.events.RemoteSettingsChanged)
                await client.ask(1, end=False)
                client.h2.ping(b"12345678")
                await client.flush()
                await client.until(h2.events.PingAckReceived)
                nursery.cancel_scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                await client.ask(3)
                assert await client.status(3) == "503"
                body = await client.until(h2.events.DataReceived)
                assert isinstance(body, h2.events.DataReceived)
                assert json.loads(body.data or b"") == {"reason": "Shutdown"}
                client.h2.end_stream(1)
                await client.flush()
                assert await client.status(1) == "200"
                goodbye = await client.until(h2.events.ConnectionTerminated)
                assert isinstance(goodbye, h2.events.ConnectionTerminated)
                assert (goodbye.error_code, goodbye.last_stream_id) == (0, 3)
                assert await client.until(h2.events.ResponseReceived) is None
    # A push that came too late was not taken in: the server sends it again, to another connection.
    assert bench.service.counts.accepted == 1


async def test_at_shutdown_goaway_is_said_when_the_last_open_request_is_cancelled(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity, FrontSettings(grace=1000))
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(front.serve, listeners)
        served = Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        # The shield is outside of the client: its end would be cancelled otherwise, and take a failure with it.
        with trio.CancelScope(shield=True):
            async with served.client(provider) as client:
                await client.ask(1, end=False)
                client.h2.ping(b"12345678")
                await client.flush()
                await client.until(h2.events.PingAckReceived)
                nursery.cancel_scope.cancel()
                await trio.testing.wait_all_tasks_blocked()
                client.h2.reset_stream(1)
                await client.flush()
                assert await client.until(h2.events.ConnectionTerminated) is not None
    assert front.counters == {"accepted": 1, "closed": 1}


async def test_at_shutdown_a_request_that_never_ends_is_cut_after_the_grace(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    async with served_front(bench, authority, server_identity, FrontSettings(grace=0.1)) as served:
        client = served.client(provider)
        await client.__aenter__()
        await client.until(h2.events.RemoteSettingsChanged)
        await client.ask(1, end=False)
    assert served.front.connections == 0
    await client.__aexit__()


async def test_at_shutdown_a_front_on_two_ports_ends_as_soon_as_its_connections_have(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity, FrontSettings(grace=20))
    ports = [await trio.open_tcp_listeners(0, host="127.0.0.1") for _ in range(2)]
    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            for listeners in ports:
                await nursery.start(front.serve, listeners)
            client = Served(bench, authority, front, ports[0][0].socket.getsockname()[1]).client(provider)
            await client.__aenter__()
            await client.until(h2.events.RemoteSettingsChanged)
            nursery.cancel_scope.cancel()
    assert front.connections == 0
    await client.__aexit__()


# legal variety


async def _order(served: Served, provider: Identity) -> list[int]:
    """The order in which the answers to twenty requests of one write come."""
    async with served.client(provider, "h2") as client:
        await client.until(h2.events.RemoteSettingsChanged)
        wanted = range(1, 41, 2)
        path = f"/3/device/{served.token.hex()}"
        head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
        for stream in wanted:
            client.h2.send_headers(stream, head)
            client.h2.send_data(stream, b"{}", end_stream=True)
        await client.flush()
        order: list[int] = []
        while len(order) < len(wanted):
            event = await client.until(h2.events.ResponseReceived)
            assert isinstance(event, h2.events.ResponseReceived)
            order.append(event.stream_id or 0)
        return order


async def test_answers_to_what_came_together_come_in_any_order(served: Served, provider: Identity) -> None:
    order = await _order(served, provider)
    assert order != sorted(order)
    assert sorted(order) == list(range(1, 41, 2))


@settled(variety=False)
async def test_without_variety_they_come_in_the_order_of_the_requests(served: Served, provider: Identity) -> None:
    order = await _order(served, provider)
    assert order == sorted(order)


async def test_a_ping_may_come_unasked_and_nothing_depends_on_it(
    bench: Bench, served: Served, provider: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mdmsim.fakeapns.front.connection.PING_RATE", 1.0)
    async with served.client(provider, "h2") as client:
        await client.ask(1)
        assert await client.until(h2.events.PingReceived) is not None

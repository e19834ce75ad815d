from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest
import trio
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import ClientDisconnect
from starlette.requests import Request as AppRequest
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.responses import Response as AppResponse
from starlette.routing import Route

from mdmsim.clock import DAY, ManualClock, VirtualClock, WallClock
from mdmsim.http import BadAnswer, ConnectFailed, ExchangeCut, Request, Response, TimedOut, TLSFailed, Trust
from mdmsim.transport.determinism import run_virtual
from mdmsim.transport.inprocess import MemoryEnd, Network
from mdmsim.transport.wire import Tap
from tests.transport.certs import HOST, OTHER_ROOT, ROOT, SERVER, leaf
from tests.transport.shells import TRUST, put

T = TypeVar("T")
DEVICE = leaf(ROOT, purpose="client", common_name="device", rsa_key=True)
CHAIN = (SERVER.certificate,)
NOW_MS = WallClock().now_ms()
App = Callable[..., Awaitable[None]]


def virtual(main: Callable[[VirtualClock, Network], Awaitable[T]], *, seed: int = 1, latency_ms: int = 0) -> T:
    async def start(clock: VirtualClock) -> T:
        return await main(clock, Network(clock, latency_ms=latency_ms))

    return run_virtual(start, seed=seed, start_ms=NOW_MS)


def app(handler: Callable[[AppRequest], Awaitable[AppResponse]], **settings: Any) -> Starlette:
    return Starlette(routes=[Route("/{path:path}", handler, methods=["GET", "PUT", "POST"])], **settings)


async def hello(request: AppRequest) -> AppResponse:
    return PlainTextResponse("hello")


def ask(application: Any, *requests: Request, **settings: Any) -> list[Response]:
    """The answers of an app at https://mdm.example.test."""

    async def main(clock: VirtualClock, network: Network) -> list[Response]:
        async with network.serving(HOST, 443, application, chain=CHAIN, **settings):
            client = network.client("phone", address="192.0.2.7")
            return [await client.send(request) for request in requests]

    return virtual(main)


# what an app sees


def test_an_app_sees_the_request_as_under_uvicorn() -> None:
    seen: dict[str, Any] = {}

    async def look(request: AppRequest) -> AppResponse:
        seen.update(request.scope, body=await request.body())
        return PlainTextResponse("")

    ask(app(look), put(b"<x/>", url=f"https://{HOST}/a%20b/c?d=%20e", headers=(("User-Agent", "MDM/1.0"),)))
    wanted = ("method", "path", "raw_path", "query_string", "scheme", "server", "http_version", "body", "headers")
    assert {key: seen[key] for key in wanted} == {
        "method": "PUT",
        "path": "/a b/c",
        "raw_path": b"/a%20b/c",
        "query_string": b"d=%20e",
        "scheme": "https",
        "server": (HOST, 443),
        "http_version": "1.1",
        "body": b"<x/>",
        "headers": [(b"host", HOST.encode()), (b"user-agent", b"MDM/1.0"), (b"content-length", b"4")],
    }
    assert seen["client"][0] == "192.0.2.7"


def test_the_client_certificate_comes_through_asgis_tls_extension_only() -> None:
    seen: list[Any] = []

    async def look(request: AppRequest) -> AppResponse:
        seen.append(request.scope["extensions"]["tls"])
        return PlainTextResponse("")

    ask(app(look), put(identity=DEVICE), put())
    import ssl

    assert [tls["client_cert_chain"] for tls in seen] == [[ssl.DER_cert_to_PEM_cert(DEVICE.certificate)], []]
    assert [tls["client_cert_name"] for tls in seen] == ["CN=device", None]
    assert seen[0]["server_cert"] == ssl.DER_cert_to_PEM_cert(SERVER.certificate)
    assert (seen[0]["tls_version"], seen[0]["client_cert_error"]) == (0x0304, None)


def test_a_plain_http_host_has_no_tls_extension() -> None:
    seen: list[Any] = []

    async def look(request: AppRequest) -> AppResponse:
        seen.append(request.scope["extensions"])
        return PlainTextResponse("")

    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving("localhost", 80, app(look)):
            await network.client("api").send(Request("GET", "http://localhost/", trust=Trust(allow_http=True)))

    virtual(main)
    assert seen == [{}]


def test_a_streamed_answer_arrives_whole() -> None:
    async def stream(request: AppRequest) -> AppResponse:
        async def parts() -> AsyncIterator[bytes]:
            for part in (b"one", b"", b"two"):
                yield part

        return StreamingResponse(parts())

    (response,) = ask(app(stream), put())
    assert response.body == b"onetwo" and response.header("Transfer-Encoding") == "chunked"


def test_a_head_answer_has_no_body() -> None:
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]})
            await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else b"hello"})

    first, second = ask(bare, put(b"", method="HEAD"), put())
    assert (first.body, second.body) == (b"", b"hello")


def test_an_app_that_raises_answers_500_and_is_remembered() -> None:
    async def broken(request: AppRequest) -> AppResponse:
        raise LookupError("a bug")

    async def main(clock: VirtualClock, network: Network) -> tuple[list[int], list[Exception]]:
        async with network.serving(HOST, 443, app(broken), chain=CHAIN) as host:
            client = network.client("phone")
            return [(await client.send(put())).status for _ in range(2)], host.errors

    statuses, errors = virtual(main)
    assert statuses == [500, 500] and [str(error) for error in errors] == ["a bug", "a bug"]


@pytest.mark.parametrize("messages", [[], [{"type": "http.response.start", "status": 200}]])
def test_an_app_that_leaves_without_an_answer_is_a_server_error(messages: list[Any]) -> None:
    async def silent(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            for message in messages:
                await send(message)

    async def main(clock: VirtualClock, network: Network) -> tuple[Any, list[Exception]]:
        async with network.serving(HOST, 443, silent, chain=CHAIN) as host:
            try:
                return (await network.client("phone").send(put())).status, host.errors
            except ExchangeCut:
                return "cut", host.errors

    outcome, errors = virtual(main)
    assert outcome == ("cut" if messages else 500) and len(errors) == 1


def test_bytes_that_are_no_request_are_answered_400() -> None:
    async def main(clock: VirtualClock, network: Network) -> bytes:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            from mdmsim.transport.place import place_of

            link = await network.dial(network.client("odd"), place_of(f"https://{HOST}/"), put())
            await link.transmit(b"\x16\x03\x01 no HTTP\r\n\r\n")
            return await link.receive()

    assert virtual(main).startswith(b"HTTP/1.1 400 ")


# servers outlive their clients


def test_a_device_that_is_cancelled_does_not_cancel_its_server() -> None:
    done: list[str] = []

    async def slow(request: AppRequest) -> AppResponse:
        await trio.sleep(10)
        done.append("finished")
        return PlainTextResponse("")

    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving(HOST, 443, app(slow), chain=CHAIN):
            with trio.move_on_after(1):
                await network.client("phone").send(put())
            await trio.sleep(60)

    virtual(main)
    assert done == ["finished"]


def test_an_app_hears_that_its_client_has_gone() -> None:
    heard: list[str] = []

    async def wait(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            while True:
                message = await receive()
                heard.append(message["type"])
                if message["type"] == "http.disconnect":
                    return

    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving(HOST, 443, wait, chain=CHAIN):
            with pytest.raises(TimedOut):
                await network.client("phone").send(put(timeout=5))
            await trio.sleep(1)

    virtual(main)
    assert heard == ["http.request", "http.disconnect"]


def test_a_request_cut_in_its_body_reaches_the_app_as_such() -> None:
    seen: list[str] = []

    async def read(request: AppRequest) -> AppResponse:
        try:
            await request.body()
        except ClientDisconnect:
            seen.append("cut")
            raise
        return PlainTextResponse("")

    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving(HOST, 443, app(read), chain=CHAIN):
            with pytest.raises(ExchangeCut):
                await network.client("phone").send(put(b"x" * 1000), tap=Tap(cut_request_share=0.5))
            await trio.sleep(1)

    virtual(main)
    assert seen == ["cut"]


def test_an_early_answer_to_a_half_read_request_does_not_spoil_the_next() -> None:
    async def refuse(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            status = 413 if scope["path"] == "/big" else 200
            await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})

    answers = ask(refuse, put(b"x" * 100_000, url=f"https://{HOST}/big"), put())
    assert [answer.status for answer in answers] == [413, 200]


def test_work_after_the_answer_does_not_hold_it_up() -> None:
    async def later(request: AppRequest) -> AppResponse:
        return PlainTextResponse("now", background=BackgroundTask(trio.sleep, 30))

    async def main(clock: VirtualClock, network: Network) -> int:
        async with network.serving(HOST, 443, app(later), chain=CHAIN):
            began = clock.now_ms()
            await network.client("phone").send(put())
            return clock.now_ms() - began

    assert virtual(main) == 0


# lifespan


def test_lifespan_is_entered_and_left_in_one_task_around_all_requests() -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
        task = trio.lowlevel.current_task()
        seen.append("up")
        async with trio.open_nursery() as nursery:  # leaving it in another task would be an error
            nursery.start_soon(trio.sleep_forever)
            yield {"store": 7}
            nursery.cancel_scope.cancel()
        seen.append(("down", trio.lowlevel.current_task() is task))

    async def state(request: AppRequest) -> AppResponse:
        seen.append(request.state.store)
        return PlainTextResponse("")

    ask(app(state, lifespan=lifespan), put())
    assert seen == ["up", 7, ("down", True)]


def test_an_app_whose_start_fails_is_not_served() -> None:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        if HOST:
            raise OSError("no database")
        yield

    with pytest.raises(Exception, match="no database"):
        ask(app(hello, lifespan=lifespan), put())


def test_lifespan_ends_in_order_when_the_world_is_cancelled() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await trio.sleep(1)
        seen.append("down")

    async def main(clock: VirtualClock, network: Network) -> None:
        with trio.move_on_after(5):
            async with network.serving(HOST, 443, app(hello, lifespan=lifespan), chain=CHAIN):
                await trio.sleep_forever()

    virtual(main)
    assert seen == ["down"]


def test_a_failing_block_comes_out_as_its_own_exception() -> None:
    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        virtual(main)


def test_a_killed_host_stops_where_it_stands_and_another_can_take_its_place() -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        seen.append("shut down in order")

    async def slow(request: AppRequest) -> AppResponse:
        await trio.sleep(10)
        seen.append("finished")
        return PlainTextResponse("")

    async def main(clock: VirtualClock, network: Network) -> None:
        client = network.client("phone")
        async with network.serving(HOST, 443, app(slow, lifespan=lifespan), chain=CHAIN) as host:
            async with trio.open_nursery() as nursery:

                async def send() -> None:
                    with pytest.raises(ExchangeCut):
                        await client.send(put())
                    seen.append("cut")

                nursery.start_soon(send)
                await trio.sleep(1)
                host.kill()
            with pytest.raises(ConnectFailed):
                await client.send(put())
            async with network.serving(HOST, 443, app(hello), chain=CHAIN):
                seen.append((await client.send(put())).body.decode())

    virtual(main)
    assert seen == ["cut", "hello"]


def test_a_name_is_given_once() -> None:
    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            with pytest.raises(ValueError, match="taken"):
                async with network.serving(HOST.upper(), 443, app(hello), chain=CHAIN):
                    pass

    virtual(main)


# the network


@pytest.mark.parametrize("which", [{"device": "phone"}, {"host": HOST}])
def test_an_exchange_under_way_is_cut_when_the_network_goes(which: dict[str, str]) -> None:
    async def slow(request: AppRequest) -> AppResponse:
        await trio.sleep(10)
        return PlainTextResponse("")

    async def main(clock: VirtualClock, network: Network) -> tuple[int, bool]:
        async with network.serving(HOST, 443, app(slow), chain=CHAIN), trio.open_nursery() as nursery:

            async def later() -> None:
                await trio.sleep(3)
                network.down(**which)

            nursery.start_soon(later)
            began = clock.now_ms()
            with pytest.raises(ExchangeCut) as caught:
                await network.client("phone").send(put())
            return clock.now_ms() - began, caught.value.sent

    assert virtual(main) == (3000, True)


@pytest.mark.parametrize("which", [{"device": "phone"}, {"host": HOST}])
def test_nothing_connects_until_the_network_is_back(which: dict[str, str]) -> None:
    async def main(clock: VirtualClock, network: Network) -> bytes:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            phone = network.client("phone")
            await phone.send(put())
            network.down(**which)
            with pytest.raises(ConnectFailed):
                await phone.send(put())
            network.up(**which)
            return (await phone.send(put())).body

    assert virtual(main) == b"hello"


def test_a_device_without_network_leaves_the_others_theirs() -> None:
    async def main(clock: VirtualClock, network: Network) -> bytes:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            network.down(device="tablet")
            return (await network.client("phone").send(put())).body

    assert virtual(main) == b"hello"


def test_another_port_of_a_known_host_refuses_and_an_unknown_name_does_not_resolve() -> None:
    async def main(clock: VirtualClock, network: Network) -> list[str]:
        reasons = []
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            for url in (f"https://{HOST}:8443/", "https://nobody.invalid/"):
                with pytest.raises(ConnectFailed) as caught:
                    await network.client("phone").send(put(url=url))
                reasons.append(str(caught.value).rpartition(": ")[2])
        return reasons

    assert virtual(main) == ["Connection refused", "Name or service not known"]


def test_latency_costs_world_time_on_every_way() -> None:
    async def main(clock: VirtualClock, network: Network) -> tuple[int, int]:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            phone = network.client("phone")
            began = clock.now_ms()
            await phone.send(put())
            first = clock.now_ms()
            await phone.send(put())
            return first - began, clock.now_ms() - first

    assert virtual(main, latency_ms=50) == (200, 100)


def test_a_month_of_daily_exchanges_takes_a_month_of_world_time_only() -> None:
    async def main(clock: VirtualClock, network: Network) -> int:
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            phone = network.client("phone")
            for _ in range(30):
                await phone.send(put())
                await clock.sleep_until(clock.now_ms() + DAY)
        return (clock.now_ms() - NOW_MS) // DAY

    assert virtual(main) == 30


def test_the_same_seed_gives_the_same_order_of_requests() -> None:
    def transcript(seed: int) -> tuple[str, ...]:
        seen: list[str] = []

        async def note(request: AppRequest) -> AppResponse:
            seen.append(request.url.path)
            await trio.sleep(0.5)
            return PlainTextResponse("")

        async def main(clock: VirtualClock, network: Network) -> None:
            async with network.serving(HOST, 443, app(note), chain=CHAIN), trio.open_nursery() as nursery:
                for number in range(8):
                    phone = network.client(f"phone-{number}")
                    nursery.start_soon(phone.send, put(url=f"https://{HOST}/{number}"))

        virtual(main, seed=seed)
        return tuple(seen)

    assert transcript(5) == transcript(5)


# TLS at world time


def judged(at_ms: int, *, trust: Trust = TRUST, identity: Any = None, **settings: Any) -> int:
    """The status of one exchange at that world time."""
    clock = ManualClock(at_ms)

    async def main() -> int:
        network = Network(clock, system_anchors=(ROOT.der,))
        async with network.serving(HOST, 443, app(hello), chain=CHAIN, **settings):
            return (await network.client("phone").send(put(trust=trust, identity=identity))).status

    return trio.run(main)


def test_a_server_certificate_expires_at_world_time() -> None:
    assert judged(NOW_MS) == 200
    with pytest.raises(TLSFailed, match="not trusted"):
        judged(NOW_MS + 90 * DAY)


def test_a_verdict_is_not_kept_past_the_certificates_end() -> None:
    clock = ManualClock(NOW_MS)

    async def main() -> None:
        network = Network(clock)
        async with network.serving(HOST, 443, app(hello), chain=CHAIN):
            phone = network.client("phone", keep=0)
            await phone.send(put())
            clock.advance(90 * DAY)
            await phone.send(put())

    with pytest.raises(TLSFailed, match="not trusted"):
        trio.run(main)


def test_the_worlds_own_roots_stand_in_for_the_systems() -> None:
    assert judged(NOW_MS, trust=Trust(system=True)) == 200


def test_an_expired_client_certificate_is_the_apps_to_judge() -> None:
    expired = leaf(ROOT, purpose="client", common_name="old", from_days=-90, to_days=-5)
    assert judged(NOW_MS, identity=expired, client_anchors=(ROOT.der,)) == 200


def test_a_foreign_client_certificate_is_refused_where_the_server_says_so() -> None:
    stranger = leaf(OTHER_ROOT, purpose="client", common_name="stranger")
    assert judged(NOW_MS, identity=stranger) == 200
    with pytest.raises(TLSFailed, match="the server refused"):
        judged(NOW_MS, identity=stranger, client_anchors=(ROOT.der,))


def test_a_certificate_without_its_key_is_worth_nothing() -> None:
    other = leaf(ROOT, purpose="client", common_name="other", rsa_key=True)
    from mdmsim.http import Identity

    with pytest.raises(TLSFailed, match="mismatch"):
        judged(NOW_MS, identity=Identity(DEVICE.certificate, other.key))


# bytes


def test_a_byte_handler_may_answer_what_no_app_would() -> None:
    async def handler(end: MemoryEnd) -> None:
        await end.receive()
        await end.transmit(b"nonsense\r\n")

    async def main(clock: VirtualClock, network: Network) -> None:
        async with network.serving_bytes(HOST, 443, handler, chain=CHAIN):
            with pytest.raises(BadAnswer):
                await network.client("phone").send(put())

    virtual(main)

"""The courier over real sockets: breaks, silence, slow readers, lies; and under gevent."""

from __future__ import annotations

import subprocess
import sys

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.courier.blocking import BlockingCourier
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.errors import CourierUnreachable
from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from tests.fakeapns.support import TOPIC, Bench, serving

pytestmark = pytest.mark.anyio


class Breaker:
    """A TCP forwarder in front of the courier, whose connections a test can break."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._scopes: list[trio.CancelScope] = []

    async def handle(self, client: trio.SocketStream) -> None:
        async def carry(source: trio.SocketStream, target: trio.SocketStream) -> None:
            try:
                while data := await source.receive_some(65536):
                    await target.send_all(data)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                pass
            scope.cancel()

        server = await trio.open_tcp_stream("127.0.0.1", self._port)
        async with client, server, trio.open_nursery() as nursery:
            scope = nursery.cancel_scope
            self._scopes.append(scope)
            nursery.start_soon(carry, client, server)
            nursery.start_soon(carry, server, client)

    def cut(self) -> None:
        while self._scopes:
            self._scopes.pop().cancel()

    async def serve(self, listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await trio.serve_listeners(self.handle, listeners, task_status=task_status)


async def test_the_trio_client_resumes_after_every_break(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        breaker = Breaker(port)
        heard: list[bytes] = []
        async with (
            serving(breaker.serve) as front,
            CourierClient("127.0.0.1", front, on_push=lambda *push: heard.append(push[2]), chance=Chance(1)) as courier,
        ):
            token = await courier.register("mac-1", TOPIC)
            await courier.subscribe([(TOPIC, token)])
            for number in range(3):
                breaker.cut()
                bench.push(token, payload=b"%d" % number)
                await bench.until(lambda number=number: len(heard) == number + 1)
            assert heard == [b"0", b"1", b"2"]


async def test_the_blocking_client_resumes_after_every_break(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        breaker = Breaker(port)
        async with serving(breaker.serve) as front:
            heard: list[bytes] = []
            token = bench.service.register("mac-1", TOPIC)
            courier = BlockingCourier("127.0.0.1", front, on_push=lambda *push: heard.append(push[2]), chance=Chance(1))
            await trio.to_thread.run_sync(courier.__enter__)
            try:
                await trio.to_thread.run_sync(courier.subscribe, [(TOPIC, token)])
                for number in range(3):
                    breaker.cut()
                    bench.push(token, payload=b"%d" % number)
                    await bench.until(lambda number=number: len(heard) == number + 1)
                assert heard == [b"0", b"1", b"2"]
            finally:
                await trio.to_thread.run_sync(courier.close)


async def test_a_request_made_during_a_break_is_answered_after_it(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        breaker = Breaker(port)
        async with (
            serving(breaker.serve) as front,
            CourierClient("127.0.0.1", front, on_push=lambda *push: None, chance=Chance(1)) as courier,
        ):
            breaker.cut()
            with trio.fail_after(15):
                assert len(await courier.register("mac-1", TOPIC)) == 32


async def test_nothing_listening_is_said_so() -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    for listener in listeners:
        await listener.aclose()
    with pytest.raises(CourierUnreachable, match=str(port)):
        async with CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)):
            raise AssertionError("it must not open")
    with pytest.raises(CourierUnreachable, match=str(port)):
        await trio.to_thread.run_sync(
            BlockingCourier("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)).__enter__
        )


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b""])
async def test_another_kind_of_server_is_said_so(greeting: bytes) -> None:
    async def handle(stream: trio.SocketStream) -> None:
        async with stream:
            await stream.receive_some(100)
            await stream.send_all(greeting)

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await trio.serve_listeners(handle, listeners, task_status=task_status)

    async with serving(serve) as port:
        with pytest.raises(CourierUnreachable):
            async with CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)):
                raise AssertionError("it must not open")
        with pytest.raises(CourierUnreachable):
            await trio.to_thread.run_sync(
                BlockingCourier("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)).__enter__
            )


async def test_an_error_in_on_push_comes_out_of_the_trio_client(bench: Bench) -> None:
    def on_push(topic: str, token: bytes, payload: bytes) -> None:
        raise KeyError("a defect")

    token = bench.service.register("mac-1", TOPIC)
    async with serving(CourierServer(bench.service).serve) as port:
        with pytest.raises(KeyError, match="a defect"):
            async with CourierClient("127.0.0.1", port, on_push=on_push, chance=Chance(1)) as courier:
                await courier.subscribe([(TOPIC, token)])
                bench.push(token)
                await trio.sleep_forever()
    assert len(bench.service.pending()) == 1


async def test_an_error_of_the_caller_passes_through_unchanged(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        with pytest.raises(LookupError, match="mine"):
            async with CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)):
                raise LookupError("mine")


async def test_a_silent_client_is_let_go(bench: Bench) -> None:
    async with serving(CourierServer(bench.service, keep_alive=0.05).serve) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(protocol.encode(protocol.ClientHello(version=1)))
            await bench.until(lambda: bench.log.count("courier.disconnected"))
    assert "silent" in bench.log.of("courier.disconnected")[0].data["why"]


async def test_pings_are_answered_and_keep_an_idle_client(bench: Bench) -> None:
    async with serving(CourierServer(bench.service, keep_alive=0.05).serve) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(protocol.encode(protocol.ClientHello(version=1)))
            reader, pings = protocol.server_frames(), 0
            # Twice as long as a silent client is borne with.
            while pings < 6:
                for frame in reader.feed(bytes(await stream.receive_some(4096))):
                    if isinstance(frame, protocol.Ping):
                        pings += 1
                        await stream.send_all(protocol.encode(protocol.Ping(id=frame.id, reply=True)))
            assert bench.log.count("courier.disconnected") == 0


async def test_the_trio_client_answers_pings(bench: Bench) -> None:
    pings: list[protocol.Ping] = []
    done = trio.Event()

    async def handle(stream: trio.SocketStream) -> None:
        reader = protocol.client_frames()
        await stream.send_all(protocol.encode(protocol.ServerHello(version=1)))
        await stream.send_all(protocol.encode(protocol.Ping(id=5)))
        while not pings and (data := await stream.receive_some(4096)):
            pings.extend(frame for frame in reader.feed(bytes(data)) if isinstance(frame, protocol.Ping))
        done.set()

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await trio.serve_listeners(handle, listeners, task_status=task_status)

    async with (
        serving(serve) as port,
        CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)),
    ):
        await done.wait()
    assert pings == [protocol.Ping(id=5, reply=True)]


async def test_a_reader_that_stalls_does_not_swallow_its_push(bench: Bench) -> None:
    tokens = [number.to_bytes(32, "big") for number in range(3000)]
    for token in tokens:
        bench.service.adopt(TOPIC, token)
        bench.push(token, payload=b"x" * 4000)
    async with serving(CourierServer(bench.service, write_deadline=0.2).serve) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            # A small window, so that the server's writes soon get no further.
            stream.setsockopt(trio.socket.SOL_SOCKET, trio.socket.SO_RCVBUF, 4096)
            await stream.send_all(
                protocol.encode(protocol.ClientHello(version=1))
                + protocol.encode(protocol.Subscribe(id=1, topics={TOPIC: tokens}))
            )
            await bench.until(lambda: bench.log.count("courier.disconnected"))
    assert "slow" in bench.log.of("courier.disconnected")[0].data["why"]
    assert len(bench.service.pending()) == len(tokens)


async def test_garbage_is_answered_with_a_reason_and_others_do_not_notice(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        async with CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)) as good:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
                received = b""
                while data := await stream.receive_some(4096):
                    received += data
            (failure,) = protocol.server_frames().feed(received)
            assert isinstance(failure, protocol.Failure)
            assert failure.reason == "bad-frame"
            await good.register("mac-1", TOPIC)


async def test_a_client_that_asks_and_never_reads_is_made_to_wait(bench: Bench) -> None:
    ask = b"".join(
        protocol.encode(protocol.Register(id=number, device="d", topic=TOPIC)) for number in range(1, 20_000)
    )
    async with serving(CourierServer(bench.service, write_deadline=0.3).serve) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(protocol.encode(protocol.ClientHello(version=1)))
            with pytest.raises((trio.BrokenResourceError, trio.TooSlowError)):
                with trio.fail_after(10):
                    while True:
                        await stream.send_all(ask)
    await bench.until(lambda: bench.log.count("courier.disconnected"))


async def test_the_blocking_client_works_in_a_process_patched_by_gevent(bench: Bench) -> None:
    program = """
import gevent.monkey
gevent.monkey.patch_all()
import gevent, sys
from mdmsim.chance import Chance
from mdmsim.fakeapns.courier.blocking import BlockingCourier

heard = []
with BlockingCourier("127.0.0.1", int(sys.argv[1]), on_push=lambda *push: heard.append(push), chance=Chance(1)) as courier:
    token = courier.register("mac-1", sys.argv[2])
    assert courier.subscribe([(sys.argv[2], token)]) == []
    sys.stdout.write(token.hex() + "\\n")
    sys.stdout.flush()
    beats = 0
    with gevent.Timeout(20):
        while not heard:
            gevent.sleep(0.01)
            beats += 1
    sys.stdout.write(heard[0][2].decode() + " trio" * ("trio" in sys.modules) + "\\n")
"""
    async with serving(CourierServer(bench.service).serve) as port:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", program, str(port), TOPIC], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        with trio.fail_after(30):
            token = bytes.fromhex((await process.stdout.receive_some(1000)).decode())
            bench.push(token, payload=b"hello")
            assert await process.stdout.receive_some(1000) == b"hello\n"
            assert await process.wait() == 0


async def test_names_are_told_again_after_a_break(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        breaker = Breaker(port)
        async with (
            serving(breaker.serve) as front,
            CourierClient("127.0.0.1", front, on_push=lambda *push: None, chance=Chance(1)) as courier,
        ):
            courier.call("mac-7", ["UDID-7"])
            await courier.subscribe([(TOPIC, b"t" * 32)], "mac-7")
            service = bench.build()
            # The fake forgot everything, as one without a store does; the client is led to the new one.
            async with serving(CourierServer(service).serve) as again:
                breaker._port = again
                breaker.cut()
                await courier.register("mac-7", TOPIC)
                registration = service.registration(TOPIC, b"t" * 32)
                assert registration is not None
                assert (registration.device, service.tokens.device_called("UDID-7")) == ("mac-7", "mac-7")


async def test_a_blackout_cuts_couriers_and_a_push_of_that_time_is_heard_after_it(bench: Bench) -> None:
    heard: list[bytes] = []
    async with (
        serving(CourierServer(bench.service).serve) as port,
        CourierClient("127.0.0.1", port, on_push=lambda *push: heard.append(push[2]), chance=Chance(1)) as courier,
    ):
        token = await courier.register("mac-1", TOPIC)
        await courier.subscribe([(TOPIC, token)])
        plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, side="devices"))
        await bench.until(lambda: bench.service.listening() == 0)
        bench.push(token, payload=b"meanwhile")
        assert heard == []
        bench.clock.advance(60_000)
        await bench.until(lambda: heard)
        assert (heard, courier.connections) == ([b"meanwhile"], 2)


@pytest.mark.parametrize(
    "lie",
    [
        protocol.Ack(numbers=[1, 2, 3, 2**63 - 1]),
        protocol.Acted(topics={TOPIC: [b"t" * 32]}),
        protocol.Unsubscribe(id=1, topics={TOPIC: [b"t" * 32]}),
        protocol.Called(devices={"mac-1": ["another"] * 10}),
        protocol.Ping(reply=True),
    ],
    ids=lambda lie: type(lie).__name__,
)
async def test_a_courier_that_lies_changes_nothing_for_others(bench: Bench, lie: protocol.FromClient) -> None:
    token = b"t" * 32
    honest = bench.device()
    honest.session.subscribe([(TOPIC, token)])
    bench.push(token, payload=b"theirs")
    (push,) = honest.take()
    async with (
        serving(CourierServer(bench.service).serve) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        await stream.send_all(
            protocol.encode(protocol.ClientHello(version=1))
            + protocol.encode(lie)
            + protocol.encode(protocol.Ack(numbers=[push.number]))
            + protocol.encode(protocol.Register(id=9, device="x", topic=TOPIC))
        )
        reader, answered = protocol.server_frames(), list[object]()
        with trio.fail_after(10):
            while not any(isinstance(frame, protocol.Registered) for frame in answered):
                answered += reader.feed(bytes(await stream.receive_some(65536)))
    slot = bench.service.slot(TOPIC, token)
    assert slot is not None
    assert (slot.in_flight, slot.session, bench.service.counts.acknowledged) == (push, honest.session, 0)


async def test_what_was_told_right_before_the_end_arrives(bench: Bench) -> None:
    async with serving(CourierServer(bench.service).serve) as port:
        async with CourierClient("127.0.0.1", port, on_push=lambda *push: None, chance=Chance(1)) as courier:
            courier.call("mac-7", ["UDID-7"])
        with trio.fail_after(10):
            while bench.service.sessions():
                await trio.sleep(0.01)
        assert bench.service.tokens.device_called("UDID-7") == "mac-7"

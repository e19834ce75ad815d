"""From a push accepted to the device woken: ten thousand devices on one courier connection, five hundred pushes a second.

Fake APNs and fleet stand in one process with a real TCP connection of the courier between them, so that one clock sees
both ends and the CPU seconds are those of everything: judging the push, the courier's two ends, the device that wakes
and builds its Idle report. A device is woken when its Idle request reaches its transport. The floor is an echo of as
many bytes over TCP, at the same pace, in the same process. Devices prove who they are by TLS here; what a signature of
each report costs besides (Mdm-Signature, RSA) stands beside it.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Callable
from functools import partial

import msgspec
import trio

from benchmarks.measure import Figure, at_most, beside, own_cpu
from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock, WallClock
from mdmsim.device.state import DEVICE_CHANNEL, DeviceState, decode, encode
from mdmsim.device.store import MemoryStore
from mdmsim.events import Events
from mdmsim.fakeapns.answers import PushRequest
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fleet.fleet import Fleet
from mdmsim.http import Request, Response, Trust
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import SharedKeys
from mdmsim.pki.push_certificate import new_topic
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS

DEVICES = 10_000
PER_SECOND = 500
SECONDS = 20
#: About what a push and its acknowledgement weigh on the courier.
ECHO = b"x" * 200


def run() -> list[Figure]:
    figures = []
    for signed in (False, True):
        enrolled, blobs = run_virtual(partial(_enrolled, signed=signed), seed=1, start_ms=START_MS)
        cpu, waits, echoes = trio.run(_woken, enrolled, blobs)
        gc.unfreeze()
        if signed:
            figures.append(beside("push.wake, reports signed besides (Mdm-Signature)", cpu * 1000, "ms CPU a push"))
            continue
        floor = _percentile(echoes, 99)
        name = f"push.wake, {DEVICES} devices, {PER_SECOND} a second"
        figures += [
            at_most(name, cpu * 1000, "ms CPU a push, all ends", 1.0),
            at_most("push.wake p99", _percentile(waits, 99) * 1000, "ms", (floor + 0.025) * 1000, floor=floor * 1000),
            beside("push.wake p50", statistics.median(waits) * 1000, "ms"),
            beside("push.wake: echo p50", statistics.median(echoes) * 1000, "ms"),
        ]
    return figures


async def _enrolled(clock: VirtualClock, *, signed: bool) -> tuple[bytes, dict[str, bytes]]:
    """State and blobs of one iPhone that enrolled with the reference server."""
    async with in_process_world(
        clock, seed=1, keys=SharedKeys(4), record=False, server_settings={"sign_message": signed}
    ) as world:
        server = ReferenceAdapter(
            world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
        )
        world.add_device("d", "iphone")
        await world.fleet.install("d", await server.enrollment_profile())
        await world.sleep(60_000)
        store = world.fleet.store
        assert isinstance(store, MemoryStore)
        return store.states["d"], dict(store.blobs)


def _copies(enrolled: bytes, topic: str) -> list[DeviceState]:
    copies = []
    for number in range(DEVICES):
        state = decode(enrolled)
        assert state.enrollment is not None
        state.device_id = f"d{number:05d}"
        state.enrollment = msgspec.structs.replace(state.enrollment, topic=topic)
        channel = state.channel(DEVICE_CHANNEL)
        channel.push_token = number.to_bytes(32, "big")
        channel.push_magic = f"magic-{number}"
        channel.heard = 0
        copies.append(state)
    return copies


class _Idle:
    """A transport that notes when a device reports, and answers that there is nothing to do."""

    def __init__(self, woken: Callable[[Request], None]) -> None:
        self._woken = woken

    async def send(self, request: Request) -> Response:
        if request.label == "connect:Idle":
            self._woken(request)
        return Response(200, (), b"", request.url)


async def _woken(enrolled: bytes, blobs: dict[str, bytes]) -> tuple[float, list[float], list[float]]:
    clock, chance = WallClock(), Chance(1)
    topic = new_topic(chance)
    service = ApnsService(clock, chance, Events(clock))
    pushed: dict[str, float] = {}
    waits: list[float] = []

    def woken(device: str, request: Request) -> None:
        if (at := pushed.pop(device, None)) is not None:
            waits.append(trio.current_time() - at)

    store = MemoryStore(blobs=dict(blobs))
    fleet = Fleet(
        store=store,
        clock=clock,
        chance=chance,
        keys=SharedKeys(1),
        events=Events(clock),
        sender_for=lambda device_id: _Idle(partial(woken, device_id)),
    )
    for state in _copies(enrolled, topic):
        store.save(state.device_id, encode(state))
    echoes: list[float] = []
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        port = listeners[0].socket.getsockname()[1]
        await nursery.start(CourierServer(service).serve, listeners)
        async with CourierClient("127.0.0.1", port, on_push=fleet.on_push, chance=chance) as courier:
            fleet.courier = courier
            for device_id in store.device_ids():
                fleet.load(device_id)
            await nursery.start(fleet.run)
            while service.listening() < DEVICES:
                await trio.sleep(0.1)
            gc.collect()
            gc.freeze()
            certificate = _push_certificate(service, topic)
            provider = service.open_provider(certificate)

            async def one(number: int) -> None:
                device = number % DEVICES
                pushed[f"d{device:05d}"] = trio.current_time()
                token = device.to_bytes(32, "big").hex()
                payload = b'{"mdm":"magic-%d"}' % device
                answer = service.push(PushRequest("POST", f"/3/device/{token}", (), payload), provider)
                assert answer.status == 200, answer.body

            await _paced(one, PER_SECOND)
            waits.clear()
            began = own_cpu()
            await _paced(one, PER_SECOND * SECONDS)
            while pushed:
                await trio.sleep(0.01)
            cpu = (own_cpu() - began) / (PER_SECOND * SECONDS)
            await nursery.start(_echo, echoes)
        nursery.cancel_scope.cancel()
    return cpu, waits, echoes


def _push_certificate(service: ApnsService, topic: str) -> bytes:
    authority = Authority.create("bench", keys=SharedKeys(1), clock=service.clock, chance=Chance(2), kind="ec")
    certificate = authority.issue_push(topic).certificate
    service.certificates.register(certificate)
    return certificate


async def _paced(act: Callable[[int], object], count: int) -> None:
    """Start `act` so many times, evenly, `PER_SECOND` a second; what came late is not made up for by hurrying."""
    began = trio.current_time()
    for number in range(count):
        await trio.sleep_until(began + number / PER_SECOND)
        await act(number)  # type: ignore[misc]


async def _echo(echoes: list[float], *, task_status: trio.TaskStatus[None]) -> None:
    """The floor: there and back over TCP at the same pace, each through a task of its own as a device is one."""
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listeners[0].socket.getsockname()[1]
    sent: list[float] = []

    async def serve(stream: trio.SocketStream) -> None:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)

    async def hear(stream: trio.SocketStream) -> None:
        received = 0
        while data := await stream.receive_some(65536):
            received += len(data)
            while len(echoes) < received // len(ECHO):
                echoes.append(trio.current_time() - sent[len(echoes)])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(trio.serve_listeners, serve, listeners))
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        nursery.start_soon(hear, stream)

        async def one(number: int) -> None:
            sent.append(trio.current_time())
            await stream.send_all(ECHO)

        await _paced(one, PER_SECOND * SECONDS)
        await trio.sleep(0.2)
        nursery.cancel_scope.cancel()
    task_status.started()


def _percentile(values: list[float], percent: int) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, len(ordered) * percent // 100)]

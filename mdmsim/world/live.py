"""A world of processes and sockets on loopback, by the wall clock: reference server, fake APNs and fake DEP beside this one."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import trio

from mdmsim.clock import Clock, WallClock
from mdmsim.device.device import Behaviour
from mdmsim.device.store import DeviceStore
from mdmsim.events import Event, Events
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.due import DueEntry, DueReport
from mdmsim.fakeapns.fault_spec import FaultSpec
from mdmsim.fleet.fleet import Sender
from mdmsim.http import Request, Trust
from mdmsim.pki.certificate import certificates_from_pem, to_pem
from mdmsim.pki.keys import FreshKeys, KeySource
from mdmsim.protocol.cloud_configuration import PATH
from mdmsim.transport.faulty import Faulty
from mdmsim.transport.groups import only
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.recording import Recording
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.world.abilities import LIVE_WORLD
from mdmsim.world.dep import RemoteDep
from mdmsim.world.processes import ProcessFailed, ServerProcess, run_server_process
from mdmsim.world.world import PendingPush, ServerFacts, World

#: Nobody wants to sit through the 45 seconds that a restart takes otherwise: live, a device is back at once.
LIVE_BOOT_SECONDS = 0

#: Called with name, URL and seconds as each server answers.
OnReady = Callable[[str, str, float], None]


class _Machine:
    """The reference server as a process that can be killed and started again on its port, with its data."""

    def __init__(self, start: Callable[[], Awaitable[ServerProcess]]) -> None:
        self._start = start
        self.running: ServerProcess | None = None

    async def start(self) -> None:
        if self.running is None:
            self.running = await self._start()

    async def stop(self) -> None:
        """kill -9: nothing is written any more, nobody is told."""
        running, self.running = self.running, None
        if running is not None:
            await running.kill()


class _Admin:
    """The fake APNs' admin surface."""

    def __init__(self, outbound: HttpOutbound, url: str, key: str) -> None:
        self._outbound = outbound
        self._url = url
        self._headers = (("Authorization", f"Bearer {key}"),)

    async def _call(self, method: str, path: str, body: bytes = b"") -> Any:
        response = await self._outbound.send(
            Request(method, f"{self._url}{path}", self._headers, body, label="apns:admin", trust=Trust(allow_http=True))
        )
        if not response.is_success:
            raise RuntimeError(f"fake APNs admin: {method} {path} answered {response.status}: {response.body[:200]!r}")
        return json.loads(response.body) if response.body else None

    async def pending(self) -> Sequence[PendingPush]:
        found: list[PendingPush] = []
        offset: int | None = 0
        while offset is not None:
            page = await self._call("GET", f"/pending?limit=1000&offset={offset}")
            found += [
                PendingPush(one["topic"], bytes.fromhex(one["token"]), one["expires_ms"]) for one in page["pending"]
            ]
            offset = page["next"]
        return found

    async def trust(self, push_certificate: bytes) -> None:
        await self._call("POST", "/certificates", push_certificate)

    async def plan_fault(self, spec: FaultSpec) -> int:
        planned = await self._call("POST", "/faults", msgspec.json.encode(spec))
        return int(planned["number"])

    async def end_fault(self, number: int) -> None:
        await self._call("DELETE", f"/faults/{number}")

    async def due(self, entries: Sequence[DueEntry]) -> DueReport:
        told = await self._call("POST", "/due", msgspec.json.encode({"due": entries}))
        return msgspec.convert(told, DueReport)


@asynccontextmanager
async def live_world(
    *,
    seed: int | str,
    clock: Clock | None = None,
    keys: KeySource | None = None,
    behaviour: Behaviour | None = None,
    store: DeviceStore | None = None,
    directory: Path | None = None,
    on_ready: OnReady | None = None,
    record: bool = True,
) -> AsyncIterator[World]:
    """A world with its servers as processes, all on loopback and ephemeral ports.

    `directory`: where the servers keep their files (default: a temporary one that goes with the world). `on_ready`:
    see `OnReady`. `record`: publish every exchange as an event. Raises ProcessFailed when one does not start.
    """
    clock = clock or WallClock()
    keys = keys or FreshKeys()
    events = Events(clock)
    try:
        async with AsyncExitStack() as stack:
            if directory is None:
                directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdmsim-")))
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            transport = stack.enter_context(TrioTransport())
            outbound = await stack.enter_async_context(HttpOutbound())
            world = World(
                kind="live",
                abilities=LIVE_WORLD,
                seed=seed,
                clock=clock,
                keys=keys,
                events=events,
                sender_for=_sender_for(transport, events, clock, record=record),
                behaviour=behaviour or Behaviour(boot_seconds=LIVE_BOOT_SECONDS),
                store=store,
            )
            world.outbound = outbound
            await _start_servers(world, nursery, outbound, directory, on_ready or _silent)
            courier = CourierClient(
                "127.0.0.1", world.courier_port, on_push=world.fleet.on_push, chance=world.chance.stream("courier")
            )
            world.fleet.courier = await stack.enter_async_context(courier)
            await nursery.start(world.fleet.run)
            yield world
    except BaseExceptionGroup as group:
        raise only(group) from None


def _silent(name: str, url: str, seconds: float) -> None:
    """Nobody wants to know."""


def _sender_for(
    transport: TrioTransport, events: Events, clock: Clock, *, record: bool
) -> Callable[[World, str], Sender]:
    def sender_for(world: World, device_id: str) -> Sender:
        faulty = Faulty(transport, world.wire, events=events, device=device_id)
        return Recording(faulty, events, clock=clock, device=device_id) if record else faulty

    return sender_for


async def _start_servers(
    world: World, nursery: trio.Nursery, outbound: HttpOutbound, directory: Path, on_ready: OnReady
) -> None:
    """Start the fakes, then the reference server that talks to them, and introduce all to each other."""

    def publish(event: Event) -> None:
        world.events.publish((event,))

    async def start(name: str, arguments: list[str], log: str) -> ServerProcess:
        began = world.clock.now_ms()
        run = partial(run_server_process, name, arguments, log=directory / log, on_event=publish)
        server: ServerProcess = await nursery.start(run)
        on_ready(name, server.ready["url"], (world.clock.now_ms() - began) / 1000)
        return server

    ca_file, dep_ca, automated_ca = (str(directory / f"{name}-ca.pem") for name in ("apns", "dep", "device"))
    started: dict[str, ServerProcess] = {}

    async def start_fake(key: str, name: str, module: str, *options: str) -> None:
        started[key] = await start(name, [module, "--json", "--events", "-", *options], f"{key}.log")

    async with trio.open_nursery() as both:
        both.start_soon(start_fake, "apns", "fake APNs", "mdmsim.fakeapns", "--ca-file", ca_file)
        both.start_soon(start_fake, "dep", "fake DEP", "mdmsim.fakedep", "--tls", "--ca-file", dep_ca)
    apns, dep = started["apns"], started["dep"]
    factory = world.factory
    await trio.Path(automated_ca).write_bytes(b"".join(to_pem(der) for der in (factory.root, *factory.chain)))
    behaviour = world.fleet.behaviour
    world.fleet.behaviour = replace(
        behaviour,
        anchors=(*behaviour.anchors, *_certificates(dep_ca)),
        activation_url=f"{dep.ready['activation_url']}{PATH}",
    )
    port = 0

    async def start_server() -> ServerProcess:
        options = {
            "--host": "127.0.0.1",
            "--port": str(port),
            "--data": str(directory / "server"),
            "--events": "-",
            "--log": str(directory / "server.log"),
            "--apns-url": apns.ready["url"],
            "--apns-ca": ca_file,
            "--dep-url": dep.ready["url"],
            "--dep-ca": dep_ca,
            "--automated-ca": automated_ca,
        }
        arguments = ["reference_server", "--ready-json", *(word for pair in options.items() for word in pair)]
        return await start("reference server", arguments, "server.err")

    machine = _Machine(start_server)
    await machine.start()
    if machine.running is None:
        raise ProcessFailed("the reference server is not running")
    ready = machine.running.ready
    port = urlsplit(ready["url"]).port or 443
    admin = _Admin(outbound, apns.ready["admin_url"], apns.ready["admin_key"])
    await admin.trust(_certificates(ready["push_file"])[0])
    world.control = machine
    world.apns = admin
    world.dep = RemoteDep(outbound, dep.ready["admin_url"], dep.ready["admin_key"])
    world.courier_port = apns.ready["courier_port"]
    world.server = ServerFacts(
        url=ready["url"],
        enroll_url=ready["enroll_url"],
        api_key=ready["api_key"],
        topic=ready["topic"],
        anchors=_certificates(ready["ca_file"]),
    )


def _certificates(path: str) -> tuple[bytes, ...]:
    return certificates_from_pem(Path(path).read_bytes())

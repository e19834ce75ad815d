"""A world of processes and sockets on loopback, by the wall clock: reference server and fake APNs beside this process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import trio

from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.device.device import Behaviour
from mdmsim.device.store import DeviceStore
from mdmsim.events import Event, Events
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fleet.fleet import Sender
from mdmsim.http import Request, Trust
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.keys import FreshKeys, KeySource
from mdmsim.transport.faulty import Faulty
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.recording import Recording
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.world.processes import ServerProcess, server_process
from mdmsim.world.world import PendingPush, ServerFacts, World


class _ServerProcess:
    """The reference server as a process that can be killed and started again on its port, with its data."""

    def __init__(self, start: Any) -> None:
        self._start = start
        self._stack: AsyncExitStack | None = None
        self.running: ServerProcess | None = None

    async def start(self) -> None:
        if self.running is None:
            self._stack = AsyncExitStack()
            self.running = await self._stack.enter_async_context(self._start())

    async def stop(self) -> None:
        """kill -9: nothing is written any more, nobody is told."""
        if self.running is not None and self._stack is not None:
            await self.running.kill()
            await self.close()

    async def close(self) -> None:
        stack, self._stack, self.running = self._stack, None, None
        if stack is not None:
            await stack.aclose()


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
        return [
            PendingPush(entry["topic"], bytes.fromhex(entry["token"]), entry["expires_ms"])
            for entry in await self._call("GET", "/pending")
        ]

    async def trust(self, push_certificate: bytes) -> None:
        await self._call("POST", "/certificates", push_certificate)


@asynccontextmanager
async def live_world(
    *,
    seed: int | str,
    clock: Clock | None = None,
    keys: KeySource | None = None,
    behaviour: Behaviour | None = None,
    store: DeviceStore | None = None,
    directory: Path | None = None,
    on_ready: Any = None,
    record: bool = True,
) -> AsyncIterator[World]:
    """A world with its servers as processes, all on loopback and ephemeral ports.

    `directory`: where the servers keep their files (default: a temporary one that goes with the world). `on_ready`:
    called with (name, URL, seconds) as each server answers. `record`: publish every exchange as an event. Raises ProcessFailed when one does not start.
    """
    clock = clock or WallClock()
    keys = keys or FreshKeys()
    events = Events(clock)
    async with AsyncExitStack() as stack:
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdmsim-")))
        transport = stack.enter_context(TrioTransport())
        outbound = await stack.enter_async_context(HttpOutbound())
        publish = _publisher(events)

        began = clock.now_ms()
        apns = await stack.enter_async_context(
            server_process(
                "fake APNs",
                ["mdmsim.fakeapns", "--json", "--events", "-", "--ca-file", str(directory / "apns-ca.pem")],
                log=directory / "apns.log",
                on_event=publish,
            )
        )
        if on_ready is not None:
            on_ready("fake APNs", apns.ready["url"], (clock.now_ms() - began) / 1000)

        began = clock.now_ms()
        port = 0

        def start_server() -> Any:
            return server_process(
                "reference server",
                [
                    "reference_server",
                    "--ready-json",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(port),
                    "--data",
                    str(directory / "server"),
                    "--events",
                    "-",
                    "--log",
                    str(directory / "server.log"),
                    "--apns-url",
                    apns.ready["url"],
                    "--apns-ca",
                    apns.ready["ca_file"],
                ],
                log=directory / "server.err",
                on_event=publish,
            )

        control = _ServerProcess(start_server)
        await control.start()
        stack.push_async_callback(control.close)
        server = control.running
        if server is None:
            raise RuntimeError("the reference server is not running")
        port = urlsplit(server.ready["url"]).port or 443
        if on_ready is not None:
            on_ready("reference server", server.ready["url"], (clock.now_ms() - began) / 1000)

        anchors = _certificates(server.ready["ca_file"])
        admin = _Admin(outbound, apns.ready["admin_url"], apns.ready["admin_key"])
        await admin.trust(_certificates(server.ready["push_file"])[0])

        def sender_for(world: World, device_id: str) -> Sender:
            faulty = Faulty(transport, world.wire, events=events, device=device_id)
            return Recording(faulty, events, clock=clock, device=device_id) if record else faulty

        world = World(
            kind="live",
            seed=seed,
            clock=clock,
            keys=keys,
            events=events,
            sender_for=sender_for,
            behaviour=behaviour or Behaviour(),
            store=store,
        )
        world.server = ServerFacts(
            url=server.ready["url"],
            enroll_url=server.ready["enroll_url"],
            api_key=server.ready["api_key"],
            topic=server.ready["topic"],
            anchors=anchors,
        )
        world.control = control
        world.apns = admin
        world.outbound = outbound
        courier = CourierClient(
            "127.0.0.1",
            apns.ready["courier_port"],
            on_push=world.fleet.on_push,
            chance=Chance(seed).stream("courier"),
        )
        world.fleet.courier = await stack.enter_async_context(courier)
        nursery = await stack.enter_async_context(trio.open_nursery())
        await nursery.start(world.fleet.run)
        try:
            yield world
        finally:
            nursery.cancel_scope.cancel()


def _certificates(path: str) -> tuple[bytes, ...]:
    return certificates_from_pem(Path(path).read_bytes())


def _publisher(events: Events) -> Any:
    def publish(event: Event) -> None:
        events.publish((event,))

    return publish

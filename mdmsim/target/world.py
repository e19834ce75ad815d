"""A live world around a server that is not ours: devices, and where it has one the courier of a fake APNs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.device.device import Behaviour
from mdmsim.events import Events, Observer
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.due import DueEntry, DueReport
from mdmsim.fakeapns.fault_spec import FaultSpec
from mdmsim.fleet.fleet import Sender
from mdmsim.pki.keys import KeySource
from mdmsim.target.adapter import Adapter, NotOffered
from mdmsim.target.file import Target, open_target
from mdmsim.transport.faulty import Faulty
from mdmsim.transport.groups import only
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.recording import Recording
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.world.abilities import Ability
from mdmsim.world.world import PendingPush, ServerFacts, World


class _Machine:
    """Someone else's server: nobody here may stop it."""

    async def stop(self) -> None:
        raise NotOffered("the server under test runs elsewhere: it cannot be stopped from here")

    async def start(self) -> None:
        raise NotOffered("the server under test runs elsewhere: it cannot be started from here")


class _Apns:
    """Its APNs, of which only the courier is known."""

    async def pending(self) -> Sequence[PendingPush]:
        raise NotOffered("only the courier of the fake APNs is known here, not what it keeps")

    async def trust(self, push_certificate: bytes) -> None:
        raise NotOffered("push certificates are made known to the fake APNs by mdmsim up --push-certificate")

    async def plan_fault(self, spec: FaultSpec) -> int:
        raise NotOffered("only the courier of the fake APNs is known here: plan its faults over its admin API")

    async def end_fault(self, number: int) -> None:
        raise NotOffered("only the courier of the fake APNs is known here: end its faults over its admin API")

    async def due(self, entries: Sequence[DueEntry]) -> DueReport:
        raise NotOffered("only the courier of the fake APNs is known here: ask mdmsim apns due")


def abilities_of(target: Target) -> frozenset[Ability]:
    """What the world around a target can do: the server and its APNs are seen from outside only."""
    return frozenset({Ability.LIVE} | ({Ability.PUSHES} if target.courier is not None else set()))


@asynccontextmanager
async def target_world(
    target: Target, *, seed: int | str, keys: KeySource, clock: Clock | None = None, observers: Sequence[Observer] = ()
) -> AsyncIterator[tuple[World, Adapter]]:
    """Devices before the server of a target file, and its adapter. Raises AdapterError, CourierError."""
    clock = clock or WallClock()
    events = Events(clock)
    for observer in observers:
        events.subscribe(observer)
    try:
        async with AsyncExitStack() as stack:
            transport = stack.enter_context(TrioTransport())

            def sender_for(world: World, device_id: str) -> Sender:
                faulty = Faulty(transport, world.wire, events=events, device=device_id)
                return Recording(faulty, events, clock=clock, device=device_id)

            world = World(
                kind="live",
                abilities=abilities_of(target),
                seed=seed,
                clock=clock,
                keys=keys,
                events=events,
                sender_for=sender_for,
                behaviour=Behaviour(allow_http=target.allow_http, system_roots=True, anchors=target.anchors),
            )
            world.outbound = await stack.enter_async_context(HttpOutbound())
            enroll_url = target.profile if isinstance(target.profile, str) else ""
            world.server = ServerFacts(target.url, enroll_url, target.api_key, "", target.anchors)
            world.control, world.apns = _Machine(), _Apns()
            # Not from the seed: a server keeps what it was told, and takes each CommandUUID once, whichever run it came from.
            adapter = await open_target(target, world.outbound, chance=Chance.of_machine())
            if target.courier is not None:
                host, port = target.courier
                world.courier_port = port
                courier = CourierClient(host, port, on_push=world.fleet.on_push, chance=world.chance.stream("courier"))
                world.fleet.courier = await stack.enter_async_context(courier)
            nursery = await stack.enter_async_context(trio.open_nursery())
            stack.callback(nursery.cancel_scope.cancel)
            await nursery.start(world.fleet.run)
            yield world, adapter
    except BaseExceptionGroup as group:
        raise only(group) from None

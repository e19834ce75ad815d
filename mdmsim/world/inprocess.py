"""A world inside one trio loop: ASGI calls in place of sockets, virtual time, the same transcript for the same seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import trio

from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock
from mdmsim.device.device import Behaviour
from mdmsim.events import Events
from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.due import DueEntry, DueReport, due_report
from mdmsim.fakeapns.fault_spec import FaultSpec, end_fault, plan_fault
from mdmsim.fakeapns.inprocess import InProcessApns
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakedep.inprocess import ACTIVATION_HOST, HOSTS, InProcessDep
from mdmsim.fakedep.service import DepService
from mdmsim.faults import Fault, FaultPlan
from mdmsim.fleet.fleet import Sender
from mdmsim.http import Outbound
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, KeySource
from mdmsim.pki.push_certificate import new_topic
from mdmsim.protocol.cloud_configuration import PATH
from mdmsim.transport.faulty import Faulty
from mdmsim.transport.groups import only
from mdmsim.transport.inprocess import Network
from mdmsim.transport.recording import Recording
from mdmsim.world.abilities import IN_PROCESS_WORLD
from mdmsim.world.dep import LocalDep
from mdmsim.world.world import PendingPush, ServerFacts, World
from reference_server import Settings, create_app

SERVER_HOST = "mdm.mdmsim.test"
APNS_HOST = "api.push.apple.com"
DEP_HOST = HOSTS[0]

#: How the server's own calls are named on the network.
SERVER_NAME = "server"


class _Machine:
    """The server as a machine that drops off the network, both ways; its app and its database live on."""

    def __init__(self, network: Network) -> None:
        self._network = network

    async def stop(self) -> None:
        self._network.down(host=SERVER_HOST)
        self._network.down(device=SERVER_NAME)
        await trio.lowlevel.checkpoint()

    async def start(self) -> None:
        self._network.up(host=SERVER_HOST)
        self._network.up(device=SERVER_NAME)
        await trio.lowlevel.checkpoint()


class _Apns:
    def __init__(self, service: ApnsService) -> None:
        self._service = service
        self._faults: list[Fault] = []

    async def pending(self) -> Sequence[PendingPush]:
        await trio.lowlevel.checkpoint()
        return [PendingPush(p.topic, p.token, p.expires_ms) for p in self._service.pending()]

    async def trust(self, push_certificate: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self._service.certificates.register(push_certificate)

    async def plan_fault(self, spec: FaultSpec) -> int:
        await trio.lowlevel.checkpoint()
        self._faults.append(plan_fault(self._service, spec))
        return len(self._faults) - 1

    async def end_fault(self, number: int) -> None:
        await trio.lowlevel.checkpoint()
        end_fault(self._service, self._faults[number])

    async def due(self, entries: Sequence[DueEntry]) -> DueReport:
        await trio.lowlevel.checkpoint()
        return due_report(self._service, entries)


@asynccontextmanager
async def in_process_world(
    clock: VirtualClock,
    *,
    seed: int | str,
    keys: KeySource | None = None,
    behaviour: Behaviour | None = None,
    server_settings: dict[str, Any] | None = None,
    apns_settings: ApnsSettings | None = None,
    record: bool = True,
) -> AsyncIterator[World]:
    """A world with the reference server at `https://mdm.mdmsim.test` and the fake APNs under Apple's name.

    Run it below `transport.determinism.run_virtual`. `record`: publish every exchange as an event (off for
    benchmarks). `server_settings`: fields of the reference server's Settings that should differ.
    """
    keys = keys or FreshKeys()
    chance = Chance(seed)
    events = Events(clock)
    network = Network(clock)

    def sender_for(world: World, device_id: str) -> Sender:
        faulty = Faulty(network.client(device_id), world.wire, events=events, device=device_id)
        return Recording(faulty, events, clock=clock, device=device_id) if record else faulty

    world = World(
        kind="in-process",
        abilities=IN_PROCESS_WORLD,
        seed=seed,
        clock=clock,
        keys=keys,
        events=events,
        sender_for=sender_for,
        behaviour=behaviour or Behaviour(),
    )
    authority = Authority.create(
        "mdmsim World Root CA", keys=keys, clock=clock, chance=chance.stream("pki/root"), organization="mdmsim"
    )
    device_ca = Authority.create(
        "mdmsim Device CA", keys=keys, clock=clock, chance=chance.stream("pki/device"), organization="mdmsim"
    )
    # Of its own, as Apple's is: what devices trust from the start says nothing about an MDM server.
    apple = Authority.create(
        "mdmsim World Apple CA", keys=keys, clock=clock, chance=chance.stream("pki/apple"), kind="ec"
    )
    dep_identity = apple.issue_server([DEP_HOST])
    activation_identity = apple.issue_server([ACTIVATION_HOST])
    given = world.fleet.behaviour
    world.fleet.behaviour = replace(
        given, anchors=(*given.anchors, apple.root), activation_url=f"https://{ACTIVATION_HOST}{PATH}"
    )
    topic = new_topic(chance.stream("topic"))
    push = authority.issue_push(topic)
    server_identity = authority.issue_server([SERVER_HOST])
    apns_identity = authority.issue_server([APNS_HOST])

    service = ApnsService(
        clock,
        chance.stream("apns"),
        events,
        FaultPlan(chance.stream("faults/apns")),
        apns_settings or ApnsSettings(),
    )
    service.certificates.register(push.certificate)

    dep_service = DepService(clock, chance.stream("dep"), events, FaultPlan(chance.stream("faults/dep")))
    dep = InProcessDep(dep_service)
    url = f"https://{SERVER_HOST}"
    api_key = chance.stream("api-key").hex(16)
    fields: dict[str, Any] = {
        "public_url": url,
        "push": push,
        "ca": device_ca.identity,
        "api_key": api_key,
        "anchors": (authority.root,),
        "apns_url": f"https://{APNS_HOST}",
        "apns_anchors": (authority.root,),
        "dep_url": f"https://{DEP_HOST}",
        "dep_anchors": (apple.root,),
        "automated_anchors": (world.factory.root, *world.factory.chain),
    }
    fields.update(server_settings or {})
    outbound: Outbound = network.client(SERVER_NAME)
    app = create_app(Settings(**fields), clock, chance.stream("server"), outbound, events=events)
    world.server = ServerFacts(
        url=url, enroll_url=f"{url}/enroll", api_key=api_key, topic=topic, anchors=(authority.root,)
    )
    world.control = _Machine(network)
    world.apns = _Apns(service)
    world.dep = LocalDep(dep_service)
    world.outbound = network.client("operator")
    try:
        async with (
            network.serving(
                APNS_HOST, 443, InProcessApns(service).asgi, chain=(apns_identity.certificate, *apns_identity.chain)
            ),
            network.serving(DEP_HOST, 443, dep.asgi, chain=(dep_identity.certificate, *dep_identity.chain)),
            network.serving(
                ACTIVATION_HOST,
                443,
                dep.activation,
                chain=(activation_identity.certificate, *activation_identity.chain),
            ),
            network.serving(
                SERVER_HOST,
                443,
                app,
                chain=(server_identity.certificate, *server_identity.chain),
                client_anchors=(device_ca.certificate,),
            ),
            LocalCourier(service, on_push=world.fleet.on_push) as courier,
            trio.open_nursery() as nursery,
        ):
            world.fleet.courier = courier
            await nursery.start(service.timers.run)
            await nursery.start(world.fleet.run)
            try:
                yield world
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise only(group) from None

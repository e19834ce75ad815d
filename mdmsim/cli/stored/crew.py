"""Stored devices brought to life in one process: a fleet over the store, over real connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from mdmsim.chance import Chance
from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.obstacles import of_exchange
from mdmsim.cli.enrollment.profile import Facts
from mdmsim.cli.enrollment.rollout import Newcomer
from mdmsim.cli.enrollment.witness import Exchange, Witness
from mdmsim.cli.exits import FAILED, NOT_CARRIED_OUT, PASSED, CommandFailed
from mdmsim.cli.stored.acting import Note
from mdmsim.cli.stored.visit import Diary, Visit
from mdmsim.clock import Clock, WallClock
from mdmsim.device.device import Behaviour, Device
from mdmsim.device.flow import Flow
from mdmsim.device.state import UnreadableState
from mdmsim.events import Events
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fleet.fleet import Fleet
from mdmsim.fleet.store import SqliteStore
from mdmsim.pki.errors import MalformedCertificate
from mdmsim.pki.key_pool import KeyPool
from mdmsim.pki.names import subject_text
from mdmsim.transport.trio_client import TrioTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """Options that `connect` and `remove` share. `anchors`: DER."""

    store: Path
    devices: tuple[str, ...] = ()
    concurrency: int = 8
    anchors: tuple[bytes, ...] = ()
    allow_http: bool = False
    allow_hosts: frozenset[str] = frozenset()
    courier: tuple[str, int] | None = None
    as_json: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """What a device did, and what went wrong at which exchange."""

    diary: Diary
    failures: list[tuple[Exception, Exchange | None]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Crew:
    """The devices that are to act, and what they live in."""

    fleet: Fleet
    clock: Clock
    newcomers: list[Newcomer]

    async def each(
        self, act: Callable[[Newcomer], Awaitable[Visit]], told: Callable[[Visit], None], *, concurrency: int
    ) -> list[Visit]:
        """Have each device act, so many at a time; what became of them, in the order in which they were done."""
        visits: list[Visit] = []
        queue = iter(self.newcomers)

        async def work() -> None:
            for newcomer in queue:
                visit = await act(newcomer)
                visits.append(visit)
                told(visit)

        async with trio.open_nursery() as nursery:
            for _ in range(min(concurrency, len(self.newcomers))):
                nursery.start_soon(work)
        return visits

    async def turn(self, device_id: str, make: Callable[[Device, Note], Flow[None]]) -> Turn:
        """Have a device carry out a flow; what it did and what went wrong. Raises what the flow raises."""
        member = self.fleet.members[device_id]
        turn, sender = Turn(Diary(device_id)), member.sender
        member.sender = witness = Witness(sender)
        unsubscribe = self.fleet.events.subscribe(turn.diary)
        try:
            await self.fleet.perform(
                device_id,
                lambda device: make(device, lambda error: turn.failures.append((error, witness.last))),
            )
        finally:
            unsubscribe()
            member.sender = sender
        return turn


@asynccontextmanager
async def crew(wishes: Surroundings, store: SqliteStore, chosen: Sequence[str]) -> AsyncIterator[Crew]:
    """These devices, loaded, with a connection to the courier where one was named. Raises CourierError, CommandFailed."""
    clock: Clock = WallClock()
    chance = Chance.of_machine()
    async with AsyncExitStack() as stack:
        transport = stack.enter_context(TrioTransport(allow_hosts=wishes.allow_hosts))
        fleet = Fleet(
            store=store,
            clock=clock,
            chance=chance.stream("fleet"),
            keys=KeyPool(),
            events=Events(clock),
            sender_for=lambda device_id: transport,
            behaviour=Behaviour(allow_http=wishes.allow_http, system_roots=True, anchors=wishes.anchors),
        )
        if wishes.courier is not None:
            host, port = wishes.courier
            courier = CourierClient(host, port, on_push=fleet.on_push, chance=chance.stream("courier"))
            fleet.courier = await stack.enter_async_context(courier)
        newcomers = []
        for device_id in chosen:
            try:
                newcomers.append(Newcomer(device_id, fleet.load(device_id).persona))
            except UnreadableState as error:
                raise CommandFailed(
                    f"{store.path}: {device_id}: {error}. mdmsim remove {device_id} --forget drops it from the store."
                ) from None
        yield Crew(fleet, clock, newcomers)


def facts_of(device: Device) -> Facts | None:
    """What the device's enrollment says about its server, for telling what stands in the way."""
    enrollment = device.state.enrollment
    if enrollment is None:
        return None
    return Facts(
        name=enrollment.profile,
        organization=None,
        signer=None,
        server_url=enrollment.server_url,
        checkin_url=enrollment.checkin_url or enrollment.server_url,
        topic=enrollment.topic,
        carries=tuple(subject_of(device.store.get(digest)) for digest in enrollment.anchors),
    )


def subject_of(der: bytes) -> str:
    """Whose certificate it is, for people."""
    try:
        return subject_text(der)
    except MalformedCertificate:
        return "a certificate that cannot be read"


async def obstacle_of(error: Exception, exchange: Exchange | None, facts: Facts | None, clock: Clock) -> Obstacle:
    """What a failed turn tells, from the exchange that it failed at."""
    told = await of_exchange(exchange, facts, clock) if exchange is not None else None
    if told is not None:
        return told
    label = exchange.request.label if exchange is not None else "the server"
    return Obstacle(
        f"The answer to {label} is no command: {error}.",
        seen=exchange.seen if exchange is not None else None,
        meaning="a device cannot answer what it cannot read; it asks again later",
        advice="see what the server sends: a command is a property list with CommandUUID and Command",
    )


def code_of(visits: Sequence[Visit]) -> int:
    """A refusal outweighs a server that could not be reached: it is an answer to the question that was asked."""
    codes = {visit.obstacle.code for visit in visits if visit.obstacle is not None}
    return FAILED if FAILED in codes else NOT_CARRIED_OUT if codes else PASSED

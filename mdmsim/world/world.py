"""What both kinds of world have in common: a clock, a seed, events, a fleet, a server and a fake APNs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import trio

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, Clock
from mdmsim.device.applications import apps_of
from mdmsim.device.device import Behaviour, Device
from mdmsim.device.factory import Factory
from mdmsim.device.personas import make_persona
from mdmsim.device.store import DeviceStore, MemoryStore
from mdmsim.events import Event, EventLog, Events
from mdmsim.fakeapns.due import DueEntry, DueReport
from mdmsim.fakeapns.fault_spec import FaultSpec
from mdmsim.faults import FaultPlan
from mdmsim.fleet.fleet import Fleet, Sender
from mdmsim.http import Outbound
from mdmsim.pki.keys import KeySource
from mdmsim.world.abilities import Ability
from mdmsim.world.dep import DepControl

Kind = Literal["live", "in-process"]

#: In-process worlds begin here unless told otherwise: 2026-01-05 09:00 UTC, a Monday morning.
START_MS = 1_767_603_600_000


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """Where the world's server is. `anchors`: DER roots under which its certificate verifies."""

    url: str
    enroll_url: str
    api_key: str
    topic: str
    anchors: tuple[bytes, ...]


class ServerControl(Protocol):
    """What a scenario may do to the server as a machine, apart from its API."""

    async def stop(self) -> None:
        """The machine is gone: nothing listens any more. Open exchanges are cut."""

    async def start(self) -> None:
        """It is back, with everything it had stored."""


@dataclass(frozen=True, slots=True)
class PendingPush:
    """A push that APNs holds for a device that does not listen."""

    topic: str
    token: bytes
    expires_ms: int


class ApnsControl(Protocol):
    """What a scenario may see of the fake APNs, and do to it."""

    async def pending(self) -> Sequence[PendingPush]:
        """Pushes that were accepted and wait for their device."""

    async def trust(self, push_certificate: bytes) -> None:
        """Accept pushes with this certificate (DER), as Apple's would one that it issued."""

    async def plan_fault(self, spec: FaultSpec) -> int:
        """Something goes wrong at APNs from now on; returns the number to end it by. Raises ValueError."""

    async def end_fault(self, number: int) -> None:
        """It ends; one that has ended is left alone. A blackout is over at once."""

    async def due(self, entries: Sequence[DueEntry]) -> DueReport:
        """What became of the pushes that these devices should have got."""


class World:
    """One universe. `wire`: faults between devices and their server. `log`: everything that happened so far."""

    def __init__(
        self,
        *,
        kind: Kind,
        abilities: frozenset[Ability],
        seed: int | str,
        clock: Clock,
        keys: KeySource,
        events: Events,
        sender_for: Callable[[World, str], Sender],
        behaviour: Behaviour,
        store: DeviceStore | None = None,
    ) -> None:
        self.kind = kind
        self.abilities = abilities
        self.seed = seed
        self.clock = clock
        self.chance = Chance(seed)
        self.events = events
        self.log = EventLog()
        events.subscribe(self.log)
        self.wire = FaultPlan(self.chance.stream("faults/wire"))
        self.fleet = Fleet(
            store=store or MemoryStore(),
            clock=clock,
            chance=self.chance.stream("fleet"),
            keys=keys,
            events=events,
            sender_for=lambda device_id: sender_for(self, device_id),
            behaviour=behaviour,
        )
        self.server: ServerFacts
        self.control: ServerControl
        self.apns: ApnsControl
        self.dep: DepControl | None = None
        """The fake DEP; None where the world has none."""
        self.factory = Factory(keys=keys, clock=clock, chance=self.chance.stream("factory"), kind="ec")
        """Where devices get the identity that signs their MachineInfo; servers that enrol them trust its CA."""
        self._stranger: Factory | None = None
        self.outbound: Outbound
        self.courier_port: int
        """Where the courier listens, in a live world."""

    def add_device(
        self,
        device_id: str,
        kind: str,
        *,
        os_version: str | None = None,
        supervised: bool = False,
        passcode: str | bool | None = None,
        model: str | None = None,
        state: Mapping[str, Any] | None = None,
    ) -> Device:
        """A new device of that kind or platform, out of the box. Raises PersonaError for what cannot exist."""
        persona = make_persona(
            kind,
            chance=self.chance.stream(f"persona/{device_id}"),
            os_version=os_version,
            supervised=supervised,
            passcode=passcode,
            model=model,
        )
        fields: dict[str, Any] = {"apps": apps_of(persona, self.chance.stream(f"apps/{device_id}"))}
        return self.fleet.add(device_id, persona, **(fields | dict(state or {})))

    def build(self, device_id: str, *, stranger: bool = False) -> None:
        """Give a device its factory identity, unless it has it: what Automated Device Enrollment takes.

        `stranger`: by a factory that nobody trusts, which writes the same names on its certificates.
        """
        device = self.fleet[device_id]
        if device.state.factory is not None:
            return
        if not stranger:
            self.factory.build(device)
            return
        if self._stranger is None:
            self._stranger = Factory(
                keys=self.fleet.keys, clock=self.clock, chance=self.chance.stream("stranger"), kind="ec"
            )
        self._stranger.build(device)

    async def sleep(self, ms: int) -> None:
        """Let world time pass."""
        await self.clock.sleep_until(self.clock.now_ms() + ms)

    async def wait_for(self, matches: Callable[[Event], bool], *, within_ms: int, since: int = 0) -> Event | None:
        """The first event from the log's place `since` on that matches, waiting for it at most that long; else None."""
        for event in self.log.events[since:]:
            if matches(event):
                return event
        found: list[Event] = []
        happened = trio.Event()

        def look(event: Event) -> None:
            if not found and matches(event):
                found.append(event)
                happened.set()

        unsubscribe = self.events.subscribe(look)
        try:
            with trio.move_on_after(within_ms / SECOND):
                await happened.wait()
        finally:
            unsubscribe()
        return found[0] if found else None

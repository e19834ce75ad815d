"""A fleet: who hears pushes when, what a kill is, and that one device's trouble stays its own."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, MINUTE, SECOND, VirtualClock
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError
from mdmsim.device.flow import Flow, pause
from mdmsim.device.flows.unenroll import leave
from mdmsim.device.personas import make_persona
from mdmsim.device.power import set_network, shut_down, switch_on
from mdmsim.device.store import MemoryStore
from mdmsim.events import EventLog, Events
from mdmsim.fleet.fleet import DeviceFailed, DeviceKilled, Fleet, Registration
from mdmsim.http import Request, Response
from mdmsim.protocol.mdm_push import build_payload
from mdmsim.transport.determinism import run_virtual
from tests.device.bench import KEYS, Bench

START_MS = 1_767_225_600_000


class NotedCourier:
    """Writes down what it is told; each telling takes a second."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Registration]] = []
        self.acts: list[Registration] = []
        self.names: dict[str, tuple[str, ...]] = {}

    async def _note(self, what: str, tokens: Sequence[Registration]) -> None:
        await trio.sleep(1)
        self.told.extend((what, token) for token in tokens)

    async def subscribe(
        self, tokens: Sequence[Registration], device: str = "", channel: str | None = None
    ) -> Sequence[Registration]:
        await self._note("subscribe", tokens)
        return []

    async def unsubscribe(self, tokens: Sequence[Registration]) -> None:
        await self._note("unsubscribe", tokens)

    async def retire(self, topic: str, token: bytes) -> None:
        await self._note("retire", [(topic, token)])

    def acted(self, tokens: Iterable[Registration]) -> None:
        self.acts.extend(tokens)

    def call(self, device: str, names: Iterable[str]) -> None:
        self.names[device] = tuple(names)

    def words(self) -> list[str]:
        return [what for what, _ in self.told]


class Site:
    """A fleet on virtual time in front of the bench's server; each exchange takes `latency` seconds."""

    def __init__(self, clock: VirtualClock, nursery: trio.Nursery) -> None:
        self.clock = clock
        self.nursery = nursery
        self.latency = 1.0
        self.bench = Bench()
        self.bench.clock.advance(clock.now_ms() - self.bench.clock.now_ms())
        self.server = self.bench.server
        self.events = Events(clock)
        self.log = EventLog()
        self.events.subscribe(self.log)
        self.courier = NotedCourier()
        self.waiting = 0
        self.fleet = Fleet(
            store=MemoryStore(),
            clock=clock,
            chance=Chance("fleet"),
            keys=KEYS,
            events=self.events,
            sender_for=lambda device_id: self,
        )
        self.fleet.courier = self.courier

    async def send(self, request: Request) -> Response:
        self.waiting += 1
        try:
            await trio.sleep(self.latency)
        finally:
            self.waiting -= 1
        self.bench.clock.advance(self.clock.now_ms() - self.bench.clock.now_ms())
        return self.server(request)

    def add(self, name: str = "d", **state: Any) -> Device:
        persona = make_persona("mac-silicon", chance=Chance(name))
        return self.fleet.add(name, persona, **state)

    async def enrolled(self, name: str = "d") -> Device:
        self.add(name)
        await self.fleet.install(name, self.bench.profile())
        self.server.requests.clear()
        return self.fleet[name]

    def push(self, name: str = "d") -> None:
        device = self.fleet[name]
        [(topic, token)] = device.registrations()
        self.fleet.on_push(topic, token, build_payload(device.voice().push_magic))

    async def until_waiting(self) -> None:
        """Until an exchange is on its way."""
        while not self.waiting:
            await trio.sleep(0.1)


def at_site(main: Callable[[Site], Awaitable[None]]) -> None:
    async def run(clock: VirtualClock) -> None:
        async with trio.open_nursery() as nursery:
            site = Site(clock, nursery)
            await nursery.start(site.fleet.run)
            await main(site)
            nursery.cancel_scope.cancel()

    run_virtual(run, seed=1, start_ms=START_MS)


def test_the_courier_knows_the_token_before_token_update_goes_out() -> None:
    async def main(site: Site) -> None:
        known: list[int] = []

        def look(request: Request) -> None:
            if request.label == "checkin:TokenUpdate":
                known.append(len(site.courier.told))

        site.server.interfere = look
        await site.enrolled()
        assert known == [1]
        assert site.courier.words() == ["subscribe"]

    at_site(main)


def test_a_second_telling_waits_until_the_first_was_heard() -> None:
    async def main(site: Site) -> None:
        device = await site.enrolled()
        await site.fleet.change("d", lambda work: set_network(work, up=False))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(site.fleet.change, "d", lambda work: set_network(work, up=True))
            await trio.sleep(0.1)
            await site.fleet.sync(site.fleet.members["d"])
            assert site.courier.words() == ["subscribe", "unsubscribe", "subscribe"]
        assert device.subscriptions()

    at_site(main)


def test_a_device_that_is_gone_is_unsubscribed_and_subscribed_when_it_returns() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        await site.fleet.change("d", lambda work: shut_down(work, why="user"))
        await site.fleet.change("d", switch_on)
        await trio.sleep(60)
        assert site.courier.words() == ["subscribe", "unsubscribe", "subscribe"]

    at_site(main)


def test_the_token_of_an_enrollment_that_ended_is_retired() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        await site.fleet.perform("d", lambda device: leave(device, reason="user"))
        assert site.courier.words() == ["subscribe", "unsubscribe", "retire"]

    at_site(main)


def test_a_token_that_the_courier_never_heard_of_is_not_retired() -> None:
    async def main(site: Site) -> None:
        site.add()
        site.server.interfere = lambda request: None

        def pull_the_plug(request: Request) -> None:
            if request.label == "checkin:Authenticate":
                site.fleet["d"].change(lambda work: set_network(work, up=False))

        site.server.interfere = pull_the_plug
        await site.fleet.install("d", site.bench.profile())
        await site.fleet.perform("d", lambda device: leave(device, reason="user"))
        assert site.courier.words() == []

    at_site(main)


def test_a_device_that_is_loaded_from_its_store_is_subscribed() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        other = Fleet(
            store=site.fleet.store,
            clock=site.clock,
            chance=Chance("fleet"),
            keys=KEYS,
            events=site.events,
            sender_for=lambda device_id: site,
        )
        other.courier = NotedCourier()
        other.load("d")
        await site.nursery.start(other.run)
        await trio.sleep(5)
        assert other.courier.words() == ["subscribe"]

    at_site(main)


def test_a_kill_in_the_middle_of_what_a_person_does_ends_it_and_the_device_goes_on_from_its_store() -> None:
    async def main(site: Site) -> None:
        site.add()
        outcome: list[str] = []

        async def install() -> None:
            try:
                await site.fleet.install("d", site.bench.profile())
            except DeviceKilled:
                outcome.append("killed")

        site.nursery.start_soon(install)
        await trio.sleep(3.5)
        before = len(site.server.requests)
        await site.fleet.kill("d")
        await trio.sleep(60)
        assert outcome == ["killed"]
        assert len(site.server.requests) == before
        assert not site.fleet["d"].enrolled
        await site.fleet.install("d", site.bench.profile())
        assert site.fleet["d"].enrolled

    at_site(main)


def test_a_kill_while_the_courier_is_told_does_not_leave_the_device_deaf() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        await site.fleet.change("d", lambda work: set_network(work, up=False))
        site.nursery.start_soon(site.fleet.change, "d", lambda work: set_network(work, up=True))
        await trio.sleep(0.5)
        await site.fleet.kill("d")
        await trio.sleep(10)
        assert site.fleet.members["d"].subscribed == site.fleet["d"].subscriptions() != frozenset()

    at_site(main)


def test_a_device_that_is_switched_off_in_the_middle_of_an_exchange_sends_nothing_more() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        for name in ("ProfileList", "CertificateList"):
            site.bench.queue(name)
        site.push()
        await trio.sleep(1.5)  # the report of the first command is on its way
        await site.fleet.change("d", lambda work: shut_down(work, why="user"))
        seen = len(site.server.requests)
        await trio.sleep(DAY / SECOND)
        assert len(site.server.requests) == seen
        await site.fleet.change("d", switch_on)
        await trio.sleep(60)
        assert site.server.queue == []
        assert site.log.count("device.command-answered") == 2

    at_site(main)


def test_an_enrollment_that_loses_its_power_leaves_nothing_behind() -> None:
    async def main(site: Site) -> None:
        site.add()
        failures: list[DeviceError] = []

        async def install() -> None:
            try:
                await site.fleet.install("d", site.bench.profile())
            except DeviceError as error:
                failures.append(error)

        site.nursery.start_soon(install)
        await trio.sleep(2.5)
        await site.fleet.change("d", lambda work: shut_down(work, why="user"))
        await trio.sleep(60)
        assert len(failures) == 1
        assert site.fleet["d"].state.profiles == []

    at_site(main)


def test_what_a_person_does_in_the_middle_of_a_flow_is_not_lost() -> None:
    async def main(site: Site) -> None:
        device = await site.enrolled()
        site.bench.queue("ProfileList")
        site.push()
        await site.until_waiting()

        def rename(work: Any) -> None:
            work.state.device_name = "Renamed"

        await site.fleet.change("d", rename)
        await trio.sleep(60)
        assert device.state.device_name == "Renamed"
        assert site.server.queue == []

    at_site(main)


def test_a_bug_in_one_device_is_an_event_at_once_and_an_error_in_the_end_and_the_others_live_on() -> None:
    seen: list[EventLog] = []

    async def main(site: Site) -> None:
        await site.enrolled("broken")
        await site.enrolled("sound")
        site.bench.queue("ProfileList")

        class Buggy:
            async def send(self, request: Request) -> Response:
                raise ZeroDivisionError("a bug")

        site.fleet.members["broken"].sender = Buggy()
        site.push("broken")
        await trio.sleep(10)
        site.push("sound")
        await trio.sleep(MINUTE / SECOND)
        assert site.server.queue == []
        seen.append(site.log)

    with pytest.raises(DeviceFailed, match="broken"):
        at_site(main)
    [event] = seen[0].of("device.failed")
    assert (event.device, event.source) == ("broken", "fleet")


def test_a_push_cuts_one_pause_short_and_not_the_next() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        times: list[int] = []

        def waits(device: Device) -> Flow[None]:
            for _ in range(3):
                times.append(site.clock.now_ms())
                yield from pause(30)
            times.append(site.clock.now_ms())

        async def perform() -> None:
            await site.fleet.perform("d", waits)

        site.nursery.start_soon(perform)
        await trio.sleep(5)
        site.push()
        await trio.sleep(HOUR / SECOND)
        assert [b - a for a, b in itertools.pairwise(times)] == [5000, 30_000, 30_000]

    at_site(main)


def test_poking_a_device_again_and_again_does_not_grow_the_list_of_wakes() -> None:
    async def main(site: Site) -> None:
        await site.enrolled()
        site.fleet["d"].change(lambda work: work.wake("connect", work.now_ms + DAY))
        for _ in range(500):
            site.fleet.poke("d")
            await trio.sleep(0.01)
        assert len(site.fleet._heap) <= 2

    at_site(main)


def test_a_thousand_pushes_at_once_make_one_connect_and_the_other_device_is_not_kept_waiting() -> None:
    async def main(site: Site) -> None:
        await site.enrolled("a")
        await site.enrolled("b")
        for _ in range(1000):
            site.push("a")
        site.push("b")
        await trio.sleep(2)
        assert site.server.labels() == ["connect:Idle", "connect:Idle"]

    at_site(main)

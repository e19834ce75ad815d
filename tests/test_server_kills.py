"""The reference server killed with -9 under load: what it confirmed stays, what it did not comes again, once.

Each kill falls at a seeded moment while devices connect and an administrator queues commands. The ledger is kept on
the devices' side of the wire, from what was really sent and answered.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.device.power import set_network
from mdmsim.events import Event
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.protocol.connect import Status, parse_command, parse_report
from mdmsim.target.adapter import AdapterError
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.live import live_world
from mdmsim.world.world import World

DEVICES = 6
KINDS = ("iphone", "mac-silicon", "appletv")


@dataclass
class Ledger:
    """What the devices saw: which reports were confirmed, and every command that was handed out."""

    confirmed: set[str] = field(default_factory=set)
    unconfirmed: set[str] = field(default_factory=set)
    served_after_confirmation: list[str] = field(default_factory=list)
    reports: Counter[str] = field(default_factory=Counter)

    def __call__(self, event: Event) -> None:
        if event.kind != "exchange" or not event.data["label"].startswith("connect:"):
            return
        report = parse_report(event.data["request_body"])
        status = event.data["status"]
        if report.status is not Status.IDLE and report.command_uuid is not None:
            self.reports[report.command_uuid] += 1
            if status is not None and 200 <= status < 300:
                self.confirmed.add(report.command_uuid)
                self.unconfirmed.discard(report.command_uuid)
            else:
                self.unconfirmed.add(report.command_uuid)
        if status == 200 and event.data["response_body"]:
            served = parse_command(event.data["response_body"]).command_uuid
            if served in self.confirmed:
                self.served_after_confirmation.append(served)


async def queue_until(
    server: ReferenceAdapter, world: World, accepted: list[tuple[str, str]], stop: trio.Event
) -> None:
    """Queue command after command, as fast as the server takes them, and note those that it accepted."""
    udids = [world.fleet[name].persona.udid for name in sorted(world.fleet.members)]
    number = 0
    while not stop.is_set():
        udid = udids[number % len(udids)]
        number += 1
        try:
            uuid = await server.queue(udid, "DeviceInformation", {"Queries": ["SerialNumber"]})
        except AdapterError:
            await trio.sleep(0.02)
            continue
        accepted.append((udid, uuid))


async def kill_and_check(kills: int, seed: int) -> None:
    chance = Chance(f"kills/{seed}")
    keys = SharedKeys(2 * DEVICES + 6)
    async with live_world(seed=seed, keys=keys) as world:
        ledger = Ledger()
        world.events.subscribe(ledger)
        trust = Trust(anchors=world.server.anchors)
        server = ReferenceAdapter(world.outbound, world.server.url, world.server.api_key, trust)
        for number in range(DEVICES):
            name = f"d{number}"
            world.add_device(name, KINDS[number % len(KINDS)])
            await world.fleet.install(name, await server.enrollment_profile())
        accepted: list[tuple[str, str]] = []
        for _ in range(kills):
            stop = trio.Event()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(queue_until, server, world, accepted, stop)
                await under_load(accepted, chance)
                await world.control.stop()
                stop.set()
            await world.control.start()
            await network_returns(world)
        await everything_answered(server, world, accepted)
        check(ledger, accepted)
        results = [await server.command(udid, uuid) for udid, uuid in accepted]
        assert [status.command_uuid for status in results if status.state != "acknowledged"] == []
        assert [status.command_uuid for status in results if status.results != 1] == []


async def under_load(accepted: list[tuple[str, str]], chance: Chance) -> None:
    """Return at a seeded moment: so many commands were taken, and a little later."""
    enough = len(accepted) + chance.randint(2, 12)
    with trio.fail_after(120):
        while len(accepted) < enough:
            await trio.sleep(0.002)
    await trio.sleep(chance.uniform(0, 0.03))


async def network_returns(world: World) -> None:
    """Spare the devices the minutes of their retry ladder: their network goes and comes back."""
    for name in sorted(world.fleet.members):
        await world.fleet.change(name, lambda work: set_network(work, up=False))
        await world.fleet.change(name, lambda work: set_network(work, up=True))


async def everything_answered(server: ReferenceAdapter, world: World, accepted: list[tuple[str, str]]) -> None:
    with trio.fail_after(120):
        for udid, uuid in accepted:
            while (await server.command(udid, uuid)).state != "acknowledged":
                await network_returns(world)
                await server.push(udid)
                await world.wait_for(
                    lambda e, u=uuid: e.kind == "device.report-delivered" and e.data["command_uuid"] == u,  # type: ignore[misc]
                    within_ms=2000,
                    since=len(world.log.events),
                )


def check(ledger: Ledger, accepted: list[tuple[str, str]]) -> None:
    assert len(accepted) > 10, "the load was too light to prove anything"
    assert ledger.served_after_confirmation == []
    assert ledger.unconfirmed == set()
    assert {uuid for _, uuid in accepted} <= ledger.confirmed


@pytest.mark.live
def test_a_few_kills_under_load_lose_and_repeat_nothing() -> None:
    trio.run(kill_and_check, 6, 2026)


@pytest.mark.soak
@pytest.mark.live
@pytest.mark.parametrize("seed", range(5))
def test_fifty_kills_under_load_lose_and_repeat_nothing(seed: int) -> None:
    trio.run(kill_and_check, 10, seed)

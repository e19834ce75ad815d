"""The push ladder as APNs sees it, with real devices, days long, in a world in process."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from mdmsim.clock import DAY, HOUR, MINUTE, SECOND, VirtualClock
from mdmsim.device.locking import lock_screen, unlock_screen
from mdmsim.device.power import set_network
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World

KEYS = SharedKeys(6)
#: Seconds after queueing, then every day.
RUNGS = [0, 30, 120, 480, 1800, 88_200, 174_600]


def _in_world(main: Callable[[World, ReferenceAdapter, str], Awaitable[None]]) -> None:
    """Run with one enrolled iPhone, whose enrollment's own pushes are over."""

    async def run(clock: VirtualClock) -> None:
        async with in_process_world(clock, seed=11, keys=KEYS) as world:
            trust = Trust(anchors=world.server.anchors)
            server = ReferenceAdapter(world.outbound, world.server.url, world.server.api_key, trust)
            device = world.add_device("d", "iphone", passcode="123456")
            await world.fleet.install("d", await server.enrollment_profile())
            await world.sleep(MINUTE)
            await main(world, server, device.persona.udid)

    run_virtual(run, seed=11, start_ms=START_MS)


def _pushed_s(world: World, since_ms: int) -> list[int]:
    """When APNs accepted a push, in whole seconds after that moment."""
    return [(e.at_ms - since_ms) // SECOND for e in world.log.of("push.accepted") if e.at_ms >= since_ms]


async def _away(world: World) -> None:
    await world.fleet.change("d", lambda work: set_network(work, up=False))


async def _back(world: World) -> None:
    await world.fleet.change("d", lambda work: set_network(work, up=True))


def test_a_device_that_is_away_is_pushed_to_at_30_s_2_8_30_minutes_and_daily() -> None:
    async def main(world: World, server: ReferenceAdapter, udid: str) -> None:
        await _away(world)
        start = world.clock.now_ms()
        await server.queue(udid, "ProfileList", {})
        await world.sleep(2 * DAY + HOUR)
        assert _pushed_s(world, start) == RUNGS

    _in_world(main)


def test_a_device_that_returns_and_takes_everything_is_left_alone() -> None:
    async def main(world: World, server: ReferenceAdapter, udid: str) -> None:
        await _away(world)
        start = world.clock.now_ms()
        uuid = await server.queue(udid, "ProfileList", {})
        await world.sleep(5 * MINUTE)
        await _back(world)
        await world.sleep(3 * DAY)
        assert (await server.command(udid, uuid)).state == "acknowledged"
        assert _pushed_s(world, start) == RUNGS[:3]

    _in_world(main)


def test_a_queueing_half_way_begins_the_ladder_anew() -> None:
    async def main(world: World, server: ReferenceAdapter, udid: str) -> None:
        await _away(world)
        await server.queue(udid, "ProfileList", {})
        await world.sleep(3 * MINUTE)
        start = world.clock.now_ms()
        await server.queue(udid, "ProfileList", {})
        await world.sleep(2 * DAY + HOUR)
        assert _pushed_s(world, start) == RUNGS

    _in_world(main)


def test_a_phone_that_only_says_notnow_is_pushed_to_by_the_first_ladder() -> None:
    async def main(world: World, server: ReferenceAdapter, udid: str) -> None:
        await world.fleet.change("d", lambda work: lock_screen(work, by="button"))
        start = world.clock.now_ms()
        uuid = await server.queue(udid, "SecurityInfo", {})
        await world.sleep(2 * DAY + HOUR)
        assert _pushed_s(world, start) == RUNGS
        assert (await server.command(udid, uuid)).not_now == len(RUNGS)
        await world.fleet.change("d", lambda work: unlock_screen(work, "123456"))
        await world.sleep(3 * DAY)
        assert (await server.command(udid, uuid)).state == "acknowledged"
        assert _pushed_s(world, start) == RUNGS

    _in_world(main)


def test_an_enrollment_that_was_removed_is_not_pushed_to() -> None:
    async def main(world: World, server: ReferenceAdapter, udid: str) -> None:
        await _away(world)
        start = world.clock.now_ms()
        await server.queue(udid, "ProfileList", {})
        await world.sleep(5 * MINUTE)
        await server.remove(udid)
        await world.sleep(3 * DAY)
        assert _pushed_s(world, start) == RUNGS[:3]

    _in_world(main)

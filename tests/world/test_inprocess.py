"""A whole world in one loop: enrollment, pushes, commands, absences, and the same transcript for the same seed."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from mdmsim.clock import DAY, HOUR, MINUTE, VirtualClock
from mdmsim.device.locking import lock_screen, unlock_screen
from mdmsim.device.power import set_network
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World

T = TypeVar("T")
KEYS = SharedKeys(12)


def in_world(main: Callable[[World, ReferenceAdapter], Awaitable[T]], *, seed: int = 5, **options: object) -> T:
    async def run(clock: VirtualClock) -> T:
        async with in_process_world(clock, seed=seed, keys=KEYS, **options) as world:  # type: ignore[arg-type]
            trust = Trust(anchors=world.server.anchors)
            return await main(world, ReferenceAdapter(world.outbound, world.server.url, world.server.api_key, trust))

    return run_virtual(run, seed=seed, start_ms=START_MS)


async def enrolled(world: World, server: ReferenceAdapter, kind: str = "iphone", name: str = "d") -> str:
    device = world.add_device(name, kind, passcode="123456" if kind in ("iphone", "ipad") else None)
    await world.fleet.install(name, await server.enrollment_profile())
    return device.persona.udid


@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"])
def test_a_queued_command_is_pushed_answered_and_its_result_kept(kind: str) -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        udid = await enrolled(world, server, kind)
        uuid = await server.queue(udid, "DeviceInformation", {"Queries": ["SerialNumber"]})
        await world.sleep(MINUTE)
        status = await server.command(udid, uuid)
        assert (status.state, status.served, status.results) == ("acknowledged", 1, 1)
        assert status.response["QueryResponses"] == {"SerialNumber": world.fleet["d"].persona.serial}

    in_world(main)


def test_an_absent_device_gets_its_command_when_it_returns() -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        udid = await enrolled(world, server)
        await world.fleet.change("d", lambda work: set_network(work, up=False))
        uuid = await server.queue(udid, "ProfileList", {})
        await world.sleep(2 * HOUR)
        assert (await server.command(udid, uuid)).served == 0
        assert len(await world.apns.pending()) == 1
        await world.fleet.change("d", lambda work: set_network(work, up=True))
        await world.sleep(MINUTE)
        assert (await server.command(udid, uuid)).state == "acknowledged"

    in_world(main)


def test_a_device_says_not_now_while_locked_and_comes_back_by_itself() -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        udid = await enrolled(world, server)
        await world.fleet.change("d", lambda work: lock_screen(work, by="button"))
        uuid = await server.queue(udid, "SecurityInfo", {})
        await world.sleep(10_000)
        assert (await server.command(udid, uuid)).state == "notnow"
        await world.fleet.change("d", lambda work: unlock_screen(work, "123456"))
        await world.sleep(10_000)
        assert (await server.command(udid, uuid)).state == "acknowledged"

    in_world(main)


def test_a_server_that_is_gone_for_a_day_loses_nothing() -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        udid = await enrolled(world, server)
        await world.fleet.change("d", lambda work: set_network(work, up=False))
        uuid = await server.queue(udid, "ProfileList", {})
        await world.sleep(MINUTE)
        await world.control.stop()
        await world.fleet.change("d", lambda work: set_network(work, up=True))
        await world.sleep(DAY)
        await world.control.start()
        await world.sleep(HOUR)
        assert (await server.command(udid, uuid)).state == "acknowledged"

    in_world(main)


def test_a_removed_device_is_turned_away_and_stays_silent() -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        udid = await enrolled(world, server)
        await server.queue(udid, "ProfileList", {}, push=False)
        await server.remove(udid)
        magic_payload = b'{"mdm":"%s"}' % world.fleet["d"].voice().push_magic.encode()
        [(topic, token)] = world.fleet["d"].registrations()
        world.fleet.on_push(topic, token, magic_payload)
        await world.sleep(MINUTE)
        assert not world.fleet["d"].enrolled
        before = world.log.count("exchange")
        for _ in range(30):
            world.fleet.on_push(topic, token, magic_payload)
            await world.sleep(DAY)
        assert world.log.count("exchange") == before

    in_world(main)


def transcript(seed: int) -> list[tuple[object, ...]]:
    async def main(world: World, server: ReferenceAdapter) -> list[tuple[object, ...]]:
        for kind in ("iphone", "mac-silicon", "appletv"):
            udid = await enrolled(world, server, kind, name=kind)
            await server.queue(udid, "DeviceInformation", {"Queries": ["SerialNumber", "DeviceName"]})
        await world.sleep(MINUTE)
        return [
            (e.at_ms, e.source, e.device, e.kind, e.data.get("label"), e.data.get("status")) for e in world.log.events
        ]

    return in_world(main, seed=seed)


def test_the_same_seed_gives_the_same_transcript() -> None:
    assert transcript(41) == transcript(41)


def test_another_seed_gives_other_devices() -> None:
    async def serial(world: World, server: ReferenceAdapter) -> str:
        return world.add_device("d", "iphone").persona.serial

    assert in_world(serial, seed=1) != in_world(serial, seed=2)

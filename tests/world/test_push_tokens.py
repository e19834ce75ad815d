"""Push tokens as devices have them, seen by the server that pushes: they change when a device is erased, and die with it."""

from __future__ import annotations

import pytest

from mdmsim.clock import HOUR, MINUTE, SECOND
from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.world import World
from tests.world.test_inprocess import enrolled, in_world


def token_of(world: World) -> bytes:
    return world.fleet["d"].state.channel(DEVICE_CHANNEL).push_token


async def erased(world: World, server: ReferenceAdapter) -> str:
    udid = await enrolled(world, server)
    await server.queue(udid, "EraseDevice", {})
    await world.sleep(10 * SECOND)
    return udid


@pytest.mark.parametrize(
    ("after_ms", "wait_ms", "status"),
    [(0, 0, 410), (10 * MINUTE, 0, 200), (10 * MINUTE, HOUR, 410), (None, HOUR, 200)],
)
def test_when_providers_hear_that_a_device_is_gone_is_a_switch(after_ms: int | None, wait_ms: int, status: int) -> None:
    async def main(world: World, server: ReferenceAdapter) -> int:
        udid = await erased(world, server)
        await world.sleep(wait_ms)
        return await server.push(udid)

    assert in_world(main, apns_settings=ApnsSettings(unregistered_after_ms=after_ms)) == status


def test_a_device_that_was_erased_has_another_token_when_it_enrols_again() -> None:
    async def main(world: World, server: ReferenceAdapter) -> None:
        await enrolled(world, server)
        before = token_of(world)
        await server.queue(world.fleet["d"].persona.udid, "EraseDevice", {})
        await world.sleep(MINUTE)
        await world.fleet.install("d", await server.enrollment_profile())
        assert token_of(world) not in (before, b"")

    in_world(main)


def test_the_fake_knows_whose_every_token_is() -> None:
    async def main(world: World, server: ReferenceAdapter) -> list[str | None]:
        await enrolled(world, server, "mac-silicon")
        await world.sleep(MINUTE)
        return [event.device for event in world.log.of("token.registered")]

    devices = in_world(main)
    assert devices
    assert set(devices) == {"d"}

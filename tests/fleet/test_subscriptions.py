"""What the courier is told about a device is what is true of it, even if a person acts in the middle of the telling."""

from __future__ import annotations

from collections.abc import Sequence

from mdmsim.clock import MINUTE, VirtualClock
from mdmsim.device.locking import enter_pin
from mdmsim.fleet.fleet import Courier, Registration
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World

KEYS = SharedKeys(4)


class Interrupted:
    """A courier: while it is told to be silent about a locked Mac, a person types the PIN."""

    def __init__(self, courier: Courier, world: World) -> None:
        self._courier = courier
        self._world = world

    async def subscribe(self, tokens: Sequence[Registration], device: str = "", /) -> Sequence[Registration]:
        return await self._courier.subscribe(tokens, device)

    def acted(self, tokens: Sequence[Registration], /) -> object:
        return self._courier.acted(tokens)

    def call(self, device: str, names: Sequence[str], /) -> object:
        return self._courier.call(device, names)

    async def retire(self, topic: str, token: bytes, /) -> object:
        return await self._courier.retire(topic, token)

    async def unsubscribe(self, tokens: Sequence[Registration], /) -> object:
        await self._courier.unsubscribe(tokens)
        await self._world.fleet.change("d", lambda work: enter_pin(work, "123456"))
        await self._world.sleep(1)  # the way to a courier and back takes its time
        return None


def test_device_that_returns_while_the_courier_is_told_of_its_absence_hears_the_next_push() -> None:
    async def main(clock: VirtualClock) -> None:
        async with in_process_world(clock, seed=8, keys=KEYS) as world:
            server = ReferenceAdapter(
                world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
            )
            udid = world.add_device("d", "mac-intel").persona.udid
            await world.fleet.install("d", await server.enrollment_profile())
            await world.sleep(MINUTE)
            assert world.fleet.courier is not None
            world.fleet.courier = Interrupted(world.fleet.courier, world)
            await server.queue(udid, "DeviceLock", {"PIN": "123456"})
            await world.sleep(MINUTE)
            uuid = await server.queue(udid, "ProfileList", {})
            await world.sleep(MINUTE)
            assert (await server.command(udid, uuid)).state == "acknowledged"

    run_virtual(main, seed=8, start_ms=START_MS)

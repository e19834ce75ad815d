"""What the courier is told about a device is what is true of it, even if a person acts in the middle of the telling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mdmsim.clock import MINUTE, VirtualClock
from mdmsim.device.locking import enter_pin
from mdmsim.device.tokens import renew_push_token
from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.errors import CourierRefused
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

    async def subscribe(
        self, tokens: Sequence[Registration], device: str = "", channel: str | None = None, /
    ) -> Sequence[Registration]:
        return await self._courier.subscribe(tokens, device, channel)

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


class Forgetful:
    """A courier whose fake was started again without a store: it knows no token that is to be retired."""

    def __init__(self, courier: Courier, reason: str) -> None:
        self._courier = courier
        self._reason = reason

    def __getattr__(self, name: str) -> Any:
        return getattr(self._courier, name)

    async def retire(self, topic: str, token: bytes, /) -> object:
        raise CourierRefused(self._reason, "the fake APNs was started again")


async def erased(clock: VirtualClock, reason: str) -> str | None:
    """A Mac is erased while the courier refuses to retire its token; what it failed with."""
    async with in_process_world(clock, seed=8, keys=KEYS) as world:
        server = ReferenceAdapter(
            world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
        )
        udid = world.add_device("d", "mac-intel").persona.udid
        await world.fleet.install("d", await server.enrollment_profile())
        await world.sleep(MINUTE)
        assert world.fleet.courier is not None
        world.fleet.courier = Forgetful(world.fleet.courier, reason)
        await server.queue(udid, "EraseDevice", {"PIN": "123456"})
        await world.sleep(5 * MINUTE)
        member = world.fleet.members["d"]
        assert member.device.registrations() == frozenset()
        failure, world.fleet._failures = member.failure, []
        return None if failure is None else str(failure)


def test_a_token_that_the_courier_does_not_know_is_as_good_as_retired() -> None:
    assert run_virtual(lambda clock: erased(clock, "unknown-token"), seed=8, start_ms=START_MS) is None


def test_another_refusal_of_the_courier_is_a_failure() -> None:
    failure = run_virtual(lambda clock: erased(clock, "another"), seed=8, start_ms=START_MS)
    assert failure is not None
    assert "another" in failure


def test_the_courier_is_told_which_channel_a_token_is_of() -> None:
    async def main(clock: VirtualClock) -> list[tuple[str, str, bool]]:
        async with in_process_world(clock, seed=8, keys=KEYS) as world:
            server = ReferenceAdapter(
                world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
            )
            world.add_device("d", "mac-intel")
            await world.fleet.install("d", await server.enrollment_profile())
            await world.sleep(MINUTE)
            await world.fleet.change("d", lambda work: renew_push_token(work, "alice"))
            channels = world.fleet["d"].state.channels
            courier = world.fleet.courier
            assert isinstance(courier, LocalCourier)
            return sorted(
                (one.device, one.channel, one.token == channels[one.channel].push_token)
                for one in courier._service.registrations()
            )

    assert run_virtual(main, seed=8, start_ms=START_MS) == [("d", "alice", True), ("d", "device", True)]

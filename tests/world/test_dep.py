"""The portal of a world's fake DEP: the same words in process and through the admin API."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock, WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import SharedKeys
from mdmsim.transport.determinism import run_virtual
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.world.dep import DepControl, DepProblem, DepUnreachable, RemoteDep
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.live import live_world
from mdmsim.world.world import START_MS, World

KEYS = SharedKeys(4)

Main = Callable[[World], Awaitable[None]]


def in_process(main: Main) -> None:
    async def run(clock: VirtualClock) -> None:
        async with in_process_world(clock, seed=3, keys=KEYS) as world:
            await main(world)

    run_virtual(run, seed=3, start_ms=START_MS)


def live(main: Main) -> None:
    async def run() -> None:
        async with live_world(seed=3, keys=KEYS) as world:
            await main(world)

    trio.run(run)


both = pytest.mark.parametrize("play", [in_process, pytest.param(live, marks=pytest.mark.live)], ids=["here", "live"])


def portal(world: World) -> DepControl:
    assert world.dep is not None
    return world.dep


def certificate(name: str = "A server's key") -> bytes:
    authority = Authority.create(name, keys=KEYS, clock=WallClock(), chance=Chance(1))
    return to_pem(authority.certificate)


@both
def test_devices_are_ordered_assigned_and_looked_at(play: Callable[[Main], None]) -> None:
    async def main(world: World) -> None:
        dep = portal(world)
        assert await dep.status("C02XW0AAJG5H") is None
        await dep.add_server("acme", certificate())
        await dep.order("C02XW0AAJG5H", "Mac", server="acme")
        assert await dep.status("C02XW0AAJG5H") == "empty"
        await dep.assign("C02XW0AAJG5H", None)
        await dep.assign("C02XW0AAJG5H", "acme")
        assert b"pkcs7" in (await dep.token("acme")).lower()

    play(main)


@both
def test_what_the_portal_refuses_is_told(play: Callable[[Main], None]) -> None:
    async def main(world: World) -> None:
        dep = portal(world)
        await dep.order("C02XW0AAJG5H", "Mac")
        with pytest.raises(DepProblem, match="ordered already"):
            await dep.order("C02XW0AAJG5H", "Mac")
        with pytest.raises(DepProblem, match="nobody"):
            await dep.assign("C02XW0AAJG5H", "nobody")
        with pytest.raises(DepProblem):
            await dep.token("nobody")

    play(main)


def test_devices_trust_apple_from_the_start_but_not_the_mdm_server() -> None:
    async def main(world: World) -> None:
        behaviour = world.fleet.behaviour
        assert behaviour.activation_url == "https://iprofiles.apple.com/v1/configuration"
        assert len(behaviour.anchors) == 1
        assert not set(behaviour.anchors) & set(world.server.anchors)

    in_process(main)


def test_a_device_is_built_once_and_a_stranger_by_another_authority() -> None:
    async def main(world: World) -> None:
        for name in ("ours", "theirs"):
            world.add_device(name, "iphone")
        world.build("ours")
        built = world.fleet["ours"].state.factory
        world.build("ours", stranger=True)
        assert world.fleet["ours"].state.factory == built
        world.build("theirs", stranger=True)
        ours, theirs = (world.fleet[name].state.factory_chain for name in ("ours", "theirs"))
        assert not set(ours) & set(theirs)

    in_process(main)


def test_a_fake_dep_that_is_not_there_is_an_error_of_the_run() -> None:
    async def main() -> None:
        with TrioTransport() as transport:
            await RemoteDep(transport, "http://127.0.0.1:1", "k").token("x")

    with pytest.raises(DepUnreachable, match="cannot be reached"):
        trio.run(main)

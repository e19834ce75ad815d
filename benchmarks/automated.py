"""Automated enrollments in process: activation, MachineInfo, profile, SCEP, check-in; both sides and the fake DEP together."""

from __future__ import annotations

from benchmarks.measure import Figure, at_least, beside, own_cpu
from mdmsim.clock import VirtualClock
from mdmsim.device.flows.automated import walk_setup_assistant
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.dep import FAMILIES
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World

DEVICES = 100
KINDS = ("iphone", "mac-silicon", "appletv", "ipad", "mac-intel")
ACCOUNT = "bench"


def run() -> list[Figure]:
    # Three keys a device (factory, identity, SCEP signer), made before anything is measured: the goal is for pooled keys.
    count = 3 * DEVICES + 30
    keys = SharedKeys(count)
    for _ in range(count):
        keys.take()

    async def enroll(clock: VirtualClock) -> float:
        async with in_process_world(clock, seed=1, keys=keys, record=False) as world:
            await _order(world)
            began = own_cpu()
            for device_id in sorted(world.fleet.members):
                await world.fleet.perform(device_id, walk_setup_assistant)
            spent = own_cpu() - began
            assert all(member.device.enrolled for member in world.fleet.members.values())
            return spent

    spent = run_virtual(enroll, seed=1, start_ms=START_MS)
    return [
        at_least("automated.enrollments", DEVICES / spent, "per CPU s, both sides and the fake DEP", 20.0),
        beside("automated.enrollment.cost", spent / DEVICES * 1000, "ms CPU, both sides and the fake DEP"),
    ]


async def _order(world: World) -> None:
    """A server with an account at Apple, and new devices that were bought for it."""
    facts = world.server
    server = ReferenceAdapter(world.outbound, facts.url, facts.api_key, Trust(anchors=facts.anchors))
    apple = world.dep
    assert apple is not None
    await apple.add_server(ACCOUNT, await server.add_dep_account(ACCOUNT))
    await server.set_dep_token(ACCOUNT, await apple.token(ACCOUNT))
    for number in range(DEVICES):
        device = world.add_device(f"d{number:03d}", KINDS[number % len(KINDS)], state={"setup": "welcome"})
        world.build(device.device_id)
        await apple.order(device.persona.serial, FAMILIES[device.persona.platform], server=ACCOUNT)
    await server.sync_dep(ACCOUNT)

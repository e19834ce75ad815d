"""A hundred devices for thirty simulated days in process, one connect a day each."""

from __future__ import annotations

from benchmarks.measure import Figure, at_most, beside, own_cpu
from mdmsim.clock import DAY, VirtualClock
from mdmsim.http import Trust
from mdmsim.pki.keys import SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS

DEVICES = 100
DAYS = 30
KINDS = ("iphone", "mac-silicon", "appletv", "ipad", "mac-intel")


def run() -> list[Figure]:
    # Enough keys that none is certified twice, made before the measurement begins: key generation is not its subject.
    keys = SharedKeys(2 * DEVICES + 10)
    for _ in range(2 * DEVICES + 10):
        keys.take()

    async def month(clock: VirtualClock) -> tuple[float, float, int]:
        began = own_cpu()
        async with in_process_world(clock, seed=1, keys=keys, record=False) as world:
            server = ReferenceAdapter(
                world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
            )
            devices = [world.add_device(f"d{n:03d}", KINDS[n % len(KINDS)]) for n in range(DEVICES)]
            for device in devices:
                profile = await server.enrollment_profile()
                await world.fleet.install(device.device_id, profile)
            enrolled = own_cpu()
            for _ in range(DAYS):
                for device in devices:
                    await server.push(device.persona.udid)
                await world.sleep(DAY)
            return enrolled - began, own_cpu() - enrolled, world.log.count("device.connected")

    enrolling, living, connects = run_virtual(month, seed=1, start_ms=START_MS)
    assert connects == DEVICES * DAYS
    return [
        at_most("world.month", enrolling + living, "CPU s", 12.0),
        beside("world.month.enrolling", enrolling, "CPU s"),
        beside("world.month.connect", living / connects * 1000, "ms per push and connect"),
    ]

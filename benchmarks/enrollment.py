"""An enrollment with SCEP against the reference server as a process: what the device's end costs."""

from __future__ import annotations

import tempfile
from pathlib import Path

import trio

from benchmarks.measure import Figure, at_least, at_most, beside, own_cpu
from mdmsim.http import Trust
from mdmsim.pki.keys import FreshKeys, KeySource, SharedKeys
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.live import live_world

DEVICES = 40
KINDS = ("iphone", "mac-silicon", "appletv", "ipad", "mac-intel")


class TimedKeys:
    """A key source that counts the CPU seconds its keys took."""

    def __init__(self, source: KeySource) -> None:
        self._source = source
        self.seconds = 0.0

    def take(self, *, bits: int = 2048) -> bytes:
        began = own_cpu()
        try:
            return self._source.take(bits=bits)
        finally:
            self.seconds += own_cpu() - began

    def take_ec(self) -> bytes:
        return self._source.take_ec()


async def _enroll_all(keys: KeySource, count: int, seed: str) -> float:
    """CPU seconds of this process for that many enrollments."""
    with tempfile.TemporaryDirectory() as directory:
        async with live_world(seed=seed, keys=keys, directory=Path(directory), record=False) as world:
            server = ReferenceAdapter(
                world.outbound, world.server.url, world.server.api_key, Trust(anchors=world.server.anchors)
            )
            devices = [world.add_device(f"{seed}-{n:03d}", KINDS[n % len(KINDS)]) for n in range(count)]
            profiles = [await server.enrollment_profile() for _ in devices]
            await trio.sleep(1)
            began = own_cpu()
            for device, profile in zip(devices, profiles, strict=True):
                await world.fleet.install(device.device_id, profile)
            spent = own_cpu() - began
            assert all(device.enrolled for device in devices)
            return spent


def run() -> list[Figure]:
    timed = TimedKeys(FreshKeys())
    fresh = trio.run(_enroll_all, timed, DEVICES, "fresh") - timed.seconds
    pooled_keys = SharedKeys(2 * DEVICES + 4)
    for _ in range(2 * DEVICES + 4):
        pooled_keys.take()
    pooled = trio.run(_enroll_all, pooled_keys, DEVICES, "pooled")
    return [
        at_most("enrollment.fresh-key", fresh / DEVICES * 1000, "ms client CPU, keys not counted", 15.0),
        beside("enrollment.key-generation", timed.seconds / DEVICES * 1000, "ms client CPU, two keys"),
        at_least("enrollment.pooled-keys", DEVICES / pooled, "per client CPU s", 60.0),
    ]

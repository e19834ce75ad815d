"""Keys for devices to come are made by worker processes, and none is lost or given out twice."""

from __future__ import annotations

from pathlib import Path

import trio

from mdmsim.cli.enrollment.keys_ahead import KeysAhead
from mdmsim.pki.key_pool import KeyPool
from mdmsim.pki.keys import FreshKeys, SharedKeys


def stocked(folder: Path, count: int) -> KeyPool:
    pool = KeyPool(folder, fallback=SharedKeys(1))
    for _ in range(count):
        pool.put(FreshKeys().take())
    return pool


def test_keys_that_were_reserved_are_taken_first(tmp_path: Path) -> None:
    pool = stocked(tmp_path, 3)

    async def main() -> set[bytes]:
        with KeysAhead(pool, 3) as keys:
            await keys.reserve(2)
            assert pool.available() == 1
            return {keys.take(), keys.take(), keys.take()}

    assert len(trio.run(main)) == 3
    assert pool.available() == 0


def test_reserved_keys_that_nobody_took_go_back_into_the_pool(tmp_path: Path) -> None:
    pool = stocked(tmp_path, 3)

    async def main() -> None:
        with KeysAhead(pool, 3) as keys:
            await keys.reserve(2)
            keys.take()

    trio.run(main)
    assert pool.available() == 2


def test_missing_keys_are_made_by_worker_processes(tmp_path: Path) -> None:
    pool = stocked(tmp_path, 2)

    async def main() -> int:
        with KeysAhead(pool, 4, workers=1) as keys:
            await keys.reserve(4)
            return len({keys.take() for _ in range(4)})

    assert trio.run(main) == 4


def test_one_device_starts_no_worker(tmp_path: Path) -> None:
    pool = KeyPool(tmp_path / "pool", fallback=SharedKeys(1))

    async def main() -> bytes:
        with KeysAhead(pool, 2) as keys:
            await keys.reserve(2)
            return keys.take()

    assert trio.run(main)
    assert not (tmp_path / "pool").exists()


def test_a_pool_that_cannot_be_written_to_stops_nobody() -> None:
    pool = KeyPool(Path("/proc/nothing"), fallback=SharedKeys(1))

    async def main() -> bytes:
        with KeysAhead(pool, 10) as keys:
            await keys.reserve(2)
            return keys.take()

    assert trio.run(main)

"""`mdmsim keys`: make RSA keys ahead of time, so that enrolling devices later is quick."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from mdmsim.cli.exits import PASSED
from mdmsim.cli.options import option


def keys(
    count: Annotated[int, option("How many keys should lie ready. An enrollment takes two.", "N", min=0)] = 200,
    workers: Annotated[int, option("Worker processes; 0: one per processor.", "N", min=0)] = 0,
    directory: Annotated[Path | None, option("The pool's folder (default: the user's cache folder).", "DIR")] = None,
) -> int:
    """Fill the key pool: RSA-2048 keys made ahead of time by worker processes.

    Making a key is most of what an enrollment costs. Each key is used once; enrolling without enough of them works
    too, and makes what is missing.
    """
    from mdmsim.cli.output import line
    from mdmsim.cli.progress import making_keys
    from mdmsim.cli.running import run_trio
    from mdmsim.pki.key_pool import KEYS_PER_DEVICE, KeyPool

    pool = KeyPool(directory)
    before = pool.available()

    async def fill() -> None:
        with pool.start_filling(count, workers=workers or os.cpu_count() or 1) as filling:
            await making_keys(pool, filling, count)

    if before < count:
        run_trio(fill)
    ready = pool.available()
    line(
        f"{ready} keys in {pool.directory} ({max(0, ready - before)} made), enough for {ready // KEYS_PER_DEVICE} enrollments"
    )
    return PASSED

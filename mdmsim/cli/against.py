"""Playing scenarios against the server of a target file."""

from __future__ import annotations

import shlex
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mdmsim.events import Event, Observer
from mdmsim.pki.key_pool import KeyPool
from mdmsim.report import Case, Collector
from mdmsim.scenario.loops import LiveLoop
from mdmsim.scenario.model import Case as Planned
from mdmsim.scenario.run import Names
from mdmsim.scenario.runner import DEFAULT_SEED, run_case
from mdmsim.target.adapter import Adapter
from mdmsim.target.file import read_target
from mdmsim.target.world import target_world
from mdmsim.world.world import World


def run_against(
    file: Path, cases: Sequence[Planned], *, seed: int | str | None, observers: Sequence[Observer]
) -> list[Case]:
    """Play the cases one after the other; their results. Blocks. Raises TargetError, AdapterError, CourierError."""
    target = read_target(file)
    chosen = seed if seed is not None else DEFAULT_SEED
    names, lock = Names(), threading.Lock()

    def locked(event: Event) -> None:
        with lock:
            for observer in observers:
                observer(event)

    @asynccontextmanager
    async def world() -> AsyncIterator[tuple[World, Adapter]]:
        async with target_world(target, seed=chosen, keys=KeyPool(), observers=(locked,)) as opened:
            yield opened

    loop: LiveLoop[tuple[World, Adapter]] = LiveLoop(world)
    results = []
    try:
        for case in cases:
            replay = f"{case.replay(chosen, live=False)} --target {shlex.quote(str(file))}"

            async def play(opened: tuple[World, Adapter], case: Planned = case, replay: str = replay) -> Case:
                there, adapter = opened
                collector = Collector()
                unsubscribe = there.events.subscribe(collector)
                try:
                    await run_case(case, there, adapter, replay=replay, names=names)
                finally:
                    unsubscribe()
                return collector.close(there.clock.now_ms())[0]

            results.append(loop.call(play))
    finally:
        loop.close()
    return results

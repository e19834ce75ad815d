"""One live world for many cases: servers as processes, devices on real sockets, results one after the other."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from mdmsim.events import Event, Observer
from mdmsim.pki.keys import KeySource
from mdmsim.report.collector import Collector
from mdmsim.report.model import Case as CaseResult
from mdmsim.scenario.loops import LiveLoop
from mdmsim.scenario.model import Case
from mdmsim.scenario.run import Names
from mdmsim.scenario.runner import reference_adapter, run_case
from mdmsim.world.live import live_world
from mdmsim.world.world import World


class LiveSession:
    """A live world in a thread of its own. Close it: its processes end with it.

    `observers` are called from that thread, one event at a time. Raises ProcessFailed when a server does not start.
    """

    def __init__(
        self,
        *,
        seed: int | str,
        keys: KeySource | None = None,
        observers: Sequence[Observer] = (),
        on_ready: Callable[[str, str, float], None] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.seed = seed
        self._names = Names()
        self._lock = threading.Lock()

        @asynccontextmanager
        async def world() -> AsyncIterator[World]:
            async with live_world(seed=seed, keys=keys, directory=directory, on_ready=on_ready) as live:
                for observer in observers:
                    live.events.subscribe(self._locked(observer))
                yield live

        self.loop: LiveLoop[World] = LiveLoop(world)

    def _locked(self, observer: Observer) -> Observer:
        def observe(event: Event) -> None:
            with self._lock:
                observer(event)

        return observe

    def run(self, case: Case) -> CaseResult:
        """Play one case; its result, whatever happens."""

        async def play(world: World) -> CaseResult:
            collector = Collector()
            unsubscribe = world.events.subscribe(collector)
            try:
                replay = case.replay(self.seed, live=True)
                await run_case(case, world, reference_adapter(world), replay=replay, names=self._names)
            finally:
                unsubscribe()
            return collector.close(world.clock.now_ms())[0]

        return self.loop.call(play)

    def close(self) -> None:
        """End the world and its processes. May be called again."""
        self.loop.close()

"""The background job: a round with Apple for each account whenever one is due, and at once when somebody asks."""

from __future__ import annotations

import anyio

from mdmsim.clock import Clock
from reference_server.dep.client import DepError
from reference_server.dep.rounds import NoToken, Rounds
from reference_server.health import Health, sleep_until_woken
from reference_server.storage.dep_interface import DepRoundStore

JOB = "dep"


class DepJob:
    """Sleeps until the next round is due, or until it is woken. Nothing is polled."""

    def __init__(self, rounds: Rounds, store: DepRoundStore, clock: Clock, *, health: Health) -> None:
        self._rounds = rounds
        self._store = store
        self._clock = clock
        self._health = health
        self._wakeup = anyio.Event()
        # A round of many pages outlasts its guard; the next one waits for its end instead of queueing up behind it.
        self._running: set[str] = set()

    def wake(self) -> None:
        """Look again at what is due."""
        self._wakeup.set()

    async def run(self) -> None:
        """For ever. What is not Apple's or the network's fault ends it, for `keep_running` to tell."""
        await self._rounds.hurry_changed()
        async with anyio.create_task_group() as group:
            while True:
                self._wakeup = wakeup = anyio.Event()
                for name in await self._store.dep_due(now_ms=self._clock.now_ms(), guard_ms=self._rounds.guard_ms()):
                    if name not in self._running:
                        self._running.add(name)
                        group.start_soon(self._round, name)
                await sleep_until_woken(self._clock, await self._store.dep_next_ms(), wakeup)

    async def _round(self, name: str) -> None:
        try:
            await self._rounds.run(name)
        except (DepError, NoToken):
            pass  # kept with the account, logged, and tried again
        finally:
            self._running.discard(name)
        self._health.well(JOB)
        self.wake()

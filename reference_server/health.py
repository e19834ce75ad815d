"""Jobs in the background: restarted when they die, and seen in /readyz until they work again."""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable

import anyio

from mdmsim.clock import SECOND, Clock
from reference_server.logs import Log

#: How long a job that died waits before it is started again.
RESTART_AFTER_MS = 1 * SECOND


class Health:
    """What stands in the way of being ready, by name."""

    def __init__(self) -> None:
        self._troubles: dict[str, str] = {}

    def trouble(self, name: str, why: str) -> None:
        self._troubles[name] = why

    def well(self, name: str) -> None:
        """The job did a whole round."""
        self._troubles.pop(name, None)

    @property
    def troubles(self) -> dict[str, str]:
        return dict(self._troubles)


async def keep_running(
    name: str, job: Callable[[], Awaitable[None]], *, health: Health, clock: Clock, log: Log
) -> None:
    """Run a job for ever. One that dies is logged, reddens `health` and is started again."""
    while True:
        try:
            await job()
            why = "ended"
        except Exception as error:
            why = f"died: {type(error).__name__}"
            log.write("error", "background job died", job=name, trace=traceback.format_exc())
        health.trouble(name, why)
        await clock.sleep_until(clock.now_ms() + RESTART_AFTER_MS)


async def sleep_until_woken(clock: Clock, due_ms: int | None, wakeup: anyio.Event) -> None:
    """Until that time (milliseconds since 1970; None: no time) or until `wakeup` is set, which it is afterwards."""
    if due_ms is None:
        await wakeup.wait()
        return

    async def alarm() -> None:
        await clock.sleep_until(due_ms)
        wakeup.set()

    async with anyio.create_task_group() as group:
        group.start_soon(alarm)
        await wakeup.wait()
        group.cancel_scope.cancel()

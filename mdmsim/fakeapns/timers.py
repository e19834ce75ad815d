"""What happens later: calls at a moment of world time, run by one task. Nothing polls."""

from __future__ import annotations

import heapq
from collections.abc import Callable

import trio

from mdmsim.clock import Clock


class Timer:
    """One call that is due; `cancel` makes it nothing."""

    __slots__ = ("_timers", "call", "due_ms")

    def __init__(self, due_ms: int, call: Callable[[], None], timers: Timers) -> None:
        self.due_ms = due_ms
        self.call: Callable[[], None] | None = call
        self._timers = timers

    def cancel(self) -> None:
        if self.call is not None:
            self.call = None
            self._timers.forget_one()


class Timers:
    """Timers of one service. Without `run` nothing comes due but by `fire`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[int, int, Timer]] = []
        self._count = 0
        self._cancelled = 0
        self._sleeping: trio.CancelScope | None = None

    def at(self, due_ms: int, call: Callable[[], None]) -> Timer:
        """Call at that time, or at once when `fire` runs next if it has passed."""
        timer = Timer(due_ms, call, self)
        self._count += 1
        heapq.heappush(self._heap, (due_ms, self._count, timer))
        if self._sleeping is not None and self._heap[0][2] is timer:
            self._sleeping.cancel()
        return timer

    def __len__(self) -> int:
        """How many calls are waiting for their time."""
        return len(self._heap) - self._cancelled

    def forget_one(self) -> None:
        """One was cancelled. They are swept out when they are most of what there is."""
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].call is not None]
            heapq.heapify(self._heap)
            self._cancelled = 0

    def fire(self) -> None:
        """Make the calls that are due now, oldest first."""
        now_ms = self._clock.now_ms()
        while self._heap and self._heap[0][0] <= now_ms:
            timer = heapq.heappop(self._heap)[2]
            call, timer.call = timer.call, None
            if call is None:
                self._cancelled -= 1
            else:
                call()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Make calls as they come due, until cancelled."""
        task_status.started()
        while True:
            self.fire()
            with trio.CancelScope() as self._sleeping:
                if self._heap:
                    await self._clock.sleep_until(self._heap[0][0])
                else:
                    await trio.sleep_forever()
            self._sleeping = None

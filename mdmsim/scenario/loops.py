"""Trio for people who do not write async: a loop in a thread of its own that does what it is told, one call at a time."""

from __future__ import annotations

import queue
import threading
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Generic, TypeVar

import trio

from mdmsim.clock import VirtualClock
from mdmsim.transport.determinism import run_virtual
from mdmsim.transport.groups import only
from mdmsim.world.world import START_MS

T = TypeVar("T")
R = TypeVar("R")

Job = Callable[[R], Awaitable[Any]]


class Loop(Generic[R]):
    """A resource that lives in a trio loop in a thread of its own, and calls into it from outside."""

    def __init__(self, name: str) -> None:
        self._ready: queue.SimpleQueue[BaseException | None] = queue.SimpleQueue()
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)

    def _start(self) -> None:
        self._thread.start()
        try:
            problem = self._ready.get()
        except BaseException:  # Ctrl-C while it comes up: nothing that it has started may be left behind
            self.close()
            raise
        if problem is not None:
            self._thread.join()
            raise problem

    def _live(self) -> None:
        came_up = False

        def up() -> None:
            nonlocal came_up
            came_up = True
            self._ready.put(None)

        try:
            self._run(up)
        except BaseException as error:
            self._problem = only(error) if isinstance(error, BaseExceptionGroup) else error
            if not came_up:
                self._ready.put(self._problem)
        self._ended()

    def call(self, job: Callable[[R], Awaitable[T]]) -> T:
        """Run an async function on the resource and return its value, or raise what it raised."""
        raise TypeError("a loop of one of the two kinds can be called; this is neither")

    def close(self) -> None:
        """End the loop and whatever lives in it. May be called again."""
        self._thread.join()
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

    def _run(self, up: Callable[[], None]) -> None:
        """Bring the resource up, say so, and stay until closed."""

    def _ended(self) -> None:
        """The loop is over, in order or not."""


class FrozenLoop(Loop[R]):
    """Virtual time that stands still between calls: nothing happens while the caller thinks.

    `resource`: makes what the calls act on, given the world's clock.
    """

    def __init__(self, resource: Callable[[VirtualClock], AbstractAsyncContextManager[R]], *, seed: int | str) -> None:
        super().__init__("mdmsim world")
        self._resource, self._seed, self._left = resource, seed, False
        self._jobs: queue.SimpleQueue[Job[R] | None] = queue.SimpleQueue()
        self._answers: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._start()

    def _run(self, up: Callable[[], None]) -> None:
        async def main(clock: VirtualClock) -> None:
            async with self._resource(clock) as resource:
                up()
                # The whole loop blocks here on purpose: as long as nobody calls, no world time passes.
                while (job := self._jobs.get()) is not None:
                    try:
                        value, error = await job(resource), None
                    except Exception as raised:
                        value, error = None, raised
                    self._answers.put((value, error))

        run_virtual(main, seed=self._seed, start_ms=START_MS)

    def _ended(self) -> None:
        self._answers.put((None, self._problem or RuntimeError("the world is closed")))

    def call(self, job: Callable[[R], Awaitable[T]]) -> T:
        if not self._thread.is_alive() or self._left:
            raise RuntimeError("the world is closed") from self._problem
        self._jobs.put(job)
        try:
            value, error = self._answers.get()
        except BaseException:  # Ctrl-C while a job runs: it cannot be waited for any more
            self._left = True
            raise
        if error is not None:
            raise error
        result: T = value
        return result

    def close(self) -> None:
        self._jobs.put(None)
        if not self._left:
            super().close()


class LiveLoop(Loop[R]):
    """Wall-clock time: the resource lives on between calls, as servers and devices do."""

    def __init__(self, resource: Callable[[], AbstractAsyncContextManager[R]]) -> None:
        super().__init__("mdmsim live world")
        self._resource = resource
        self._closing = False
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope | None = None
        self._held: R | None = None
        self._start()

    def _run(self, up: Callable[[], None]) -> None:
        async def main() -> None:
            with trio.CancelScope() as self._scope:
                self._token = trio.lowlevel.current_trio_token()
                if self._closing:
                    return
                async with self._resource() as self._held:
                    up()
                    await trio.sleep_forever()

        trio.run(main)

    def call(self, job: Callable[[R], Awaitable[T]]) -> T:
        if self._token is None or self._held is None or not self._thread.is_alive():
            raise RuntimeError("the live world is closed") from self._problem
        held = self._held

        async def work() -> T:
            return await job(held)

        return trio.from_thread.run(work, trio_token=self._token)

    def close(self) -> None:
        self._closing = True  # before the token is looked at: a loop that has none yet will see it
        if self._token is not None and self._scope is not None and self._thread.is_alive():
            try:
                self._token.run_sync_soon(self._scope.cancel)
            except trio.RunFinishedError:
                pass
        super().close()

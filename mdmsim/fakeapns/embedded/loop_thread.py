"""A trio loop in a thread of its own, for programs that have a loop of another kind, or none."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Any, TypeVar

import trio

T = TypeVar("T")


class LoopThread:
    """Runs `main` in trio until closed; calls into that loop may come from any thread, also from one with a loop.

    `main` says by its task status when it is ready, and ends by being cancelled. Daemon: an interpreter that is torn
    down without `close` does not hang.
    """

    def __init__(self, main: Callable[[trio.TaskStatus[None]], Awaitable[None]], name: str) -> None:
        self._main = main
        self._name = name
        self._started: Future[None] = Future()
        self._thread = threading.Thread(target=self._live, name=name, daemon=True)
        self._lock = threading.Lock()
        self._open: set[Future[Any]] = set()
        self._token: trio.lowlevel.TrioToken | None = None
        self._jobs: trio.Nursery | None = None
        self._closing = False
        self._problem: BaseException | None = None

    def start(self) -> None:
        """Return when `main` is ready. Raises what `main` raised before that, the thread gone."""
        self._thread.start()
        try:
            self._started.result()
        except BaseException:  # Ctrl-C, too: nothing that has come up already may be left behind
            self._end()
            raise

    def call(self, job: Callable[[], Awaitable[T]]) -> T:
        """Run an async function in the loop; its value, or what it raised. Raises RuntimeError once the loop is closed."""
        future: Future[T] = Future()
        with self._lock:
            if self._closing or self._token is None:
                raise RuntimeError(f"{self._name} is closed") from self._problem
            self._open.add(future)
        try:
            self._token.run_sync_soon(self._begin, job, future)
        except trio.RunFinishedError:
            raise RuntimeError(f"{self._name} is closed") from self._problem
        try:
            return future.result()
        finally:
            with self._lock:
                self._open.discard(future)

    def close(self) -> None:
        """End the loop and wait for it. May be called again. Raises what ended it before it was asked to."""
        self._end()
        if self._problem is not None:
            problem, self._problem = self._problem, None
            raise problem

    # inside

    def _end(self) -> None:
        with self._lock:
            self._closing = True
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._cancel)
            except trio.RunFinishedError:
                pass
        if self._thread.ident is not None:
            self._thread.join()

    def _cancel(self) -> None:
        if self._jobs is not None:
            self._jobs.cancel_scope.cancel()

    def _begin(self, job: Callable[[], Awaitable[Any]], future: Future[Any]) -> None:
        if self._jobs is None:
            future.set_exception(RuntimeError(f"{self._name} is closed"))
        else:
            self._jobs.start_soon(self._do, job, future)

    async def _do(self, job: Callable[[], Awaitable[Any]], future: Future[Any]) -> None:
        try:
            value = await job()
        except trio.Cancelled:
            future.set_exception(RuntimeError(f"{self._name} was closed during the call"))
            raise
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _live(self) -> None:
        try:
            trio.run(self._run)
        except BaseException as error:
            self._problem = _innermost(error)
        with self._lock:
            self._closing = True
            left = [future for future in self._open if not future.done()]
        for future in left:
            future.set_exception(RuntimeError(f"{self._name} has ended"))
        if not self._started.done():
            problem, self._problem = self._problem, None
            self._started.set_exception(problem or RuntimeError(f"{self._name} ended before it was ready"))

    async def _run(self) -> None:
        try:
            async with trio.open_nursery() as nursery:
                self._token, self._jobs = trio.lowlevel.current_trio_token(), nursery
                # `_end` sets the flag before it looks for the token, so one of the two sees the other.
                if self._closing:
                    nursery.cancel_scope.cancel()
                await nursery.start(self._main)
                self._started.set_result(None)
                await trio.sleep_forever()
        finally:
            self._jobs = None


def _innermost(error: BaseException) -> BaseException:
    """The first error inside nested groups: nurseries wrap what ends them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

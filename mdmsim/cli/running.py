"""Running async code from a command so that Ctrl-C puts everything down in good order."""

from __future__ import annotations

import signal
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from types import FrameType, TracebackType
from typing import Any, TypeVar

import trio

from mdmsim.cli.exits import INTERRUPTED, PASSED, Interrupted
from mdmsim.events import Event

T = TypeVar("T")


def run_trio(main: Callable[[], Awaitable[T]], *, serving: bool = False) -> T:
    """Run `main` to its end and return its value.

    Ctrl-C and SIGTERM cancel it: whatever it opened is closed, the processes it started are ended, and Interrupted is
    raised after that. A command that is `serving` ends with 0 at SIGTERM: that is how servers are told to stop.
    """
    return trio.run(_watched, main, serving)


async def _watched(main: Callable[[], Awaitable[T]], serving: bool) -> T:
    received: list[int] = []
    values: list[T] = []

    async def watch(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
        async for number in signals:
            received.append(number)
            scope.cancel()

    # The receiver outlives the work: a second Ctrl-C must not cut short the ending of processes.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch, signals, nursery.cancel_scope)
            values.append(await main())
            nursery.cancel_scope.cancel()
    if received:
        raise Interrupted(PASSED if serving and received[0] == signal.SIGTERM else INTERRUPTED)
    return values[0]


async def until_told() -> None:
    """Serve until a signal comes."""
    await trio.sleep_forever()


class Interruption:
    """Ctrl-C and SIGTERM for code that starts trio runs of its own, one after the other; an observer of its events.

    Between runs, and while a thread is waited for, a signal raises KeyboardInterrupt at once. Inside a run it is raised
    at the next event: raised anywhere else it could hit a server's own error handling, which would take it for a bug
    of the application and go on. A second signal does not wait.
    """

    def __init__(self) -> None:
        self._signals = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interruption:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._heard)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._signals and isinstance(error, Exception):
            raise KeyboardInterrupt from error  # what broke while everything was put down is no news

    def _heard(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1 or not trio.lowlevel.in_trio_run():
            raise KeyboardInterrupt

    def __call__(self, event: Event) -> None:
        if self._signals and threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

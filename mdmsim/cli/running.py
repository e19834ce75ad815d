"""Running async code from a command so that Ctrl-C puts everything down in good order."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TypeVar

import trio

from mdmsim.cli.exits import INTERRUPTED, PASSED, Interrupted

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

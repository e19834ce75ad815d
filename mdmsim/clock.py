"""Time, handed in everywhere: the wall's, a virtual one for in-process worlds, one moved by hand for unit tests.

World time is an integer: milliseconds since 1970-01-01 UTC. Only this module may read the machine's clock.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

import anyio

if TYPE_CHECKING:
    import trio.testing

SECOND = 1_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock(Protocol):
    """What time it is, and how to wait for a later one."""

    def now_ms(self) -> int:
        """World time in milliseconds since 1970-01-01 UTC. Never goes back."""

    async def sleep_until(self, at_ms: int) -> None:
        """Return once `now_ms() >= at_ms`; at once if that is already so. Under trio and asyncio alike."""


class WallClock:
    """The machine's clock: live worlds, servers, the command line."""

    def __init__(self) -> None:
        # Monotonic from a wall-clock origin, so that an adjusted machine clock cannot run a world backwards.
        self._origin_ms = time.time_ns() // 1_000_000 - time.monotonic_ns() // 1_000_000

    def now_ms(self) -> int:
        return self._origin_ms + time.monotonic_ns() // 1_000_000

    async def sleep_until(self, at_ms: int) -> None:
        while (left := at_ms - self.now_ms()) > 0:
            # Slices, because a suspended machine stretches a single long sleep.
            await anyio.sleep(min(left / SECOND, 60.0))


class VirtualClock:
    """World time tied to trio's `MockClock`: with autojump, waiting costs nothing.

    `start_ms` is the world time at which the mock clock reads zero.
    """

    def __init__(self, mock: trio.testing.MockClock, start_ms: int) -> None:
        self._mock = mock
        self._start_ms = start_ms

    def now_ms(self) -> int:
        # round, not floor: the mock clock counts seconds as a float, and 0.3 s must not read as 299 ms.
        return self._start_ms + round(self._mock.current_time() * SECOND)

    async def sleep_until(self, at_ms: int) -> None:
        import trio

        await trio.sleep_until((at_ms - self._start_ms) / SECOND)


class ManualClock:
    """A clock that only a test moves. `sleep_until` moves it, too, so that code under test never hangs."""

    def __init__(self, now_ms: int = 1_767_225_600_000) -> None:  # 2026-01-01T00:00:00Z
        self._now_ms = now_ms

    def now_ms(self) -> int:
        return self._now_ms

    def advance(self, ms: int) -> None:
        self._now_ms += ms

    async def sleep_until(self, at_ms: int) -> None:
        await anyio.lowlevel.checkpoint()
        self._now_ms = max(self._now_ms, at_ms)


def utc(at_ms: int) -> datetime:
    """World time as an aware datetime in UTC."""
    return _EPOCH + timedelta(milliseconds=at_ms)


def from_utc(at: datetime) -> int:
    """An aware datetime as world time in milliseconds."""
    return (at - _EPOCH) // timedelta(milliseconds=1)


def iso(at_ms: int) -> str:
    """World time as `2026-01-01T00:00:00.000Z`, for logs and reports."""
    return utc(at_ms).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % SECOND:03d}Z"

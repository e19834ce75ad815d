"""Clocks: milliseconds, never backwards, and virtual time that costs nothing."""

from __future__ import annotations

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from mdmsim.clock import DAY, ManualClock, VirtualClock, WallClock, from_utc, iso, utc


def test_a_month_of_virtual_time_passes_at_once() -> None:
    mock = MockClock(autojump_threshold=0)

    async def main() -> int:
        clock = VirtualClock(mock, 1_000)
        await clock.sleep_until(clock.now_ms() + 30 * DAY)
        return clock.now_ms()

    assert trio.run(main, clock=mock) == 1_000 + 30 * DAY


@given(st.lists(st.integers(1, 10 * DAY), max_size=5))
@settings(max_examples=20, deadline=None)
def test_after_sleeping_until_a_time_it_is_that_time(waits: list[int]) -> None:
    mock = MockClock(autojump_threshold=0)

    async def main() -> None:
        clock = VirtualClock(mock, 1_767_603_600_000)
        for wait in waits:
            due = clock.now_ms() + wait
            await clock.sleep_until(due)
            assert clock.now_ms() == due

    trio.run(main, clock=mock)


def test_the_wall_clock_does_not_go_back() -> None:
    clock = WallClock()
    readings = [clock.now_ms() for _ in range(1000)]
    assert readings == sorted(readings)


@given(st.integers(0, 4_000_000_000_000))
@settings(max_examples=50, deadline=None)
def test_utc_and_back(at_ms: int) -> None:
    assert from_utc(utc(at_ms)) == at_ms


def test_iso_has_milliseconds() -> None:
    assert iso(1_767_225_600_007) == "2026-01-01T00:00:00.007Z"


def test_a_manual_clock_moves_when_slept_on() -> None:
    clock = ManualClock(5)

    async def main() -> None:
        await clock.sleep_until(50)
        await clock.sleep_until(10)

    trio.run(main)
    assert clock.now_ms() == 50

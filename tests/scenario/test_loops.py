"""Loops in threads of their own: time stands still between calls, errors come out, closing ends them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from mdmsim.clock import VirtualClock
from mdmsim.scenario.loops import FrozenLoop, LiveLoop


@asynccontextmanager
async def ticking(clock: VirtualClock) -> AsyncIterator[list[int]]:
    """A resource in which something happens every second."""
    ticks: list[int] = []

    async def tick() -> None:
        while True:
            await trio.sleep(1)
            ticks.append(clock.now_ms())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(tick)
        yield ticks
        nursery.cancel_scope.cancel()


async def count(ticks: list[int]) -> int:
    return len(ticks)


async def ten_seconds(ticks: list[int]) -> None:
    await trio.sleep(10.5)


async def trouble(_: object) -> None:
    raise KeyError("trouble")


def test_no_time_passes_between_calls_of_a_frozen_loop() -> None:
    loop = FrozenLoop(ticking, seed=1)
    assert [loop.call(count), loop.call(ten_seconds), loop.call(count), loop.call(count)] == [0, None, 10, 10]
    loop.close()


@asynccontextmanager
async def alive() -> AsyncIterator[str]:
    yield "alive"


async def said(resource: str) -> str:
    await trio.lowlevel.checkpoint()
    return resource


def test_a_live_loop_answers_until_it_is_closed() -> None:
    loop = LiveLoop(alive)
    assert loop.call(said) == "alive"
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call(said)


def test_what_a_call_raises_comes_out_and_the_loop_goes_on() -> None:
    frozen, live = FrozenLoop(ticking, seed=1), LiveLoop(alive)
    for call in (lambda: frozen.call(trouble), lambda: live.call(trouble)):
        with pytest.raises(KeyError, match="trouble"):
            call()
    assert (frozen.call(count), live.call(said)) == (0, "alive")
    frozen.close()
    live.close()


def test_a_frozen_loop_that_is_closed_says_so() -> None:
    loop = FrozenLoop(ticking, seed=1)
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="closed"):
        loop.call(count)


@asynccontextmanager
async def stillborn(_: VirtualClock) -> AsyncIterator[None]:
    raise ValueError("no such world")
    yield


@asynccontextmanager
async def stillborn_live() -> AsyncIterator[None]:
    raise ValueError("no such world")
    yield


def test_a_resource_that_does_not_come_up_raises_where_it_was_asked_for() -> None:
    with pytest.raises(ValueError, match="no such world"):
        FrozenLoop(stillborn, seed=1)
    with pytest.raises(ValueError, match="no such world"):
        LiveLoop(stillborn_live)

from __future__ import annotations

import pytest
import trio
import trio.testing

from mdmsim.clock import ManualClock, VirtualClock
from mdmsim.fakeapns.timers import Timers
from mdmsim.transport.determinism import run_virtual

START = 1_767_225_600_000


def test_timers_fire_in_the_order_in_which_they_are_due() -> None:
    clock, fired = ManualClock(START), list[str]()
    timers = Timers(clock)
    timers.at(START + 20, lambda: fired.append("later"))
    timers.at(START + 10, lambda: fired.append("sooner"))
    timers.at(START + 10, lambda: fired.append("then"))
    clock.advance(20)
    timers.fire()
    assert fired == ["sooner", "then", "later"]


def test_a_cancelled_timer_does_nothing() -> None:
    clock, fired = ManualClock(START), list[str]()
    timers = Timers(clock)
    timers.at(START, lambda: fired.append("no")).cancel()
    timers.fire()
    assert fired == []


@pytest.mark.parametrize("first", [50, 5])
def test_a_running_timer_comes_at_its_time_also_if_it_is_set_while_waiting_for_another(first: int) -> None:
    async def main(clock: VirtualClock) -> None:
        timers, fired = Timers(clock), dict[str, int]()
        async with trio.open_nursery() as nursery:
            await nursery.start(timers.run)
            timers.at(START + first, lambda: fired.setdefault("first", clock.now_ms() - START))
            await clock.sleep_until(START + 1)
            timers.at(START + 20, lambda: fired.setdefault("second", clock.now_ms() - START))
            await clock.sleep_until(START + 100)
            nursery.cancel_scope.cancel()
        assert fired == {"first": first, "second": 20}

    run_virtual(main, seed=1, start_ms=START)

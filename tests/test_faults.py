"""Faults: drawn by rate, after, every and times, counted, and refused when they make no sense."""

from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.faults import FaultPlan


def drawn(plan: FaultPlan, count: int, **facts: object) -> list[bool]:
    return [plan.draw("f", **facts) is not None for _ in range(count)]


def test_after_every_and_times_pick_the_occasions() -> None:
    plan = FaultPlan(Chance(1))
    fault = plan.add("f", why="test", after=2, every=3, times=2)
    assert drawn(plan, 10) == [False, False, True, False, False, True, False, False, False, False]
    assert (fault.considered, fault.injected) == (10, 2)


def test_only_matching_occasions_count() -> None:
    plan = FaultPlan(Chance(1))
    plan.add("f", why="test", after=1, match=lambda facts: facts["label"] == "a")
    assert drawn(plan, 2, label="b") == [False, False]
    assert drawn(plan, 2, label="a") == [False, True]


def test_a_rate_is_kept_and_repeats_with_the_seed() -> None:
    first, second = FaultPlan(Chance(7)), FaultPlan(Chance(7))
    for plan in (first, second):
        plan.add("f", why="test", rate=0.25)
    outcome = drawn(first, 2000)
    assert outcome == drawn(second, 2000)
    assert 400 < sum(outcome) < 600


def test_a_removed_fault_is_over() -> None:
    plan = FaultPlan(Chance(1))
    fault = plan.add("f", why="test")
    plan.remove(fault)
    plan.remove(fault)
    assert drawn(plan, 1) == [False]


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"why": " "}, 'no "why"'),
        ({"why": "x", "rate": 5}, "write 0.05"),
        ({"why": "x", "rate": -0.1}, "between 0 and 1"),
        ({"why": "x", "every": 0}, "1 or more"),
        ({"why": "x", "after": -1}, "0 or more"),
        ({"why": "x", "times": 0}, "1 or more"),
    ],
)
def test_a_fault_that_makes_no_sense_is_refused_with_what_is_allowed(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        FaultPlan(Chance(1)).add("f", **settings)  # type: ignore[arg-type]

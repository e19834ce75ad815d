"""A device's life in any order of events: see `tests/device/life.py` for what may happen and what must hold."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.device.life import Life

NOTHING_IS_SLOW = [HealthCheck.too_slow, HealthCheck.filter_too_much]


def test_whatever_happens_in_whatever_order_nothing_is_lost_and_nothing_happens_twice() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=NOTHING_IS_SLOW
        ),
    )


@pytest.mark.soak
def test_whatever_happens_in_a_thousand_long_lives() -> None:
    run_state_machine_as_test(
        Life,
        settings=settings(
            max_examples=1000, stateful_step_count=120, deadline=None, suppress_health_check=NOTHING_IS_SLOW
        ),
    )

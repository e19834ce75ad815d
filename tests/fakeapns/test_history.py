from __future__ import annotations

import pytest

from mdmsim.fakeapns.history import EVERY_SECONDS, KEPT_SECONDS, History, quantile_ms
from mdmsim.fakeapns.journal import Histogram
from tests.fakeapns.support import TOPIC, Bench


def test_a_sample_holds_what_is_new_since_the_one_before(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    history = History(bench.service)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.hear()
    bench.clock.advance(5000)
    first = history.sample()
    bench.push("zz")
    bench.clock.advance(5000)
    second = history.sample()
    assert (first.accepted, first.refused, first.delivered, first.seconds) == (1, 0, 1, 5.0)
    assert first.p50_ms is not None
    assert (second.accepted, second.refused, second.delivered, second.p50_ms) == (0, 1, 0, None)


def test_a_quarter_of_an_hour_is_kept(bench: Bench) -> None:
    history = History(bench.service)
    taken = [history.sample() for _ in range(KEPT_SECONDS // EVERY_SECONDS + 3)]
    assert history.samples == taken[3:]


@pytest.mark.parametrize(
    ("durations", "share", "low", "high"),
    [
        ([3] * 100, 0.5, 2.5, 5),
        ([3] * 90 + [300] * 10, 0.5, 2.5, 5),
        ([3] * 90 + [300] * 10, 0.95, 250, 500),
        ([9_999_999], 0.99, 3_600_000, 3_600_000),
        ([0], 0.99, 0, 1),
    ],
)
def test_a_percentile_lies_in_the_bucket_that_holds_it(
    durations: list[int], share: float, low: float, high: float
) -> None:
    histogram = Histogram()
    for duration in durations:
        histogram.add(duration)
    told = quantile_ms(histogram.counts, share)
    assert told is not None
    assert low <= told <= high


def test_of_nothing_there_is_no_percentile() -> None:
    assert quantile_ms(Histogram().counts, 0.5) is None

"""Pass criteria: what they say, what they refuse, and how they judge."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.load.criteria import parse
from mdmsim.load.errors import MISTAKE, LoadError
from mdmsim.load.figures import Account, Entry, Figures

IDLE = Entry(
    name="connect:Idle",
    requests=100,
    failures=2,
    mean=20.0,
    shortest=5.0,
    longest=812.0,
    times={10: 90, 200: 9, 810: 1},
)


def figures(**changes: object) -> Figures:
    values: dict[str, object] = {
        "entries": (IDLE,),
        "total": Entry(name="Aggregated", requests=120, failures=2),
        "account": Account(devices=10, enrolled=9, asked=10, answered=8, behind=1),
        "wanted": 10,
        "seconds": 10.0,
    }
    return Figures(**(values | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "met", "seen"),
    [
        ("failures>0", False, "2"),
        ("failures>2", True, "2"),
        ("failures(connect:Idle)>=2", False, "2"),
        ("failures(scep:PKIOperation)>0", True, "0"),
        ("failure-rate(connect:Idle)>1%", False, "2.00 %"),
        ("failure-rate>5", True, "1.67 %"),
        ("requests<100", True, "120"),
        ("rps(connect:Idle)<20", False, "10.0 per second"),
        ("p50(connect:Idle)>10ms", True, "10 ms"),
        ("p99(connect:Idle)>199ms", False, "200 ms"),
        ("p99.9(connect:Idle)>0.5s", False, "810 ms"),
        ("p99.9(connect:Idle)>0.9s", True, "810 ms"),
        ("requests==120", False, "120"),
        ("requests!=120", True, "120"),
        ("requests<=120", False, "120"),
        ("max(connect:Idle)>812", True, "812 ms"),
        ("mean(connect:Idle)>0.5min", True, "20 ms"),
        ("missed>0", False, "2"),
        ("not-enrolled>1", True, "1"),
        ("enrolled<10", False, "9"),
        ("lost-workers>0", True, "0"),
        ("  p95 ( connect:Idle )  >=  200 ms ", False, "200 ms"),
    ],
)
def test_a_criterion_judges_a_run(text: str, met: bool, seen: str) -> None:
    verdict = parse(text).judge(figures())
    assert (verdict.met, verdict.seen) == (met, seen)


def test_a_time_that_was_never_measured_is_not_met() -> None:
    verdict = parse("p99(connect:Acknowledged)>1s").judge(figures())
    assert (verdict.met, verdict.seen) == (False, "never measured")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "not understood"),
        ("failures", "not understood"),
        ("failures>-1", "not understood"),
        ("failure>0", 'Did you mean "failures"?'),
        ("p99>500ms", "of which request?"),
        ("p99(connect:Idle)>500furlongs", "no unit of time"),
        ("failures>1%", 'failures has no unit "%"'),
        ("missed(connect:Idle)>0", "counts for the whole run"),
        ("p100(connect:Idle)>1", 'no metric "p100"'),
    ],
)
def test_what_cannot_be_understood_is_a_mistake_with_a_hint(text: str, hint: str) -> None:
    with pytest.raises(LoadError) as caught:
        parse(text)
    assert hint in str(caught.value)
    assert caught.value.code == MISTAKE


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60))
def test_any_text_is_a_criterion_or_a_mistake(text: str) -> None:
    try:
        parse(text).judge(figures())
    except LoadError:
        pass


@settings(max_examples=100, deadline=None)
@given(st.dictionaries(st.integers(0, 60_000), st.integers(1, 50), min_size=1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_times_and_grows_with_its_share(times: dict[int, int], share: float) -> None:
    entry = Entry(name="x", requests=sum(times.values()), longest=float(max(times)), times=times)
    value = entry.percentile(share)
    assert value in times
    assert value <= entry.percentile(1.0) == max(times)

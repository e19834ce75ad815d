"""Durations and times in words."""

import pytest

from mdmsim.clock import DAY, HOUR, MINUTE, SECOND
from mdmsim.report.words import duration, later, plural, since


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (0, "0 ms"),
        (340, "0.3 s"),
        (48_300, "48 s"),
        (125 * SECOND, "2 min 5 s"),
        (5 * MINUTE, "5 min"),
        (3 * HOUR + 5 * MINUTE, "3 h 5 min"),
        (30 * DAY, "30 days"),
        (3 * DAY + 4 * HOUR, "3 days 4 h"),
    ],
)
def test_a_duration_is_said_as_a_person_would(ms: int, said: str) -> None:
    assert duration(ms) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [
        (500, "500 ms later"),
        (SECOND, "1 second later"),
        (90 * SECOND, "1.5 minutes later"),
        (30 * MINUTE, "30 minutes later"),
        (DAY, "1 day later"),
        (3 * DAY, "3 days later"),
        (26 * DAY + HOUR, "26 days later"),
    ],
)
def test_a_gap_is_said_in_one_unit(ms: int, said: str) -> None:
    assert later(ms) == said


@pytest.mark.parametrize(
    ("ms", "said"),
    [(120, "0.120"), (62_500, "1:02.5"), (2 * HOUR + 250 * SECOND, "2:04:10"), (3 * DAY + 250 * MINUTE, "3d 04:10")],
)
def test_time_since_the_start_fits_a_narrow_column(ms: int, said: str) -> None:
    assert since(ms) == said


def test_one_thing_has_no_plural() -> None:
    assert (plural(1, "command"), plural(3, "command"), plural(0, "push", "pushes")) == (
        "1 command",
        "3 commands",
        "0 pushes",
    )

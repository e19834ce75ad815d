"""What a benchmark run calls met, missed and failed."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

import benchmarks.__main__ as command
from benchmarks.measure import Figure, at_least, at_least_ratio, at_most, at_most_ratio, beside


@pytest.mark.parametrize(
    ("figure", "met"),
    [
        (at_most("cost", 15.0, "ms", 15.0), True),
        (at_most("cost", 15.1, "ms", 15.0), False),
        (at_least("rate", 60.0, "a second", 60.0), True),
        (at_least("rate", 59.9, "a second", 60.0), False),
        (at_least("rate", 0.0, "a second", 60.0), False),
        (at_most_ratio("cost", 1.6, "ms", 1.0, 1.6), True),
        (at_most_ratio("cost", 1.7, "ms", 1.0, 1.6), False),
        (at_least_ratio("rate", 60.0, "a second", 100.0, 0.6), True),
        (at_least_ratio("rate", 59.0, "a second", 100.0, 0.6), False),
        (beside("rate", 0.0, "a second"), None),
    ],
)
def test_a_goal_is_met_up_to_its_limit_and_missed_beyond(figure: Figure, met: bool | None) -> None:
    assert figure.met is met


def test_a_ratio_is_the_value_over_its_floor() -> None:
    assert at_most_ratio("cost", 3.0, "ms", 2.0, 1.6).ratio == 1.5
    assert at_least_ratio("rate", 30.0, "a second", 60.0, 0.6).ratio == 0.5


@pytest.mark.parametrize(
    ("figure", "excess"),
    [
        (at_most("cost", 30.0, "ms", 15.0), 2.0),
        (at_least("rate", 30.0, "a second", 60.0), 2.0),
        (at_least("rate", 0.0, "a second", 60.0), float("inf")),
        (at_most_ratio("cost", 3.2, "ms", 1.0, 1.6), 2.0),
        (at_least_ratio("rate", 30.0, "a second", 100.0, 0.6), 2.0),
    ],
)
def test_excess_is_the_factor_by_which_a_goal_is_missed(figure: Figure, excess: float) -> None:
    assert figure.excess == pytest.approx(excess)


MISSED_BY_A_THIRD = at_most("cost", 20.0, "ms", 15.0)
MISSED_BY_TWICE = at_most("cost", 30.0, "ms", 15.0)
RATIO_MISSED = at_most_ratio("cost", 1.7, "ms", 1.0, 1.6)


@pytest.mark.parametrize(
    ("figure", "options", "code"),
    [
        (MISSED_BY_A_THIRD, [], 1),
        (MISSED_BY_A_THIRD, ["--short"], 0),
        (MISSED_BY_TWICE, ["--short"], 1),
        (RATIO_MISSED, ["--short"], 1),
        (at_most("cost", 1.0, "ms", 15.0), [], 0),
        (beside("cost", 1.0, "ms"), [], 0),
    ],
)
def test_a_missed_goal_is_the_exit_code(
    figure: Figure, options: list[str], code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "import_module", lambda name: SimpleNamespace(run=lambda: [figure]))
    assert command.main(["connect", *options]) == code
    assert ("MISSED" in capsys.readouterr().out) is (figure.met is False)


def test_an_unknown_benchmark_is_named_and_nothing_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["conect"]) == 2
    assert 'no benchmark "conect": there are connect,' in capsys.readouterr().err


def test_a_missed_benchmark_is_measured_again_and_the_best_of_each_figure_counts() -> None:
    rounds = iter(
        [
            [at_most("a", 20.0, "ms", 15.0), at_most("b", 1.0, "ms", 15.0)],
            [at_most("a", 14.0, "ms", 15.0), at_most("b", 16.0, "ms", 15.0)],
            [at_most("a", 1.0, "ms", 15.0), at_most("b", 1.0, "ms", 15.0)],
        ]
    )
    assert [figure.value for figure in command.best_of(lambda: next(rounds), 3)] == [14.0, 1.0]


def test_a_benchmark_is_measured_three_times_at_most() -> None:
    measured: list[float] = []

    def measure() -> list[Figure]:
        measured.append(20.0)
        return [at_most("a", 20.0, "ms", 15.0)]

    [figure] = command.best_of(measure, 3)
    assert (figure.met, len(measured)) == (False, 3)

"""What `mdmsim load` hands to Locust, and what it makes of Locust's exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.load.launch import Wishes, _arguments, _judged
from mdmsim.load.servers import Started

STARTED = Started(Path("target.yaml"), {})


def wishes(*locust: str, web: bool = False) -> Wishes:
    return Wishes(shape="ramp", devices=5, store=Path("d.sqlite"), fail_if=("failures>0",), web=web, locust=locust)


def test_a_run_is_headless_and_aims_at_the_servers_that_were_started() -> None:
    given = list(_arguments(wishes("--csv", "x"), Path("ramp.py"), STARTED))
    assert given[:3] == ["-f", "ramp.py", "--headless"]
    assert {"--users=5", "--target=target.yaml", "--store=d.sqlite", "--fail-if=failures>0"} <= set(given)
    assert given[-2:] == ["--csv", "x"]


def test_with_the_page_it_waits_for_someone_to_press_start() -> None:
    assert "--headless" not in list(_arguments(wishes(web=True), Path("ramp.py"), STARTED))


def test_a_worker_gets_everything_from_its_master() -> None:
    given = list(_arguments(wishes("--worker", "--master-host", "10.0.0.5"), Path("ramp.py"), None))
    assert given == ["-f", "ramp.py", "--worker", "--master-host", "10.0.0.5"]


@pytest.mark.parametrize(
    ("code", "finished", "ours"),
    [
        (0, True, 0),
        (1, True, 1),
        (1, False, 3),  # Locust gave up, e.g. waiting for workers
        (2, False, 2),
        (3, False, 3),
        (130, True, 130),
        (-2, False, 130),
        (-15, False, 130),
        (-9, False, 3),
        (-9, True, 3),
    ],
)
def test_locusts_exit_code_becomes_ours(code: int, finished: bool, ours: int) -> None:
    assert _judged(code, finished, wishes()) == ours


def test_a_worker_that_dies_was_not_carried_out() -> None:
    assert _judged(1, True, wishes("--worker")) == 3

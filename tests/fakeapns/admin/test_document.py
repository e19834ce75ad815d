"""The page in docs/ names what there is: calls, metrics, verdicts, levels."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mdmsim.fakeapns.admin.app import create_app
from mdmsim.fakeapns.admin.census import census
from mdmsim.fakeapns.admin.metrics import exposition
from mdmsim.fakeapns.debug_log import LEVELS
from mdmsim.fakeapns.due import VERDICTS
from tests.fakeapns.support import Bench

PAGE = (Path(__file__).parents[3] / "docs" / "looking-inside-apns.md").read_text(encoding="utf-8")


def _first_cells(heading: str) -> list[str]:
    """What stands in backticks in the first column of the table under a heading."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [name for row in re.findall(r"^\| (`[^|]*)\|", section, re.M) for name in re.findall(r"`([^`]+)`", row)]


def test_every_call_is_named(bench: Bench) -> None:
    routes = create_app(bench.service, key="x").routes
    there = {
        f"{method} {route.path.replace(':int}', '}')}"  # type: ignore[attr-defined]
        for route in routes
        for method in route.methods - {"HEAD"}  # type: ignore[attr-defined]
    }
    assert set(_first_cells("The API")) == there - {"GET /", "GET /openapi.json"}


@pytest.mark.anyio
async def test_every_metric_is_named(bench: Bench) -> None:
    text = exposition(bench.service, await census(bench.service), {})
    assert _first_cells("Metrics") == re.findall(r"^# TYPE (\S+)", text, re.M)


def test_every_verdict_and_level_is_named() -> None:
    assert _first_cells("Due but missing") == list(VERDICTS)
    assert sorted(_first_cells("The log")) == sorted(LEVELS)

"""Every command of docs/load-testing.md is one that mdmsim understands; its locustfile is run in test_locust.py."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from mdmsim.cli.entry import run
from mdmsim.load import launch
from mdmsim.load.criteria import COUNTS, OF_THE_RUN, parse

PAGE = (Path(__file__).parents[2] / "docs" / "load-testing.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("mdmsim load ")
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_is_understood(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wishes: list[launch.Wishes] = []

    def carry_out(given: launch.Wishes, **_: object) -> int:
        wishes.append(given)
        return 0

    monkeypatch.chdir(tmp_path)
    (tmp_path / "chatty.py").write_text("")
    monkeypatch.setattr(launch, "run", carry_out)
    assert run(shlex.split(command)[1:]) == 0
    launch.locustfile(wishes[0].shape)
    launch._check(wishes[0].locust)
    for text in wishes[0].fail_if:
        parse(text)


def test_the_page_shows_at_least_each_shape() -> None:
    assert {shlex.split(command)[2] for command in COMMANDS} >= set(launch.shapes())


@pytest.mark.parametrize("metric", [*COUNTS, *OF_THE_RUN])
def test_every_metric_is_on_the_page(metric: str) -> None:
    assert f"`{metric}`" in PAGE

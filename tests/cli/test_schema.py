"""`mdmsim schema coverage` as users call it."""

from __future__ import annotations

import json

import pytest

from mdmsim.scenario.coverage import Row
from tests.cli.commands import CommandLine

ROWS = [
    Row("command", platform, "InstallApplication", "unknown") for platform in ("ios", "ipados", "macos", "tvos")
] + [Row("payload", platform, "com.apple.wifi.managed", "stored") for platform in ("ios", "ipados", "macos", "tvos")]


@pytest.fixture(autouse=True)
def found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdmsim.scenario.coverage.coverage", lambda: ROWS)


def test_json_is_a_list_of_rows(mdmsim: CommandLine) -> None:
    ended = mdmsim("schema", "coverage", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)[0] == {
        "kind": "command",
        "platform": "ios",
        "command": "InstallApplication",
        "state": "unknown",
    }


def test_people_get_a_table_for_each_kind(mdmsim: CommandLine) -> None:
    lines = mdmsim("schema", "coverage").out.splitlines()
    assert lines[lines.index("Commands") + 2].split() == ["InstallApplication", *["unknown"] * 4]
    assert "    4 unknown   real devices have it, and it is not simulated" in lines


def test_two_forms_at_once_are_a_mistake(mdmsim: CommandLine) -> None:
    ended = mdmsim("schema", "coverage", "--json", "--markdown")
    assert ended.code == 2
    assert "--json and --markdown" in ended.err

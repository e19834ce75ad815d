"""`mdmsim run` and `mdmsim demo`: scenarios played from the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import mdmsim.cli.stories as stories
from mdmsim.pki.keys import SharedKeys
from mdmsim.scenario.runner import DEFAULT_SEED
from tests.cli.commands import CommandLine

KEYS = SharedKeys(12)

PASSES: dict[str, Any] = {
    "scenario": "small/enrols",
    "title": "A device enrols",
    "platforms": ["ios"],
    "devices": {"device": {}},
    "steps": [{"enroll": {"device": "device"}}, {"expect_server": {"device": "device", "status": "enrolled"}}],
}
FAILS: dict[str, Any] = PASSES | {
    "scenario": "small/fails",
    "steps": [
        {"enroll": {"device": "device"}},
        {"expect_server": {"device": "device", "status": "removed", "within": "1s"}},
    ],
}


@pytest.fixture(autouse=True)
def shared_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys are not what is tested here."""
    monkeypatch.setattr("mdmsim.scenario.runner.KeyPool", lambda: KEYS)
    monkeypatch.setattr("mdmsim.cli.against.KeyPool", lambda: KEYS)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump_all([PASSES]))
    return path


@pytest.fixture
def failing(tmp_path: Path) -> Path:
    path = tmp_path / "both.yaml"
    path.write_text(yaml.safe_dump_all([PASSES, FAILS]))
    return path


def test_a_scenario_that_passes_is_exit_code_0(mdmsim: CommandLine, file: Path) -> None:
    ended = mdmsim("run", file)
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "  1 case of 1 story, in process, in virtual time: a month takes a second"
    assert "✓ 1 of 1" in ended.out
    assert lines[-1].startswith("  ✓ 1 passed in ")
    assert f"seed {DEFAULT_SEED}" in lines[-1]
    assert "\x1b" not in ended.out


def test_a_scenario_that_fails_is_exit_code_1_and_says_how_to_play_it_again(mdmsim: CommandLine, failing: Path) -> None:
    ended = mdmsim("run", failing, "--seed", 7)
    assert ended.code == 1
    assert "1 failed, 1 passed" in ended.out
    assert ended.out.splitlines()[-1] == f"  next: mdmsim run {failing} --seed 7"


def test_a_run_in_which_nothing_was_applicable_is_exit_code_3_and_says_so(mdmsim: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "live.yaml"
    path.write_text(yaml.safe_dump_all([PASSES | {"needs": ["live"]}]))
    ended = mdmsim("run", path)
    assert ended.code == 3
    assert "✗ 1 not applicable, nothing was judged in " in ended.out
    assert ended.out.splitlines()[-1] == (
        "  not applicable: this case needs real processes and sockets: run it with --live"
    )


def test_one_case_that_was_judged_makes_a_run(mdmsim: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "some.yaml"
    path.write_text(yaml.safe_dump_all([PASSES, FAILS | {"needs": ["live"]}]))
    assert mdmsim("run", path).code == 0


def test_a_case_that_cannot_be_carried_out_is_exit_code_3(mdmsim: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(yaml.safe_dump_all([FAILS, PASSES | {"steps": [{"heal": {"fault": "nothing"}}]}]))
    ended = mdmsim("run", path)
    assert ended.code == 3
    assert "1 failed, 1 error" in ended.out


def test_the_json_is_the_only_thing_on_standard_output(mdmsim: CommandLine, failing: Path) -> None:
    ended = mdmsim("run", failing, "--json")
    assert ended.code == 1
    said = ended.json
    assert said["seed"] == DEFAULT_SEED
    assert (said["counts"]["passed"], said["counts"]["failed"]) == (1, 1)
    assert [(case["id"], case["grade"]) for case in said["cases"]] == [
        ("small/enrols[ios]", "passed"),
        ("small/fails[ios]", "failed"),
    ]
    assert said["cases"][1]["where"].startswith(f"{failing}:")
    assert "small/fails[ios]" in ended.err


def test_the_same_seed_writes_the_same_report(mdmsim: CommandLine, file: Path, tmp_path: Path) -> None:
    texts = []
    for name in ("first", "second"):
        assert mdmsim("run", file, "--report", tmp_path / name).code == 0
        assert {entry.name for entry in (tmp_path / name).iterdir()} == {
            "report.html",
            "report.json",
            "junit.xml",
            "transcript.har",
        }
        texts.append((tmp_path / name / "report.json").read_text())
    assert texts[0] == texts[1]


def test_a_report_names_the_command_that_made_it(mdmsim: CommandLine, file: Path, tmp_path: Path) -> None:
    mdmsim("run", file, "--seed", 9, "--report", tmp_path / "report")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert f"mdmsim run {file} --seed 9" in json.dumps(report["run"])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scenario: small/x\ntitle: x\nplatforms: [ios]\nsteps:\n  - enrol: {device: d}\n", 'Did you mean "enroll"?'),
        ("scenario: [", ":"),
        ("", ":1: "),
    ],
)
def test_a_typo_in_a_scenario_is_told_with_its_line(mdmsim: CommandLine, tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "typo.yaml"
    path.write_text(text)
    ended = mdmsim("run", path)
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith(f"{path}:")
    assert says in ended.err


@pytest.mark.parametrize("name", ["nothing.yaml", "empty"])
def test_a_path_without_scenarios_is_the_users_mistake(mdmsim: CommandLine, tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    ended = mdmsim("run", tmp_path / name)
    assert ended.code == 2
    assert name in ended.err


def test_a_report_that_cannot_be_written_is_the_users_mistake(mdmsim: CommandLine, file: Path) -> None:
    ended = mdmsim("run", file, "--report", file)
    assert ended.code == 2
    assert str(file) in ended.err


def test_the_default_seed_is_the_runners() -> None:
    assert stories.DEFAULT_SEED == DEFAULT_SEED


def test_the_stories_that_come_with_mdmsim_are_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (stories.stories() / "enrollment.yaml").is_file()
    monkeypatch.chdir(tmp_path)
    assert (stories.stories() / "enrollment.yaml").is_file()


@pytest.mark.live
def test_demo_plays_live_and_leaves_a_report(
    mdmsim: CommandLine, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text(yaml.safe_dump_all([PASSES | {"demo": True}, FAILS]))  # what is not marked is not shown
    monkeypatch.setattr(stories, "stories", lambda: file)
    ended = mdmsim("demo", "--report", tmp_path / "report")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "  1 case of 1 story, live: real processes on this machine"
    for server in ("fake APNs", "reference server"):
        assert any(line.startswith(f"  {server}") and "ready in" in line for line in lines)
    assert lines[-2].startswith("  ✓ 1 passed in ")
    assert lines[-2].endswith(f"report: {tmp_path / 'report' / 'report.html'}      seed {DEFAULT_SEED}")
    assert lines[-1].startswith("  next: mdmsim enroll https://your.server/enroll --count 3")
    report = json.loads((tmp_path / "report" / "report.json").read_text())
    assert [case["grade"] for case in report["cases"]] == ["passed"]


@pytest.mark.live
def test_scenarios_are_played_against_the_server_of_a_target_file(
    mdmsim: CommandLine, file: Path, up: dict[str, Any], tmp_path: Path
) -> None:
    server = up["server"]
    target = tmp_path / "my target.yaml"
    values = {"adapter": "reference", "url": server["url"], "api_key": server["api_key"], "trust": server["ca_file"]}
    target.write_text(yaml.safe_dump({"target": values | {"courier": up["courier"]["url"]}}))
    ended = mdmsim("run", file, "--target", target, "--json")
    assert ended.code == 0, ended.err
    assert ended.json["target"] == str(target)
    assert ended.json["cases"][0]["replay"].endswith(f" --target '{target}'")


def test_a_target_that_is_not_there_is_exit_code_3(mdmsim: CommandLine, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.yaml"
    target.write_text("target: {adapter: reference, url: 'http://127.0.0.1:1', api_key: k}")
    ended = mdmsim("run", file, "--target", target)
    assert ended.code == 3
    assert "cannot be reached" in ended.err


def test_a_wrong_target_file_is_the_users_mistake(mdmsim: CommandLine, file: Path, tmp_path: Path) -> None:
    target = tmp_path / "target.yaml"
    target.write_text("target: {adaptor: reference}")
    ended = mdmsim("run", file, "--target", target)
    assert ended.code == 2
    assert f'{target}: adaptor: is unknown. Did you mean "adapter"?' in ended.err

"""What cannot be: one message that says what to do, and the right exit code; no traceback, nothing started."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.cli.entry import run
from mdmsim.cli.load import STORE as STORE_OF_THE_COMMAND
from mdmsim.load.errors import LoadError
from mdmsim.load.given import make_ready
from mdmsim.load.options import STORE, add_to, plan_of

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["push_strom"], 'no shape "push_strom". Did you mean "push_storm"?'),
        (["nothing-like-it"], "Shapes: monday, push_storm, ramp; or name a locustfile"),
        (["missing.py"], "missing.py: no such locustfile."),
        (["ramp", "--devices", "-5"], "--devices"),
        (["ramp", "--fail-if", "p99>1"], "of which request?"),
        (["ramp", "--keys", "mine"], 'there are "shared" and "pool"'),
        (["ramp", "--", "--users", "-5"], "--users -5: must be more than 0."),
        (["ramp", "--", "-u", "0"], "-u 0: must be more than 0."),
        (["ramp", "--", "--spawn-rate=-1"], "--spawn-rate -1: must be more than 0."),
    ],
)
def test_a_mistake_on_the_command_line_starts_nothing(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "load" / "devices.sqlite"
    assert run(["load", arguments[0], "--store", str(store), *arguments[1:]]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1
    assert not store.parent.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "no server: name one with --enroll PROFILE_OR_URL or --target FILE"),
        (["--enroll", "missing.mobileconfig"], 2, "--enroll missing.mobileconfig: no such file or directory."),
        (["--enroll", "mdm.example.com/enroll"], 2, "If it is a URL, write https://mdm.example.com/enroll."),
        (["--enroll", "README.md"], 2, "README.md: no enrollment profile"),
        (["--enroll", "https://127.0.0.1:9/enroll"], 3, "Is the server running?"),
        (["--enroll", "http://127.0.0.1:9/enroll"], 2, "is plain http"),
        (["--enroll", "ftp://127.0.0.1/enroll"], 2, "cannot be fetched"),
        (["--enroll", "https://[/enroll"], 2, "Write a URL such as"),
        (["--enroll", "https://deviceenrollment.apple.com/x"], 2, "is Apple's"),
        (["--target", "missing.yaml"], 2, "missing.yaml"),
        (["--enroll", "README.md", "--trust", "README.md"], 2, "--trust README.md"),
        (["--enroll", "README.md", "--courier", "nowhere"], 2, "--courier nowhere: not an address"),
        (["--enroll", "x", "--platforms", "ios,amiga"], 2, "amiga"),
        (["--enroll", "x", "--platforms", ","], 2, "name at least one"),
        (["--enroll", "x", "--fail-if", "speed>9"], 2, 'no metric "speed"'),
        (["--enroll", "x", "--every", "0"], 2, "--every 0: must be more than 0."),
        (["--enroll", "x", "--patience", "-1"], 2, "--patience -1: must not be negative."),
        (["--enroll", "x", "--users", "-5"], 2, "--users -5: must be more than 0."),
        (["--enroll", "x", "--spawn-rate", "0"], 2, "--spawn-rate 0: must be more than 0."),
    ],
)
def test_what_stands_in_the_way_is_said_in_one_message(
    arguments: list[str], code: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    parser = argparse.ArgumentParser()
    for option, kind in (("--users", int), ("--spawn-rate", float), ("--run-time", int)):  # Locust's own
        parser.add_argument(option, type=kind, dest={"--users": "num_users"}.get(option))
    add_to(parser)
    with pytest.raises(LoadError) as caught:
        make_ready(plan_of(parser.parse_args(arguments)).wishes, Chance(1))
    assert message in str(caught.value)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "no server: name one with --enroll"),
        (["-u", "-5", "--enroll", "x.mobileconfig"], 2, "--users -5: must be more than 0."),
        (["--enroll", "https://127.0.0.1:9/enroll"], 3, "Is the server running?"),
    ],
)
def test_locust_ends_with_that_message_and_code(arguments: list[str], code: int, message: str) -> None:
    command = [sys.executable, "-m", "locust", "-f", "loadtests/ramp.py", "--headless", "--loglevel", "ERROR"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == code, done.stderr
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_storm_without_a_courier_is_refused(tmp_path: Path) -> None:
    from tests.device.bench import Bench

    profile = tmp_path / "enroll.mobileconfig"
    profile.write_bytes(Bench().profile())
    command = [sys.executable, "-m", "locust", "-f", "loadtests/push_storm.py", "--headless", "--enroll", str(profile)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 2
    assert "name its courier with --courier HOST:PORT" in done.stderr


def test_the_command_and_locust_agree_on_the_store() -> None:
    assert STORE_OF_THE_COMMAND == STORE


def test_locust_is_loaded_by_load_tests_only() -> None:
    program = (
        "import sys, mdmsim.pytest_plugin, mdmsim.cli.app, mdmsim.cli.load, mdmsim.load.launch, mdmsim.scenario.runner\n"
        "print([name for name in ('locust', 'gevent') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_trio_is_not_loaded_where_locust_is() -> None:
    program = (
        "import locust, sys, mdmsim.load.users, mdmsim.load.shapes\n"
        "print([name for name in ('trio', 'h2') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"

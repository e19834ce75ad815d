"""`mdmsim doctor`: what is missing is told with what to do about it."""

from __future__ import annotations

import re
import resource
import sys
from importlib import metadata
from pathlib import Path

import pytest

from mdmsim.cli.diagnosis import machine
from mdmsim.cli.diagnosis.finding import missing
from mdmsim.clock import DAY, ManualClock, WallClock
from mdmsim.pki.key_pool import KeyPool
from tests.cli.commands import CommandLine

pytestmark = pytest.mark.usefixtures("keys")

NAMES = [check.name for check in machine.checks(WallClock())]


def test_every_check_is_told(mdmsim: CommandLine) -> None:
    ended = mdmsim("doctor")
    assert ended.code == 0, ended.out
    assert [line.split()[1] for line in ended.out.splitlines()[:-1] if line[2] in "✓–✗"] == NAMES
    assert ended.out.endswith("  ✓ mdmsim can run here\n")


def test_machines_get_the_same_as_json(mdmsim: CommandLine) -> None:
    said = mdmsim("doctor", "--json").json
    assert said["good"] is True
    assert [check["name"] for check in said["checks"]] == NAMES
    assert all((check["do"] is None) == (check["state"] == "good") for check in said["checks"])


def test_what_is_missing_is_exit_code_1(mdmsim: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "loopback", lambda: missing("nothing listens", "bring it up"))
    ended = mdmsim("doctor")
    assert ended.code == 1
    assert re.search(r"✗ loopback +nothing listens\n +do: bring it up\n", ended.out)
    assert ended.out.endswith("  ✗ 1 missing: loopback\n")


def test_names_of_checks_can_be_looked_for() -> None:
    assert all(re.fullmatch(r"[a-z-]+", name) for name in NAMES)
    assert len(set(NAMES)) == len(NAMES)


def test_an_old_python_is_missing() -> None:
    assert machine.python((3, 10, 9)).state == "missing"
    assert machine.python(sys.version_info[:3]).state == "good"


def test_an_old_openssl_is_missing() -> None:
    assert machine.tls((1, 1, 0), "OpenSSL 1.1.0").state == "missing"


def test_a_package_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        metadata, "requires", lambda name: ["no-such-package>=1", "trio>=999", 'x; extra == "dev"', "h2"]
    )
    found = machine.packages()
    assert found.state == "missing"
    assert re.fullmatch(r"no-such-package is not there; trio [\d.]+ is not >=999", found.seen)


def test_a_bare_checkout_is_told_how_to_be_installed() -> None:
    assert machine.packages("no-such-package").state == "advice"


def test_a_folder_that_cannot_be_written_to_is_missing() -> None:
    assert machine.cache(Path("/proc/1/nothing/keys")).state == "missing"
    assert machine.cache(Path("/etc/hostname/keys")).state == "missing"


def test_keys_that_others_can_read_are_told(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    assert f"chmod 700 {tmp_path}" in machine.cache(tmp_path).do
    tmp_path.chmod(0o700)
    assert machine.cache(tmp_path).state == "good"


def test_an_empty_pool_is_worth_filling(tmp_path: Path) -> None:
    assert "mdmsim keys" in machine.key_pool(KeyPool(tmp_path)).do


def test_a_low_limit_of_files_is_told_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, 1024))
    assert machine.open_files().do.startswith("ulimit -n 1024 ")


def test_an_address_that_is_not_this_machines_is_missing() -> None:
    assert machine.loopback("192.0.2.1").state == "missing"


def test_a_clock_before_the_installation_is_missing(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    written = file.stat().st_mtime_ns // 1_000_000
    assert machine.clock_sanity(ManualClock(written - 2 * DAY), file).state == "missing"
    assert machine.clock_sanity(ManualClock(written), file).state == "good"


@pytest.mark.parametrize("named", ["/nowhere/chromium", None])
def test_a_browser_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    monkeypatch.setenv("PATH", "")
    assert "MDMSIM_CHROMIUM" in machine.chromium(named).do
    assert machine.program("go", "x").state == "advice"

"""Locust itself, as real processes on loopback against the reference server and the fake APNs."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mdmsim.device.state import decode
from mdmsim.fleet.store import SqliteStore
from mdmsim.load.launch import shapes
from mdmsim.load.servers import reference_servers

pytestmark = pytest.mark.live

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Place:
    """Servers that run, and a store with their devices."""

    target: Path
    store: Path


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("load")
    with reference_servers(folder, on_ready=lambda name, url, seconds: None) as started:
        yield Place(started.target, folder / "devices.sqlite")


def mdmsim(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "mdmsim.cli", "load", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
        check=False,
    )


def locust(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "locust", *arguments]


def test_a_storm_reaches_every_device_and_the_next_run_enrols_nobody(place: Place) -> None:
    where = ("--target", str(place.target), "--store", str(place.store))
    first = mdmsim("push_storm", "--devices", "6", "--time", "2s", "--every", "1", *where)
    assert first.returncode == 0, first.stdout + first.stderr
    told = [line for line in first.stdout.splitlines() if line.startswith("  ✓")]
    assert told[0].startswith("  ✓ every device got it: 6 devices answered 12 commands: half within ")
    assert told[1].startswith("  ✓ every device enrolled: 6 devices, 6 of them now")
    for name in ("checkin:TokenUpdate", "scep:PKIOperation", "connect:Idle", "push:to-idle", "device:enrolled"):
        assert f"  {name} " in first.stdout

    second = mdmsim("monday", "--devices", "6", "--time", "1s", *where)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "✓ every device got it: 6 devices answered 18 commands" in second.stdout
    assert "✓ every device was enrolled before: 6 devices" in second.stdout
    assert "scep:" not in second.stdout


def test_a_criterion_that_is_not_met_is_exit_code_1(place: Place) -> None:
    run = mdmsim(
        *("ramp", "--devices", "2", "--time", "2s", "--every", "0.5", "--fail-if", "max(connect:Idle)>0ms"),
        *("--fail-if", "failures>0", "--target", str(place.target), "--store", str(place.store)),
    )
    assert run.returncode == 1, run.stdout + run.stderr
    assert "  ✗ fail if max(connect:Idle)>0ms" in run.stdout
    assert "  ✓ fail if failures>0" in run.stdout
    assert run.stdout.splitlines()[-1].startswith("  ✗ failed in ")


def test_a_run_that_loses_a_worker_half_way_ends_and_says_so(place: Place) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    arguments = locust("-f", str(shapes()["push_storm"]), "--worker", "--master-port", port, "--loglevel", "WARNING")
    devnull = subprocess.DEVNULL
    workers = [subprocess.Popen(arguments, cwd=ROOT, stdout=devnull, stderr=devnull) for _ in range(2)]
    with subprocess.Popen(
        [
            *(
                sys.executable,
                "-m",
                "mdmsim.cli",
                "load",
                "push_storm",
                "--devices",
                "8",
                "--time",
                "12s",
                "--every",
                "1",
            ),
            *("--patience", "5", "--target", str(place.target), "--store", str(place.store)),
            *("--", "--master", "--master-bind-host", "127.0.0.1", "--master-bind-port", port, "--expect-workers", "2"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    ) as master:
        watchdog = threading.Timer(120, master.kill)
        watchdog.start()
        lines = []
        try:
            assert master.stdout is not None
            for line in master.stdout:
                lines.append(line.rstrip("\n"))
                # The storm has begun in both workers: the end of one is not the end of the run.
                if "8 of 8 enrolled" in line and "commands answered" in line and workers[0].poll() is None:
                    os.kill(workers[0].pid, signal.SIGKILL)
            code = master.wait()
        finally:
            watchdog.cancel()
            for worker in workers:
                worker.kill()
                worker.wait()
    text = "\n".join(lines)
    assert code == 3, text
    assert "  ✗ 4 of 8 devices were lost with their worker (1 of 2 workers)" in text
    assert "  ✓ every other device got it: 4 devices answered" in text
    assert lines[-1].startswith("  ✗ not carried out in ")


def test_two_runs_at_one_time_on_one_store_drive_different_devices(place: Place) -> None:
    before = stored(place)
    command = [
        *(sys.executable, "-m", "mdmsim.cli", "load", "ramp", "--devices", "2", "--time", "2s", "--every", "0.5"),
        *("--target", str(place.target), "--store", str(place.store)),
    ]
    runs = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], "\n".join(outputs)
    assert len(stored(place) - before) == 4


def stored(place: Place) -> set[str]:
    """The devices in the store, by what the server knows them as."""
    with SqliteStore(place.store) as store:
        return {decode(store.load(identifier) or b"").persona.udid for identifier in store.device_ids()}


def test_the_locustfile_of_the_page_runs(place: Place, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "load-testing.md").read_text()
    file = tmp_path / "chatty.py"
    file.write_text(page.partition("```python\n")[2].partition("```")[0])
    run = mdmsim(
        *(str(file), "--devices", "3", "--time", "4s", "--rate", "10"),
        *("--target", str(place.target), "--store", str(place.store)),
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "every device got it: " in run.stdout

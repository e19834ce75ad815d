"""What `mdmsim load` hands to Locust, and what it makes of Locust's exit code."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from mdmsim.load.errors import LoadError
from mdmsim.load.launch import Wishes, _arguments, _judged, files_for, run
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


def test_the_page_listens_on_loopback_unless_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCUST_WEB_HOST", raising=False)
    assert "--web-host=127.0.0.1" in list(_arguments(wishes(web=True), Path("ramp.py"), STARTED))
    told = list(_arguments(wishes("--web-host", "10.0.0.5", web=True), Path("ramp.py"), STARTED))
    assert [option for option in told if option.startswith("--web-host")] == ["--web-host"]


def test_a_master_of_processes_on_this_machine_listens_on_loopback() -> None:
    assert "--master-bind-host=127.0.0.1" in list(_arguments(wishes("--processes=2"), Path("ramp.py"), STARTED))
    assert "--master-bind-host=127.0.0.1" not in list(_arguments(wishes("--master"), Path("ramp.py"), STARTED))


def test_more_devices_than_open_files_are_refused_before_anything_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdmsim.load.launch.make_room", lambda connections: None if connections <= 1000 else 1000)
    started: list[str] = []
    monkeypatch.setattr("mdmsim.load.launch.reference_servers", lambda *_, **__: started.append("servers"))
    many = Wishes(shape="ramp", devices=10_470, store=Path("d.sqlite"))
    with pytest.raises(LoadError, match=r"10470 devices in a process need 10726 open files.*--processes 11") as error:
        run(many, on_ready=lambda *_: None)
    assert (error.value.code, started) == (3, [])
    files_for(10_470, 11)


def test_the_limit_that_the_system_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    # Below what is needed beside connections, too.
    monkeypatch.setattr(resource, "getrlimit", lambda _: (64, 64))
    monkeypatch.setattr(resource, "setrlimit", lambda _, new: None)
    with pytest.raises(LoadError, match=r"200 devices in a process need 456 open files, and this system allows 64 "):
        files_for(200, 1)

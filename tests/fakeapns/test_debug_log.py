"""The log: who is told what, at which level, and never a secret."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trio
import trio.testing

from mdmsim.fakeapns import debug_log
from mdmsim.fakeapns.debug_log import DebugLog, Level, follow_signals, log_wishes
from mdmsim.startup import ServeError
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench

MAGIC = json.loads(PAYLOAD)["mdm"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "apns.log"


@pytest.fixture
def log(bench: Bench, file: Path) -> Iterator[DebugLog]:
    log = DebugLog(bench.service, file=file)
    yield log
    log.close()


def happen(bench: Bench) -> None:
    """A device listens, a push wakes it, another is refused, a fault loses one."""
    token = bench.service.register("mac-1", TOPIC)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    provider = bench.connect(peer="192.0.2.1:4711")
    bench.push(token, over=provider, authorization="bearer abcdefgh")
    bench.clock.advance(20)
    device.hear()
    device.session.acted([(TOPIC, token)])
    bench.push(token, over=provider, apns_priority="7")
    bench.service.faults.add("push.lost", why="a test")
    bench.push(token, over=provider)
    bench.service.retire(TOPIC, token)
    bench.service.close_provider(provider, "done")
    device.session.close("done")


def kinds(file: Path) -> list[str]:
    """The first words of each line after time and level."""
    lines = file.read_text().splitlines()
    return [" ".join(line.split()[2:4]).rstrip(":") if "request" in line else line.split()[2] for line in lines]


def test_at_debug_everything_has_a_line(bench: Bench, file: Path, log: DebugLog) -> None:
    log.set("debug")
    happen(bench)
    assert kinds(file) == [
        "log",
        "token.registered",
        "courier.connected",
        "courier.subscribed",
        "provider.connected",
        "request 1",  # accepted
        "request 1",  # delivered
        "request 1",  # acknowledged
        "request 1",  # acted
        "request 2",
        "fault.injected",
        "request 3",
        "request 3",  # lost
        "token.retired",
        "provider.disconnected",
        "courier.disconnected",
    ]
    line = file.read_text().splitlines()[5]
    assert line.startswith("2026-01-01T00:00:00.000Z debug   request 1: POST /3/device/")
    assert "over connection 1 (production): 200 device=mac-1" in line
    assert 'payload {"mdm":"•••• 36 characters"}' in line
    assert "request 1: delivered after 20 ms device=mac-1" in file.read_text()


@pytest.mark.parametrize(
    ("level", "expected"),
    [
        ("warning", ["log", "request 2", "fault.injected"]),
        (
            "info",
            [
                "log",
                "courier.connected",
                "provider.connected",
                "request 2",
                "fault.injected",
                "provider.disconnected",
                "courier.disconnected",
            ],
        ),
    ],
)
def test_with_less_only_what_matters(
    bench: Bench, file: Path, log: DebugLog, level: Level, expected: list[str]
) -> None:
    log.set(level)
    happen(bench)
    assert kinds(file) == expected
    assert "400 BadPriority (" in file.read_text()


def test_secrets_are_not_in_it(bench: Bench, file: Path, log: DebugLog) -> None:
    log.set("debug")
    happen(bench)
    assert MAGIC not in file.read_text()
    assert "abcdefgh" not in file.read_text()


def test_nothing_that_a_provider_sends_begins_a_line(bench: Bench, file: Path, log: DebugLog) -> None:
    log.set("debug")
    bench.push("ab", path="/3/device/a\n2026-01-01T00:00:00.000Z debug request 9", apns_id="x\r\ny")
    assert len(file.read_text().splitlines()) == 3  # the level, a connection, the request, nothing else


def test_off_watches_nothing(bench: Bench, file: Path, log: DebugLog) -> None:
    log.set("debug")
    log.set("off")
    before = file.read_text()
    happen(bench)
    assert file.read_text() == before
    assert not bench.service.journal.watched


def test_it_rotates(bench: Bench, file: Path, log: DebugLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debug_log, "FILE_SIZE", 500)
    small = DebugLog(bench.service, usual="debug", file=file.with_name("small.log"))
    for _ in range(20):
        bench.push("zz")
    small.close()
    files = sorted(file.parent.glob("small.log*"))
    assert len(files) == debug_log.FILES + 1
    assert all(one.stat().st_size < 1000 for one in files)


def test_a_file_that_cannot_be_written_is_told_at_the_start(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="cannot be written"):
        DebugLog(bench.service, usual="debug", file=tmp_path)


@pytest.mark.anyio
async def test_the_level_is_changed_over_the_admin_api(admin_of_log: httpx.AsyncClient, log: DebugLog) -> None:
    answer = await admin_of_log.put("/log-level", json={"level": "debug"})
    assert answer.json() == {"level": "debug", "usual": "off", "file": str(log.file)}
    assert log.level == "debug"


@pytest.fixture
async def admin_of_log(bench: Bench, log: DebugLog):  # type: ignore[no-untyped-def]
    from mdmsim.fakeapns.admin.app import create_app
    from tests.fakeapns.admin.conftest import client_of

    async with client_of(create_app(bench.service, key="secret", log=log)) as client:
        yield client


@pytest.mark.anyio
async def test_signals_turn_it_up_and_back(bench: Bench, log: DebugLog) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(follow_signals, log)
        await trio.testing.wait_all_tasks_blocked()
        for number, level in ((signal.SIGUSR1, "debug"), (signal.SIGUSR2, "off")):
            signal.raise_signal(number)
            with trio.fail_after(15):
                while log.level != level:
                    await trio.sleep(0.005)
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("level", "file", "expected"),
    [
        (None, None, ("off", None)),
        (None, "a.log", ("info", "a.log")),
        ("debug", None, ("debug", "mdmsim-apns.log")),
        ("off", None, ("off", None)),
        ("debug", "-", ("debug", None)),
        ("off", "a.log", ("off", "a.log")),
    ],
)
def test_a_level_alone_writes_to_a_file_of_its_own(
    level: Level | None, file: str | None, expected: tuple[str, str | None]
) -> None:
    found, where = log_wishes(level, Path(file) if file is not None else None)
    assert (found, str(where) if where is not None else None) == expected

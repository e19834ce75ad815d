"""The SQLite backend: durable, private, migrated once, and never half-written."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

from reference_server.ladder import Ladder
from reference_server.storage.connect import _NEXT
from reference_server.storage.database import Database, Transaction
from reference_server.storage.migrations import STEPS, TooNew
from reference_server.storage.records import NO_TERMS
from reference_server.storage.sqlite import SqliteStorage
from tests.reference_server.kit import Server

LADDER = Ladder((0, 30), 60)


def test_a_commit_has_reached_the_disk_when_it_returns(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "x.sqlite"), LADDER)
    assert database.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert database.execute("PRAGMA synchronous").fetchone() == (2,)
    database.close()


def test_the_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "x.sqlite"), LADDER)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}
    storage.close()


@pytest.mark.anyio
async def test_a_full_disk_is_a_500_that_leaves_nothing_behind_and_passes(tmp_path: Path) -> None:
    server = Server(database=str(tmp_path / "x.sqlite"))
    device = await server.enrolled()
    uuid = await server.queue(device)
    database = server.app._storage
    database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0] + 1}")
    assert (await device.acknowledge(uuid, Big=b"x" * 1_000_000)).status == 500
    assert "disk is full" in next(line["trace"] for line in server.log if line["message"] == "exception")
    database.execute("PRAGMA max_page_count = 1000000")
    assert (await server.command(device, uuid))["state"] == "queued"
    assert (await device.acknowledge(uuid, Big=b"x" * 1_000_000)).status == 200
    assert (await server.command(device, uuid))["state"] == "acknowledged"
    server.app.close()


@contextmanager
def _full(server: Server, path: Path) -> Iterator[None]:
    """SQLite may not take another page, as on a full disk it may not."""
    database = server.app._storage
    database.execute(f"PRAGMA max_page_count = {database.execute('PRAGMA page_count').fetchone()[0] + 1}")
    try:
        yield
    finally:
        database.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def _no_growth(server: Server, path: Path) -> Iterator[None]:
    """No file of this process may grow beyond the write-ahead log's size: the system's own refusal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (Path(f"{path}-wal").stat().st_size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def _read_only(server: Server, path: Path) -> Iterator[None]:
    server.app._storage.execute("PRAGMA query_only = ON")
    try:
        yield
    finally:
        server.app._storage.execute("PRAGMA query_only = OFF")


@contextmanager
def _locked(server: Server, path: Path) -> Iterator[None]:
    server.app._storage.execute("PRAGMA busy_timeout = 1")
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    yield
    other.execute("ROLLBACK")
    other.close()


@pytest.mark.anyio
@pytest.mark.parametrize("trouble", [_full, _no_growth, _read_only, _locked])
async def test_readyz_is_503_while_nothing_can_be_written_and_200_after_it(
    tmp_path: Path, trouble: Callable[[Server, Path], AbstractContextManager[None]]
) -> None:
    path = tmp_path / "x.sqlite"
    server = Server(database=str(path))
    device = await server.enrolled()
    with trouble(server, path):
        for _ in range(2):
            ready = await server.request("GET", "/readyz")
            assert (ready.status, list(ready.json()["troubles"])) == (503, ["storage"])
        assert (await server.request("GET", "/healthz")).status == 200
    assert (await server.request("GET", "/readyz")).json() == {"status": "ready", "troubles": {}}
    assert (await device.idle()).status == 200
    server.app.close()


@pytest.mark.anyio
async def test_asking_for_readiness_does_not_make_the_database_grow(tmp_path: Path) -> None:
    server = Server(database=str(tmp_path / "x.sqlite"))
    pages = []
    for _ in range(50):
        assert (await server.request("GET", "/readyz")).status == 200
        pages.append(server.app._storage.execute("PRAGMA page_count").fetchone()[0])
    assert len(set(pages[1:])) == 1
    server.app.close()


def test_a_commit_that_fails_leaves_no_transaction_open() -> None:
    class Stubborn:
        """A connection whose COMMIT fails and leaves the transaction open, as a busy disk may."""

        def __init__(self) -> None:
            self.in_transaction = False
            self.said: list[str] = []

        def execute(self, statement: str) -> None:
            self.said.append(statement)
            self.in_transaction = statement.startswith("BEGIN")
            if statement == "COMMIT":
                self.in_transaction = True
                raise sqlite3.OperationalError("disk I/O error")

    connection = Stubborn()
    with pytest.raises(sqlite3.OperationalError, match="I/O"), Transaction(connection):  # type: ignore[arg-type]
        pass
    assert connection.said == ["BEGIN IMMEDIATE", "COMMIT", "ROLLBACK"]


def test_opening_again_migrates_nothing(tmp_path: Path) -> None:
    path = str(tmp_path / "x.sqlite")
    for _ in range(2):
        storage = SqliteStorage(path, LADDER)
        assert storage.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
        storage.close()


def test_a_database_of_a_newer_server_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(TooNew, match="99"):
        SqliteStorage(str(path), LADDER)


def test_a_transaction_that_raises_leaves_nothing_behind() -> None:
    database = Database(":memory:", LADDER)
    with pytest.raises(ZeroDivisionError), database.transaction:
        database.execute("INSERT INTO refusals (at, created_ms) VALUES ('any', 0)")
        raise ZeroDivisionError
    assert database.execute("SELECT COUNT(*) FROM refusals").fetchone() == (0,)
    database.close()


@pytest.mark.anyio
async def test_queueing_for_many_is_all_or_nothing(server: Server) -> None:
    await server.enrolled("UDID-1")
    await server.api("POST", "/commands", {"devices": ["UDID-1", "NOBODY"], "request_type": "X"})
    assert (await server.device("UDID-1"))["open_commands"] == 0


@pytest.mark.anyio
async def test_the_next_command_is_found_without_reading_the_history(server: Server) -> None:
    await server.enrolled("UDID-1")
    storage = server.app._storage
    plan = " ".join(str(row[3]) for row in storage.execute(f"EXPLAIN QUERY PLAN {_NEXT}", ("UDID-1", 1)))
    assert "commands_open" in plan


@pytest.mark.anyio
async def test_a_challenge_is_open_until_the_millisecond_in_which_it_expires(tmp_path: Path) -> None:
    storage = SqliteStorage(str(tmp_path / "x.sqlite"), LADDER)
    await storage.add_challenge("digest", NO_TERMS, devices=1, expires_ms=1000, now_ms=0)
    assert await storage.challenge_is_open("digest", now_ms=999)
    assert not await storage.challenge_is_open("digest", now_ms=1000)
    storage.close()

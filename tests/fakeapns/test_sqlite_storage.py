"""What only the storage in a file can do: group commit, failed commits, bad files. See `test_storage.py` for the rest."""

from __future__ import annotations

import os
import sqlite3
import stat
import tempfile
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from mdmsim.fakeapns import sqlite_storage
from mdmsim.fakeapns.changes import Changes
from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.sqlite_file import SqliteFile
from mdmsim.fakeapns.sqlite_storage import SqliteStorage
from mdmsim.fakeapns.storage import MemoryStorage, Push, Registration, Storage
from mdmsim.startup import ServeError
from tests.fakeapns.test_storage import TOKEN, TOPIC, push

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "apns.db"


@asynccontextmanager
async def running(path: Path) -> AsyncIterator[SqliteStorage]:
    storage = SqliteStorage(path)
    storage.load("epoch")
    async with trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        yield storage
        nursery.cancel_scope.cancel()
    storage.close()


def test_a_commit_that_returned_is_on_the_disk(path: Path) -> None:
    # sqlite.org/pragma.html#pragma_synchronous: in WAL mode only FULL (2) and EXTRA (3) sync at each commit.
    with closing(SqliteFile(path)) as file:
        assert file.connection.execute("PRAGMA synchronous").fetchone()[0] == 2
        assert file.connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"


def pushes_in(path: Path) -> list[int]:
    storage = SqliteStorage(path)
    numbers = sorted(one.number for one in storage.load("").pushes)
    storage.close()
    return numbers


def token(number: int) -> bytes:
    return number.to_bytes(32, "big")


class Gate:
    """Stands before every write: lets it through when told to, and counts those that passed or failed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached = threading.Event()
        self.passage = threading.Event()
        self.passed = threading.Event()
        self.failures: list[Exception] = []
        write = SqliteFile.write

        def gated(file: SqliteFile, changes: Changes) -> None:
            self.reached.set()
            assert self.passage.wait(15)
            if self.failures:
                raise self.failures.pop(0)
            write(file, changes)
            self.passed.set()

        monkeypatch.setattr(SqliteFile, "write", gated)

    async def wait(self, event: threading.Event) -> None:
        assert await trio.to_thread.run_sync(event.wait, 15)


# group commit


async def test_a_hundred_that_wait_together_share_their_transactions(path: Path) -> None:
    async with running(path) as storage:

        async def accept(number: int) -> None:
            storage.keep_push(push(number, token=token(number)))
            await storage.durable()

        async with trio.open_nursery() as nursery:
            for number in range(1, 101):
                nursery.start_soon(accept, number)
        assert storage.transactions <= 2
    assert pushes_in(path) == list(range(1, 101))


async def test_durable_does_not_return_before_the_commit(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    returned = trio.Event()
    async with running(path) as storage, trio.open_nursery() as nursery:

        async def wait() -> None:
            await storage.durable()
            returned.set()

        storage.keep_push(push(1))
        nursery.start_soon(wait)
        await gate.wait(gate.reached)
        await trio.testing.wait_all_tasks_blocked()
        early = returned.is_set()
        gate.passage.set()
        await returned.wait()
    assert not early


async def test_what_is_told_during_a_commit_waits_for_the_next_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    async with running(path) as storage, trio.open_nursery() as nursery:
        storage.keep_push(push(1))
        nursery.start_soon(storage.durable)
        await gate.wait(gate.reached)
        storage.keep_push(push(2, token=token(2)))
        gate.passage.set()
        await storage.durable()
        assert storage.transactions == 2
    assert pushes_in(path) == [1, 2]


async def test_with_nothing_told_there_is_no_transaction(path: Path) -> None:
    async with running(path) as storage:
        await storage.durable()
        assert storage.transactions == 0


async def test_what_nobody_waits_for_is_committed_all_the_same(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.passage.set()
    async with running(path) as storage:
        storage.keep_push(push(1))
        await gate.wait(gate.passed)


async def test_a_push_kept_and_dropped_before_its_commit_writes_nothing(path: Path) -> None:
    log = path.with_name("apns.db-wal")
    async with running(path) as storage:
        storage.keep_push(push(1))
        await storage.durable()
        before = log.stat().st_size
        for number in range(2, 50):
            one = push(number, token=token(number))
            storage.keep_push(one)
            storage.drop_push(one)
        await storage.durable()
        assert (log.stat().st_size, storage.transactions) == (before, 2)


async def test_stopping_commits_what_is_queued(path: Path) -> None:
    async with running(path) as storage:
        storage.keep_push(push(1))
    assert pushes_in(path) == [1]


async def test_who_waits_when_it_stops_is_answered_by_a_commit(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.load("epoch")
    async with trio.open_nursery() as waiting, trio.open_nursery() as nursery:
        await nursery.start(storage.run)
        storage.keep_push(push(1))
        waiting.start_soon(storage.durable)
        nursery.cancel_scope.cancel()
    storage.close()
    assert pushes_in(path) == [1]


async def test_push_numbers_are_reserved_ahead_and_not_written_each_time(path: Path) -> None:
    async with running(path) as storage:
        storage.keep_push(push(1))
        await storage.durable()
        storage.keep_push(push(2))
    storage = SqliteStorage(path)
    assert 2 < storage.load("").number < 100_000_000
    storage.close()


# commits that fail


def limit(storage: SqliteStorage, pages: int) -> None:
    """Give the database room for so many more pages, as a disk does that is nearly full."""
    connection = storage._file.connection
    (used,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {used + pages}")


def storm(storage: Storage) -> None:
    for number in range(1, 1_000):
        storage.keep_push(push(number, token=token(number), payload=bytes(1_000)))


async def test_a_full_disk_is_told_to_everyone_who_waits_for_that_commit(path: Path) -> None:
    told: list[str] = []
    async with running(path) as storage:
        limit(storage, 5)
        storm(storage)

        async def wait() -> None:
            with pytest.raises(NotDurable) as raised:
                await storage.durable()
            told.append(str(raised.value))

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(wait)
    assert told == [f"{path}: the store cannot be written (database or disk is full)"] * 3


async def test_after_a_full_disk_the_next_commit_carries_everything(path: Path) -> None:
    async with running(path) as storage:
        limit(storage, 5)
        storm(storage)
        with pytest.raises(NotDurable):
            await storage.durable()
        storage.drop_push(push(10, token=token(10)))
        storage.keep_push(push(2_000, token=token(20)))
        limit(storage, 5_000)
        await storage.durable()
    assert pushes_in(path) == [*range(1, 10), *range(11, 20), *range(21, 1_000), 2_000]


async def test_trouble_is_told_until_a_commit_succeeds(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = Gate(monkeypatch)
    gate.failures = [sqlite3.OperationalError("disk I/O error")]
    gate.passage.set()
    async with running(path) as storage:
        storage.keep_push(push(1))
        with pytest.raises(NotDurable):
            await storage.durable()
        during = storage.trouble
        await storage.durable()
        assert (during, storage.trouble) == (f"{path}: the store cannot be written (disk I/O error)", None)


async def test_a_failed_commit_is_tried_again_though_nobody_asks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_storage, "RETRY", 0.01)
    gate = Gate(monkeypatch)
    gate.failures = [sqlite3.OperationalError("disk I/O error") for _ in range(3)]
    gate.passage.set()
    async with running(path) as storage:
        storage.keep_push(push(1))
        await gate.wait(gate.passed)
    assert gate.failures == []


async def test_what_sqlite_cannot_hold_is_a_failed_commit_and_not_the_end(path: Path) -> None:
    async with running(path) as storage:
        storage.keep_registration(Registration(topic=TOPIC, token=TOKEN, device="\ud800"))
        with pytest.raises(NotDurable):
            await storage.durable()
        storage.keep_registration(Registration(topic=TOPIC, token=TOKEN, device="mac"))
        await storage.durable()


async def test_an_expiration_beyond_all_time_is_kept_for_ever(path: Path) -> None:
    async with running(path) as storage:
        storage.keep_push(push(1, expires_ms=999_999_999_999_999_999_000))
    storage = SqliteStorage(path)
    (kept,) = storage.load("").pushes
    storage.close()
    assert kept.expires_ms > 9_000_000_000_000_000_000


def test_closing_says_what_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = SqliteStorage(path)
    storage.load("epoch")
    limit(storage, 5)
    storm(storage)
    storage.close()
    assert caplog.messages[-1].endswith("what was not committed is lost")


# files


def test_the_file_is_readable_by_its_owner_only(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.load("epoch")
    modes = {stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    storage.close()
    assert modes == {0o600}


def test_a_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ServeError, match="cannot be written"):
        SqliteStorage(tmp_path / "a" / "apns.db")
    assert not (tmp_path / "a").exists()


def execute(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def foreign_program(path: Path) -> None:
    execute(path, "CREATE TABLE recipes (name TEXT)")


def later_version(path: Path) -> None:
    SqliteStorage(path).close()
    execute(path, "PRAGMA user_version = 99")


def lost_table(path: Path) -> None:
    SqliteStorage(path).close()
    execute(path, "DROP TABLE pushes")


def filled(path: Path) -> None:
    storage = SqliteStorage(path)
    storage.load("epoch")
    storm(storage)
    storage.close()


def cut_off(path: Path) -> None:
    filled(path)
    os.truncate(path, path.stat().st_size // 2)


def scribbled_over(path: Path) -> None:
    filled(path)
    with path.open("r+b") as file:
        for page in range(3, 200):
            file.seek(page * 4096)
            file.write(b"\xa5" * 64)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda path: path.write_bytes(b"not a database, but long enough for its header" * 100),
            "not a store of mdmsim",
        ),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.symlink_to("/proc/nowhere/apns.db"), "cannot be written"),
        (foreign_program, "a database of another program"),
        (later_version, "store version 99"),
        (lost_table, "the store is damaged (no such table: pushes)"),
        (cut_off, "the store is damaged"),
        (scribbled_over, "the store is damaged"),
    ],
)
def test_a_file_that_cannot_be_the_store_is_one_message(path: Path, spoil: Callable[[Path], Any], words: str) -> None:
    spoil(path)
    with pytest.raises(ServeError) as raised:
        list(SqliteStorage(path).load("epoch").pushes)
    said = str(raised.value)
    assert said.startswith(f"{path}: ")
    assert words in said


def test_a_store_that_is_open_is_not_opened_again(path: Path) -> None:
    storage = SqliteStorage(path)
    with pytest.raises(ServeError, match="another process has this store open"):
        SqliteStorage(path)
    storage.close()
    SqliteStorage(path).close()


def test_a_refused_file_is_left_as_it_was(path: Path) -> None:
    foreign_program(path)
    before = path.read_bytes()
    with pytest.raises(ServeError):
        SqliteStorage(path)
    assert path.read_bytes() == before


# both storages, whatever happens


TOKENS = st.integers(0, 3).map(token)
TOPICS = st.sampled_from(["one", "two"])


class BothStorages(RuleBasedStateMachine):
    """The same is told to both, commits fail now and then, the process ends; what comes back must not differ."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "apns.db"
        self.memory = MemoryStorage()
        self.memory.load("epoch")
        self.file = SqliteStorage(self.path)
        self.file.load("epoch")
        self.number = 0
        self.told: list[Push] = []
        self.full = False

    def tell(self, change: Callable[[Storage], None]) -> None:
        change(self.memory)
        change(self.file)

    @rule(topic=TOPICS, token=TOKENS, size=st.sampled_from([2, 9_000]))
    def keep_push(self, topic: str, token: bytes, size: int) -> None:
        self.number += 1
        made = Push.of(self.number, topic, token, bytes(size), f"id {self.number}", self.number, self.number + 5)
        self.told.append(made)
        self.tell(lambda storage: storage.keep_push(made))

    @precondition(lambda self: self.told)
    @rule(which=st.integers(0, 5))
    def drop_push(self, which: int) -> None:
        dropped = self.told[-1 - which % len(self.told)]
        self.tell(lambda storage: storage.drop_push(dropped))

    @rule(topic=TOPICS, token=TOKENS, retired=st.booleans(), device=st.sampled_from(["", "mac"]))
    def keep_registration(self, topic: str, token: bytes, retired: bool, device: str) -> None:
        self.number += 1
        made = Registration(
            topic=topic, token=token, device=device, registered_ms=self.number, retired_ms=1 if retired else None
        )
        self.tell(lambda storage: storage.keep_registration(made))

    @rule(der=st.sampled_from([b"a", b"b"]), kept=st.booleans())
    def certificate(self, der: bytes, kept: bool) -> None:
        self.tell(lambda storage: storage.keep_certificate(der) if kept else storage.drop_certificate(der))

    @rule()
    def the_disk_is_full(self) -> None:
        self.full = True
        limit(self.file, 0)

    @rule()
    def there_is_room_again(self) -> None:
        self.full = False
        limit(self.file, 10_000)

    @rule()
    def commit(self) -> None:
        try:
            trio.run(self.file.durable)
        except NotDurable:
            assert self.full

    @rule()
    def end_and_begin_anew(self) -> None:
        self.there_is_room_again()
        self.file.close()
        self.file = SqliteStorage(self.path)
        stored, expected = self.file.load(""), self.memory.load("")
        assert stored.epoch == expected.epoch
        assert stored.number >= expected.number
        assert list(stored.registrations) == list(expected.registrations)
        assert {(one.topic, one.token): one for one in stored.pushes} == {
            (one.topic, one.token): one for one in expected.pushes
        }
        assert sorted(stored.certificates) == sorted(expected.certificates)

    @invariant()
    def trouble_is_told_only_of_a_full_disk(self) -> None:
        assert self.file.trouble is None or "disk is full" in self.file.trouble

    def teardown(self) -> None:
        self.end_and_begin_anew()
        self.file.close()
        self.folder.cleanup()


TestBothStorages: Any = BothStorages.TestCase
TestBothStorages.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)

"""The SQLite store: what is kept, how it fails, and that it agrees with the store in memory."""

from __future__ import annotations

import sqlite3
import stat
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mdmsim.device.store import MemoryStore
from mdmsim.fleet.store import SqliteStore, StoreError

IDS = st.sampled_from(["a", "b", "c"])


class StoresAgree(RuleBasedStateMachine):
    """Whatever is done, the store on disk says the same as the store in memory, across reopenings too."""

    @initialize()
    def open(self) -> None:
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "devices.sqlite"
        self.disk, self.memory = SqliteStore(self.path), MemoryStore()

    @rule(device=IDS, state=st.binary(min_size=1, max_size=20))
    def save(self, device: str, state: bytes) -> None:
        self.disk.save(device, state)
        self.memory.save(device, state)

    @rule(device=IDS, payload=st.binary(max_size=10))
    def push(self, device: str, payload: bytes) -> None:
        assert self.disk.pushed(device, "device", payload) == self.memory.pushed(device, "device", payload)

    @rule(device=IDS)
    def delete(self, device: str) -> None:
        self.disk.delete(device)
        self.memory.delete(device)

    @rule(content=st.binary(max_size=30))
    def put(self, content: bytes) -> None:
        digest = self.disk.put(content)
        assert digest == self.memory.put(content)
        assert self.disk.get(digest) == content

    @rule()
    def reopen(self) -> None:
        self.disk.close()
        self.disk = SqliteStore(self.path)

    @invariant()
    def same(self) -> None:
        if not hasattr(self, "disk"):
            return
        assert sorted(self.disk.device_ids()) == sorted(self.memory.device_ids())
        for device in ("a", "b", "c"):
            assert self.disk.load(device) == self.memory.load(device)
            assert self.disk.last_push(device, "device") == self.memory.last_push(device, "device")

    def teardown(self) -> None:
        if hasattr(self, "disk"):
            self.disk.close()
            self.folder.cleanup()


TestStoresAgree = StoresAgree.TestCase
TestStoresAgree.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "devices.sqlite"
    SqliteStore(path).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_is_no_store_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"notes\.txt is not a store of mdmsim.*--store"):
        SqliteStore(path)


def test_a_database_of_another_program_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "books.sqlite"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE books (title TEXT)")
    other.close()
    with pytest.raises(StoreError, match=r"another program.*--store"):
        SqliteStore(path)
    with sqlite3.connect(path) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["books"]
    other.close()


def test_a_store_of_a_later_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "devices.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA user_version=99")
    with pytest.raises(StoreError, match="later mdmsim"):
        SqliteStore(path)


def test_a_place_that_cannot_be_written_is_a_store_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--store"):
        SqliteStore(tmp_path / "file" / "devices.sqlite")


def test_unknown_contents_are_a_key_error(tmp_path: Path) -> None:
    with SqliteStore(tmp_path / "devices.sqlite") as store, pytest.raises(KeyError):
        store.get("0" * 64)

"""The store of a load test: fast in memory, whole on disk, and no device in two processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mdmsim.fleet.store import SqliteStore, StoreError
from mdmsim.load.store import Claims, LoadStore, device_id, number_of


def test_what_was_flushed_is_there_in_the_next_run(tmp_path: Path) -> None:
    store = LoadStore(tmp_path / "d.sqlite")
    digest = store.put(b"a profile")
    store.save("load-000001", b"state")
    store.pushed("load-000001", "device", b"one")
    store.pushed("load-000001", "device", b"two")
    store.close()
    with SqliteStore(tmp_path / "d.sqlite") as later:
        assert later.load("load-000001") == b"state"
        assert later.get(digest) == b"a profile"
        push = later.last_push("load-000001", "device")
        assert push is not None
        assert (push.number, push.payload) == (2, b"two")


def test_what_was_not_flushed_is_readable_here_and_nowhere_else(tmp_path: Path) -> None:
    store = LoadStore(tmp_path / "d.sqlite")
    digest = store.put(b"content")
    store.save("load-000001", b"state")
    assert (store.load("load-000001"), store.get(digest), store.device_ids()) == (b"state", b"content", ["load-000001"])
    with SqliteStore(tmp_path / "d.sqlite") as other:
        assert other.device_ids() == []
    store.close()


def test_push_numbers_go_on_where_the_last_run_ended(tmp_path: Path) -> None:
    first = LoadStore(tmp_path / "d.sqlite")
    assert first.pushed("d", "device", b"one").number == 1
    first.close()
    second = LoadStore(tmp_path / "d.sqlite")
    assert second.pushed("d", "device", b"two").number == 2
    second.close()


def test_a_flush_that_fails_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = LoadStore(tmp_path / "d.sqlite")
    store.save("load-000001", b"state")
    store.put(b"content")
    real = SqliteStore.save

    def full(self: SqliteStore, device_id: str, state: bytes) -> None:
        raise StoreError("the disk is full")

    monkeypatch.setattr(SqliteStore, "save", full)
    with pytest.raises(StoreError):
        store.flush()
    monkeypatch.setattr(SqliteStore, "save", real)
    store.close()
    with SqliteStore(tmp_path / "d.sqlite") as later:
        assert later.load("load-000001") == b"state"


def test_a_deleted_device_does_not_come_back_with_the_next_flush(tmp_path: Path) -> None:
    store = LoadStore(tmp_path / "d.sqlite")
    store.save("d", b"state")
    store.pushed("d", "device", b"one")
    store.delete("d")
    store.close()
    with SqliteStore(tmp_path / "d.sqlite") as later:
        assert later.device_ids() == []


def test_contents_that_were_read_long_ago_come_from_the_file_again(tmp_path: Path) -> None:
    store = LoadStore(tmp_path / "d.sqlite")
    first = store.put(b"first")
    for number in range(2000):
        store.put(b"%d" % number)
    store.flush()
    assert store.get(first) == b"first"
    store.close()


def test_ids_and_numbers_belong_together() -> None:
    assert number_of(device_id(17)) == 17
    assert [number_of(name) for name in ("iphone-01", "load-", "load-x")] == [None, None, None]


HOLD = """
import sys, time
from pathlib import Path
from mdmsim.load.store import Claims
claims = Claims(Path(sys.argv[1]))
print([number for number in range(1, 6) if claims.take(number)][:3], flush=True)
time.sleep(60)
"""


def test_a_device_is_driven_by_one_process_and_free_when_that_is_killed(tmp_path: Path) -> None:
    lock = tmp_path / "d.lock"
    mine = Claims(lock)
    assert mine.take(4)
    assert not mine.take(4)
    root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdout=subprocess.PIPE, text=True, cwd=root
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "[1, 2, 3]"
        assert not any(mine.take(number) for number in (1, 2, 3, 5))
        os.kill(other.pid, signal.SIGKILL)
    assert mine.take(1)
    mine.close()


def test_a_store_in_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="--store"):
        LoadStore(tmp_path / "file" / "d.sqlite")

"""One process at a time drives the devices of a store."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdmsim.fleet.lock import StoreBusy, StoreLock
from mdmsim.fleet.store import StoreError
from mdmsim.load.store import Claims

HOLD = """
import sys, pathlib
from mdmsim.fleet.lock import StoreLock
with StoreLock(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "devices.sqlite"


def test_a_second_holder_is_told_who_has_it_and_what_to_do(store: Path) -> None:
    with StoreLock(store), pytest.raises(StoreBusy, match=rf"process {os.getpid()} is using these devices.*--store"):
        StoreLock(store).__enter__()


def test_it_is_free_again_afterwards(store: Path) -> None:
    for _ in range(2):
        with StoreLock(store):
            pass


def test_stores_do_not_stand_in_each_others_way(store: Path) -> None:
    with StoreLock(store), StoreLock(store.with_name("others.sqlite")):
        pass


def test_a_killed_process_leaves_no_lock_behind(store: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(store)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(StoreBusy, match=f"process {holder.pid} "):
            StoreLock(store).__enter__()
    finally:
        holder.kill()
        holder.communicate()
    with StoreLock(store):
        pass


def test_a_load_test_and_a_person_do_not_drive_the_same_devices(store: Path) -> None:
    file = store.with_name("devices.sqlite.lock")
    claims, others = Claims(file), Claims(file)  # load tests share a store among themselves
    with pytest.raises(StoreBusy, match="another process is using these devices"):
        StoreLock(store).__enter__()
    claims.close()
    others.close()
    with StoreLock(store), pytest.raises(StoreError, match="another mdmsim is using these devices"):
        Claims(file)


def test_the_file_is_its_owners_only(store: Path) -> None:
    with StoreLock(store):
        assert store.with_name("devices.sqlite.lock").stat().st_mode & 0o077 == 0


def test_a_place_without_files_is_left_to_the_store_to_complain_about() -> None:
    with StoreLock(Path("/proc/devices.sqlite")):
        pass

"""The key pool: filled by processes, each key handed out once, private, and never in the way."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mdmsim.pki.key_pool import KeyPool, default_directory
from mdmsim.pki.keys import FreshKeys, SharedKeys, load_key

# 1024 bits: the pool's doings do not depend on the size, and the tests' time does.
BITS = 1024


class Counting:
    """A fallback that tells how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0
        self._shared = SharedKeys(1)

    def take(self, *, bits: int = 2048) -> bytes:
        self.asked += 1
        return self._shared.take(bits=bits)

    def take_ec(self) -> bytes:
        return self._shared.take_ec()


def pool_of(directory: Path, count: int) -> tuple[KeyPool, Counting]:
    fallback = Counting()
    pool = KeyPool(directory, bits=BITS, fallback=fallback)
    for _ in range(count):
        pool.put(FreshKeys().take(bits=BITS))
    return pool, fallback


def test_workers_fill_the_pool_up_to_the_count(tmp_path: Path) -> None:
    pool = KeyPool(tmp_path / "keys", bits=BITS)
    assert pool.fill(5, workers=2) == 5
    assert pool.fill(5) == 0
    assert pool.available() == 5


def test_a_key_is_handed_out_once_and_leaves_no_file(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path, 3)
    taken = {pool.take(bits=BITS) for _ in range(3)}
    assert len(taken) == 3 and fallback.asked == 0
    assert not list(tmp_path.iterdir())


def test_an_empty_pool_falls_back(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path / "nothing here", 0)
    load_key(pool.take(bits=BITS))
    assert fallback.asked == 1


def test_other_sizes_come_from_the_fallback(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path, 1)
    pool.take(bits=2048)
    assert fallback.asked == 1 and pool.available() == 1


def test_keys_that_come_later_are_found(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path, 1)
    pool.take(bits=BITS)
    pool.put(FreshKeys().take(bits=BITS))
    pool.take(bits=BITS)
    assert fallback.asked == 0


def test_files_and_folder_are_private(tmp_path: Path) -> None:
    pool_of(tmp_path / "keys", 1)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()] == [0o600]


def test_a_key_that_others_could_read_is_not_used(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path, 1)
    next(tmp_path.iterdir()).chmod(0o644)
    pool.take(bits=BITS)
    assert fallback.asked == 1


def test_keys_that_cannot_be_claimed_do_not_hold_anyone_up(tmp_path: Path) -> None:
    pool, fallback = pool_of(tmp_path, 2)
    for path in list(tmp_path.iterdir()):  # a folder where the claim's file would go: the rename fails for good
        (tmp_path / f"{path.name}.{os.getpid()}.claimed").mkdir()
    pool.take(bits=BITS)
    assert fallback.asked == 1


@pytest.mark.parametrize("content", [b"", b"garbage"])
def test_a_broken_file_is_passed_over(tmp_path: Path, content: bytes) -> None:
    pool, fallback = pool_of(tmp_path, 1)
    broken = tmp_path / f"rsa{BITS}-zz.key"
    broken.write_bytes(content)
    broken.chmod(0o600)
    for _ in range(2):
        pool.take(bits=BITS)
    assert fallback.asked == 1


def test_processes_that_share_a_pool_never_get_the_same_key(tmp_path: Path) -> None:
    pool_of(tmp_path, 24)
    program = (
        "import hashlib, sys; from pathlib import Path; from mdmsim.pki.key_pool import KeyPool\n"
        f"pool = KeyPool(Path(sys.argv[1]), bits={BITS})\n"
        "sys.stdin.readline()\n"
        f"for _ in range(8): print(hashlib.sha256(pool.take(bits={BITS})).hexdigest())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    takers = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    for taker in takers:  # all are ready before the first may go
        assert taker.stdin is not None
        taker.stdin.write("go\n")
        taker.stdin.flush()
    taken = [line for taker in takers for line in taker.communicate(timeout=60)[0].split()]
    assert len(taken) == len(set(taken)) == 24
    assert not list(tmp_path.iterdir())


def test_leftovers_of_dead_processes_are_swept_away(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path, 0)
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    (tmp_path / f"rsa1024-a.key.{gone.pid}.claimed").touch()
    (tmp_path / f"rsa1024-b.key.{gone.pid}.new").touch()
    mine = tmp_path / f"rsa1024-c.key.{os.getpid()}.new"
    mine.touch()
    pool.fill(0)
    assert list(tmp_path.iterdir()) == [mine]


def test_stopping_leaves_no_process_behind(tmp_path: Path) -> None:
    with KeyPool(tmp_path).start_filling(10_000, workers=2) as filling:
        assert filling.running
    assert not filling.running


def test_no_workers_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one"):
        KeyPool(tmp_path).fill(1, workers=0)


def test_the_default_folder_is_in_the_users_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere/cache")
    assert default_directory() == Path("/somewhere/cache/mdmsim/keys")
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/anna")
    assert default_directory() == Path("/home/anna/.cache/mdmsim/keys")


def test_a_pooled_key_is_the_one_that_was_put_in(tmp_path: Path) -> None:
    pool, _ = pool_of(tmp_path, 0)
    key = FreshKeys().take(bits=BITS)
    pool.put(key)
    assert hashlib.sha256(pool.take(bits=BITS)).digest() == hashlib.sha256(key).digest()

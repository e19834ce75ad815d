"""One process at a time drives the devices of a store: a lock on a file beside it.

Two processes that drive one device would each write its whole state, and the device would forget what it did in the
other. Reading needs no lock. The kernel drops the lock with the process that held it, however that ended.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType


class StoreBusy(Exception):
    """Another process drives the devices of this store; the text says which store, which process, and what to do."""


class StoreLock:
    """Held from entering to leaving. Raises StoreBusy at once if another process has it; never waits.

    Where no such file can be made there is nothing to hold: the store itself then says what is wrong with the place.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._file = store.with_name(f"{store.name}.lock")
        self._descriptor: int | None = None

    def __enter__(self) -> StoreLock:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return self
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            who = f"process {holder}" if holder.isdigit() else "another process"
            raise StoreBusy(
                f"{self._store}: {who} is using these devices. Wait for it or end it, or name another store with --store."
            ) from None
        except OSError:
            os.close(descriptor)  # a file system without locks, such as some network mounts
            return self
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        self._descriptor = descriptor
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # The file stays: removing it would let two processes lock two files of one name.
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.ftruncate(descriptor, 0)
            os.close(descriptor)

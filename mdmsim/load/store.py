"""Where the devices of a load test are kept: one SQLite file for all workers, written once a second.

Devices live in memory while they are driven. A process killed with -9 loses the last second of them, which costs those
devices a retry or a new enrollment: a durable write per request, as other runs make, would measure the disk.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections import OrderedDict
from pathlib import Path

from mdmsim.device.store import Push
from mdmsim.fleet.store import SqliteStore, StoreError

#: Contents kept in memory for reading: anchors, which every device of a server shares, are always among them.
RECENT = 1024

#: Ids of a load test's devices: `load-000001`. The number is the byte that whoever drives the device has locked.
PREFIX = "load-"


def device_id(number: int) -> str:
    return f"{PREFIX}{number:06d}"


def number_of(identifier: str) -> int | None:
    """The number in a device's id; None for a device that no load test made."""
    digits = identifier.removeprefix(PREFIX)
    return int(digits) if digits != identifier and digits.isdigit() else None


class LoadStore:
    """A `DeviceStore` in memory over a SQLite file; `flush` writes what changed, all or nothing.

    For one thread and its greenlets, as SQLite's connections are.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteStore(path)
        self._states: dict[str, bytes] = {}
        self._contents: dict[str, bytes] = {}
        self._pushed: list[tuple[str, str, bytes]] = []
        self._last: dict[tuple[str, str], Push] = {}
        self._recent: OrderedDict[str, bytes] = OrderedDict()

    def close(self) -> None:
        """Write what is left and close the file. Raises StoreError when it cannot be written."""
        try:
            self.flush()
        finally:
            self._file.close()

    def flush(self) -> None:
        """Make everything durable. Raises StoreError; nothing is lost then, the next flush tries again."""
        if not (self._states or self._contents or self._pushed):
            return
        with self._file.together():
            for content in self._contents.values():
                self._file.put(content)
            for identifier, state in self._states.items():
                self._file.save(identifier, state)
            for push in self._pushed:
                self._file.pushed(*push)
        self._states, self._contents, self._pushed = {}, {}, []

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self._recent:
            self._contents[digest] = content
            self._remember(digest, content)
        return digest

    def get(self, digest: str) -> bytes:
        found = self._recent.get(digest)
        if found is None:
            found = self._contents.get(digest)
            if found is None:
                found = self._file.get(digest)
            self._remember(digest, found)
        else:
            self._recent.move_to_end(digest)
        return found

    def _remember(self, digest: str, content: bytes) -> None:
        self._recent[digest] = content
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)

    def save(self, device_id: str, state: bytes) -> None:
        self._states[device_id] = state

    def load(self, device_id: str) -> bytes | None:
        state = self._states.get(device_id)
        return state if state is not None else self._file.load(device_id)

    def device_ids(self) -> list[str]:
        return list(dict.fromkeys((*self._file.device_ids(), *self._states)))

    def delete(self, device_id: str) -> None:
        self._states.pop(device_id, None)
        for key in [key for key in self._last if key[0] == device_id]:
            del self._last[key]
        self._pushed = [push for push in self._pushed if push[0] != device_id]
        self._file.delete(device_id)

    def pushed(self, device_id: str, channel: str, payload: bytes) -> Push:
        before = self.last_push(device_id, channel)
        push = Push(number=before.number + 1 if before else 1, payload=payload)
        self._pushed.append((device_id, channel, payload))
        self._last[device_id, channel] = push
        return push

    def last_push(self, device_id: str, channel: str) -> Push | None:
        known = self._last.get((device_id, channel))
        return known if known is not None else self._file.last_push(device_id, channel)


class Claims:
    """Which devices this process drives. A device is one byte of a lock file; the system frees it when we are gone.

    So no two processes drive one device, and the devices of a killed worker are free for others. Raises StoreError for
    a file that cannot be locked.
    """

    def __init__(self, path: Path) -> None:
        self.held: set[int] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}. Name another file with --store.") from None
        try:
            # Shared by all load tests; `mdmsim connect` and its like want the whole file for themselves.
            fcntl.flock(self._file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise StoreError(
                f"{path}: another mdmsim is using these devices. Wait for it, or name another store."
            ) from None
        except OSError:
            pass  # a file system that knows no such locks: the bytes decide alone

    def take(self, number: int) -> bool:
        """Whether the device is ours from now on. False for one that someone drives, this process included."""
        if number in self.held:
            return False
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
        except OSError:
            return False
        self.held.add(number)
        return True

    def release(self, number: int) -> None:
        self.held.discard(number)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number)

    def close(self) -> None:
        """Release them all."""
        self.held.clear()
        os.close(self._file)

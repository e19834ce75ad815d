"""Devices in a SQLite file: what `mdmsim enroll` leaves behind and later commands pick up.

The file holds private keys and is readable by its owner only.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from mdmsim.device.store import Push

SCHEMA_VERSION = 1

_SCHEMA = """
CREATE TABLE IF NOT EXISTS devices (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    device_id TEXT NOT NULL UNIQUE,
    state BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS pushes (
    device_id TEXT NOT NULL,
    channel TEXT NOT NULL,
    number INTEGER NOT NULL,
    payload BLOB NOT NULL,
    PRIMARY KEY (device_id, channel)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS blobs (
    digest TEXT PRIMARY KEY,
    content BLOB NOT NULL
) WITHOUT ROWID;
"""


class StoreError(Exception):
    """The store cannot be used; the text says which file, why, and what to do."""


class SqliteStore:
    """A `DeviceStore` in a file. Every save is durable when it returns (`synchronous=FULL`).

    Raises StoreError for a file that cannot be opened, is no store, or belongs to a later version.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        except OSError as error:
            raise StoreError(f"{path}: {error.strerror}. Name another file with --store.") from None
        try:
            self._db = sqlite3.connect(path, isolation_level=None, cached_statements=64)
            version = self._db.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA_VERSION:
                raise StoreError(f"{path} was written by a later mdmsim (store version {version}). Update mdmsim.")
            tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if version == 0 and tables and "devices" not in tables:  # ours, while another process makes it, has that
                raise StoreError(f"{path} is a database of another program. Name another file with --store.")
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION:d}")
        except sqlite3.Error as error:
            raise StoreError(f"{path} is not a store of mdmsim: {error}. Name another file with --store.") from None

    def close(self) -> None:
        self._db.close()

    def __enter__(self) -> SqliteStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """All writes of the block become durable at its end, or none of them. Raises StoreError; not to be nested."""
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            raise StoreError(f"{self.path}: cannot be written: {error}.") from None

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self._db.execute("INSERT OR IGNORE INTO blobs (digest, content) VALUES (?, ?)", (digest, content))
        return digest

    def get(self, digest: str) -> bytes:
        row = self._db.execute("SELECT content FROM blobs WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            raise KeyError(digest)
        return bytes(row[0])

    def save(self, device_id: str, state: bytes) -> None:
        self._db.execute(
            "INSERT INTO devices (device_id, state) VALUES (?, ?)"
            " ON CONFLICT (device_id) DO UPDATE SET state = excluded.state",
            (device_id, state),
        )

    def load(self, device_id: str) -> bytes | None:
        row = self._db.execute("SELECT state FROM devices WHERE device_id = ?", (device_id,)).fetchone()
        return None if row is None else bytes(row[0])

    def device_ids(self) -> list[str]:
        return [row[0] for row in self._db.execute("SELECT device_id FROM devices ORDER BY number")]

    def delete(self, device_id: str) -> None:
        self._db.execute("BEGIN IMMEDIATE")
        self._db.execute("DELETE FROM devices WHERE device_id = ?", (device_id,))
        self._db.execute("DELETE FROM pushes WHERE device_id = ?", (device_id,))
        self._db.execute("COMMIT")

    def pushed(self, device_id: str, channel: str, payload: bytes) -> Push:
        row = self._db.execute(
            "INSERT INTO pushes (device_id, channel, number, payload) VALUES (?, ?, 1, ?)"
            " ON CONFLICT (device_id, channel) DO UPDATE SET number = number + 1, payload = excluded.payload"
            " RETURNING number",
            (device_id, channel, payload),
        ).fetchone()
        return Push(number=row[0], payload=payload)

    def last_push(self, device_id: str, channel: str) -> Push | None:
        row = self._db.execute(
            "SELECT number, payload FROM pushes WHERE device_id = ? AND channel = ?", (device_id, channel)
        ).fetchone()
        return None if row is None else Push(number=row[0], payload=bytes(row[1]))

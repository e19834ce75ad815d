"""The SQLite file behind `SqliteStorage`: opened and locked, read once, written in whole transactions.

One process at a time has it: SQLite's exclusive locking mode, which the kernel ends with the process, however that
ended. In WAL mode with `synchronous=FULL` a commit that returned is on the disk.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mdmsim.fakeapns.changes import Changes
from mdmsim.fakeapns.storage import Push, Registration, Stored
from mdmsim.startup import InUse, ServeError

#: "mdmA", in the header of every file that this module made.
APPLICATION_ID = 0x6D646D41
SCHEMA_VERSION = 1

_SCHEMA = f"""
BEGIN IMMEDIATE;
CREATE TABLE run (one INTEGER PRIMARY KEY CHECK (one = 1), epoch TEXT NOT NULL, number INTEGER NOT NULL);
CREATE TABLE topics (id INTEGER PRIMARY KEY, topic TEXT NOT NULL UNIQUE);
CREATE TABLE tokens (
    id INTEGER PRIMARY KEY,
    topic INTEGER NOT NULL,
    token BLOB NOT NULL,
    device TEXT NOT NULL,
    channel TEXT NOT NULL,
    environment TEXT NOT NULL,
    generation INTEGER NOT NULL,
    registered_ms INTEGER NOT NULL,
    retired_ms INTEGER,
    UNIQUE (topic, token)
);
CREATE TABLE pushes (
    topic INTEGER NOT NULL,
    token BLOB NOT NULL,
    number INTEGER NOT NULL,
    payload BLOB NOT NULL,
    apns_id TEXT NOT NULL,
    accepted_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL,
    PRIMARY KEY (topic, token)
) WITHOUT ROWID;
CREATE TABLE certificates (id INTEGER PRIMARY KEY, der BLOB NOT NULL UNIQUE);
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""

# Many rows to a statement: SQLite runs a statement without Python's lock, but takes that back after each, which can
# take five milliseconds while the loop is busy. A thousand single statements took 8 s then, against 0.2 s.
_ROWS = (256, 64, 16, 4, 1)
_KEEP_TOKEN = (
    "INSERT INTO tokens (topic, token, device, channel, environment, generation, registered_ms, retired_ms) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?, ?)",
    ", ",
    " ON CONFLICT (topic, token) DO UPDATE SET device = excluded.device, channel = excluded.channel,"
    " environment = excluded.environment, generation = excluded.generation, registered_ms = excluded.registered_ms,"
    " retired_ms = excluded.retired_ms",
)
_KEEP_PUSH = (
    "INSERT OR REPLACE INTO pushes (topic, token, number, payload, apns_id, accepted_ms, expires_ms) VALUES ",
    "(?, ?, ?, ?, ?, ?, ?)",
    ", ",
    "",
)
_DROP_PUSH = ("DELETE FROM pushes WHERE ", "topic = ? AND token = ? AND number <= ?", " OR ", "")

_READ_TOKENS = """
SELECT topic, token, device, channel, environment, generation, registered_ms, retired_ms FROM tokens ORDER BY id
"""
_READ_PUSHES = "SELECT topic, token, number, payload, apns_id, accepted_ms, expires_ms FROM pushes"

#: What the disk or the folder is to blame for, and not the file.
_OF_THE_PLACE = (
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
)

_Statement = tuple[str, Sequence[Any]]


class SqliteFile:
    """An open store. `write` may be called from another thread, one call at a time.

    Raises ServeError for a file that cannot be opened, is damaged, is no store of this version, or is in use.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        #: Transactions that changed something or might have, since the file was opened.
        self.transactions = 0
        self._topics: dict[str, int] = {}
        _make_private(path)
        self.connection = sqlite3.connect(
            path, timeout=0, isolation_level=None, check_same_thread=False, cached_statements=64
        )
        try:
            self._open()
        except sqlite3.Error as error:
            self.connection.close()
            raise self._mistake(error) from None
        except BaseException:
            self.connection.close()
            raise

    def close(self) -> None:
        self.connection.close()

    def read(self, fresh_epoch: str) -> Stored:
        """Everything in it, registrations and pushes row by row as they are asked for. Raises ServeError."""
        connection = self.connection
        try:
            connection.execute("INSERT OR IGNORE INTO run VALUES (1, ?, 0)", (fresh_epoch,))
            epoch, number = connection.execute("SELECT epoch, number FROM run").fetchone()
            self._topics = dict(connection.execute("SELECT topic, id FROM topics"))
            certificates = [der for (der,) in connection.execute("SELECT der FROM certificates ORDER BY id")]
        except sqlite3.Error as error:
            raise self._mistake(error) from None
        return Stored(
            epoch=epoch,
            registrations=self._read_registrations(),
            pushes=self._read_pushes(),
            certificates=certificates,
            number=number,
        )

    def write(self, changes: Changes) -> None:
        """Commit all of it durably, or nothing. Raises sqlite3.Error."""
        topics = dict(self._topics)
        statements = list(_statements(changes, topics))
        self.transactions += 1
        execute = self.connection.execute
        if len(statements) == 1:
            # A transaction of its own.
            execute(*statements[0])
        else:
            execute("BEGIN IMMEDIATE")
            try:
                for statement in statements:
                    execute(*statement)
                execute("COMMIT")
            finally:
                # Also after a COMMIT that failed. A full disk makes SQLite roll back by itself.
                if self.connection.in_transaction:
                    execute("ROLLBACK")
        self._topics = topics

    # inside

    def _open(self) -> None:
        execute = self.connection.execute
        # First of all: with the lock comes the right to believe what is read.
        execute("PRAGMA locking_mode = EXCLUSIVE")
        version = execute("PRAGMA user_version").fetchone()[0]
        owner = execute("PRAGMA application_id").fetchone()[0]
        empty = execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0] == 0
        if owner != APPLICATION_ID and not (empty and owner == version == 0):
            raise ServeError(f"{self.path}: a database of another program. Name another file for the store.")
        if version > SCHEMA_VERSION:
            raise ServeError(
                f"{self.path}: written by a later mdmsim (store version {version}, this one knows {SCHEMA_VERSION})."
                " Update mdmsim, or name another file for the store."
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        # After a storm the log shrinks again.
        execute("PRAGMA journal_size_limit = 16777216")
        if empty:
            self.connection.executescript(_SCHEMA)
        found = execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise sqlite3.DatabaseError(found.splitlines()[-1])

    def _read_registrations(self) -> Iterator[Registration]:
        names = {number: topic for topic, number in self._topics.items()}
        intern = sys.intern
        try:
            for (
                topic,
                token,
                device,
                channel,
                environment,
                generation,
                registered_ms,
                retired_ms,
            ) in self.connection.execute(_READ_TOKENS):
                yield Registration(
                    topic=names[topic],
                    token=token,
                    device=device,
                    channel=intern(channel),
                    generation=generation,
                    registered_ms=registered_ms,
                    retired_ms=retired_ms,
                    environment=intern(environment),
                )
        except (sqlite3.Error, KeyError) as error:
            raise self._mistake(error) from None

    def _read_pushes(self) -> Iterator[Push]:
        names = {number: topic for topic, number in self._topics.items()}
        try:
            for topic, token, number, payload, apns_id, accepted_ms, expires_ms in self.connection.execute(
                _READ_PUSHES
            ):
                yield Push.of(number, names[topic], token, payload, apns_id, accepted_ms, expires_ms)
        except (sqlite3.Error, KeyError) as error:
            raise self._mistake(error) from None

    def _mistake(self, error: sqlite3.Error | KeyError) -> ServeError:
        # The lower byte: what kind of error, without its finer points.
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT) & 0xFF
        if code == sqlite3.SQLITE_BUSY:
            return InUse(
                f"{self.path}: another process has this store open. End that one, or name another file for the store."
            )
        if code == sqlite3.SQLITE_NOTADB:
            return ServeError(f"{self.path}: not a store of mdmsim. Name another file for the store.")
        if code in _OF_THE_PLACE:
            return ServeError(
                f"{self.path}: cannot be used as the store ({error}). Make file and folder writable, or make room."
            )
        return ServeError(
            f"{self.path}: the store is damaged ({error}). Restore it from a copy, or move it away to begin anew."
        )


def _statements(changes: Changes, topics: dict[str, int]) -> Iterator[_Statement]:
    """What to execute, in this order. Topics that were not known get their id in `topics`; none is ever removed."""
    for topic, _ in (*changes.registrations, *changes.pushes):
        if topic not in topics:
            topics[topic] = len(topics) + 1
            yield "INSERT INTO topics (id, topic) VALUES (?, ?)", (topics[topic], topic)
    yield from _many(
        _KEEP_TOKEN,
        [
            (
                topics[one.topic],
                one.token,
                one.device,
                one.channel,
                one.environment,
                one.generation,
                one.registered_ms,
                one.retired_ms,
            )
            for one in changes.registrations.values()
        ],
    )
    yield from _many(
        _KEEP_PUSH,
        [
            (
                topics[push.topic],
                push.token,
                push.number,
                push.payload,
                push.apns_id,
                push.accepted_ms,
                push.expires_ms,
            )
            for push in changes.kept_pushes()
        ],
    )
    yield from _many(
        _DROP_PUSH, [(topics[topic], token, upto) for (topic, token), upto in changes.dropped_pushes().items()]
    )
    for der, kept in changes.certificates.items():
        if kept:
            yield "INSERT OR IGNORE INTO certificates (der) VALUES (?)", (der,)
        else:
            yield "DELETE FROM certificates WHERE der = ?", (der,)
    if changes.number is not None:
        yield "UPDATE run SET number = MAX(number, ?)", (changes.number,)


def _many(parts: tuple[str, str, str, str], rows: list[tuple[Any, ...]]) -> Iterator[_Statement]:
    """The rows in as few statements as there can be: head, a place for each row, what stands in between, tail."""
    head, place, between, tail = parts
    start = 0
    for size in _ROWS:
        while len(rows) - start >= size:
            portion = rows[start : start + size]
            start += size
            yield head + between.join([place] * size) + tail, [value for row in portion for value in row]


def _make_private(path: Path) -> None:
    # Made before SQLite makes it, with its mode: payloads hold push magic. SQLite gives the -wal file the same mode.
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise ServeError(f"{path}: cannot be written ({error.strerror}). Name another file for the store.") from None

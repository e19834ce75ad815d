"""One SQLite connection and its transactions: the ground that the stores of this package stand on."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from types import TracebackType

from reference_server.binding import not_bound
from reference_server.errors import Refusal
from reference_server.ladder import Ladder
from reference_server.storage.migrations import migrate

#: More than the statements of this package, so that each is prepared once.
_STATEMENTS = 256


class Transaction:
    """`with transaction:` commits durably, or leaves nothing behind if the block raises. Not to be nested."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._execute = connection.execute

    def __enter__(self) -> None:
        self._execute("BEGIN IMMEDIATE")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._execute("COMMIT")
        finally:
            # Also after a COMMIT that failed. A full disk makes SQLite roll back by itself.
            if self._connection.in_transaction:
                self._execute("ROLLBACK")


class Database:
    """The connection, opened and migrated. `path` may be `:memory:`. Raises sqlite3.Error, OSError, TooNew."""

    def __init__(self, path: str, ladder: Ladder) -> None:
        self.ladder = ladder
        if path != ":memory:":
            _make_private(Path(path))
        self.connection = sqlite3.connect(path, isolation_level=None, cached_statements=_STATEMENTS)
        try:
            self.connection.execute("PRAGMA journal_mode = WAL")
            # FULL: a commit has reached the disk when it returns. A 2xx tells a device that its report is safe here.
            self.connection.execute("PRAGMA synchronous = FULL")
            self.connection.execute("PRAGMA busy_timeout = 5000")
            migrate(self.connection)
        except BaseException:
            self.connection.close()
            raise
        self.execute = self.connection.execute
        self.transaction = Transaction(self.connection)

    def close(self) -> None:
        self.connection.close()

    def identity(self, identity: str) -> tuple[str | None, str | None]:
        """Owner and state of an identity; two Nones for one that never opened an enrollment."""
        row = self.execute("SELECT enrollment, state FROM identities WHERE identity = ?", (identity,)).fetchone()
        return row if row is not None else (None, None)

    def refusal_of(self, identity: str, enrollment_id: str) -> Refusal:
        """Why this identity, which is not the enrollment's own, is refused."""
        owner, state = self.identity(identity)
        try:
            return not_bound(owner=owner, state=state, enrollment_id=enrollment_id)
        except Refusal as tombstone:
            return tombstone


def _make_private(path: Path) -> None:
    # Made before SQLite makes it, with its mode: unlock tokens and results are nobody else's business. SQLite gives
    # the -wal and -shm files beside it the same mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))

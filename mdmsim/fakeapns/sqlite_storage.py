"""Storage in a SQLite file, with group commit: one transaction at a time carries whatever was told meanwhile.

The service's calls only queue. While `run` runs, a worker thread commits, and everybody who waits in `durable` for the
same transaction is answered by one flush of the disk.
"""

from __future__ import annotations

import logging
from pathlib import Path

import trio

from mdmsim.fakeapns.changes import Changes
from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.sqlite_file import SqliteFile
from mdmsim.fakeapns.storage import Push, Registration, Stored

_log = logging.getLogger(__name__)

#: Seconds that changes wait for company when nobody waits for them: an acknowledgement joins the next push's commit.
LINGER = 0.05
#: Seconds after which a commit that failed is tried again, if nobody asks before.
RETRY = 1.0

#: How far ahead push numbers are reserved, so that not every commit must write the last one: a minute of the clock's.
_RESERVE = 60_000_000


class _Batch:
    """What one transaction carries, and how that went."""

    def __init__(self) -> None:
        self.changes = Changes()
        self.settled = trio.Event()
        self.failure: str | None = None


class SqliteStorage:
    """Registrations, pending pushes and certificates in the file `path`, which is made if it is not there.

    Without `run`, `durable` commits at once, in the calling thread: for worlds with virtual time, where no other thread
    may be at work when the clock jumps. Raises ServeError for a file that cannot be the store; `load` does, too.
    """

    def __init__(self, path: Path) -> None:
        self._file = SqliteFile(path)
        self._open = _Batch()
        self._flying: _Batch | None = None
        self._reserved = 0
        self._running = False
        self._told = trio.Event()
        self._asked = trio.Event()
        self._trouble: str | None = None

    @property
    def trouble(self) -> str | None:
        return self._trouble

    @property
    def transactions(self) -> int:
        """How many transactions were begun."""
        return self._file.transactions

    # what the service tells

    def load(self, fresh_epoch: str) -> Stored:
        """What was kept. Registrations and pushes are read as they are asked for, once, before anything is told."""
        if self._open.changes:
            self._commit_here()
        stored = self._file.read(fresh_epoch)
        self._reserved = stored.number
        return stored

    def keep_registration(self, registration: Registration) -> None:
        self._open.changes.registrations[registration.topic, registration.token] = registration
        self._told.set()

    def keep_push(self, push: Push) -> None:
        changes = self._open.changes
        changes.keep_push(push)
        if push.number > self._reserved:
            changes.number = self._reserved = push.number + _RESERVE
        self._told.set()

    def drop_push(self, push: Push) -> None:
        self._open.changes.drop_push(push)
        self._told.set()

    def keep_certificate(self, der: bytes) -> None:
        self._open.changes.certificates[der] = True
        self._told.set()

    def drop_certificate(self, der: bytes) -> None:
        self._open.changes.certificates[der] = False
        self._told.set()

    async def durable(self) -> None:
        if not self._running:
            if self._open.changes:
                self._commit_here()
            return
        batch = self._flying
        if self._open.changes:
            # It is carried out after the one on its way.
            batch = self._open
            self._asked.set()
        if batch is not None:
            await batch.settled.wait()
            if batch.failure is not None:
                raise NotDurable(batch.failure)

    # its own life

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit in the background until cancelled; what is queued then is committed before this returns."""
        limiter = trio.CapacityLimiter(1)
        self._running = True
        task_status.started()
        try:
            while True:
                await self._told.wait()
                with trio.move_on_after(LINGER if self._trouble is None else RETRY):
                    await self._asked.wait()
                batch = self._take()
                try:
                    await trio.to_thread.run_sync(self._file.write, batch.changes, limiter=limiter)
                except Exception as error:
                    # Whatever it is: nobody may wait for ever, and the pushes of others must go on.
                    self._settle(batch, error)
                else:
                    self._settle(batch, None)
        finally:
            self._running = False
            if self._open.changes:
                try:
                    self._commit_here()
                except NotDurable:
                    # Whoever waits for it is told. So is the log.
                    pass

    def close(self) -> None:
        """Commit what is queued, and let go of the file. Nothing may be told after that."""
        if self._open.changes:
            try:
                self._commit_here()
            except NotDurable:
                _log.error("%s; what was not committed is lost", self._trouble)
        self._file.close()

    # inside

    def _take(self) -> _Batch:
        batch = self._flying = self._open
        self._open = _Batch()
        self._told, self._asked = trio.Event(), trio.Event()
        return batch

    def _settle(self, batch: _Batch, error: Exception | None) -> None:
        self._flying = None
        if error is None:
            if self._trouble is not None:
                _log.warning("%s: the store can be written again", self._file.path)
            self._trouble = None
        else:
            batch.failure = f"{self._file.path}: the store cannot be written ({error})"
            if self._trouble is None:
                _log.error("%s; it is tried again", batch.failure)
            self._trouble = batch.failure
            self._open.changes.put_under(batch.changes)
            self._told.set()
        batch.settled.set()

    def _commit_here(self) -> None:
        batch = self._take()
        try:
            self._file.write(batch.changes)
        except Exception as error:
            self._settle(batch, error)
            raise NotDurable(batch.failure) from None
        self._settle(batch, None)

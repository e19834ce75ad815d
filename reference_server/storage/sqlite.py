"""The whole storage over one SQLite file, or in memory."""

from __future__ import annotations

from reference_server.binding import IdentityState
from reference_server.storage.automated import AutomatedTables
from reference_server.storage.dep import DepTables
from reference_server.storage.pushes import PushTables
from reference_server.storage.records import RefusalRule, RefuseAt

#: Bytes that must be free in the database for the server to be ready: a report of some length.
ROOM = 256 * 1024


class SqliteStorage(PushTables, DepTables, AutomatedTables):
    """`Storage` over SQLite: WAL, one durable transaction per method, no await inside one."""

    async def add_refusal(self, udid: str | None, serial: str | None, at: RefuseAt, *, now_ms: int) -> RefusalRule:
        with self.transaction:
            number = self.execute(
                "INSERT INTO refusals (udid, serial, at, created_ms) VALUES (?, ?, ?, ?)", (udid, serial, at, now_ms)
            ).lastrowid
        return RefusalRule(id=number or 0, udid=udid, serial=serial, at=at, created_ms=now_ms)

    async def refusals(self) -> list[RefusalRule]:
        return self.refusal_rules()

    def refusal_rules(self) -> list[RefusalRule]:
        """The rules, for the start of the server, which is not async."""
        rows = self.execute("SELECT id, udid, serial, at, created_ms FROM refusals ORDER BY id")
        return [RefusalRule(id=n, udid=udid, serial=serial, at=at, created_ms=ms) for n, udid, serial, at, ms in rows]

    async def remove_refusal(self, rule_id: int) -> bool:
        with self.transaction:
            return self.execute("DELETE FROM refusals WHERE id = ?", (rule_id,)).rowcount > 0

    def count_start(self) -> int:
        """The number of this start of a server on this database, from 1; for the start, which is not async."""
        with self.transaction:
            number: int = self.execute("UPDATE starts SET number = number + 1 RETURNING number").fetchone()[0]
        return number

    async def is_removed(self, identity: str) -> bool:
        return self.identity(identity)[1] == IdentityState.REMOVED

    async def ping(self) -> None:
        with self.transaction:
            # Room for a report is asked for and given back. The commit writes to the disk, and is synced as any other.
            self.execute("SAVEPOINT room")
            self.execute("UPDATE probe SET filling = zeroblob(?)", (ROOM,))
            self.execute("ROLLBACK TO room")
            self.execute("RELEASE room")
            self.execute("UPDATE probe SET number = number + 1")

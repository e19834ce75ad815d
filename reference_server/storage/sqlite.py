"""The whole storage over one SQLite file, or in memory."""

from __future__ import annotations

from reference_server.binding import IdentityState
from reference_server.storage.dep import DepTables
from reference_server.storage.pushes import PushTables
from reference_server.storage.records import IssuedIdentity, RefusalRule, RefuseAt

#: Certificates per device that a one-time challenge is good for: attempts fail, but whoever reads a profile on its
#: way must not be able to mint identities without end.
ATTEMPTS = 10


class SqliteStorage(PushTables, DepTables):
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

    async def add_challenge(self, challenge: str, *, devices: int | None, expires_ms: int, now_ms: int) -> None:
        with self.transaction:
            # One that certificates were issued for stays: whether it is used up must be known when they are shown.
            self.execute(
                "DELETE FROM challenges WHERE expires_ms <= ?"
                " AND NOT EXISTS (SELECT 1 FROM issued WHERE issued.challenge = challenges.challenge)",
                (now_ms,),
            )
            self.execute(
                "INSERT INTO challenges (challenge, devices, expires_ms) VALUES (?, ?, ?)"
                " ON CONFLICT (challenge) DO UPDATE SET devices = excluded.devices, expires_ms = excluded.expires_ms",
                (challenge, devices, expires_ms),
            )

    async def challenge_is_open(self, challenge: str, *, now_ms: int) -> bool:
        row = self.execute(
            "SELECT 1 FROM challenges WHERE challenge = ? AND expires_ms > ?"
            " AND (devices IS NULL OR (enrolled < devices AND"
            "  (SELECT COUNT(*) FROM issued WHERE issued.challenge = challenges.challenge) < devices * ?))",
            (challenge, now_ms, ATTEMPTS),
        ).fetchone()
        return row is not None

    async def issued(self, identity: IssuedIdentity) -> None:
        with self.transaction:
            self.execute(
                "INSERT OR IGNORE INTO issued (identity, serial, subject, challenge, transaction_id, at_ms,"
                " not_after_ms) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    identity.identity,
                    identity.serial,
                    identity.subject,
                    identity.challenge,
                    identity.transaction_id,
                    identity.at_ms,
                    identity.not_after_ms,
                ),
            )

    async def is_bound(self, identity: str) -> bool:
        row = self.execute("SELECT 1 FROM enrollments WHERE identity = ? LIMIT 1", (identity,)).fetchone()
        return row is not None

    async def is_removed(self, identity: str) -> bool:
        return self.identity(identity)[1] == IdentityState.REMOVED

    async def ping(self) -> None:
        with self.transaction:
            self.execute("SELECT 1")

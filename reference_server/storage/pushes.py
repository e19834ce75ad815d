"""The push ladder in SQLite: what is due, and what APNs said."""

from __future__ import annotations

from reference_server.ladder import Rung, climb
from reference_server.storage.queue import QueueTables
from reference_server.storage.records import PushTarget

_DUE = """
SELECT id, topic, push_token, push_magic, push_start_ms, push_step, session_open, last_seen_ms FROM enrollments
WHERE push_due_ms <= ? ORDER BY push_due_ms, id LIMIT ?
"""


class PushTables(QueueTables):
    """`PushStore` over SQLite."""

    async def due(self, *, now_ms: int, limit: int) -> list[PushTarget]:
        # Only looked at first, so that waking up for nothing costs no write.
        if self.execute(_DUE, (now_ms, 1)).fetchone() is None:
            return []
        targets = []
        with self.transaction:
            rows = self.execute(_DUE, (now_ms, limit)).fetchall()
            for enrollment_id, topic, token, push_magic, start_ms, step, session_open, last_seen_ms in rows:
                # A session that never came to its end: the device was lost half-way, and its ladder begins there.
                lost_since_ms = last_seen_ms if session_open else None
                rung = climb(self.ladder, Rung(start_ms, step), now_ms, lost_since_ms=lost_since_ms)
                self.execute(
                    "UPDATE enrollments SET push_start_ms = ?, push_step = ?, push_due_ms = ? WHERE id = ?",
                    (rung.start_ms, rung.step, rung.due_ms, enrollment_id),
                )
                targets.append(
                    PushTarget(
                        enrollment_id=enrollment_id,
                        topic=topic,
                        token=token,
                        push_magic=push_magic,
                        attempt=rung.step - 1,
                    )
                )
        return targets

    async def next_due_ms(self) -> int | None:
        due_ms: int | None = self.execute(
            "SELECT MIN(push_due_ms) FROM enrollments WHERE push_due_ms IS NOT NULL"
        ).fetchone()[0]
        return due_ms

    async def push_target(self, enrollment_id: str) -> PushTarget | None:
        row = self.execute(
            "SELECT topic, push_token, push_magic FROM enrollments"
            " WHERE id = ? AND status = 'enrolled' AND push_token IS NOT NULL",
            (enrollment_id,),
        ).fetchone()
        if row is None:
            return None
        topic, token, push_magic = row
        return PushTarget(enrollment_id=enrollment_id, topic=topic, token=token, push_magic=push_magic)

    async def pushed(
        self, target: PushTarget, *, status: int, reason: str | None, stop: bool, dead: bool, now_ms: int
    ) -> None:
        with self.transaction:
            self.execute("UPDATE enrollments SET push_sent = push_sent + 1 WHERE id = ?", (target.enrollment_id,))
            # The device may have sent a new token while the push with the old one was on its way.
            self.execute(
                "UPDATE enrollments SET push_status = ?, push_reason = ?, push_ms = ? WHERE id = ? AND push_token = ?",
                (status, reason, now_ms, target.enrollment_id, target.token),
            )
            if stop or dead:
                self.execute(
                    "UPDATE enrollments SET push_start_ms = NULL, push_step = 0, push_due_ms = NULL, push_dead = ?"
                    " WHERE id = ? AND push_token = ?",
                    (dead, target.enrollment_id, target.token),
                )

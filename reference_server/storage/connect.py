"""Connect in SQLite: one report in, the session's next command out, in one transaction. The server's hot path."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from mdmsim.protocol.connect import Report, Status
from reference_server.ladder import NO_PUSH, Rung, guard, restart, resume
from reference_server.refusals import Refusals
from reference_server.storage.checkin import CheckInTables
from reference_server.storage.records import Connected, NewCommand

#: A command that was offered this often without any answer waits behind the others: the device may die of it.
PATIENCE = 3

_SELECT = """
SELECT status, identity, serial, session, session_open, push_start_ms, push_step, push_due_ms, push_dead, awaiting
FROM enrollments WHERE id = ?
"""
_NEXT = f"""
SELECT seq, uuid, request_type, body FROM commands
WHERE enrollment = ? AND open = 1 AND session < ?
ORDER BY urgent DESC, unanswered >= {PATIENCE}, seq LIMIT 1
"""  # noqa: S608 - a number of ours
_SERVED = """
UPDATE commands SET session = ?, served = served + 1, unanswered = unanswered + 1, last_served_ms = ?,
    first_served_ms = COALESCE(first_served_ms, ?) WHERE seq = ?
"""
_SAVE = """
UPDATE enrollments SET last_seen_ms = ?, session = ?, session_open = ?, push_start_ms = ?, push_step = ?,
    push_due_ms = ? WHERE id = ?
"""
_CLOSED = {
    Status.ACKNOWLEDGED: "acknowledged",
    Status.ERROR: "error",
    Status.COMMAND_FORMAT_ERROR: "format-error",
}


class ConnectTables(CheckInTables):
    """`ConnectStore` over SQLite."""

    async def connect(
        self,
        report: Report,
        body: bytes,
        *,
        identity: str,
        release: Callable[[], NewCommand] | None,
        refusals: Refusals,
        now_ms: int,
    ) -> Connected:
        enrollment_id = report.ids.key
        idle = report.status is Status.IDLE
        with self.transaction:
            row = self.execute(_SELECT, (enrollment_id,)).fetchone()
            if row is None or row[0] != "enrolled" or row[1] != identity:
                raise self.refusal_of(identity, enrollment_id)
            _, _, serial, session, session_open, start_ms, step, due_ms, dead, awaiting = row
            if refusals:
                refusals.check(enrollment_id, serial, "other")
            # A session ends with the empty 200. Idle begins one in any case: the device knows of no open command.
            if idle or not session_open:
                session += 1
            closed = request_type = note = None
            if not idle:
                closed, request_type, note = self._answer(enrollment_id, report, body, session, now_ms)
            if awaiting:
                if closed == "acknowledged" and request_type == "DeviceConfigured":
                    self.execute("UPDATE enrollments SET awaiting = 0 WHERE id = ?", (enrollment_id,))
                    self.cancel_releases(enrollment_id)
                elif release is not None:
                    self.release_if_ready(enrollment_id, release, now_ms)
            rung = Rung(start_ms, step, due_ms)
            command = self.execute(_NEXT, (enrollment_id, session)).fetchone()
            if command is not None:
                self.execute(_SERVED, (session, now_ms, now_ms, command[0]))
                rung = guard(self.ladder, rung, now_ms)
            else:
                rung = NO_PUSH if idle else self._rung_after_session(enrollment_id, rung, now_ms)
            if dead:
                rung = NO_PUSH
            self.execute(
                _SAVE,
                (now_ms, session, command is not None, rung.start_ms, rung.step, rung.due_ms, enrollment_id),
            )
        if command is None:
            return Connected(closed=closed, request_type=request_type, note=note, push_due_ms=rung.due_ms)
        return Connected(
            served_uuid=command[1],
            served_type=command[2],
            served=command[3],
            closed=closed,
            request_type=request_type,
            note=note,
            push_due_ms=rung.due_ms,
        )

    def _answer(
        self, enrollment_id: str, report: Report, body: bytes, session: int, now_ms: int
    ) -> tuple[str | None, str | None, str | None]:
        """Keep what a report says about its command: the state it is closed with, its request type, a remark."""
        row = self.execute(
            "SELECT seq, state, open, request_type FROM commands WHERE enrollment = ? AND uuid = ?",
            (enrollment_id, report.command_uuid),
        ).fetchone()
        if row is None:
            return None, None, "a command that was never queued here"
        seq, state, is_open, request_type = row
        if report.status is Status.NOT_NOW:
            if not is_open:
                return None, request_type, f"a command that is closed ({state})"
            self.execute(
                "UPDATE commands SET state = 'notnow', not_now = not_now + 1, unanswered = 0, session = ?"
                " WHERE seq = ?",
                (session, seq),
            )
            return None, request_type, None
        kept = self.execute(
            "INSERT OR IGNORE INTO results (command, status, at_ms, late, digest, body) VALUES (?, ?, ?, ?, ?, ?)",
            (seq, report.status.value, now_ms, not is_open, hashlib.sha256(body).hexdigest(), body),
        ).rowcount
        if not is_open:
            return None, request_type, f"late: the command is closed ({state})" if kept else "the same report again"
        closed = _CLOSED[report.status]
        self.execute(
            "UPDATE commands SET state = ?, open = NULL, unanswered = 0, answered_ms = ? WHERE seq = ?",
            (closed, now_ms, seq),
        )
        return closed, request_type, None

    def _rung_after_session(self, enrollment_id: str, rung: Rung, now_ms: int) -> Rung:
        states = self.execute(
            "SELECT MAX(state = 'queued') FROM commands WHERE enrollment = ? AND open = 1", (enrollment_id,)
        ).fetchone()[0]
        if states is None:
            return NO_PUSH
        return restart(self.ladder, now_ms) if states else resume(self.ladder, rung, now_ms)

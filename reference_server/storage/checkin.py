"""Check-in in SQLite: an enrollment opens, is finished, is refreshed, ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from reference_server.binding import IdentityState, check_authenticate
from reference_server.ladder import NO_PUSH, begin
from reference_server.refusals import Refusals
from reference_server.storage.records import NewCommand, Opening, TokenNews
from reference_server.storage.scep import ScepTables

_SELECT = """
SELECT status, identity, pending_identity, pending_after, serial, push_dead, push_token
FROM enrollments WHERE id = ?
"""
_FINISH = """
UPDATE enrollments SET status = 'enrolled', identity = ?, pending_identity = NULL, topic = ?, push_token = ?,
    push_magic = ?, awaiting = COALESCE(?, awaiting), token_updates = 1, enrolled_ms = ?, last_seen_ms = ?,
    session_open = 0, push_start_ms = ?, push_step = ?, push_due_ms = ?, push_dead = 0, push_sent = 0,
    push_status = NULL, push_reason = NULL, push_ms = NULL
WHERE id = ?
"""
_REFRESH = """
UPDATE enrollments SET topic = ?, push_token = ?, push_magic = ?, awaiting = COALESCE(?, awaiting),
    token_updates = token_updates + 1, last_seen_ms = ?, push_dead = 0 WHERE id = ?
"""
_INSERT_COMMAND = """
INSERT INTO commands (enrollment, uuid, request_type, body, state, open, urgent, setup, queued_ms)
VALUES (?, ?, ?, ?, 'queued', 1, ?, ?, ?)
"""


_HELD = """
SELECT 1 FROM enrollments WHERE id = ? AND awaiting = 1 AND status = 'enrolled' AND NOT EXISTS (
    SELECT 1 FROM commands WHERE enrollment = id
    AND ((open = 1 AND setup = 1) OR (request_type = 'DeviceConfigured' AND seq > pending_after)))
"""


class CheckInTables(ScepTables):
    """`CheckInStore` over SQLite."""

    async def authenticate(self, opening: Opening, *, refusals: Refusals, now_ms: int) -> None:
        enrollment_id, identity = opening.enrollment_id, opening.identity
        details = msgspec.json.encode(opening.details)
        with self.transaction:
            owner, state = self.identity(identity)
            check_authenticate(owner=owner, state=state, enrollment_id=enrollment_id)
            self.check_challenge(identity)
            if refusals:
                refusals.check(enrollment_id, opening.details.serial_number, "authenticate")
            row = self.execute(_SELECT, (enrollment_id,)).fetchone()
            if row is None:
                self.execute(
                    "INSERT INTO enrollments (id, udid, user_enrollment_id, serial, status, pending_identity, topic,"
                    " created_ms, last_seen_ms) VALUES (?, ?, ?, ?, 'pending', ?, ?, ?, ?)",
                    (
                        enrollment_id,
                        opening.udid,
                        opening.user_enrollment_id,
                        opening.details.serial_number,
                        identity,
                        opening.topic,
                        now_ms,
                        now_ms,
                    ),
                )
                self.execute("INSERT INTO details (enrollment, authenticate) VALUES (?, ?)", (enrollment_id, details))
            else:
                status, bound, pending, *_ = row
                if pending is not None and pending not in (identity, bound):
                    self._set_identity(pending, IdentityState.ABANDONED)
                self.execute(
                    "UPDATE enrollments SET status = ?, pending_identity = ?, last_seen_ms = ?,"
                    " serial = COALESCE(?, serial),"
                    " pending_after = (SELECT COALESCE(MAX(seq), 0) FROM commands WHERE enrollment = ?) WHERE id = ?",
                    (
                        "enrolled" if status == "enrolled" else "pending",
                        identity,
                        now_ms,
                        opening.details.serial_number,
                        enrollment_id,
                        enrollment_id,
                    ),
                )
                self.execute("UPDATE details SET pending = ? WHERE enrollment = ?", (details, enrollment_id))
            if state != IdentityState.BOUND:
                self.execute(
                    "INSERT INTO identities (identity, enrollment, state, opened_ms) VALUES (?, ?, 'pending', ?)"
                    " ON CONFLICT (identity) DO UPDATE SET state = 'pending', opened_ms = excluded.opened_ms",
                    (identity, enrollment_id, now_ms),
                )

    async def token_update(
        self,
        news: TokenNews,
        *,
        first_commands: Sequence[NewCommand],
        release: Callable[[], NewCommand] | None,
        refusals: Refusals,
        now_ms: int,
    ) -> bool:
        with self.transaction:
            row = self.execute(_SELECT, (news.enrollment_id,)).fetchone()
            if row is None:
                raise self.refusal_of(news.identity, news.enrollment_id)
            status, bound, pending, pending_after, serial, dead, token = row
            finishes: bool = pending == news.identity
            if not finishes and (status != "enrolled" or bound != news.identity):
                raise self.refusal_of(news.identity, news.enrollment_id)
            if finishes:
                self.check_challenge(news.identity)
            if refusals:
                refusals.check(news.enrollment_id, serial, "tokenupdate")
            if finishes:
                self._finish(news, pending_after, first_commands, now_ms)
            else:
                self._refresh(news, lost=bool(dead) or token != news.push_token, now_ms=now_ms)
            if news.awaiting_configuration is False:
                self.cancel_releases(news.enrollment_id)
            elif release is not None and self.release_if_ready(news.enrollment_id, release, now_ms):
                self.start_ladder(news.enrollment_id, now_ms)
        return finishes

    def _finish(self, news: TokenNews, pending_after: int, first_commands: Sequence[NewCommand], now_ms: int) -> None:
        enrollment_id, identity = news.enrollment_id, news.identity
        self.settle_challenge(identity)
        self.execute(
            "UPDATE identities SET state = 'superseded'"
            " WHERE enrollment = ? AND identity <> ? AND state IN ('pending', 'bound')",
            (enrollment_id, identity),
        )
        # What was issued before this Authenticate was issued for the enrollment that ends here, as its commands were.
        self.execute(
            "UPDATE identities SET state = ? WHERE enrollment = ? AND state = ?"
            " AND opened_ms <= (SELECT opened_ms FROM identities WHERE identity = ?)",
            (IdentityState.WITHDRAWN, enrollment_id, IdentityState.ISSUED, identity),
        )
        self._set_identity(identity, IdentityState.BOUND)
        # What was queued before this Authenticate was meant for the enrollment that ends here.
        self.execute(
            "UPDATE commands SET state = 'superseded', open = NULL WHERE enrollment = ? AND open = 1 AND seq <= ?",
            (enrollment_id, pending_after),
        )
        self._forget_secrets(enrollment_id)
        self.execute(
            "UPDATE details SET authenticate = COALESCE(pending, authenticate), pending = NULL, unlock_token = ?,"
            " user = (SELECT user FROM issued WHERE identity = ?) WHERE enrollment = ?",
            (news.unlock_token, identity, enrollment_id),
        )
        for command in first_commands:
            self.insert_command(enrollment_id, command, now_ms)
        rung = begin(self.ladder, now_ms) if self.has_open_commands(enrollment_id) else NO_PUSH
        self.execute(
            _FINISH,
            (
                identity,
                news.topic,
                news.push_token,
                news.push_magic,
                news.awaiting_configuration,
                now_ms,
                now_ms,
                rung.start_ms,
                rung.step,
                rung.due_ms,
                enrollment_id,
            ),
        )

    def _refresh(self, news: TokenNews, *, lost: bool, now_ms: int) -> None:
        # `lost`: pushes so far went to a token that is no more.
        self.execute(
            _REFRESH,
            (
                news.topic,
                news.push_token,
                news.push_magic,
                news.awaiting_configuration,
                now_ms,
                news.enrollment_id,
            ),
        )
        if news.unlock_token is not None:
            self.execute(
                "UPDATE details SET unlock_token = ? WHERE enrollment = ?", (news.unlock_token, news.enrollment_id)
            )
        if lost:
            # What APNs said, it said about the token that is no more.
            self.execute(
                "UPDATE enrollments SET push_status = NULL, push_reason = NULL, push_ms = NULL WHERE id = ?",
                (news.enrollment_id,),
            )
            if self.has_open_commands(news.enrollment_id):
                self.start_ladder(news.enrollment_id, now_ms)

    async def check_out(self, enrollment_id: str, identity: str, *, refusals: Refusals, now_ms: int) -> None:
        with self.transaction:
            row = self.execute(_SELECT, (enrollment_id,)).fetchone()
            status, bound, pending, _, serial, *_ = row if row is not None else (None,) * 7
            is_bound = status == "enrolled" and bound == identity
            if not is_bound and pending != identity:
                if self.identity(identity) == (enrollment_id, IdentityState.CHECKED_OUT):
                    return
                raise self.refusal_of(identity, enrollment_id)
            if refusals:
                refusals.check(enrollment_id, serial, "other")
            self._set_identity(identity, IdentityState.CHECKED_OUT)
            if pending == identity:
                self.execute("UPDATE enrollments SET pending_identity = NULL WHERE id = ?", (enrollment_id,))
                pending = None
            if is_bound or status == "pending":
                self.end_enrollment(enrollment_id, "pending" if pending is not None else "checked-out")
            self.execute("UPDATE enrollments SET last_seen_ms = ? WHERE id = ?", (now_ms, enrollment_id))

    def end_enrollment(self, enrollment_id: str, status: str) -> None:
        """Nothing to push to, nothing to serve; a pending identity stays."""
        self.execute(
            "UPDATE enrollments SET status = ?, identity = NULL, push_token = NULL, push_magic = NULL,"
            " awaiting = NULL, session_open = 0, push_start_ms = NULL, push_step = 0, push_due_ms = NULL WHERE id = ?",
            (status, enrollment_id),
        )
        self.withdraw(enrollment_id)
        self.execute("UPDATE details SET unlock_token = NULL WHERE enrollment = ?", (enrollment_id,))
        self.execute(
            "UPDATE commands SET state = 'cancelled', open = NULL WHERE enrollment = ? AND open = 1", (enrollment_id,)
        )
        self._forget_secrets(enrollment_id)

    def _forget_secrets(self, enrollment_id: str) -> None:
        # ClearPasscode carries the unlock token, which ends with its enrollment. A closed command is served to nobody.
        self.execute(
            "UPDATE commands SET body = x'' WHERE enrollment = ? AND open IS NULL AND request_type = 'ClearPasscode'",
            (enrollment_id,),
        )

    def insert_command(self, enrollment_id: str, command: NewCommand, now_ms: int) -> int:
        """Append to the queue; the new `seq`. Raises sqlite3.IntegrityError for a CommandUUID used before there."""
        cursor = self.execute(
            _INSERT_COMMAND,
            (
                enrollment_id,
                command.command_uuid,
                command.request_type,
                command.body,
                command.urgent,
                command.setup,
                now_ms,
            ),
        )
        return cursor.lastrowid or 0

    def release_if_ready(self, enrollment_id: str, release: Callable[[], NewCommand], now_ms: int) -> bool:
        """Queue DeviceConfigured for a device that is held in Setup Assistant and has answered all setup commands.

        Once for each enrollment, however it is answered.
        """
        row = self.execute(_HELD, (enrollment_id,)).fetchone()
        if row is None:
            return False
        self.insert_command(enrollment_id, release(), now_ms)
        return True

    def cancel_releases(self, enrollment_id: str) -> None:
        """The device is not held any more: no DeviceConfigured must reach it."""
        self.execute(
            "UPDATE commands SET state = 'cancelled', open = NULL"
            " WHERE enrollment = ? AND open = 1 AND request_type = 'DeviceConfigured'",
            (enrollment_id,),
        )

    def has_open_commands(self, enrollment_id: str) -> bool:
        row = self.execute("SELECT 1 FROM commands WHERE enrollment = ? AND open = 1 LIMIT 1", (enrollment_id,))
        return row.fetchone() is not None

    def start_ladder(self, enrollment_id: str, now_ms: int) -> None:
        """Push at once, if there is somewhere to push to."""
        rung = begin(self.ladder, now_ms)
        self.execute(
            "UPDATE enrollments SET push_start_ms = ?, push_step = ?, push_due_ms = ?"
            " WHERE id = ? AND status = 'enrolled' AND push_dead = 0",
            (rung.start_ms, rung.step, rung.due_ms, enrollment_id),
        )

    def _set_identity(self, identity: str, state: IdentityState) -> None:
        self.execute("UPDATE identities SET state = ? WHERE identity = ?", (state, identity))

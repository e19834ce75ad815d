"""The queue and the enrollments in SQLite, as the administrator sees them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

import msgspec

from reference_server.binding import IdentityState
from reference_server.errors import ApiProblem
from reference_server.storage.connect import ConnectTables
from reference_server.storage.records import (
    CommandRecord,
    CommandState,
    Device,
    DeviceDetails,
    EnrollmentStatus,
    NewCommand,
    PushState,
    StoredResult,
)

_COMMAND = """
SELECT seq, enrollment, uuid, request_type, state, urgent, queued_ms, served, first_served_ms, last_served_ms,
    answered_ms, not_now FROM commands
"""
_DEVICE = """
SELECT id, status, udid, user_enrollment_id, topic, awaiting, unlock_token IS NOT NULL, token_updates, identity,
    pending_identity, created_ms, enrolled_ms, last_seen_ms,
    (SELECT COUNT(*) FROM commands WHERE enrollment = id AND open = 1),
    push_token IS NOT NULL, push_dead, push_due_ms, push_sent, push_status, push_reason, push_ms,
    CASE WHEN status = 'pending' THEN COALESCE(pending, authenticate) ELSE authenticate END, user
FROM enrollments JOIN details ON enrollment = id
"""

_decode_details = msgspec.json.Decoder(DeviceDetails).decode


class QueueTables(ConnectTables):
    """`CommandStore` and `DeviceStore` over SQLite."""

    async def queue(
        self, commands: Sequence[tuple[str, NewCommand]], *, push: bool, now_ms: int
    ) -> list[CommandRecord]:
        with self.transaction:
            numbers = [self._append(enrollment_id, command, now_ms) for enrollment_id, command in commands]
            if push:
                for enrollment_id in {enrollment_id for enrollment_id, _ in commands}:
                    self.start_ladder(enrollment_id, now_ms)
            return [self._command("WHERE seq = ?", (number,))[0] for number in numbers]

    def _append(self, enrollment_id: str, command: NewCommand, now_ms: int) -> int:
        row = self.execute("SELECT status, awaiting FROM enrollments WHERE id = ?", (enrollment_id,)).fetchone()
        if row is None:
            raise ApiProblem(
                404,
                "unknown-device",
                f"no enrollment has the id {enrollment_id!r}",
                where="device",
                hint="GET /api/v1/devices lists them",
            )
        if row[0] not in ("enrolled", "pending"):
            raise ApiProblem(
                409,
                "not-enrolled",
                f"the enrollment {enrollment_id!r} has ended ({row[0]})",
                where="device",
                hint="The device must enrol again first",
            )
        if command.request_type == "DeviceConfigured" and not row[1]:
            raise ApiProblem(
                409,
                "not-awaiting",
                f"{enrollment_id!r} is not held in Setup Assistant, so it has nothing to be released from",
                where="device",
                hint="awaiting_configuration of the device says whether it is; its TokenUpdate must say so first",
            )
        try:
            return self.insert_command(enrollment_id, command, now_ms)
        except sqlite3.IntegrityError:
            raise ApiProblem(
                409,
                "command-uuid-taken",
                f"{command.command_uuid!r} was queued for {enrollment_id!r} before",
                where="command_uuid",
                hint="Leave it out to get a new one",
            ) from None

    def _command(self, where: str, values: tuple[object, ...]) -> list[CommandRecord]:
        return [
            CommandRecord(
                seq=seq,
                device=device,
                command_uuid=command_uuid,
                request_type=request_type,
                state=state,
                urgent=bool(urgent),
                queued_ms=queued_ms,
                served=served,
                first_served_ms=first_served_ms,
                last_served_ms=last_served_ms,
                answered_ms=answered_ms,
                not_now=not_now,
            )
            for (
                seq,
                device,
                command_uuid,
                request_type,
                state,
                urgent,
                queued_ms,
                served,
                first_served_ms,
                last_served_ms,
                answered_ms,
                not_now,
            ) in self.execute(_COMMAND + where, values)
        ]

    async def command(self, enrollment_id: str, command_uuid: str) -> CommandRecord | None:
        found = self._command("WHERE enrollment = ? AND uuid = ?", (enrollment_id, command_uuid))
        return found[0] if found else None

    async def results(self, enrollment_id: str, command_uuid: str) -> list[StoredResult]:
        rows = self.execute(
            "SELECT status, at_ms, late, results.body FROM results JOIN commands ON seq = command"
            " WHERE enrollment = ? AND uuid = ? ORDER BY results.id",
            (enrollment_id, command_uuid),
        )
        return [
            StoredResult(status=status, at_ms=at_ms, late=bool(late), body=body) for status, at_ms, late, body in rows
        ]

    async def commands(
        self, enrollment_id: str, *, state: CommandState | None, after: int, limit: int
    ) -> list[CommandRecord]:
        return self._command(
            "WHERE enrollment = ? AND seq > ? AND (? IS NULL OR state = ?) ORDER BY seq LIMIT ?",
            (enrollment_id, after, state, state, limit),
        )

    async def cancel(self, enrollment_id: str, command_uuid: str | None, *, now_ms: int) -> int:
        with self.transaction:
            closed = self.execute(
                "UPDATE commands SET state = 'cancelled', open = NULL"
                " WHERE enrollment = ? AND open = 1 AND (? IS NULL OR uuid = ?)",
                (enrollment_id, command_uuid, command_uuid),
            ).rowcount
            if not self.has_open_commands(enrollment_id):
                self.execute(
                    "UPDATE enrollments SET push_start_ms = NULL, push_step = 0, push_due_ms = NULL WHERE id = ?",
                    (enrollment_id,),
                )
        return closed

    async def device(self, enrollment_id: str) -> Device | None:
        row = self.execute(_DEVICE + "WHERE id = ?", (enrollment_id,)).fetchone()
        return None if row is None else _device(row)

    async def devices(
        self, *, status: EnrollmentStatus | None, serial: str | None, after: str, limit: int
    ) -> list[Device]:
        rows = self.execute(
            _DEVICE + "WHERE id > ? AND (? IS NULL OR status = ?) AND (? IS NULL OR serial = ?) ORDER BY id LIMIT ?",
            (after, status, status, serial, serial, limit),
        )
        return [_device(row) for row in rows]

    async def unlock_token(self, enrollment_id: str) -> bytes | None:
        row = self.execute("SELECT unlock_token FROM details WHERE enrollment = ?", (enrollment_id,)).fetchone()
        return row[0] if row is not None else None

    async def renewal_queued(self, enrollment_id: str, command_uuid: str) -> None:
        with self.transaction:
            self.execute(
                "UPDATE commands SET state = 'cancelled', open = NULL WHERE enrollment = ? AND open = 1"
                " AND uuid = (SELECT renewal FROM details WHERE details.enrollment = commands.enrollment)",
                (enrollment_id,),
            )
            self.execute("UPDATE details SET renewal = ? WHERE enrollment = ?", (command_uuid, enrollment_id))

    async def remove(self, enrollment_id: str, *, now_ms: int) -> bool:
        with self.transaction:
            row = self.execute("SELECT 1 FROM enrollments WHERE id = ?", (enrollment_id,)).fetchone()
            if row is None:
                return False
            self.execute("UPDATE identities SET state = ? WHERE enrollment = ?", (IdentityState.REMOVED, enrollment_id))
            self.execute("UPDATE enrollments SET pending_identity = NULL WHERE id = ?", (enrollment_id,))
            self.end_enrollment(enrollment_id, "removed")
        return True


def _device(row: tuple[object, ...]) -> Device:
    (
        enrollment_id,
        status,
        udid,
        user_enrollment_id,
        topic,
        awaiting,
        has_unlock_token,
        token_updates,
        identity,
        pending_identity,
        created_ms,
        enrolled_ms,
        last_seen_ms,
        open_commands,
        has_token,
        dead,
        due_ms,
        sent,
        last_status,
        last_reason,
        last_ms,
        details_json,
        user,
    ) = row
    details = _decode_details(details_json)  # type: ignore[arg-type]
    # SQLite's columns have no static types; convert checks every one of them against the record.
    return msgspec.convert(
        {
            "id": enrollment_id,
            "status": status,
            "udid": udid,
            "enrollment_id": user_enrollment_id,
            **msgspec.structs.asdict(details),
            "user": user,
            "topic": topic,
            "awaiting_configuration": None if awaiting is None else bool(awaiting),
            "has_unlock_token": bool(has_unlock_token),
            "token_updates": token_updates,
            "identity": identity,
            "pending_identity": pending_identity,
            "created_ms": created_ms,
            "enrolled_ms": enrolled_ms,
            "last_seen_ms": last_seen_ms,
            "open_commands": open_commands,
            "push": PushState(
                token=bool(has_token),
                dead=bool(dead),
                due_ms=due_ms,  # type: ignore[arg-type]
                sent=sent,  # type: ignore[arg-type]
                last_status=last_status,  # type: ignore[arg-type]
                last_reason=last_reason,  # type: ignore[arg-type]
                last_ms=last_ms,  # type: ignore[arg-type]
            ),
        },
        Device,
    )

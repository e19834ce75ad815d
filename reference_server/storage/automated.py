"""Automated enrollment in SQLite: which devices may, whose they are, and what was given out."""

from __future__ import annotations

from typing import Any

import msgspec

from reference_server.storage.database import Database
from reference_server.storage.dep_records import AutomatedRecord, DeviceUser


class AutomatedTables(Database):
    """`AutomatedStore` over SQLite."""

    async def dep_enrollable(self, serial: str) -> dict[str, Any] | None:
        row = self.execute(
            "SELECT definition FROM dep_devices d LEFT JOIN dep_definitions f"
            " ON f.account = d.account AND f.uuid = d.profile_uuid"
            " WHERE serial = ? AND gone = 0 ORDER BY definition IS NULL LIMIT 1",
            (serial,),
        ).fetchone()
        if row is None:
            return None
        definition: dict[str, Any] = msgspec.json.decode(row[0]) if row[0] is not None else {}
        return definition

    async def keep_automated(self, record: AutomatedRecord) -> None:
        with self.transaction:
            self.execute(
                "INSERT OR REPLACE INTO automated (serial, udid, removable, at_ms) VALUES (?, ?, ?, ?)",
                (record.serial_number, record.udid, record.removable, record.at_ms),
            )

    async def automated(self, serial: str) -> AutomatedRecord | None:
        row = self.execute(
            "SELECT serial, udid, removable, at_ms FROM automated WHERE serial = ?", (serial,)
        ).fetchone()
        if row is None:
            return None
        return AutomatedRecord(serial_number=row[0], udid=row[1], removable=bool(row[2]), at_ms=row[3])

    async def set_device_user(self, serial: str, chosen: DeviceUser | None) -> None:
        with self.transaction:
            self.execute("DELETE FROM device_users WHERE serial = ?", (serial,))
            if chosen is not None:
                self.execute(
                    "INSERT INTO device_users (serial, user, login) VALUES (?, ?, ?)",
                    (serial, chosen.user, chosen.login),
                )

    async def device_user(self, serial: str) -> DeviceUser | None:
        row = self.execute("SELECT user, login FROM device_users WHERE serial = ?", (serial,)).fetchone()
        return DeviceUser(user=row[0], login=bool(row[1])) if row is not None else None

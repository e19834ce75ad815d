"""Apple's device enrollment service in SQLite: accounts with their place in the list, profiles, devices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from reference_server.errors import ApiProblem
from reference_server.storage.database import Database
from reference_server.storage.dep_records import (
    DEFAULT_PROFILE,
    DepAccount,
    DepChanges,
    DepDevice,
    DepPlace,
    DepProfile,
    DepSecrets,
    DepTrouble,
)

_ACCOUNT = """
SELECT name, account, token IS NOT NULL, consumer_key, token_expires_ms,
    (SELECT COUNT(*) FROM dep_devices WHERE account = name AND gone = 0),
    fetching, cursor IS NOT NULL, fetched_ms, synced_ms, next_ms, trouble, trouble_ms, failures, created_ms
FROM dep_accounts
"""
_DEVICE = "SELECT account, serial, gone, status, profile_uuid, wanted, result, retry_ms, record FROM dep_devices "
_UPSERT = """
INSERT INTO dep_devices (account, serial, gone, status, profile_uuid, record, op_date, pass, wanted)
VALUES (?, ?, 0, ?, ?, ?, ?, ?, ?)
ON CONFLICT (account, serial) DO UPDATE SET gone = 0, status = excluded.status, profile_uuid = excluded.profile_uuid,
    record = excluded.record, op_date = excluded.op_date, pass = excluded.pass, result = NULL,
    retry_ms = CASE WHEN result = 'NOT_ACCESSIBLE' THEN NULL ELSE retry_ms END
"""
# Named again, and just as it was.
_SEEN = """
UPDATE dep_devices SET op_date = ?, pass = ?, result = NULL,
    retry_ms = CASE WHEN result = 'NOT_ACCESSIBLE' THEN NULL ELSE retry_ms END
WHERE account = ? AND serial = ?
"""
# A device needs a profile where what Apple says it has is not the one that is wanted.
_UNASSIGNED = """
SELECT serial FROM dep_devices WHERE account = ? AND wanted = ? AND gone = 0
    AND (profile_uuid IS NOT ? OR status IS NULL OR status NOT IN ('assigned', 'pushed'))
    AND (retry_ms IS NULL OR retry_ms <= ?) AND result IS NOT 'NOT_ACCESSIBLE'
ORDER BY serial LIMIT ?
"""


def profile_uuid_of(value: object) -> str | None:
    """A profile's UUID as it is compared: capital hex without dashes (captured: device records)."""
    return value.replace("-", "").upper() if isinstance(value, str) and value else None


class DepTables(Database):
    """`DepStore` over SQLite."""

    # ---- accounts

    async def add_dep_account(self, name: str, *, certificate: bytes, key: bytes, now_ms: int) -> bool:
        with self.transaction:
            return (
                self.execute(
                    "INSERT OR IGNORE INTO dep_accounts (name, certificate, key, created_ms) VALUES (?, ?, ?, ?)",
                    (name, certificate, key, now_ms),
                ).rowcount
                > 0
            )

    async def remove_dep_account(self, name: str) -> bool:
        with self.transaction:
            for table in ("dep_devices", "dep_definitions", "dep_profiles"):
                self.execute(f"DELETE FROM {table} WHERE account = ?", (name,))  # noqa: S608 - names of ours
            return self.execute("DELETE FROM dep_accounts WHERE name = ?", (name,)).rowcount > 0

    async def dep_accounts(self) -> list[DepAccount]:
        return [_account(row) for row in self.execute(_ACCOUNT + "ORDER BY name")]

    async def dep_account(self, name: str) -> DepAccount | None:
        row = self.execute(_ACCOUNT + "WHERE name = ?", (name,)).fetchone()
        return _account(row) if row is not None else None

    async def dep_secrets(self, name: str) -> DepSecrets | None:
        row = self.execute("SELECT certificate, key, token FROM dep_accounts WHERE name = ?", (name,)).fetchone()
        return DepSecrets(certificate=row[0], key=row[1], token=row[2]) if row is not None else None

    async def set_dep_token(
        self, name: str, token: bytes, *, consumer_key: str, expires_ms: int | None, anew: bool, now_ms: int
    ) -> None:
        with self.transaction:
            if anew:
                # Another server entry: nothing known of the old one holds.
                for table in ("dep_devices", "dep_definitions"):
                    self.execute(f"DELETE FROM {table} WHERE account = ?", (name,))  # noqa: S608 - names of ours
                self.execute("UPDATE dep_profiles SET uuid = NULL WHERE account = ?", (name,))
                self.execute(
                    "UPDATE dep_accounts SET cursor = NULL, fetching = 1, fetched_ms = NULL, synced_ms = NULL"
                    " WHERE name = ?",
                    (name,),
                )
            self.execute(
                "UPDATE dep_accounts SET token = ?, consumer_key = ?, token_expires_ms = ?, account = NULL,"
                " account_ms = NULL, next_ms = ?, failures = 0, trouble = NULL, trouble_ms = NULL WHERE name = ?",
                (token, consumer_key, expires_ms, now_ms, name),
            )

    async def keep_dep_account(self, name: str, account: dict[str, Any], *, now_ms: int) -> None:
        with self.transaction:
            self.execute(
                "UPDATE dep_accounts SET account = ?, account_ms = ? WHERE name = ?",
                (msgspec.json.encode(account), now_ms, name),
            )

    # ---- rounds

    async def dep_due(self, *, now_ms: int, guard_ms: int) -> list[str]:
        """Accounts whose round is due; each is put off to `guard_ms`, should the round never come to its end."""
        rows = self.execute("SELECT name FROM dep_accounts WHERE next_ms <= ? ORDER BY name", (now_ms,)).fetchall()
        if rows:
            with self.transaction:
                self.execute("UPDATE dep_accounts SET next_ms = ? WHERE next_ms <= ?", (guard_ms, now_ms))
        return [name for (name,) in rows]

    async def dep_next_ms(self) -> int | None:
        next_ms: int | None = self.execute("SELECT MIN(next_ms) FROM dep_accounts").fetchone()[0]
        return next_ms

    async def dep_hurry(self, name: str, *, now_ms: int) -> None:
        with self.transaction:
            self.execute(
                "UPDATE dep_accounts SET next_ms = ? WHERE name = ? AND token IS NOT NULL AND trouble IS NULL",
                (now_ms, name),
            )

    async def dep_done(self, name: str, *, now_ms: int, next_ms: int) -> None:
        with self.transaction:
            self.execute(
                "UPDATE dep_accounts SET synced_ms = ?, next_ms = ?, failures = 0, trouble = NULL, trouble_ms = NULL"
                " WHERE name = ?",
                (now_ms, next_ms, name),
            )

    async def dep_failed(self, name: str, reason: str, *, now_ms: int, next_ms: int) -> None:
        with self.transaction:
            self.execute(
                "UPDATE dep_accounts SET next_ms = ?, failures = failures + 1, trouble_ms = CASE WHEN trouble = ?"
                " THEN trouble_ms ELSE ? END, trouble = ? WHERE name = ?",
                (next_ms, reason, now_ms, reason, name),
            )

    async def dep_place(self, name: str) -> DepPlace | None:
        row = self.execute(
            "SELECT cursor, fetching, pass, fetched_ms, account, account_ms FROM dep_accounts WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            return None
        cursor, fetching, number, fetched_ms, account, account_ms = row
        return DepPlace(
            cursor=cursor,
            fetching=bool(fetching),
            pass_number=number,
            fetched_ms=fetched_ms,
            account=msgspec.json.decode(account) if account is not None else None,
            account_ms=account_ms,
        )

    async def dep_start_over(self, name: str) -> None:
        """Read the full list from its beginning."""
        with self.transaction:
            self.execute("UPDATE dep_accounts SET cursor = NULL, fetching = 1, pass = pass + 1 WHERE name = ?", (name,))

    async def dep_page(
        self, name: str, devices: Sequence[dict[str, Any]], *, cursor: str, fetched: bool, now_ms: int
    ) -> DepChanges:
        """Keep a page and the cursor behind it, together. `fetched`: it was the last of a full list."""
        changes = DepChanges()
        with self.transaction:
            row = self.execute("SELECT pass, fetching FROM dep_accounts WHERE name = ?", (name,)).fetchone()
            if row is None:
                return changes
            number, fetching = row
            for record in devices:
                changes += self._take(name, record, number, snapshot=bool(fetching))
            if fetched:
                # Whatever the full list did not name is not ours any more.
                gone = self.execute(
                    "UPDATE dep_devices SET gone = 1 WHERE account = ? AND gone = 0 AND pass < ?", (name, number)
                ).rowcount
                changes += DepChanges(deleted=gone)
                self.execute("UPDATE dep_accounts SET fetching = 0, fetched_ms = ? WHERE name = ?", (now_ms, name))
            self.execute("UPDATE dep_accounts SET cursor = ? WHERE name = ?", (cursor or None, name))
        return changes

    async def dep_fetch_is_over(self, name: str, *, now_ms: int) -> None:
        """Go on with sync from the same cursor."""
        with self.transaction:
            self.execute("UPDATE dep_accounts SET fetching = 0, fetched_ms = ? WHERE name = ?", (now_ms, name))

    def _take(self, name: str, record: dict[str, Any], number: int, *, snapshot: bool) -> DepChanges:
        serial = record.get("serial_number")
        if not isinstance(serial, str) or not serial:
            return DepChanges()
        known = self.execute(
            "SELECT gone, record, op_date FROM dep_devices WHERE account = ? AND serial = ?", (name, serial)
        ).fetchone()
        op_date = record.get("op_date") if isinstance(record.get("op_date"), str) else None
        if not snapshot and known is not None and known[2] is not None and op_date is not None and op_date < known[2]:
            # Several operations may come for one device, in any order; the latest counts. Times are all UTC, in one form.
            return DepChanges()
        if record.get("op_type") == "deleted":
            if known is None:
                return DepChanges()
            self.execute(
                "UPDATE dep_devices SET gone = 1, status = 'empty', profile_uuid = NULL, op_date = ?, result = NULL,"
                " retry_ms = NULL WHERE account = ? AND serial = ?",
                (op_date, name, serial),
            )
            return DepChanges(deleted=not known[0])
        # The operation is the page's affair, not the device's: by a full list the same device comes without.
        record = {key: value for key, value in record.items() if key not in ("op_type", "op_date")}
        body = msgspec.json.encode(record)
        fresh = known is None or bool(known[0])
        if not fresh and known[1] == body:
            if snapshot or op_date != known[2]:
                self.execute(_SEEN, (op_date, number, name, serial))
            return DepChanges()
        self._keep_record(name, serial, record, body, op_date, number)
        return DepChanges(added=fresh, modified=not fresh)

    def _keep_record(
        self, name: str, serial: str, record: dict[str, Any], body: bytes, op_date: str | None, number: int
    ) -> None:
        status = record.get("profile_status")
        self.execute(
            _UPSERT,
            (
                name,
                serial,
                status if isinstance(status, str) else None,
                profile_uuid_of(record.get("profile_uuid")),
                body,
                op_date,
                number,
                DEFAULT_PROFILE,
            ),
        )

    # ---- profiles

    async def dep_profiles(self, name: str) -> list[DepProfile]:
        rows = self.execute(
            "SELECT p.name, p.wishes, d.definition, p.uuid, d.defined_ms FROM dep_profiles p"
            " LEFT JOIN dep_definitions d ON d.account = p.account AND d.uuid = p.uuid"
            " WHERE p.account = ? ORDER BY p.name",
            (name,),
        )
        return [
            DepProfile(
                name=profile,
                wishes=msgspec.json.decode(wishes) if wishes is not None else None,
                definition=msgspec.json.decode(definition) if definition is not None else None,
                uuid=uuid,
                defined_ms=defined_ms,
            )
            for profile, wishes, definition, uuid, defined_ms in rows
        ]

    async def set_dep_profile(self, account: str, profile: str, wishes: dict[str, Any] | None) -> None:
        with self.transaction:
            self.execute(
                "INSERT INTO dep_profiles (account, name, wishes) VALUES (?, ?, ?)"
                " ON CONFLICT (account, name) DO UPDATE SET wishes = excluded.wishes",
                (account, profile, msgspec.json.encode(wishes) if wishes is not None else None),
            )

    async def dep_defined(
        self, account: str, profile: str, uuid: str, definition: dict[str, Any], *, now_ms: int
    ) -> None:
        """Apple knows this definition, under this UUID; it is the profile's from now on."""
        with self.transaction:
            self.execute(
                "INSERT OR REPLACE INTO dep_definitions (account, uuid, name, definition, defined_ms)"
                " VALUES (?, ?, ?, ?, ?)",
                (account, uuid, profile, msgspec.json.encode(definition), now_ms),
            )
            self.execute(
                "INSERT INTO dep_profiles (account, name, uuid) VALUES (?, ?, ?)"
                " ON CONFLICT (account, name) DO UPDATE SET uuid = excluded.uuid",
                (account, profile, uuid),
            )
            # The new one may well be taken where the old one was not.
            self.execute(
                "UPDATE dep_devices SET retry_ms = NULL WHERE account = ? AND wanted = ? AND result = 'FAILED'",
                (account, profile),
            )

    # ---- assignment

    async def dep_unassigned(self, account: str, profile: str, uuid: str, *, now_ms: int, limit: int) -> list[str]:
        """Serial numbers of devices that are to have the profile and do not."""
        return [s for (s,) in self.execute(_UNASSIGNED, (account, profile, profile_uuid_of(uuid), now_ms, limit))]

    async def dep_assigned(
        self, account: str, results: Iterable[tuple[str, str]], *, uuid: str, now_ms: int, retry_ms: int
    ) -> None:
        """Keep Apple's results, by serial number. What failed is tried again at `retry_ms`."""
        with self.transaction:
            for serial, result in results:
                if result == "SUCCESS":
                    self.execute(
                        "UPDATE dep_devices SET profile_uuid = ?, status = 'assigned', result = NULL, retry_ms = NULL"
                        " WHERE account = ? AND serial = ?",
                        (profile_uuid_of(uuid), account, serial),
                    )
                else:
                    self.execute(
                        "UPDATE dep_devices SET result = ?, retry_ms = ? WHERE account = ? AND serial = ?",
                        (result[:40], retry_ms, account, serial),
                    )

    async def dep_read_back(
        self, account: str, details: dict[str, dict[str, Any]], *, uuid: str, retry_ms: int
    ) -> None:
        """What Apple says of devices just assigned; it counts for more than the results did."""
        with self.transaction:
            for serial, record in details.items():
                row = self.execute(
                    "SELECT op_date, pass FROM dep_devices WHERE account = ? AND serial = ?", (account, serial)
                ).fetchone()
                if row is None:
                    continue
                record = {key: value for key, value in record.items() if key != "response_status"}
                if record.get("serial_number") != serial:
                    result, retry = "NOT_ACCESSIBLE", None
                else:
                    self._keep_record(account, serial, record, msgspec.json.encode(record), *row)
                    if profile_uuid_of(record.get("profile_uuid")) == profile_uuid_of(uuid):
                        continue
                    result, retry = "FAILED", retry_ms
                self.execute(
                    "UPDATE dep_devices SET result = ?, retry_ms = ? WHERE account = ? AND serial = ?",
                    (result, retry, account, serial),
                )

    async def dep_want(self, account: str, profile: str, serials: Sequence[str] | None) -> None:
        """Let devices (None: all) have that profile from now on. Raises ApiProblem for one that the account lacks."""
        with self.transaction:
            if serials is None:
                self.execute("UPDATE dep_devices SET wanted = ?, retry_ms = NULL WHERE account = ?", (profile, account))
                return
            for serial in serials:
                if not self.execute(
                    "UPDATE dep_devices SET wanted = ?, retry_ms = NULL WHERE account = ? AND serial = ? AND gone = 0",
                    (profile, account, serial),
                ).rowcount:
                    raise ApiProblem(
                        404,
                        "unknown-device",
                        f"{serial[:80]!r} is not assigned to {account!r} at Apple, as far as this server has heard",
                        where="devices",
                        hint="POST /api/v1/dep/{name}/sync asks Apple now",
                    )

    async def dep_devices(self, account: str, *, gone: bool | None, after: str, limit: int) -> list[DepDevice]:
        rows = self.execute(
            _DEVICE + "WHERE account = ? AND serial > ? AND (? IS NULL OR gone = ?) ORDER BY serial LIMIT ?",
            (account, after, gone, gone, limit),
        )
        return [_device(row) for row in rows]

    async def dep_device(self, account: str, serial: str) -> DepDevice | None:
        row = self.execute(_DEVICE + "WHERE account = ? AND serial = ?", (account, serial)).fetchone()
        return _device(row) if row is not None else None


def _account(row: tuple[Any, ...]) -> DepAccount:
    name, said, has_token, consumer_key, expires_ms, devices, fetching, begun, fetched_ms, synced_ms, next_ms = row[:11]
    trouble, trouble_ms, failures, created_ms = row[11:]
    about: dict[str, Any] = msgspec.json.decode(said) if said is not None else {}

    def text(key: str) -> str | None:
        value = about.get(key)
        return value if isinstance(value, str) else None

    return DepAccount(
        name=name,
        server_name=text("server_name"),
        server_uuid=text("server_uuid"),
        admin_id=text("admin_id") or text("facilitator_id"),
        org_name=text("org_name"),
        has_token=bool(has_token),
        consumer_key=consumer_key,
        token_expires_ms=expires_ms,
        devices=devices,
        fetching=bool(fetching and begun),
        fetched_ms=fetched_ms,
        synced_ms=synced_ms,
        next_ms=next_ms,
        trouble=(DepTrouble(reason=trouble, since_ms=trouble_ms, failures=failures) if trouble is not None else None),
        created_ms=created_ms,
    )


def _device(row: tuple[Any, ...]) -> DepDevice:
    account, serial, gone, status, profile_uuid, wanted, result, retry_ms, record = row
    return DepDevice(
        account=account,
        serial_number=serial,
        gone=bool(gone),
        profile_status=status,
        profile_uuid=profile_uuid,
        wanted=wanted,
        result=result,
        retry_ms=retry_ms,
        record=msgspec.json.decode(record),
    )

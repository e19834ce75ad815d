"""Endpoints about devices: fetch, sync, details, disown, Activation Lock, replacements."""

from __future__ import annotations

import re
from typing import Any

from msgspec.structs import replace

from mdmsim.fakedep.core import Call, Core, serial_numbers, text
from mdmsim.fakedep.cursors import Cursor
from mdmsim.fakedep.errors import refuse
from mdmsim.fakedep.model import Change, day, stamp
from mdmsim.fakedep.records import change_record, record, tampered

#: The only families that organisations can lock. Which ones Apple refuses is our choice.
_LOCKABLE = frozenset(("iPhone", "iPad", "iPod", "Mac", "Vision"))


class DeviceEndpoints:
    """Each method answers one call with a JSON value, or raises Refused."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def fetch(self, call: Call) -> Any:
        """All devices of the server, page by page. Apple, "Get a List of Devices"."""
        core, server = self._core, call.server
        body = call.body()
        limit = self._limit(body)
        sent = text(body, "cursor")
        now_ms = core.clock.now_ms()
        if sent is None:
            cursor = Cursor(0, server.sequence, now_ms, False)
        else:
            cursor = self._cursor(call, sent)
            if cursor.done:
                if core.settings.finished_fetch == "EXHAUSTED_CURSOR":
                    raise refuse("EXHAUSTED_CURSOR", "the fetch is over: go on with sync")
                return self._page(call, [], sent, False)
            self._alive(call, cursor)
        found, more = server.page(cursor.position, limit)
        position = found[-1][0] if found else cursor.position
        fresh = Cursor(position, cursor.sequence, now_ms, not more)
        core.emit("dep.fetch", server=server.name, devices=len(found), limit=limit, first=sent is None, more=more)
        records = [record(device, call.version) for _, device in found]
        return self._page(call, records, core.cursors.write(fresh, server.uuid), more, sent)

    def sync(self, call: Call) -> Any:
        """What changed since the cursor. Apple, "Sync the List of Devices"."""
        core, server = self._core, call.server
        body = call.body()
        limit = self._limit(body)
        sent = text(body, "cursor")
        if sent is None:
            raise refuse("CURSOR_REQUIRED", "sync goes on from the cursor of a fetch")
        cursor = self._cursor(call, sent)
        if not cursor.done and core.settings.unfinished_sync == "INVALID_CURSOR":
            raise refuse("INVALID_CURSOR", "the fetch of this cursor is not finished")
        self._alive(call, cursor)

        def keep(change: Change) -> bool:
            facts = {**call.facts, "serial": change.device.serial_number, "operation": change.operation}
            return core.draw("sync.omitted", facts) is None

        found, last, more = server.changes(cursor.sequence, limit, keep)
        sparse = core.settings.deleted_records == "sparse"
        records = [
            change_record(change, call.version, sparse=sparse and change.operation == "deleted") for change in found
        ]
        if records and core.draw("sync.duplicated", call.facts) is not None:
            records = [each for each in records for _ in range(2)]
        if records and core.draw("sync.reordered", call.facts) is not None:
            core.faults.chance.shuffle(records)
        core.emit("dep.sync", server=server.name, operations=len(records), limit=limit, more=more)
        if last == cursor.sequence and core.settings.empty_sync_cursor == "same":
            return self._page(call, records, sent, more, sent)
        fresh = Cursor(cursor.position, last, core.clock.now_ms(), True)
        return self._page(call, records, core.cursors.write(fresh, server.uuid), more, sent)

    def details(self, call: Call) -> Any:
        """The records of named devices. Apple, "Get Device Details"."""
        serials = serial_numbers(call.body(), required=True)
        found: dict[str, Any] = {}
        for serial in serials:
            device = call.server.get(serial)
            if device is None:
                found[serial] = {"response_status": "NOT_ACCESSIBLE"}
            else:
                found[serial] = {**record(device, call.version), "response_status": "SUCCESS"}
        if self._core.faults.planned:
            changed = tampered(self._core, list(found.values()), call.facts)
            found = dict(zip(found, changed, strict=True))
        self._core.emit("dep.details", server=call.server.name, serials=serials)
        return {"devices": found}

    def disown(self, call: Call) -> Any:
        """The organisation gives devices up for good. Apple, "Disown Devices"."""
        results = {}
        for serial in serial_numbers(call.body(), required=True):
            device = call.server.get(serial)
            if device is not None:
                self._core.register.release(device)
            results[serial] = "NOT_ACCESSIBLE" if device is None else "SUCCESS"
        self._core.emit("dep.disowned", server=call.server.name, results=results)
        return {"devices": results}

    def activation_lock(self, call: Call) -> Any:
        """Lock a device to its organisation. Apple, "Activation Lock a Device"."""
        body = call.body()
        serial, escrow = text(body, "device"), text(body, "escrow_key")
        text(body, "lost_message")
        if serial is None:
            raise refuse("DEVICE_ID_REQUIRED", '"device" is missing')
        device = call.server.get(serial)
        if device is None:
            status = "NOT_ACCESSIBLE"
        elif device.device_family not in _LOCKABLE:
            status = "DEVICE_NOT_SUPPORTED"
        elif device.activation_locked:
            status = "DEVICE_ALREADY_LOCKED"
        elif escrow is not None and re.fullmatch("[0-9A-Fa-f]{64}", escrow) is None:
            status = "FAILED"
        else:
            status = "SUCCESS"
            self._core.register.change(replace(device, activation_locked=True))
        self._core.emit("dep.activation-lock", server=call.server.name, serial=serial, status=status)
        return {"serial_number": serial, "response_status": status}

    def replacement(self, call: Call) -> Any:
        """Which device this one replaced. Apple, "Get Device Replacement Details"."""
        serial = call.query.get("device")
        if not serial:
            raise refuse("DEVICE_ID_REQUIRED", "the query has no device")
        device = call.server.get(serial)
        if device is None or device.original_serial_number is None or device.replaced_ms is None:
            raise refuse("DEVICE_NOT_FOUND", f"{serial[:40]} replaced no other device")
        return {
            "serial_number": serial,
            "original_device_serial_number": device.original_serial_number,
            "replacement_date": day(device.replaced_ms),
        }

    # inside

    def _limit(self, body: dict[str, Any]) -> int:
        settings = self._core.settings
        limit = body.get("limit")
        if limit is None:
            return min(settings.default_limit, settings.maximum_limit)
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise refuse("MALFORMED_REQUEST_BODY", '"limit" is not a number of devices')
        if limit > settings.maximum_limit and settings.excessive_limit == "refuse":
            raise refuse("MALFORMED_REQUEST_BODY", f'"limit" is {limit}; the most is {settings.maximum_limit}')
        return min(limit, settings.maximum_limit)

    def _cursor(self, call: Call, sent: str) -> Cursor:
        for name, reason in (
            ("cursor.expired", "EXPIRED_CURSOR"),
            ("cursor.invalid", "INVALID_CURSOR"),
            ("cursor.exhausted", "EXHAUSTED_CURSOR"),
        ):
            if (fault := self._core.draw(name, call.facts)) is not None:
                raise refuse(reason, fault.why)
        cursor = self._core.cursors.read(sent, call.server.uuid)
        if cursor is None:
            raise refuse("INVALID_CURSOR", "this server was never given this cursor")
        return cursor

    def _alive(self, call: Call, cursor: Cursor) -> None:
        age_ms = self._core.clock.now_ms() - cursor.created_ms
        if age_ms > self._core.settings.cursor_life_ms or not call.server.remembers(cursor.sequence):
            raise refuse("EXPIRED_CURSOR", "the cursor is too old: fetch the whole list again")

    def _page(
        self, call: Call, records: list[dict[str, Any]], cursor: str, more: bool, sent: str | None = None
    ) -> dict[str, Any]:
        core = self._core
        if sent is not None and core.draw("cursor.stuck", call.facts) is not None:
            cursor, more = sent, True
        return {
            "cursor": cursor,
            "devices": tampered(core, records, call.facts),
            "fetched_until": stamp(core.clock.now_ms()),
            "more_to_follow": more,
        }

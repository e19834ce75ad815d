"""What should have been pushed in a world: a device is due for a push from the moment at which something is queued."""

from __future__ import annotations

from collections.abc import Collection

from mdmsim.events import EventLog
from mdmsim.fakeapns.due import DueEntry
from mdmsim.fleet.fleet import Fleet


def due_in(log: EventLog, fleet: Fleet, devices: Collection[str]) -> list[DueEntry]:
    """An entry for every command that the server queued for these devices, answered since or not, oldest first.

    Made from the server's events (`server.command-queued`): empty where a server does not tell any.
    """
    by_udid = {fleet[device_id].persona.udid: device_id for device_id in devices}
    return [
        DueEntry(device=by_udid[udid], since=event.at_ms, what=str(event.data.get("request_type", "")))
        for event in log.of("server.command-queued")
        if (udid := event.data["enrollment_id"]) in by_udid
    ]

"""Device records as MDM servers read them: which keys there are depends on the protocol version that the server asks for."""

from __future__ import annotations

from typing import Any

from mdmsim.fakedep.core import Core
from mdmsim.fakedep.model import Change, Device, stamp

#: What is in every record whatever a fault leaves out: without these it says nothing.
ESSENTIAL = frozenset(("serial_number", "op_type", "op_date", "response_status"))


def record(device: Device, version: int) -> dict[str, Any]:
    """The record of a device. What is not known has no key: some servers drop a page over an empty date.

    Keys and their versions: Apple, "Device" of the Device Assignment Services; form: captured.
    """
    found: dict[str, Any] = {
        "serial_number": device.serial_number,
        "model": device.model,
        "description": device.description,
    }
    if device.color is not None:
        found["color"] = device.color
    if device.asset_tag is not None:
        found["asset_tag"] = device.asset_tag
    found["profile_status"] = device.profile_status
    if device.profile_uuid is not None:
        found["profile_uuid"] = device.profile_uuid
    if device.profile_assign_ms is not None:
        found["profile_assign_time"] = stamp(device.profile_assign_ms)
    if device.profile_push_ms is not None:
        found["profile_push_time"] = stamp(device.profile_push_ms)
    if device.device_assigned_ms is not None:
        found["device_assigned_date"] = stamp(device.device_assigned_ms)
    if device.device_assigned_by is not None:
        found["device_assigned_by"] = device.device_assigned_by
    if version >= 2:
        # Before version 7 an iPad's system was iOS.
        found["os"] = "iOS" if device.os == "iPadOS" and version < 7 else device.os
        found["device_family"] = device.device_family
    if version >= 8 and device.mdm_migration_deadline_ms is not None:
        found["mdm_migration_deadline"] = stamp(device.mdm_migration_deadline_ms)
    if version >= 10:
        _version_10(device, found)
    return found


def _version_10(device: Device, found: dict[str, Any]) -> None:
    for key in ("eid", "wifi_mac_address", "bluetooth_mac_address", "is_replacement_device"):
        if (value := getattr(device, key)) is not None:
            found[key] = value
    for key in ("imei", "meid", "ethernet_mac_address"):
        if value := getattr(device, key):
            found[key] = list(value)


def change_record(change: Change, version: int, *, sparse: bool) -> dict[str, Any]:
    """The record of a change, as sync has it. `sparse`: serial number and operation only."""
    device = change.device
    found: dict[str, Any] = {"serial_number": device.serial_number} if sparse else record(device, version)
    found["op_type"] = change.operation
    found["op_date"] = stamp(change.at_ms)
    if version >= 10 and change.operation == "deleted" and device.released_by_replacement is not None:
        found["released_by_replacement"] = device.released_by_replacement
    return found


def tampered(core: Core, found: list[dict[str, Any]], facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The records as faults would have them."""
    if not core.faults.planned:
        return found
    return [_tampered(core, each, {**facts, "serial": each.get("serial_number")}) for each in found]


def _tampered(core: Core, found: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    if (fault := core.draw("record.sparse", facts)) is not None:
        named = frozenset(fault.answer) if isinstance(fault.answer, list | tuple) else found.keys()
        found = {key: value for key, value in found.items() if key in ESSENTIAL or key not in named}
    if (fault := core.draw("record.extended", facts)) is not None:
        extra = fault.answer if isinstance(fault.answer, dict) else {"not_yet_invented": {"by": "Apple"}}
        found = {**found, **extra}
    return found

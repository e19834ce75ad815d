"""InstalledApplicationList (mdm/commands/application.installed.list.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device.applications import listed
from mdmsim.device.commands.keys import optional
from mdmsim.device.commands.registry import handles
from mdmsim.device.device import Work
from mdmsim.device.errors import CommandFormat
from mdmsim.protocol.connect import Command


@handles("InstalledApplicationList")
def installed_application_list(work: Work, command: Command) -> dict[str, Any]:
    """The apps on the device: all, those of `Identifiers`, or managed ones only; with the keys that `Items` names."""
    wanted = _strings(command, "Identifiers")
    items = _strings(command, "Items")
    managed_only = optional(command, "ManagedAppsOnly", bool) or False
    found = [
        listed(work.persona, app)
        for app in work.state.apps
        if (wanted is None or app.identifier in wanted) and (app.managed or not managed_only)
    ]
    # The keys were chosen from iOS and tvOS 14 on; older systems and Macs answer all (schema).
    if items is not None and not work.persona.is_mac and work.persona.at_least("14.0"):
        keep = {*items, "Identifier"}
        found = [{key: value for key, value in entry.items() if key in keep} for entry in found]
    return {"InstalledApplicationList": found}


def _strings(command: Command, key: str) -> list[str] | None:
    value = optional(command, key, list)
    if value is not None and not all(isinstance(entry, str) for entry in value):
        raise CommandFormat(f"{key} of {command.request_type} holds something that is not a string")
    return value

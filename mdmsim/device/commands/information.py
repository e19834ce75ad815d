"""DeviceInformation and SecurityInfo (mdm/commands/information.device.yaml, information.security.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device.commands.keys import required
from mdmsim.device.commands.registry import handles
from mdmsim.device.device import Work
from mdmsim.device.errors import CommandFormat
from mdmsim.device.facts import facts_of, security_facts_of
from mdmsim.device.personas import answer, query_right, security_info
from mdmsim.protocol.connect import Command


@handles("DeviceInformation")
def device_information(work: Work, command: Command) -> dict[str, Any]:
    """The answers to the queries that were asked; what it cannot or may not answer is left out, never an error."""
    queries = required(work, command, "Queries", list)
    if not all(isinstance(name, str) for name in queries):
        raise CommandFormat("Queries holds something that is not a string")
    rights = work.state.enrollment.access_rights if work.state.enrollment else 0
    facts = facts_of(work.state, work.now_ms)
    given: dict[str, Any] = {}
    for name in queries:
        right = query_right(name)
        if right is not None and not right & rights:
            continue
        value = answer(work.persona, facts, name)
        if value is not None:
            given[name] = value
    return {"QueryResponses": given}


@handles("SecurityInfo")
def security_information(work: Work, command: Command) -> dict[str, Any]:
    """Passcode, encryption and management facts, with the keys that this system version has."""
    return {"SecurityInfo": security_info(work.persona, security_facts_of(work.state, work.now_ms, work.store))}

"""Carrying out one command: decide, handle, and commit effects and report together, once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from mdmsim.device.commands import catalog as _catalog
from mdmsim.device.commands.availability import check_available
from mdmsim.device.commands.not_now import not_now
from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.device import Device, Work
from mdmsim.device.errors import Chain, CommandFormat, DeviceError, ErrorWithEffect, NotSimulated
from mdmsim.device.flow import Flow
from mdmsim.device.flows.install import Apply, Postponed, postpone
from mdmsim.device.state import DEVICE_CHANNEL, Installation, Undelivered
from mdmsim.protocol.connect import Command, Report, Status, build_command, build_report, parse_command
from mdmsim.schema.platforms import version

_catalog.load()

#: macOS up to here repeated the RequestType in each result (captured: 10.11 to 10.12.6; not from 10.13 on, never iOS).
REQUEST_TYPE_UNTIL = (10, 13)

Change = Callable[[Work], dict[str, Any]]


def execute(device: Device, command: Command, channel: str = DEVICE_CHANNEL) -> Flow[Undelivered | None]:
    """Carry out a command and return its report, committed as undelivered together with the command's effects.

    Never raises for what a command says: that is in the report. None where the command waits for a CA; its report
    comes when the device wakes for it.
    """
    enrollment = device.state.enrollment
    if enrollment is None:
        raise RuntimeError(f"{device.device_id} got a command without being enrolled")
    try:
        check_available(device, enrollment, command, channel)
        condition = not_now(device.state, command.request_type)
        if condition is not None:
            return _settle(device, command, Status.NOT_NOW, channel, condition=condition)
        if flow_handler := FLOW_HANDLERS.get(command.request_type):
            outcome = yield from flow_handler(device, command)
            if isinstance(outcome, Postponed):
                waiting = msgspec.structs.replace(
                    outcome.installation, command=build_command(command, like_device=True)
                )
                device.change(lambda work: postpone(work, waiting))
                return None
            return _settle(device, command, Status.ACKNOWLEDGED, channel, change=outcome)
        handler = HANDLERS[command.request_type]
        return _settle(device, command, Status.ACKNOWLEDGED, channel, change=lambda work: handler(work, command))
    except ErrorWithEffect as error:
        effect = error.effect
        return _settle(
            device, command, Status.ERROR, channel, chain=error.chain, change=lambda work: _only(effect, work)
        )
    except DeviceError as error:
        simulated = not isinstance(error, NotSimulated)
        return _settle(device, command, Status.ERROR, channel, chain=error.chain, simulated=simulated)
    except CommandFormat:
        return _settle(device, command, Status.COMMAND_FORMAT_ERROR, channel)


def format_error(device: Device, command_uuid: str, channel: str) -> Undelivered:
    """The report for a command whose dictionary cannot be read but has its CommandUUID."""
    return _settle(device, Command(command_uuid, ""), Status.COMMAND_FORMAT_ERROR, channel)


def _only(effect: Callable[[Work], None], work: Work) -> dict[str, Any]:
    effect(work)
    return {}


def finish_postponed(device: Device, waiting: Installation, outcome: Apply | DeviceError) -> None:
    """Commit the report of a command that had waited for a CA; sent by the connect that follows."""
    command = parse_command(waiting.command or b"")

    def change(work: Work) -> dict[str, Any]:
        work.state.installation = None
        if not isinstance(outcome, DeviceError):
            outcome(work)
        return {}

    if isinstance(outcome, DeviceError):
        _settle(device, command, Status.ERROR, DEVICE_CHANNEL, change=change, chain=outcome.chain)
    else:
        _settle(device, command, Status.ACKNOWLEDGED, DEVICE_CHANNEL, change=change)


def _settle(
    device: Device,
    command: Command,
    status: Status,
    channel: str,
    *,
    change: Change | None = None,
    chain: Chain = (),
    condition: str | None = None,
    simulated: bool = True,
) -> Undelivered:
    work = device.work()
    response = change(work) if change else {}
    report = Report(
        ids=device.ids,
        status=status,
        command_uuid=command.command_uuid,
        error_chain=chain,
        response=response,
        request_type=(command.request_type or None) if _repeats_request_type(work) else None,
    )
    undelivered = Undelivered(
        body=build_report(report),
        label=report.label,
        status=status.value,
        command_uuid=command.command_uuid,
        request_type=command.request_type,
    )
    voice = work.state.channel(channel)
    voice.undelivered = undelivered
    voice.not_now = condition
    voice.wakes["connect"] = work.now_ms  # until the server has confirmed it
    work.emit(
        "device.command-answered",
        command_uuid=command.command_uuid,
        request_type=command.request_type,
        status=status.value,
        simulated=simulated,
        error_chain=[{"code": i.code, "domain": i.domain, "text": i.localized} for i in chain],
    )
    device.commit(work)
    return undelivered


def _repeats_request_type(work: Work) -> bool:
    persona = work.persona
    return persona.platform == "macos" and version(persona.os_version) < REQUEST_TYPE_UNTIL

"""Reports and commands: what a device PUTs to ServerURL, and what the server answers.

Report: Status, the identifiers, and but for Idle the CommandUUID; then the response keys of the command. Command:
CommandUUID and a dictionary with RequestType (MDM Protocol Reference, "Structure of MDM Payloads").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from mdmsim.protocol import device_plist, plist
from mdmsim.protocol.error_chain import ErrorItem, chain_to_plist, take_chain
from mdmsim.protocol.errors import Malformed, MalformedCommand
from mdmsim.protocol.fields import Fields
from mdmsim.protocol.ids import Ids, put_ids, take_ids

__all__ = [
    "Command",
    "ErrorItem",
    "Ids",
    "Report",
    "Status",
    "build_command",
    "build_report",
    "parse_command",
    "parse_report",
]


class Status(StrEnum):
    """What became of a command, or Idle when the device asks for one."""

    IDLE = "Idle"
    ACKNOWLEDGED = "Acknowledged"
    ERROR = "Error"
    COMMAND_FORMAT_ERROR = "CommandFormatError"
    NOT_NOW = "NotNow"


@dataclass(frozen=True, slots=True)
class Report:
    """One report. `command_uuid` is None for Idle only; `response` has the command's response keys, and any others
    that are not fields here. `request_type` is echoed by macOS up to 10.12.6 (captured).
    """

    ids: Ids
    status: Status
    command_uuid: str | None = None
    error_chain: tuple[ErrorItem, ...] = ()
    response: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)
    request_type: str | None = None

    @property
    def label(self) -> str:
        """Name for people and metrics, such as `connect:Idle`."""
        return f"connect:{self.status.value}"


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `keys` is the inner dictionary without RequestType; `extra` what stands beside it."""

    command_uuid: str
    request_type: str
    keys: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)
    extra: dict[str, Any] = field(default_factory=dict, repr=False, hash=False)


def parse_report(body: bytes) -> Report:
    """The report in a body. Raises Malformed; its `what` is "report" and the status once that is known."""
    fields = Fields("report", plist.loads(body, what="report"))
    text = fields.required_string("Status")
    try:
        status = Status(text)
    except ValueError:
        raise fields.error("Status", f"is {text[:60]!r}; allowed are {', '.join(Status)}") from None
    fields.what = f"{text} report"
    ids = take_ids(fields)
    command_uuid = fields.string("CommandUUID")
    if not command_uuid and status is not Status.IDLE:
        raise fields.error("CommandUUID", "is missing or empty; only an Idle report has none", "missing")
    return Report(
        ids=ids,
        status=status,
        command_uuid=command_uuid,
        error_chain=take_chain(fields),
        request_type=fields.string("RequestType"),
        response=fields.rest(),
    )


def build_report(report: Report) -> bytes:
    """The body of a report, as a device writes it. Raises Malformed for what a plist cannot hold."""
    return plist.dumps(report_keys(report), like_device=True)


def report_keys(report: Report) -> dict[str, Any]:
    """The wire keys of a report. An empty chain is left out: CommandFormatError and NotNow have none (captured)."""
    keys = report.response | put_ids(report.ids) | {"Status": report.status.value}
    if report.command_uuid is not None:
        keys["CommandUUID"] = report.command_uuid
    if report.error_chain:
        keys["ErrorChain"] = chain_to_plist(report.error_chain)
    if report.request_type is not None:
        keys["RequestType"] = report.request_type
    return keys


def parse_command(body: bytes) -> Command:
    """The command in a server's answer, as a device reads it.

    Raises MalformedCommand, with the CommandUUID where that much is readable.
    """
    command_uuid: str | None = None
    try:
        outer = Fields("command", device_plist.loads(body, what="command"))
        command_uuid = outer.required_string("CommandUUID")
        inner = Fields("command", outer.required_dictionary("Command"), where="Command.")
        request_type = inner.required_string("RequestType")
    except Malformed as error:
        raise MalformedCommand(
            error.what, error.reason, key=error.key, problem=error.problem, command_uuid=command_uuid
        ) from None
    return Command(command_uuid=command_uuid, request_type=request_type, keys=inner.rest(), extra=outer.rest())


def build_command(command: Command, *, like_device: bool = False) -> bytes:
    """The body of an answer that carries a command. Raises Malformed for what a plist cannot hold.

    `like_device`: a command that a device read and keeps, see `plist.dumps`.
    """
    return plist.dumps(
        command.extra
        | {
            "Command": command.keys | {"RequestType": command.request_type},
            "CommandUUID": command.command_uuid,
        },
        like_device=like_device,
    )

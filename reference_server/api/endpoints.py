"""The table of calls: what is routed, checked and described is one list."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from reference_server.api.handlers import Handlers
from reference_server.api.models import (
    Cancelled,
    CommandOrder,
    CommandOrders,
    CommandPage,
    CommandQuery,
    Commands,
    DevicePage,
    DeviceQuery,
    Profile,
    Pushed,
    RefusalList,
    RefusalOrder,
)
from reference_server.enrollment.profile import ProfileWishes
from reference_server.storage.records import CommandRecord, Device, RefusalRule

PREFIX = "/api/v1"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One call. `problems`: statuses of refusals beyond 400, 401 and 413, which every call may answer."""

    method: str
    path: str
    name: str
    summary: str
    handler: Callable[[dict[str, str], Any, Any], Awaitable[Any]]
    reply: type | None
    status: int = 200
    body: type | None = None
    query: type | None = None
    problems: tuple[int, ...] = ()
    body_optional: bool = field(default=False)


def endpoints(handlers: Handlers) -> tuple[Endpoint, ...]:
    """All calls, in the order in which they are described."""
    device, command, refusal = "/devices/{id}", "/devices/{id}/commands/{uuid}", "/refusals/{id}"
    h = handlers
    return (
        Endpoint("GET", "/devices", "listDevices", "Enrollments, by id", h.list_devices, DevicePage, query=DeviceQuery),
        Endpoint("GET", device, "getDevice", "One enrollment", h.get_device, Device, problems=(404,)),
        Endpoint(
            "POST",
            f"{device}/remove",
            "removeDevice",
            "End an enrollment: its identities are answered 401 from now on, which makes the device unenrol",
            h.remove_device,
            Device,
            problems=(404,),
        ),
        Endpoint(
            "POST",
            f"{device}/push",
            "pushDevice",
            "Push once, now, and say what APNs answered",
            h.push_device,
            Pushed,
            problems=(404, 409),
        ),
        Endpoint(
            "GET",
            f"{device}/commands",
            "listCommands",
            "Commands of one enrollment, oldest first",
            h.list_commands,
            CommandPage,
            query=CommandQuery,
            problems=(404,),
        ),
        Endpoint(
            "POST",
            f"{device}/commands",
            "queueCommand",
            "Queue a command",
            h.queue_command,
            CommandRecord,
            status=201,
            body=CommandOrder,
            problems=(404, 409),
        ),
        Endpoint(
            "DELETE",
            f"{device}/commands",
            "cancelCommands",
            "Close all open commands unanswered",
            h.cancel_commands,
            Cancelled,
            problems=(404,),
        ),
        Endpoint(
            "GET", command, "getCommand", "One command with its results", h.get_command, CommandRecord, problems=(404,)
        ),
        Endpoint(
            "DELETE",
            command,
            "cancelCommand",
            "Close an open command unanswered",
            h.cancel_command,
            CommandRecord,
            problems=(404, 409),
        ),
        Endpoint(
            "POST",
            "/commands",
            "queueCommands",
            "Queue a command for many devices, for all or for none",
            h.queue_commands,
            Commands,
            status=201,
            body=CommandOrders,
            problems=(404, 409),
        ),
        Endpoint(
            "POST",
            "/profiles",
            "mintProfile",
            "Make an enrollment profile",
            h.mint_profile,
            Profile,
            status=201,
            body=ProfileWishes,
            body_optional=True,
        ),
        Endpoint("GET", "/refusals", "listRefusals", "Rules that answer 401", h.list_refusals, RefusalList),
        Endpoint(
            "POST",
            "/refusals",
            "addRefusal",
            "Answer a device 401 from now on",
            h.add_refusal,
            RefusalRule,
            status=201,
            body=RefusalOrder,
        ),
        Endpoint(
            "DELETE",
            refusal,
            "removeRefusal",
            "Take a rule back",
            h.remove_refusal,
            None,
            status=204,
            problems=(404,),
        ),
    )

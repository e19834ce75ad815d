"""Command handlers by RequestType: plain functions from a command and a change in the making to response keys.

A handler that needs the network is a flow that ends with such a function (`InstallProfile`). Whether a command is
available at all is decided from Apple's schema before a handler is called.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdmsim.device.device import Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.install import Postponed
from mdmsim.protocol.connect import Command

Response = dict[str, Any]

#: Changes `work`, returns response keys. Raises DeviceError or CommandFormat; then nothing is kept.
Handler = Callable[[Work, Command], Response]

#: What a flow ends with: the part of the handler that changes the state, committed with the report.
Settle = Callable[[Work], Response]
FlowHandler = Callable[[Device, Command], Flow["Settle | Postponed"]]

HANDLERS: dict[str, Handler] = {}
FLOW_HANDLERS: dict[str, FlowHandler] = {}


def handles(request_type: str) -> Callable[[Handler], Handler]:
    """Register a handler for that RequestType."""

    def register(handler: Handler) -> Handler:
        HANDLERS[request_type] = handler
        return handler

    return register


def handles_with_flow(request_type: str) -> Callable[[FlowHandler], FlowHandler]:
    """Register a handler that needs the network."""

    def register(handler: FlowHandler) -> FlowHandler:
        FLOW_HANDLERS[request_type] = handler
        return handler

    return register


def after_report(work: Work, action: str) -> None:
    """Have something happen once, right after this command's report was sent: see `report_actions`."""
    work.state.channel().after_report = action

"""What devices that stay and listen do, one line each."""

from __future__ import annotations

from collections.abc import Sequence

from mdmsim.cli.enrollment.rollout import Newcomer
from mdmsim.cli.output import line
from mdmsim.cli.stored.visit import ENDS
from mdmsim.events import Event


class Listener:
    """An observer that prints what people want to know of a device as it happens."""

    def __init__(self, newcomers: Sequence[Newcomer]) -> None:
        self._width = max(len(newcomer.device_id) for newcomer in newcomers)

    def __call__(self, event: Event) -> None:
        said = told(event)
        if said is not None and event.device is not None:
            line(f"  {event.device:<{self._width}}  {said}")


def told(event: Event) -> str | None:
    """A line for an event; None for one that says nothing new."""
    data = event.data
    match event.kind:
        case "device.push-heard":
            return "pushed"
        case "device.push-ignored":
            return f"ignores a push: {data['why']}"
        case "device.command-answered":
            return f"{data['request_type']} {data['status']}{'' if data['simulated'] else ' (not simulated)'}"
        case "device.not-simulated":
            return f"not simulated: {data['what']}"
        case "device.token-updated":
            return "TokenUpdate"
        case "device.unenrolled":
            refused = f"refused by its server ({data['status']})" if data["reason"] == "refused" else None
            return refused or ENDS.get(data["reason"], str(data["reason"]))
        case "device.locked":
            return "behind a PIN" if data["pin"] else "locked"
        case "device.power":
            return "restarts" if data["state"] == "restarting" else str(data["state"])
        case "device.retry-scheduled":
            return f"tries again in {max(0, data['at_ms'] - event.at_ms) // 1000} s: {data['reason']}"
        case "device.failed":
            return f"failed by a bug in mdmsim: {data['error']} at {data['where']}"
    return None

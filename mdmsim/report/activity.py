"""What a device did in a case, in a few words: `Authenticate · TokenUpdate · pushed · 3 commands answered`."""

from __future__ import annotations

from collections.abc import Iterable

from mdmsim.events import Event
from mdmsim.report.model import Case
from mdmsim.report.words import plural

#: More different doings than this are not listed one by one.
MOST = 8


def not_simulated(event: Event) -> str | None:
    """What a device was asked for that a real one could do and mdmsim does not simulate: a request type, or a part of a
    profile; None for any other event.
    """
    if event.kind == "device.not-simulated":
        return str(event.data.get("what"))
    if event.kind == "device.command-answered" and event.data.get("simulated") is False:
        return str(event.data.get("request_type"))
    return None


def not_simulated_in(cases: Iterable[Case]) -> list[str]:
    """What devices of these cases were asked for and is not simulated, sorted: request types, and parts of profiles."""
    return sorted({what for case in cases for event in case.events if (what := not_simulated(event)) is not None})


class Activity:
    """One device's doings so far, each named once, in the order of first sight."""

    def __init__(self) -> None:
        self._times: dict[str, int] = {}

    def __str__(self) -> str:
        said = [_said(doing, times) for doing, times in self._times.items()]
        return " · ".join(said if len(said) <= MOST else [*said[: MOST - 1], "…"])

    def take(self, event: Event) -> bool:
        """Take note of an event of this device; whether it is one that is told."""
        doing = _doing(event)
        if doing is None:
            return False
        self._times[doing] = self._times.get(doing, 0) + 1
        return True


def _said(doing: str, times: int) -> str:
    if doing == "answered":
        return f"{plural(times, 'command')} answered"
    return doing if times == 1 else f"{doing} ×{times}"


def _doing(event: Event) -> str | None:
    data = event.data
    match event.kind:
        case "exchange":
            return _exchange(str(data.get("label") or ""), data.get("status"), data.get("error_class"))
        case "device.push-heard":
            return "pushed"
        case "device.command-answered":
            if not_simulated(event):
                return f"{data.get('request_type')} not simulated"
            return "NotNow" if data.get("status") == "NotNow" else "answered"
        case "device.locked":
            return "locked"
        case "device.unlocked":
            return "unlocked"
        case "device.power":
            return {"off": "shut down", "on": "started", "restarting": "restarted"}.get(str(data.get("state")))
        case "device.unenrolled":
            return "unenrolled"
        case "device.not-simulated":
            return f"{data.get('what')} not simulated"
        case "device.enrollment-failed":
            return "nothing installed"
        case "device.erased":
            return "erased"
    return None


def _exchange(label: str, status: object, error: object) -> str | None:
    """A check-in by its name; anything else only if it did not go well."""
    kind, _, name = label.partition(":")
    good = isinstance(status, int) and status < 400
    shown = name if kind == "checkin" else label
    if good:
        return name if kind == "checkin" else None
    return f"{shown} {status if status is not None else error or 'no answer'}"

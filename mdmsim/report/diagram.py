"""The sequence diagram of a case as data: lanes and rows, top to bottom. The page draws it.

A row is a dictionary with `k`, its kind: `exchange` (request and answer between two lanes), `push` (one arrow),
`note` (something that happened in a lane), `step` (a line across), `seen` (what a
failed step saw), `gap` (quiet time, compressed). `t` is the time
since the case began, `a`, `b` and `l` are lanes, `x` an exchange of the case, `e` one of its events in the report.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from mdmsim.events import Event
from mdmsim.report.model import Case, Grade, grade_of, text
from mdmsim.report.words import later, since

#: Quiet time from this on is shown as a gap.
GAP_MS = 2_000

#: What an MDM server does at the device enrollment service, in a word or two.
_DEP_WORDS = {
    "session": "session",
    "account": "account",
    "fetch": "fetch devices",
    "sync": "sync devices",
    "details": "device details",
    "profile-defined": "define profile",
    "profile-read": "read profile",
    "assigned": "assign profile",
    "unassigned": "remove profile",
    "disowned": "disown devices",
    "activation-lock": "activation lock",
}

GOOD, BAD, PLAIN = "good", "bad", ""

Exchange = Mapping[str, Any]  # an exchange as `mdmsim.report.document` describes it


@dataclass(slots=True)
class Diagram:
    """`lanes`: name and kind (driver, device, other, server, apns, dep: from left to right); `rows`: see the module."""

    lanes: list[dict[str, str]] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


class _Drawer:
    def __init__(self, case: Case, exchanges: Sequence[Exchange], tokens: Mapping[str, str]) -> None:
        self.case, self.exchanges, self.tokens = case, exchanges, tokens
        self.lanes: dict[str, dict[str, str]] = {}  # key -> lane
        self.rows: list[dict[str, Any]] = []
        self.commands: dict[str, str] = {}  # command UUID -> request type
        self.kinds = {event.kind for event in case.events}
        self.grades = {
            str(e.data.get("step")): grade_of(e.data.get("grade")) for e in case.events if e.kind == "step.finished"
        }
        self.server_host = _server_host(exchanges)
        self.routine: set[str] = set()  # what was drawn once of what repeats by the clock

    def lane(self, key: str, label: str, kind: str) -> str:
        self.lanes.setdefault(key, {"label": label, "kind": kind})
        return key

    def device(self, name: str | None) -> str:
        found = name or next(iter(self.case.devices), None) or "device"
        return self.lane(f"device:{found}", found, "device")

    def server(self, url: str | None = None) -> str:
        host = urlsplit_host(url) if url else ""
        if not host or not self.server_host or host == self.server_host:
            return self.lane("server", "server", "server")
        return self.lane(f"host:{host}", host, "other")

    def apns(self) -> str:
        return self.lane("apns", "APNs", "apns")

    def dep(self) -> str:
        return self.lane("dep", "DEP", "dep")

    def device_of_token(self, event: Event) -> str | None:
        if event.device:
            return event.device
        return self.tokens.get(token_text(event.data.get("token")))

    def add(self, kind: str, event: Event, at_ms: int, **row: Any) -> None:
        self.rows.append({"k": kind, "at": at_ms, "event": event, **row})

    def exchange(self, event: Event, number: int) -> None:
        view = self.exchanges[number]
        if view["device"]:
            start = self.device(view["device"])
        elif event.source == "server":
            start = self.server()
        else:
            start = self.lane(f"source:{event.source}", event.source, "driver")
        answer = view["response"].get("body") or {}
        tree = answer.get("tree")
        came = _came(str(answer.get("about", "")))
        if isinstance(tree, dict) and isinstance(tree.get("Command"), dict):
            came = str(tree["Command"].get("RequestType", ""))
            self.commands[str(tree.get("CommandUUID"))] = came
        if view["status"] is None or view["error"]:
            came = view["error_class"] or "no answer"
        if view["fault"]:
            came = f"{came} · fault: {view['fault']}".removeprefix(" · ")
        sent = (view["request"].get("body") or {}).get("tree")
        about = self.commands.get(str(sent.get("CommandUUID"))) if isinstance(sent, dict) else None
        self.add(
            "exchange",
            event,
            self.case.started_ms + view["at_ms"],
            a=start,
            b=self.dep() if view["label"].startswith("dep:") else self.server(view["url"]),
            label=view["label"] + (f" · {about}" if about else ""),
            x=number,
            status=view["status"],
            back=came,
            tone=BAD if view["error"] else _tone(view["status"]),
            until=self.case.started_ms + view["at_ms"] + view["took_ms"],
        )

    def push(self, event: Event, start: str, end: str, label: str, tone: str = PLAIN) -> None:
        self.add("push", event, event.at_ms, a=start, b=end, label=label, tone=tone)

    def note(self, event: Event, lane: str, label: str, tone: str = PLAIN) -> None:
        self.add("note", event, event.at_ms, l=lane, label=label, tone=tone)

    def draw(self) -> Diagram:
        numbers = {position: number for number, position in enumerate(self.case.exchanges)}
        for position, event in enumerate(self.case.events):
            if position in numbers:
                self.exchange(event, numbers[position])
            elif event.kind.startswith("push.") or event.kind == "server.push-sent":
                self._push_event(event)
            elif event.kind.startswith("step."):
                self._step_event(event)
            elif event.kind == "fault.injected":
                self._fault(event)
            elif event.kind.startswith("device."):
                said = _device_note(event, "push.delivered" in self.kinds)
                if said:
                    self.note(event, self.device(event.device), *said)
            elif event.kind == "server.command-queued":
                self.note(event, self.server(), f"queued {event.data.get('request_type', 'a command')}")
            elif event.kind == "server.removed":
                self.note(event, self.server(), f"removed the enrollment{_why(event)}", BAD)
            elif event.kind.startswith("dep."):
                self._dep_event(event)
            elif event.kind == "token.retired":
                self.note(event, self.apns(), "token retired")
        return Diagram(*self._finish())

    def _fault(self, event: Event) -> None:
        target = str(event.data.get("target") or "")
        if event.device:
            lane = self.device(event.device)
        elif event.source == "apns" or "apns" in target.lower():
            lane = self.apns()
        else:
            lane = self.server()
        self.note(event, lane, f"fault: {event.data.get('fault')}", BAD)

    def _dep_event(self, event: Event) -> None:
        """What a server asks of Apple's device enrollment service, and what people do in its portal."""
        kind, data = event.kind.removeprefix("dep."), event.data
        if self._is_routine(kind, data):
            return
        if kind == "portal":
            self.note(event, self.dep(), f"portal: {data.get('action', '')}")
        elif kind == "refused":
            label = f"refused: {data.get('status', '')} {data.get('reason', '')}".rstrip()
            self.push(event, self.server(), self.dep(), label, BAD)
        elif not kind.startswith("configuration-"):  # that one has an arrow of its own, from the device
            self.push(event, self.server(), self.dep(), _DEP_WORDS.get(kind, kind))

    def _is_routine(self, kind: str, data: Mapping[str, Any]) -> bool:
        """The half-hourly question whether anything is new, from the second time on: days of it would hide the story."""
        over = kind == "refused" and str(data.get("reason")) == "UNAUTHORIZED"
        nothing_new = kind == "sync" and not data.get("operations")
        if not (over or nothing_new or kind == "session"):
            return False
        seen = kind in self.routine
        self.routine.add(kind)
        return seen

    def _push_event(self, event: Event) -> None:
        kind, data = event.kind, event.data
        if kind == "push.accepted":
            replaced = " (replaces one)" if data.get("replaced") else ""
            self.push(event, self.server(), self.apns(), f"push accepted{replaced}")
        elif kind == "push.refused":
            self.push(
                event,
                self.server(),
                self.apns(),
                f"push refused: {data.get('status', '')} {data.get('reason', '')}".rstrip(),
                BAD,
            )
        elif kind == "push.delivered":
            self.push(event, self.apns(), self.device(self.device_of_token(event)), "push")
        elif kind == "push.stored":
            self.note(event, self.apns(), "kept: nobody listens")
        elif kind == "push.expired":
            self.note(event, self.apns(), "push expired", BAD)
        elif kind == "server.push-sent" and not self.kinds & {"push.accepted", "push.refused"}:
            # APNs' own account is better; without it (a foreign APNs) the server's has to do.
            refused = str(data.get("status")) != "200"
            label = f"push: {data.get('status') or 'no answer'} {data.get('reason') or ''}".rstrip()
            self.push(event, self.server(), self.apns(), label, BAD if refused else PLAIN)

    def _step_event(self, event: Event) -> None:
        step = str(event.data.get("step"))
        if event.kind == "step.finished":
            observed = text(event.data, "observed")
            if observed and not self.grades[step].ok:
                self.add("seen", event, event.at_ms, label=observed)
            return
        grade = self.grades.get(step, Grade.ERROR)  # a step that never ended
        self.add("step", event, event.at_ms, label=text(event.data, "title") or step, grade=grade.value)

    def _finish(self) -> tuple[list[dict[str, str]], list[dict[str, Any]]]:
        order = {"driver": 0, "device": 1, "other": 2, "server": 3, "apns": 4, "dep": 5}
        named = list(self.case.devices)
        keys = sorted(
            self.lanes,
            key=lambda key: (
                order[self.lanes[key]["kind"]],
                named.index(self.lanes[key]["label"]) if self.lanes[key]["label"] in named else len(named),
            ),
        )
        places = {key: place for place, key in enumerate(keys)}
        told = [event for event in self.case.events if is_told(event)]
        positions = {id(event): position for position, event in enumerate(told)}
        rows: list[dict[str, Any]] = []
        before = self.case.started_ms
        for row in self.rows:
            at, until = row.pop("at"), row.pop("until", None)
            if at - before >= GAP_MS and rows:
                rows.append({"k": "gap", "label": later(at - before)})
            before = max(before, at if until is None else until)
            row["t"] = since(max(0, at - self.case.started_ms))
            row["e"] = positions.get(id(row.pop("event")))
            for end in ("a", "b", "l"):
                if end in row:
                    row[end] = places[row[end]]
            rows.append({key: value for key, value in row.items() if value not in ("", None)})
        return [self.lanes[key] for key in keys], rows


def is_told(event: Event) -> bool:
    """Whether an event stands in the report's list of events: exchanges and steps have lists of their own."""
    return event.kind != "exchange" and not event.kind.startswith("step.")


def draw(case: Case, exchanges: Sequence[Exchange], tokens: Mapping[str, str]) -> Diagram:
    """The diagram of a case. `exchanges`: as described, in order; `tokens`: push token in hex to device name."""
    return _Drawer(case, exchanges, tokens).draw()


def token_text(token: object) -> str:
    """A push token as lower-case hex, whichever way an event carries it."""
    return token.hex() if isinstance(token, bytes) else str(token or "").lower()


def urlsplit_host(url: str) -> str:
    """Host and port of an address; empty for what is none."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2]
    except ValueError:
        return ""


def _server_host(exchanges: Sequence[Exchange]) -> str:
    """Where check-ins and connects go; failing that, the first exchange."""
    for exchange in exchanges:
        if exchange["label"].startswith(("checkin:", "connect:")):
            return urlsplit_host(exchange["url"])
    return urlsplit_host(exchanges[0]["url"]) if exchanges else ""


def _came(about: str) -> str:
    """What an answer carried, in a word or two; nothing where the label says enough."""
    if about.startswith("SCEP "):
        return about.removeprefix("SCEP ").partition(",")[0]
    return "profile" if about.startswith("profile ") else ""


def _tone(status: int | None) -> str:
    return BAD if status is None or status >= 400 else PLAIN


def _why(event: Event) -> str:
    why = text(event.data, "why")
    return f": {why}" if why else ""


def _chain(value: object) -> str:
    """The first item of an error chain in a few words."""
    first = value[0] if isinstance(value, list | tuple) and value else value
    if isinstance(first, Mapping):
        domain, code = first.get("ErrorDomain", first.get("domain", "")), first.get("ErrorCode", first.get("code", ""))
        return f"{domain} {code}".strip()
    return str(first) if first else ""


def _device_note(event: Event, pushes_drawn: bool) -> tuple[str, str] | None:
    """What a device event says in the diagram, and its tone; None for one that an arrow tells already."""
    data = event.data
    match event.kind.removeprefix("device."):
        case "enrolled":
            return "enrolled", GOOD
        case "enrollment-failed":
            why = _chain(data.get("error_chain"))
            return f"enrollment failed{f': {why}' if why else ''}", BAD
        case "not-simulated":
            return f"not simulated: {text(data, 'what')}", PLAIN
        case "unenrolled":
            status = text(data, "status")
            return f"unenrolled: {data.get('reason', '')}{f' ({status})' if status else ''}", BAD
        case "checkout":
            return None if data.get("delivered") else ("CheckOut not delivered", BAD)
        case "profile-installed":
            return f"profile installed: {data.get('identifier', '')}", PLAIN
        case "profile-removed":
            return f"profile removed: {data.get('identifier', '')}", PLAIN
        case "identity-enrolled":
            maker = str(data.get("by") or "the profile")
            origin = f"from {'SCEP' if maker == 'scep' else maker}"
            return f"identity: {text(data, 'subject') or origin}", PLAIN
        case "push-heard":
            return None if pushes_drawn else ("heard a push", PLAIN)
        case "push-ignored":
            return f"ignored a push{_why(event)}", PLAIN
        case "locked":
            return f"locked{' behind a PIN' if data.get('pin') else ''}", PLAIN
        case "unlocked":
            return f"unlocked{f' by {by}' if (by := text(data, 'by')) else ''}", PLAIN
        case "lock-refused":
            return f"wrong {data.get('by') or 'code'}", BAD
        case "power":
            return {"off": "shut down", "on": "started", "restarting": "restarts"}.get(
                str(data.get("state")), "power"
            ), PLAIN
        case "passcode-changed":
            return f"passcode {'set' if data.get('present') else 'removed'}", PLAIN
        case "network":
            return f"network {data.get('state', '')}", PLAIN
        case "retry-scheduled":
            at = data.get("at_ms")
            wait = later(at - event.at_ms).removesuffix(" later") if isinstance(at, int) and at > event.at_ms else ""
            return f"tries again{f' in {wait}' if wait else ''}", PLAIN
        case "erased":
            return "erased", BAD
    return None

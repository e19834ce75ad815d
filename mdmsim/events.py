"""What happened, as a stream of typed events: assertions, metrics, consoles and reports are its readers.

An event is `{v, seq, at_ms, source, device, kind, data}`. Kinds are stable names, all listed in `KINDS`.
Processes of a live world stream theirs as JSON lines.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from mdmsim.clock import Clock

VERSION = 1

#: Every kind of event, and what its `data` holds. Adding one is an addition here, in `docs/events.md` and nowhere else.
KINDS: dict[str, str] = {
    # a device's own account of itself (source: device)
    "device.enrolled": "server_url, topic: the enrollment profile is stored and the first TokenUpdate was accepted",
    "device.enrollment-failed": "error_chain, stage: an enrollment profile could not be installed; nothing was kept",
    "device.unenrolled": "reason: user, command, refused, replaced, expired, erased; url, status where a server refused",
    "device.checkout": "delivered, status: the one attempt at CheckOut",
    "device.token-updated": "push_token, first: a TokenUpdate was accepted",
    "device.command-answered": "command_uuid, request_type, status, error_chain: committed, not yet delivered",
    "device.report-delivered": "command_uuid, request_type, status: the server answered the report with a 2xx",
    "device.report-refused": "status, label: the server answered a report with anything but a 2xx or a refusal",
    "device.profile-installed": "identifier, uuid, managed, replaced",
    "device.profile-removed": "identifier, uuid, why",
    "device.identity-enrolled": "subject, issuer, fingerprint, by: an identity came into the keychain",
    "device.push-heard": "number, connects: a push woke the device",
    "device.push-ignored": "why: wrong push magic, not enrolled, off",
    "device.locked": "by, pin, message: lock screen or PIN lock",
    "device.unlocked": "by: passcode, pin",
    "device.lock-refused": "by: a wrong passcode or PIN was typed",
    "device.power": "state: on, off, restarting; why",
    "device.passcode-changed": "present, compliant",
    "device.network": "state: up, down",
    "device.retry-scheduled": "at_ms, reason, attempt",
    "device.connected": "answered: commands answered in this connection, from Idle to the empty 200",
    "device.erased": "by, how: content-and-settings, obliterate or all",
    "device.activated": "assigned: Apple's device enrollment service was asked for this serial's profile",
    "device.setup": "state: welcome, awaiting, done; why",
    "device.configured": "the server released the device from Setup Assistant",
    "device.restored": "same_device, management: a backup was restored",
    "device.failed": "error, where: a bug ended what the device did; it does nothing more by itself (source: fleet)",
    # the wire (source: wire, the recorder on a transport)
    "exchange": (
        "label, method, url, host, request_headers, request_body, status, response_url, response_headers,"
        " response_body, error, error_class, sent, started_ms, ended_ms, identity, connection, reused, hops, fault:"
        " one HTTP exchange"
    ),
    # the fake APNs (source: apns)
    "provider.connected": "connection, environment, topic (of its certificate), refusal: who pushes made a connection",
    "provider.disconnected": "connection, why",
    "push.accepted": "apns_id, topic, token, expiration, payload, replaced, dropped (why it goes nowhere): answered 200",
    "push.refused": "apns_id, topic, token, status, reason",
    "push.stored": "apns_id, topic, token, expires_ms: nobody listens; kept as the one pending push",
    "push.delivered": "apns_id, topic, token: handed to a courier connection",
    "push.acknowledged": "apns_id, topic, token: the device's process said it has it",
    "push.expired": "apns_id, topic, token",
    "token.registered": "topic, token",
    "token.retired": "topic, token",
    "courier.connected": "connection, subscriptions",
    "courier.disconnected": "connection, why",
    "courier.subscribed": "connection, tokens, refused: how many it listens for from now on, how many were refused",
    "courier.unsubscribed": "connection, tokens: how many it does not listen for any more",
    # the fake DEP (source: dep)
    "dep.session": "server, consumer_key, user_agent, version: an MDM server opened a session",
    "dep.account": "server, version",
    "dep.fetch": "server, devices, limit, first, more: a page of all devices",
    "dep.sync": "server, operations, limit, more: a page of changes",
    "dep.details": "server, serials",
    "dep.profile-defined": "server, profile_uuid, profile_name, warnings",
    "dep.profile-read": "server, profile_uuid",
    "dep.assigned": "server, profile_uuid, results (serial number to result)",
    "dep.unassigned": "server, results: whatever profile devices had is taken from them",
    "dep.disowned": "server, results",
    "dep.activation-lock": "server, serial, status",
    "dep.refused": "endpoint, method, server, status, reason, why: a request of an MDM server was refused",
    "dep.configuration-served": "serial, server, profile_uuid, machine_info: a device got its configuration at activation",
    "dep.configuration-absent": "serial, why: a device asked at activation, and there was nothing for it",
    "dep.portal": "action, serials, server, organisation, family, consumer_key where they apply: somebody used the portal",
    # the reference server (source: server)
    "server.checkin": "message, enrollment_id, status, why",
    "server.connect": "report, enrollment_id, status, command_uuid, served, why",
    "server.command-queued": "enrollment_id, command_uuid, request_type",
    "server.command-served": "enrollment_id, command_uuid, request_type",
    "server.command-result": "enrollment_id, command_uuid, request_type, status",
    "server.push-sent": "enrollment_id, status, reason, attempt",
    "server.scep": "operation, status, why",
    "server.enrolled": "enrollment_id",
    "server.removed": "enrollment_id, why",
    "server.dep-round": (
        "account, why (it failed), added, modified, deleted, defined, assigned (result to number): the server asked DEP"
    ),
    "server.automated": "serial_number, udid, status, why: a device in Setup Assistant asked for its enrollment profile",
    # scenarios (source: scenario)
    "case.started": "case, title, platform; story, level, requirement, source, where, replay, devices where known",
    "case.finished": "case, grade; expected, observed, where, exchange where known",
    "step.started": "step, title, where",
    "step.finished": "step, grade, expected, observed; where, exchange where known",
    "fault.injected": "fault, why, target: a planned fault was carried out",
    "world.time-passed": "from_ms, to_ms: virtual time jumped over quiet",
}


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that happened. `data` holds plain values only: str, int, float, bool, None, bytes, list, dict."""

    kind: str
    at_ms: int
    source: str
    device: str | None = None
    seq: int = 0
    data: dict[str, Any] = {}
    v: int = VERSION


Observer = Callable[[Event], None]


class Events:
    """Takes events in, numbers them and hands them to its observers, in order, at once.

    A device numbers its own events (`seq` counts per source and device there), because they must survive a
    restart and count once; one that comes a second time is dropped here.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._observers: list[Observer] = []
        self._numbers: dict[str, int] = {}
        self._seen: dict[tuple[str, str], int] = {}

    @property
    def heard(self) -> bool:
        """Whether anybody observes: where there is much to tell, it need not be made for nobody."""
        return bool(self._observers)

    def subscribe(self, observer: Observer) -> Callable[[], None]:
        """Hand every later event to `observer`; the returned function ends that."""
        self._observers.append(observer)
        return lambda: self._observers.remove(observer)

    def emit(self, kind: str, *, source: str, device: str | None = None, **data: Any) -> Event:
        """Make, number and publish an event. Raises KeyError for a kind that `KINDS` does not list."""
        KINDS[kind]
        number = self._numbers[source] = self._numbers.get(source, 0) + 1
        event = Event(kind=kind, at_ms=self._clock.now_ms(), source=source, device=device, seq=number, data=data)
        self._publish(event)
        return event

    def publish(self, events: Iterable[Event]) -> None:
        """Publish events that were made and numbered elsewhere: by a device, or by another process.

        Per source and device, an event whose number was seen before is dropped: a device killed between saving
        its state and publishing publishes again after its restart.
        """
        for event in events:
            key = (event.source, event.device or "")
            if event.seq <= self._seen.get(key, 0):
                continue
            self._seen[key] = event.seq
            self._publish(event)

    def _publish(self, event: Event) -> None:
        for observer in tuple(self._observers):
            observer(event)


class EventLog:
    """An observer that keeps what it saw, for assertions and reports."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: str, *, device: str | None = None) -> list[Event]:
        """The events of that kind, oldest first; of one device where one is named."""
        return [e for e in self.events if e.kind == kind and (device is None or e.device == device)]

    def count(self, kind: str, *, device: str | None = None) -> int:
        return len(self.of(kind, device=device))


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def _rich(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"} and isinstance(value["base64"], str):
            return base64.b64decode(value["base64"])
        return {key: _rich(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_rich(item) for item in value]
    return value


def to_json_line(event: Event) -> bytes:
    """One event as one line of JSON, line feed included; bytes become `{"base64": ...}`."""
    whole = msgspec.structs.asdict(event)
    whole["data"] = _plain(event.data)
    return msgspec.json.encode(whole) + b"\n"


def from_json_line(line: bytes) -> Event:
    """The event in a line that `to_json_line` wrote. Raises ValueError, with the reason, for anything else."""
    try:
        event = msgspec.json.decode(line, type=Event)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an event line: {error}") from None
    return msgspec.structs.replace(event, data=_rich(event.data))

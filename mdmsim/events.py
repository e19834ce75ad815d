"""What happened, as a stream of typed events: assertions, metrics, consoles and reports are its readers.

An event is `{v, seq, at_ms, source, device, kind, data}`. Kinds are stable names, all listed in `KINDS`.
Processes of a live world stream theirs as JSON lines.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import msgspec

from mdmsim.clock import Clock
from mdmsim.printable import printable_json

VERSION = 1


class Kind(NamedTuple):
    """One kind of event: the keys of its `data`, and what it means.

    `keys` are always there; `optional` ones only where they apply. `subject` names what says which device it is about:
    `device` (the event's own field) or a key of `data`; None: it is about no device.
    """

    keys: tuple[str, ...]
    about: str
    optional: tuple[str, ...] = ()
    subject: str | None = None

    @property
    def all_keys(self) -> tuple[str, ...]:
        return (*self.keys, *self.optional)


#: The only values of some keys, by kind and key.
VALUES: dict[tuple[str, str], tuple[str, ...]] = {
    ("device.unenrolled", "reason"): ("user", "command", "refused", "expired", "erased"),
    ("device.command-answered", "status"): ("Acknowledged", "Error", "CommandFormatError", "NotNow"),
    ("device.report-delivered", "status"): ("Acknowledged", "Error", "CommandFormatError", "NotNow"),
    ("device.locked", "by"): ("user", "command"),
    ("device.unlocked", "by"): ("passcode", "pin"),
    ("device.lock-refused", "by"): ("passcode", "pin"),
    ("device.power", "state"): ("on", "off", "restarting"),
    ("device.network", "state"): ("up", "down"),
    ("device.setup", "state"): ("welcome", "awaiting", "done"),
    ("device.remote-management", "origin"): ("apple", "backup"),
    ("device.pairing", "host"): ("stranger", "supervising"),
    ("device.pairing", "outcome"): ("trusted", "refused"),
}


def _kind(keys: str, about: str, *, optional: str = "", subject: str | None = None) -> Kind:
    return Kind(tuple(keys.split()), about, tuple(optional.split()), subject)


def _device(keys: str, about: str, *, optional: str = "") -> Kind:
    return _kind(keys, about, optional=optional, subject="device")


def _push(keys: str, about: str, *, optional: str = "") -> Kind:
    return _kind(keys, about, optional=optional, subject="token")


def _server(keys: str, about: str) -> Kind:
    return _kind(keys, about, subject="enrollment_id")


_EXCHANGE = (
    "label method url host request_headers request_body status response_headers response_body error started_ms ended_ms"
    " identity connection"
)

#: Every kind of event. Adding one is an addition here and a row in `docs/events.md`, which a test holds together.
KINDS: dict[str, Kind] = {
    # a device's own account of itself (source: device)
    "device.enrolled": _device(
        "server_url topic", "the enrollment profile is stored and the first TokenUpdate was accepted"
    ),
    "device.enrollment-failed": _device(
        "error_chain stage", "an enrollment profile could not be installed; nothing was kept"
    ),
    "device.not-simulated": _device(
        "what profile",
        "what a real device would do with that profile and mdmsim does not: an enrollment that was not tried, a"
        " payload that was left out, or a key of a DEP profile",
        optional="command_uuid",
    ),
    "device.unenrolled": _device(
        "reason url status",
        "reason: user, command, refused, expired, erased; url and status where a server refused",
    ),
    "device.checkout": _device("delivered status", "the one attempt at CheckOut"),
    "device.token-updated": _device("push_token first", "a TokenUpdate was accepted"),
    "device.command-answered": _device(
        "command_uuid request_type status error_chain simulated",
        "the answer is committed, not yet delivered; simulated: false where a real device could do what was asked",
    ),
    "device.report-delivered": _device("command_uuid request_type status", "the server answered the report with a 2xx"),
    "device.report-refused": _device(
        "status label", "the server answered a report with anything but a 2xx or a refusal"
    ),
    "device.profile-installed": _device("identifier uuid managed replaced", "a profile was installed"),
    "device.profile-removed": _device(
        "identifier uuid why", "a profile was removed; why: command, user, refused, expired"
    ),
    "device.identity-enrolled": _device("subject issuer fingerprint by", "an identity came into the keychain"),
    "device.push-heard": _device("number connects", "a push woke the device"),
    "device.push-ignored": _device("why", "why: wrong push magic, not enrolled, off"),
    "device.locked": _device("by pin message", "lock screen or PIN lock"),
    "device.unlocked": _device("by", "by: passcode, pin"),
    "device.lock-refused": _device("by", "a wrong passcode or PIN was typed"),
    "device.power": _device("state why", "state: on, off, restarting"),
    "device.os-updated": _device("os_version build_version", "its user installed a later release of its system"),
    "device.passcode-changed": _device("present compliant", "the passcode was set, changed or taken away"),
    "device.network": _device("state", "state: up, down"),
    "device.retry-scheduled": _device("at_ms reason attempt", "the device tries again by itself at that time"),
    "device.connected": _device(
        "answered", "answered: commands answered in this connection, from Idle to the empty 200"
    ),
    "device.session-endless": _device(
        "answered distinct why",
        "the server handed out commands without end; the session was ended by mdmsim, not as a device would",
    ),
    "device.erased": _device("by how", "how: content-and-settings, obliterate or all"),
    "device.activated": _device("assigned", "Apple's device enrollment service was asked for this serial's profile"),
    "device.remote-management": _device(
        "origin url web_view anchors profile_name organisation department support_phone_number support_email_address"
        " org_magic mandatory supervised removable awaits multi_user pairing supervising_hosts panes skipped auto_advance"
        " language region profile_from_backup profiles_from_backup return_to_service not_simulated",
        "what the device takes from its DEP profile by the rules of its release; origin: apple, or the backup that is"
        " restored; not_simulated: what it would do besides",
    ),
    "device.remote-management-skipped": _device("", "a person skipped Remote Management, where the profile let them"),
    "device.pairing": _device(
        "host outcome", "someone connected the device to a computer; host: stranger, supervising"
    ),
    "device.setup": _device("state why", "state: welcome, awaiting, done"),
    "device.configured": _device("", "the server released the device from Setup Assistant"),
    "device.restored": _device("same_device management", "a backup was restored"),
    "device.failed": _device(
        "error where", "a bug ended what the device did; it does nothing more by itself (source: fleet)"
    ),
    # the wire (source: wire, the recorder on a transport)
    "exchange": _kind(
        _EXCHANGE,
        "one HTTP exchange; the optional keys where a device sent it",
        optional="response_url error_class sent reused hops fault",
        subject="device",
    ),
    # the fake APNs (source: apns)
    "provider.connected": _kind(
        "connection environment topic refusal", "who pushes made a connection; topic: of its certificate"
    ),
    "provider.disconnected": _kind("connection why", "it ended"),
    "push.accepted": _push(
        "apns_id topic token expiration payload replaced dropped", "answered 200; dropped: why it goes nowhere"
    ),
    "push.refused": _push("apns_id topic token status reason", "answered with that status and reason"),
    "push.stored": _push("apns_id topic token expires_ms", "nobody listens; kept as the one pending push"),
    "push.delivered": _push("apns_id topic token", "handed to a courier connection"),
    "push.acknowledged": _push("apns_id topic token", "the device's process said it has it"),
    "push.expired": _push("apns_id topic token", "the pending push was given up"),
    "token.registered": _push("topic token", "pushes to it are accepted from now on"),
    "token.retired": _push("topic token", "pushes to it are refused from now on"),
    "courier.connected": _kind("connection subscriptions", "a courier connection was made"),
    "courier.disconnected": _kind("connection why subscriptions", "it ended; subscriptions: how many it had"),
    "courier.subscribed": _kind(
        "connection tokens refused", "how many it listens for from now on, how many were refused"
    ),
    "courier.unsubscribed": _kind("connection tokens", "how many it does not listen for any more"),
    # the fake DEP (source: dep)
    "dep.session": _kind("server consumer_key user_agent version", "an MDM server opened a session"),
    "dep.account": _kind("server version", "it asked for its account"),
    "dep.fetch": _kind("server devices limit first more", "a page of all devices"),
    "dep.sync": _kind("server operations limit more", "a page of changes"),
    "dep.details": _kind("server serials", "details of these devices", subject="serials"),
    "dep.profile-defined": _kind("server profile_uuid profile_name warnings", "a profile was defined"),
    "dep.profile-read": _kind("server profile_uuid", "a profile was read"),
    "dep.assigned": _kind("server profile_uuid results", "results: serial number to result", subject="results"),
    "dep.unassigned": _kind("server results", "whatever profile devices had is taken from them", subject="results"),
    "dep.disowned": _kind("server results", "the organisation gave devices up", subject="results"),
    "dep.activation-lock": _kind("server serial status", "a device was asked to lock", subject="serial"),
    "dep.refused": _kind("endpoint method server status reason why", "a request of an MDM server was refused"),
    "dep.configuration-served": _kind(
        "serial server profile_uuid machine_info", "a device got its configuration at activation", subject="serial"
    ),
    "dep.configuration-absent": _kind(
        "serial why", "a device asked at activation, and there was nothing for it", subject="serial"
    ),
    "dep.portal": _kind(
        "action",
        "somebody used the portal",
        optional="serials server organisation family consumer_key",
        subject="serials",
    ),
    # the reference server (source: server)
    "server.checkin": _server("message enrollment_id status why", "it answered a check-in message"),
    "server.connect": _server("report enrollment_id status command_uuid served why", "it answered a report"),
    "server.command-queued": _server("enrollment_id command_uuid request_type", "a command was queued"),
    "server.command-served": _server("enrollment_id command_uuid request_type", "it was handed out"),
    "server.command-result": _server("enrollment_id command_uuid request_type status", "a report about it came"),
    "server.push-sent": _server("enrollment_id status reason attempt", "APNs answered a push of the server"),
    "server.scep": _kind("operation status why", "it answered a SCEP request"),
    "server.enrolled": _server("enrollment_id", "the first TokenUpdate of an enrollment came"),
    "server.removed": _server("enrollment_id why", "an enrollment ended"),
    "server.dep-round": _kind(
        "account why added modified deleted defined assigned",
        "the server asked DEP; why: it failed; assigned: result to number",
    ),
    "server.automated": _kind(
        "serial_number udid status why",
        "a device in Setup Assistant asked for its enrollment profile",
        subject="serial_number",
    ),
    # scenarios (source: scenario)
    "case.started": _kind(
        "case title platform",
        "a case begins",
        optional="story level requirement source where replay devices",
    ),
    "case.finished": _kind("case grade", "its verdict", optional="expected observed where exchange"),
    "step.started": _kind("case step title where", "a step begins"),
    "step.finished": _kind("case step grade where", "how it ended", optional="title expected observed exchange"),
    "fault.injected": _kind("fault why target", "a planned fault was carried out", subject="device"),
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
    return printable_json(msgspec.json.encode(whole)) + b"\n"


def from_json_line(line: bytes) -> Event:
    """The event in a line that `to_json_line` wrote. Raises ValueError, with the reason, for anything else."""
    try:
        event = msgspec.json.decode(line, type=Event)
    except msgspec.MsgspecError as error:
        raise ValueError(f"not an event line: {error}") from None
    return msgspec.structs.replace(event, data=_rich(event.data))

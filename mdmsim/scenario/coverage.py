"""What is simulated, found by running devices: every command, query, check-in message, payload, declaration and status item.

One device of each platform is enrolled out of the box (supervised, by Automated Device Enrollment), and copies of it are
asked for everything that Apple's schema has. `STATES` says what the states mean.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

from mdmsim.chance import Chance
from mdmsim.device.commands.execute import execute
from mdmsim.device.device import Device
from mdmsim.device.passcode_policy import policy_of
from mdmsim.device.personas.queries import QUERIES
from mdmsim.device.state import decode, encode
from mdmsim.events import Events
from mdmsim.pki.pkcs12 import build_pkcs12
from mdmsim.protocol import plist
from mdmsim.protocol.connect import Command
from mdmsim.protocol.payloads import MDM, PEM, PKCS1, PKCS12, ROOT, CertificatePayload, Payload
from mdmsim.protocol.profile import build_profile, parse_profile
from mdmsim.scenario import blocking
from mdmsim.scenario.run import Run
from mdmsim.schema import facts
from mdmsim.schema.platforms import Platform, version

Kind = Literal["command", "query", "checkin", "payload", "declaration", "status"]
State = Literal["answered", "refused", "stored", "unknown"]

KINDS: tuple[Kind, ...] = ("command", "query", "checkin", "payload", "declaration", "status")

#: What the states mean.
STATES: dict[State, str] = {
    "answered": "simulated: a command is carried out, a query has a value, a check-in message is sent, a payload has its effect",
    "stored": "the profile is installed and listed; its payload has no effect",
    "refused": "real devices of the platform do not have it either: they refuse it, leave it out or never send it",
    "unknown": "real devices have it, and it is not simulated",
}

#: The platforms that are simulated: kind of device, and the models of the two that stand for it (None: any). Between
#: them they have what queries ask for: a modem, a battery, Ethernet.
PLATFORMS: dict[str, tuple[str, str | None, str | None]] = {
    "ios": ("iphone", None, None),
    "ipados": ("ipad", "iPad13,19", None),
    "macos": ("mac-silicon", "Mac15,3", "Mac14,3"),
    "tvos": ("appletv", None, None),
}

#: How a device words that it does not have a command: no such request type, needs DEP, lacks a right.
_UNAVAILABLE = {12021, 12007, 74}

#: Keys without which a command is refused for its form. Only that it is carried out matters here, not what comes of it.
_KEYS: dict[str, dict[str, Any]] = {
    "DeviceInformation": {"Queries": ["SerialNumber"]},
    "RemoveProfile": {"Identifier": "com.example.none"},
    "DeviceLock": {"PIN": "123456"},
    "EraseDevice": {"PIN": "123456"},
    "ClearPasscode": {"UnlockToken": b"none"},
    "InstallProfile": {"Payload": b""},
}


class Row(NamedTuple):
    """One thing on one platform. `command` is its name, whatever its kind."""

    kind: Kind
    platform: str
    command: str
    state: State


def coverage() -> list[Row]:
    """Everything by kind, name and platform. Runs worlds of its own in process; takes some seconds."""
    rows = [row for platform in PLATFORMS for row in _of_platform(platform)]
    order, platforms = {kind: n for n, kind in enumerate(KINDS)}, list(PLATFORMS)
    return sorted(rows, key=lambda row: (order[row.kind], row.command, platforms.index(row.platform)))


def _of_platform(platform: str) -> Iterator[Row]:
    with blocking.open_world(seed=1) as world:
        kind, first, second = PLATFORMS[platform]
        bought = world.device(kind, model=first)
        world.step("order_device", device=bought)
        world.step("sync_dep")
        world.step("walk_setup", device=bought, outcome="held")
        by_hand = world.device(kind, model=second)
        by_hand.enroll()

        async def queries(run: Run) -> set[str]:
            return _Asker(platform, run.device(by_hand.name)).answered_queries()

        answered = world.call(queries)
        world.step("remove_profile", device=by_hand)
        sent = {label.partition(":")[2] for device in (bought, by_hand) for label, _ in device.requests}

        async def everything(run: Run) -> list[Row]:
            return list(_Asker(platform, run.device(bought.name)).rows(sent, answered))

        yield from world.call(everything)


#: How platforms and kinds are headed for people.
_SYSTEMS = {"ios": "iOS", "ipados": "iPadOS", "macos": "macOS", "tvos": "tvOS"}
_HEADINGS: dict[Kind, str] = {
    "command": "Commands",
    "query": "Queries of DeviceInformation",
    "checkin": "Check-in messages",
    "payload": "Payload types",
    "declaration": "Declarations",
    "status": "Status items",
}


def tables(rows: Sequence[Row]) -> dict[str, list[list[str]]]:
    """By heading, one line for each name: the name, and its state on each platform in the order of `PLATFORMS`."""
    found: dict[str, list[list[str]]] = {}
    for kind in KINDS:
        states: dict[str, dict[str, str]] = {}
        for row in rows:
            if row.kind == kind:
                states.setdefault(row.command, {})[row.platform] = row.state
        lines = [[name, *(by_platform[platform] for platform in PLATFORMS)] for name, by_platform in states.items()]
        found[_HEADINGS[kind]] = [[kind, *_SYSTEMS.values()], *lines]
    return found


def page(rows: Sequence[Row]) -> str:
    """`docs/coverage.md`."""
    source = facts.load().source
    newest = ", ".join(f"{column} {newest}" for column, newest in source.newest.items())
    lines = [
        "# What is simulated",
        "",
        "Made by running devices: `mdmsim schema coverage --markdown > docs/coverage.md`. A supervised device of each",
        "platform, enrolled by Automated Device Enrollment, was asked for everything that Apple's schema has",
        f"({source.repository}: {newest}).",
        "",
        "| state | meaning |",
        "| --- | --- |",
        *(f"| {state} | {meaning} |" for state, meaning in STATES.items()),
        "",
        "On the wire a device answers a command that is `unknown` here like one that nobody has (12021): the protocol has no",
        'better word. mdmsim says it beside the wire: `simulated: false` in the event, "not simulated" in what is printed and',
        "in the report. A scenario that asks for one and then fails is not applicable.",
    ]
    for heading, table in tables(rows).items():
        lines += ["", f"## {heading}", "", _cells(table[0]), _cells(["---"] * len(table[0]))]
        lines += [_cells([f"`{name}`", *states]) for name, *states in table[1:]]
    return "\n".join(lines) + "\n"


def _cells(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


class _Asker:
    """Asks copies of one enrolled device for everything."""

    def __init__(self, platform: str, device: Device) -> None:
        self._platform = platform
        self._device = device
        if device.state.enrollment is None:
            raise RuntimeError(f"{device.device_id} is not enrolled")
        self._enrollment = device.state.enrollment
        self._column = Platform(platform).column

    def rows(self, sent: set[str], answered: set[str]) -> Iterator[Row]:
        """`sent`: the check-in messages that devices of the platform have sent; `answered`: queries that another answers."""
        known = facts.load()
        for name in known.commands:
            yield self._row("command", name, self._command(name))
        answered = answered | self.answered_queries()
        for name, query in QUERIES.items():
            since = query.since.get(self._platform)
            has = since is not None and self._device.persona.at_least(since) and query.needs not in ("never", "old-mac")
            yield self._row("query", name, "answered" if name in answered else "unknown" if has else "refused")
        for name, message in known.checkin.items():
            yield self._row("checkin", name, "answered" if name in sent else self._absent(message.platforms))
        effective = self._enrollment_payloads()
        for name, payload in known.payloads.items():
            yield self._row("payload", name, "answered" if name in effective else self._payload(name, payload))
        # Devices do not hold declarations: the command that announces them is not carried out either.
        for name, entry in known.declarations.items():
            yield self._row("declaration", name, self._absent(entry.platforms))
        for name, entry in known.status.items():
            yield self._row("status", name, self._absent(entry.platforms))

    def _row(self, kind: Kind, name: str, state: State) -> Row:
        return Row(kind, self._platform, name, state)

    def _absent(self, platforms: dict[str, facts.Availability]) -> State:
        """The state of what the device does not do: unknown if a real one of its release would."""
        row, now = platforms.get(self._column), version(self._device.persona.os_version)
        if row is None or not row.available or (row.introduced is not None and now < version(row.introduced)):
            return "refused"
        return "refused" if row.removed is not None and now >= version(row.removed) else "unknown"

    def _run(self, request_type: str, keys: dict[str, Any]) -> tuple[Device, dict[str, Any]]:
        """A copy of the device that was given a command, and the data of its event."""
        device = self._device
        copy = Device(
            decode(encode(device.state)),
            store=device.store,
            clock=device.clock,
            chance=Chance(1),
            keys=device.keys,
            events=Events(device.clock),
            behaviour=device.behaviour,
        )
        flow = execute(copy, Command("coverage", request_type, keys))
        try:
            next(flow)
        except StopIteration:
            pass
        else:
            flow.close()
            raise RuntimeError(f"{request_type} asked the network for something, which coverage cannot give it")
        return copy, next(e["data"] for e in reversed(copy.state.outbox) if e["kind"] == "device.command-answered")

    def _command(self, name: str) -> State:
        _, answer = self._run(name, _KEYS.get(name, {}))
        if not answer["simulated"]:
            return "unknown"
        if _UNAVAILABLE.intersection(item["code"] for item in answer["error_chain"]):
            return self._absent(facts.load().commands[name].platforms)
        return "answered"

    def answered_queries(self) -> set[str]:
        """The queries of DeviceInformation to which the device has an answer."""
        device, _ = self._run("DeviceInformation", {"Queries": list(QUERIES)})
        undelivered = device.undelivered()
        return set(plist.loads(undelivered.body)["QueryResponses"]) if undelivered is not None else set()

    def _enrollment_payloads(self) -> set[str]:
        """The types of the enrollment profile's payloads that had their effect."""
        state = self._device.state
        installed = next(profile for profile in state.profiles if profile.identifier == self._enrollment.profile)
        kept = {item.payload_uuid for item in state.keychain}
        payloads = parse_profile(self._device.store.get(installed.content)).payloads
        return {payload.type for payload in payloads if payload.uuid in kept or payload.type == MDM}

    def _payload(self, name: str, known: facts.PayloadFacts) -> State:
        payload = self._content(name, known)
        profile = build_profile(identifier="com.example.coverage", uuid="COVERAGE", payloads=[payload])
        device, answer = self._run("InstallProfile", {"Payload": profile})
        if any(event["kind"] == "device.not-simulated" for event in device.state.outbox):
            return "unknown"
        if answer["status"] != "Acknowledged":
            return self._absent(known.platforms)
        before, after = self._device.state, device.state
        changed = len(after.keychain) != len(before.keychain) or after.enrollment != before.enrollment
        policies = policy_of(after, device.store) != policy_of(before, device.store)
        return "answered" if changed or policies else "stored"

    def _content(self, name: str, known: facts.PayloadFacts) -> Payload:
        """A payload of that type with whatever it must have; real content where the content decides the effect."""
        identity = self._device.identity(self._enrollment.identity)
        der = identity.certificate
        content = {ROOT: der, PKCS1: der, PEM: ssl.DER_cert_to_PEM_cert(der).encode()}.get(name)
        if name == PKCS12:
            content = build_pkcs12(identity, "coverage")
        if content is not None:
            view = CertificatePayload(type=name, content=content, password="coverage" if name == PKCS12 else None)
            return view.to_payload(identifier="com.example.coverage.payload", uuid="COVERAGE-1")
        keys = {key.name: _value(key) for key in known.required}
        more = _MORE.get(name, {})
        return Payload(type=name, identifier="com.example.coverage.payload", uuid="COVERAGE-1", keys=keys | more)


#: Keys that a payload needs besides the required ones, to be installed or to have an effect.
_MORE: dict[str, dict[str, Any]] = {
    "com.apple.mobiledevice.passwordpolicy": {"forcePIN": True},
    "com.apple.wifi.managed": {"SSID_STR": "x", "EncryptionType": "None", "HIDDEN_NETWORK": False},
}


def _value(key: facts.Key) -> Any:
    """A value of a key's type, one that is allowed where the schema lists some."""
    if key.values:
        return key.values[0]
    return {"string": "x", "integer": 1, "real": 1.0, "boolean": True, "data": b"x", "array": [], "dictionary": {}}.get(
        key.type, "x"
    )

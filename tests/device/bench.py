"""A bench for one device: a small honest server made of plain functions, and everything a device needs around it."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.device.device import Behaviour, Device
from mdmsim.device.flow import Flow, Pause
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.wake import next_flow
from mdmsim.device.personas import make_persona
from mdmsim.device.state import DEVICE_CHANNEL, DeviceState
from mdmsim.device.store import DeviceStore, MemoryStore
from mdmsim.events import EventLog, Events
from mdmsim.http import Request, Response
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import KeySource, SharedKeys
from mdmsim.pki.scep.server import ScepService
from mdmsim.protocol.checkin import Authenticate, CheckIn, CheckOut, TokenUpdate, parse_checkin
from mdmsim.protocol.connect import Command, Report, Status, build_command, parse_report
from mdmsim.protocol.content_type import is_checkin
from mdmsim.protocol.mdm_push import build_payload
from mdmsim.protocol.payloads import CertificatePayload, MdmPayload, Payload, ScepPayload
from mdmsim.protocol.profile import build_profile

T = TypeVar("T")

TOPIC = "com.apple.mgmt.External.7f3c1c6e-0d2f-4b8e-9a51-0c4bb0f6a001"
SERVER = "https://mdm.example.test"
KEYS = SharedKeys(5)

Interfere = Callable[[Request], Response | BaseException | None]


@dataclass
class BenchServer:
    """Answers check-in, connect and SCEP. `interfere` may answer or fail a request instead; None lets it through."""

    scep: ScepService
    queue: list[Command] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    checkins: list[CheckIn] = field(default_factory=list)
    reports: list[Report] = field(default_factory=list)
    interfere: Interfere | None = None

    def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        if self.interfere is not None:
            instead = self.interfere(request)
            if isinstance(instead, BaseException):
                raise instead
            if instead is not None:
                return instead
        if "operation=" in request.url:
            return self._scep(request)
        if is_checkin(request.header("Content-Type")):
            self.checkins.append(parse_checkin(request.body))
            return Response(200)
        return self._connect(request)

    def _scep(self, request: Request) -> Response:
        if "GetCACaps" in request.url:
            return Response(200, body=self.scep.ca_caps())
        if "GetCACert" in request.url:
            answer = self.scep.ca_cert()
            return Response(200, (("Content-Type", answer.content_type),), answer.body)
        return Response(200, body=self.scep.handle(pki_message(request)).body)

    def _connect(self, request: Request) -> Response:
        report = parse_report(request.body)
        self.reports.append(report)
        if report.status is not Status.IDLE:
            done = report.status is not Status.NOT_NOW
            self.queue = [c for c in self.queue if not (done and c.command_uuid == report.command_uuid)]
        not_now = {r.command_uuid for r in self._session() if r.status is Status.NOT_NOW}
        for command in self.queue:
            if command.command_uuid not in not_now:
                return Response(200, body=build_command(command))
        return Response(200)

    def _session(self) -> list[Report]:
        """The reports since the last Idle, and before it those that an undelivered report began with."""
        session: list[Report] = []
        for report in reversed(self.reports):
            session.append(report)
            if report.status is Status.IDLE:
                break
        return session

    def labels(self) -> list[str]:
        return [request.label for request in self.requests]

    def of(self, kind: type[T]) -> list[T]:
        return [message for message in self.checkins if isinstance(message, kind)]


def pki_message(request: Request) -> bytes:
    """The SCEP message in a POST, or in the query of a GET (RFC 8894 section 4.1)."""
    if request.method == "POST":
        return request.body
    return base64.b64decode(unquote(urlsplit(request.url).query.partition("message=")[2]))


class Bench:
    """One device of the given kind, with its server, store, clock and events."""

    def __init__(
        self,
        kind: str = "iphone",
        *,
        store: DeviceStore | None = None,
        keys: KeySource = KEYS,
        behaviour: Behaviour | None = None,
        state: dict[str, Any] | None = None,
        **persona: Any,
    ) -> None:
        self.clock = ManualClock()
        self.chance = Chance("bench")
        self.store = store or MemoryStore()
        self.keys = keys
        self.events = Events(self.clock)
        self.log = EventLog()
        self.events.subscribe(self.log)
        self.behaviour = behaviour or Behaviour()
        persona_ = make_persona(kind, chance=self.chance.stream("persona"), **persona)
        fields: dict[str, Any] = {"supervised": persona_.supervised, "passcode": persona_.passcode or ""}
        fields.update(state or {})
        self.device = Device(
            DeviceState(device_id="d1", persona=persona_, **fields), store=self.store, **self._around()
        )
        self.device.save()
        self.authority = Authority.create("Bench CA", keys=keys, clock=self.clock, chance=self.chance.stream("ca"))
        self.server = BenchServer(ScepService(self.authority, clock=self.clock, chance=self.chance.stream("scep")))

    def _around(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "chance": self.chance,
            "keys": self.keys,
            "events": self.events,
            "behaviour": self.behaviour,
        }

    # --- running ------------------------------------------------------------------------------------------------

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow against the server, as a driver does."""
        answer: Response | None = None
        failure: BaseException | None = None
        try:
            while True:
                try:
                    wish = flow.send(answer) if failure is None else flow.throw(failure)
                except StopIteration as end:
                    return end.value
                answer = failure = None
                self.device.save()
                if isinstance(wish, Pause):
                    self.clock.advance(round(wish.seconds * 1000))
                    continue
                try:
                    answer = self.server(wish)
                except Exception as error:
                    failure = error
        finally:
            flow.close()
            self.device.save()

    def act(self) -> int:
        """Run everything that the device wants to do now; return how many flows that were."""
        count = 0
        while (flow := next_flow(self.device)) is not None:
            self.run(flow)
            count += 1
            assert count < 50, "the device never comes to rest"
        return count

    def restart(self) -> None:
        """The process died: the device comes back from its store."""
        self.device = Device.load("d1", store=self.store, **self._around())

    def later(self, seconds: float) -> int:
        """Let time pass wake by wake, as a fleet does; return how many flows ran."""
        end, count = self.clock.now_ms() + round(seconds * 1000), 0
        while True:
            count += self.act()
            wake = self.device.next_wake_ms()
            if wake is None or wake > end:
                break
            self.clock.advance(max(0, wake - self.clock.now_ms()))
        self.clock.advance(end - self.clock.now_ms())
        return count

    # --- what a server does -------------------------------------------------------------------------------------

    def enroll(self, **changes: Any) -> None:
        """Install an enrollment profile and forget the requests that took."""
        self.run(install_profile(self.device, self.profile(**changes)))
        self.server.requests.clear()

    def profile(self, *, payloads: tuple[Payload, ...] = (), scep: dict[str, Any] | None = None, **mdm: Any) -> bytes:
        """An enrollment profile: root certificate, SCEP, MDM, and further payloads."""
        settings: dict[str, Any] = {
            "topic": TOPIC,
            "server_url": f"{SERVER}/connect",
            "check_in_url": f"{SERVER}/checkin",
            "identity_certificate_uuid": "SCEP-1",
            "access_rights": 8191,
            "sign_message": True,
            "check_out_when_removed": True,
        }
        settings.update(mdm)
        identity: dict[str, Any] = {
            "url": f"{SERVER}/scep",
            "name": "Bench",
            "subject": ((("CN", "bench device"),),),
            "key_size": 2048,
            "key_usage": 5,
        }
        identity.update(scep or {})
        root = CertificatePayload(type="com.apple.security.root", content=self.authority.certificate)
        return build_profile(
            identifier="test.enrollment",
            uuid="PROFILE-1",
            display_name="Bench enrollment",
            payloads=(
                MdmPayload(**settings).to_payload(identifier="test.enrollment.mdm", uuid="MDM-1"),
                *payloads,
                ScepPayload(**identity).to_payload(identifier="test.enrollment.scep", uuid="SCEP-1"),
                root.to_payload(identifier="test.enrollment.root", uuid="ROOT-1"),
            ),
        )

    def queue(self, request_type: str, uuid: str | None = None, **keys: Any) -> str:
        """Queue a command; return its CommandUUID."""
        uuid = uuid or f"{len(self.server.queue) + 1:04d}-{request_type}"
        self.server.queue.append(Command(uuid, request_type, keys))
        return uuid

    def push(self, magic: str | None = None) -> None:
        """The courier delivers a push."""
        payload = build_payload(magic if magic is not None else self.device.voice().push_magic)
        self.device.pushed(self.store.pushed("d1", DEVICE_CHANNEL, payload))

    def ask(self, request_type: str, **keys: Any) -> Report:
        """Queue a command, push, and return the last report that the device gave for it."""
        uuid = self.queue(request_type, uuid=f"ask-{request_type}-{len(self.server.reports)}", **keys)
        self.push()
        self.act()
        return next(report for report in reversed(self.server.reports) if report.command_uuid == uuid)


def settings_payload(identifier: str = "test.wifi", uuid: str = "REST-1") -> Payload:
    """A payload of no consequence here."""
    return Payload(type="com.apple.wifi.managed", identifier=identifier, uuid=uuid, keys={"SSID_STR": "Lab"})


def managed_profile(identifier: str = "test.managed", uuid: str = "MANAGED-1", name: str = "Managed") -> bytes:
    """A profile that a server would install."""
    return build_profile(identifier=identifier, uuid=uuid, display_name=name, payloads=(settings_payload(),))


__all__ = ["Authenticate", "Bench", "CheckOut", "TokenUpdate", "managed_profile", "settings_payload"]

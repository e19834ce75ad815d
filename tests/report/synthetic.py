"""A whole run that never happened: real messages, real certificates and signatures, invented devices.

`Story` writes the events of one case; `demo_run` makes the cases that a demo has, two of them failing.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mdmsim.chance import Chance
from mdmsim.clock import DAY, MINUTE, SECOND, ManualClock
from mdmsim.events import Event
from mdmsim.http import Identity
from mdmsim.pki import cms, keys, mdm_signature
from mdmsim.pki.authority import Authority
from mdmsim.pki.degenerate import certificates_only
from mdmsim.protocol import mdm_push, plist
from mdmsim.report import Case, Collector, Run

URL = "https://mdm.acme.example:8443"
START = 1_767_225_600_000
TOPIC = "com.apple.mgmt.External.6b4f2f0e-3f2c-4f0c-8f53-1c1f3c3f7e11"
CHALLENGE = "one-time-scep-challenge-4711"
API_KEY = "api-key-of-the-administrator-0815"

DESCRIPTIONS = {"ios": "iPhone 15, iOS 18.1", "macos": "MacBook Air, macOS 15.1", "tvos": "Apple TV 4K, tvOS 18.1"}
NAMES = {"ios": "iphone", "macos": "mac", "tvos": "tv"}
AGENTS = {"ios": "MDM/1.0", "macos": "MDM-OSX/1.0 mdmclient/1543", "tvos": "MDM/1.0"}


@dataclass
class Phone:
    """One invented device: what its messages are made from."""

    name: str
    platform: str
    udid: str
    serial: str
    magic: str
    token: bytes
    unlock_token: bytes | None
    identity: Identity


class Maker:
    """Devices and the things they share. One key for all: making keys is slow, and here nobody minds."""

    def __init__(self, seed: int = 2026) -> None:
        self.chance = Chance(seed)
        self.clock = ManualClock(START)
        self.keys = keys.SharedKeys(1)
        self.authority = Authority.create(
            "Acme Lab CA", keys=self.keys, clock=self.clock, chance=self.chance.stream("ca")
        )
        self._numbers: dict[str, int] = {}
        self._phones: dict[str, Phone] = {}

    def phone(self, platform: str) -> Phone:
        number = self._numbers[platform] = self._numbers.get(platform, 0) % 4 + 1
        name = f"{NAMES[platform]}-{number:02d}"
        if name not in self._phones:
            chance = self.chance.stream(name)
            self._phones[name] = Phone(
                name=name,
                platform=platform,
                udid=f"00008120-{chance.hex(8).upper()}" if platform != "macos" else str(chance.uuid()).upper(),
                serial=f"C02{chance.hex(4).upper()}",
                magic=str(chance.uuid()).upper(),
                token=chance.bytes(32),
                unlock_token=chance.bytes(1288) if platform == "ios" else None,
                identity=self.authority.client_identity(f"{name} identity"),
            )
        return self._phones[name]


class Story:
    """Writes the events of one case, in order, on a clock of its own."""

    def __init__(self, maker: Maker, events: list[Event], *, busy: int = 0) -> None:
        self.maker, self.events, self.busy = maker, events, busy
        self.connection = 0
        self.step_number = 0

    @property
    def clock(self) -> ManualClock:
        return self.maker.clock

    def emit(self, kind: str, by: str = "device", /, *, device: str | None = None, **data: Any) -> None:
        self.events.append(Event(kind=kind, at_ms=self.clock.now_ms(), source=by, device=device, data=data))

    @contextmanager
    def case(
        self, case: str, title: str, platform: str, phones: list[Phone], grade: str = "passed", **more: Any
    ) -> Iterator[None]:
        self.emit(
            "case.started",
            "scenario",
            case=case,
            title=title,
            platform=platform,
            devices={phone.name: DESCRIPTIONS[phone.platform] for phone in phones},
            replay=f"mdmsim run scenarios/{case.partition('/')[0]}.yaml --case '{case}' --seed 2026",
            where=f"scenarios/{case.partition('/')[0]}.yaml:12",
            source="Apple, MDM Protocol Reference",
        )
        self.step_number = 0
        self.connection += 1
        yield
        self.clock.advance(40)
        self.emit("case.finished", "scenario", case=case, grade=grade, **more)
        self.clock.advance(5 * SECOND)

    @contextmanager
    def step(self, title: str, grade: str = "passed", **more: Any) -> Iterator[None]:
        self.step_number += 1
        where = f"scenarios/story.yaml:{10 + 4 * self.step_number}"
        step = self.step_number
        self.emit("step.started", "scenario", step=step, title=title, where=where)
        yield
        self.emit("step.finished", "scenario", step=step, grade=grade, **{"expected": None, "observed": None, **more})

    def exchange(
        self,
        phone: Phone,
        label: str,
        path: str,
        body: bytes = b"",
        *,
        status: int | None = 200,
        answer: bytes = b"",
        content_type: str = "application/x-apple-aspen-mdm",
        method: str = "PUT",
        error: tuple[str, str] | None = None,
        signed: bool = True,
        took: int = 9,
        identity: bool = True,
    ) -> None:
        started = self.clock.now_ms()
        self.clock.advance(took)
        headers = [["Accept", "*/*"], ["Accept-Encoding", "gzip, deflate, br"], ["Accept-Language", "en-US,en;q=0.9"]]
        if body:
            headers += [["Content-Type", content_type], ["Content-Length", str(len(body))]]
        headers += [["User-Agent", AGENTS[phone.platform]]]
        if signed and body:
            headers += [["Mdm-Signature", mdm_signature.sign_body(body, phone.identity)]]
        answered = [
            ["Content-Type", "application/xml" if answer.startswith(b"<") else "text/plain"],
            ["Content-Length", str(len(answer))],
        ]
        self.emit(
            "exchange",
            device=phone.name,
            label=label,
            method=method,
            url=f"{URL}{path}",
            request_headers=headers,
            request_body=body,
            status=status,
            response_headers=answered if status is not None else [],
            response_body=answer,
            error=error[1] if error else None,
            error_class=error[0] if error else None,
            started_ms=started,
            ended_ms=self.clock.now_ms(),
            identity=phone.identity.fingerprint if identity else None,
            connection=self.connection,
        )

    def api(self, phone: Phone) -> None:
        """The scenario queues a command through the server's API."""
        started = self.clock.now_ms()
        self.clock.advance(4)
        self.emit(
            "exchange",
            "scenario",
            label="api:queue",
            method="POST",
            url=f"{URL}/api/v1/devices/{phone.udid}/commands?api_key={API_KEY}",
            request_headers=[["Authorization", f"Bearer {API_KEY}"], ["Content-Type", "application/json"]],
            request_body=b'{"request_type": "DeviceLock", "pin": "836471"}',
            status=201,
            response_headers=[["Content-Type", "application/json"]],
            response_body=b'{"command_uuid": "667C5A9D-0BF5-4C55-B4E2-0C8DAB48C304", "api_key": "'
            + API_KEY.encode()
            + b'"}',
            error=None,
            error_class=None,
            started_ms=started,
            ended_ms=self.clock.now_ms(),
            identity=None,
            connection=None,
        )

    # What devices do -------------------------------------------------------------------------------------------------

    def scep(self, phone: Phone, *, fail: bool = False) -> None:
        self.exchange(
            phone,
            "scep:GetCACaps",
            "/scep?operation=GetCACaps&message=",
            method="GET",
            answer=b"POSTPKIOperation\nSHA-256\nAES\nSCEPStandard\n",
            signed=False,
            identity=False,
        )
        authority = self.maker.authority
        self.exchange(
            phone,
            "scep:GetCACert",
            "/scep?operation=GetCACert&message=Acme",
            method="GET",
            answer=certificates_only([authority.certificate]),
            signed=False,
            identity=False,
        )
        message = cms.sign(
            b"\x30\x03\x02\x01\x05" * 40, phone.identity, attributes=True, signed_at_ms=self.clock.now_ms()
        )
        if fail:
            self.exchange(
                phone,
                "scep:PKIOperation",
                "/scep?operation=PKIOperation",
                message,
                method="POST",
                status=403,
                answer=b"challenge already used\n",
                content_type="application/x-pki-message",
                signed=False,
                identity=False,
            )
            return
        reply = cms.sign(
            b"\x30\x03\x02\x01\x06" * 60,
            authority.identity,
            attributes=True,
            form="der",
            signed_at_ms=self.clock.now_ms(),
        )
        self.exchange(
            phone,
            "scep:PKIOperation",
            "/scep?operation=PKIOperation",
            message,
            method="POST",
            answer=reply,
            content_type="application/x-pki-message",
            signed=False,
            identity=False,
        )
        self.emit(
            "device.identity-enrolled",
            device=phone.name,
            subject=f"CN={phone.name} identity",
            issuer="CN=Acme Lab CA",
            fingerprint=phone.identity.fingerprint,
            by="scep",
        )

    def profile(self, phone: Phone) -> bytes:
        return plist.dumps(
            {
                "PayloadType": "Configuration",
                "PayloadVersion": 1,
                "PayloadIdentifier": "com.acme.enroll",
                "PayloadUUID": str(self.maker.chance.uuid()).upper(),
                "PayloadDisplayName": "Acme enrollment",
                "PayloadContent": [
                    {
                        "PayloadType": "com.apple.security.root",
                        "PayloadContent": self.maker.authority.certificate,
                        "PayloadIdentifier": "com.acme.root",
                    },
                    {
                        "PayloadType": "com.apple.security.scep",
                        "PayloadIdentifier": "com.acme.scep",
                        "PayloadContent": {"URL": f"{URL}/scep", "Challenge": CHALLENGE, "Keysize": 2048},
                    },
                    {
                        "PayloadType": "com.apple.mdm",
                        "PayloadIdentifier": "com.acme.mdm",
                        "Topic": TOPIC,
                        "ServerURL": f"{URL}/mdm",
                        "AccessRights": 8191,
                        "SignMessage": True,
                    },
                ],
            }
        )

    def enroll(self, phone: Phone, *, refused_at: str | None = None, scep_fails: bool = False) -> bool:
        signed = cms.sign(
            self.profile(phone),
            self.maker.authority.identity,
            attributes=True,
            form="der",
            signed_at_ms=self.clock.now_ms(),
        )
        self.exchange(phone, "enroll:profile", "/enroll", method="GET", answer=signed, signed=False, identity=False)
        self.clock.advance(20)
        self.scep(phone, fail=scep_fails)
        if scep_fails:
            self.emit(
                "device.enrollment-failed",
                device=phone.name,
                stage="scep",
                error_chain=[
                    {
                        "ErrorCode": 22013,
                        "ErrorDomain": "MCSCEPErrorDomain",
                        "LocalizedDescription": "The SCEP server returned an invalid response.",
                    }
                ],
            )
            return False
        ids = {"UDID": phone.udid, "Topic": TOPIC}
        authenticate = {
            "MessageType": "Authenticate",
            "BuildVersion": "22B83",
            "OSVersion": "18.1",
            "ProductName": "iPhone15,4",
            "SerialNumber": phone.serial,
            **ids,
        }
        if phone.platform == "macos":
            authenticate |= {
                "DeviceName": "Ada’s MacBook Air",
                "Challenge": b"apple",
                "Model": "Mac15,12",
                "ProductName": "Mac15,12",
                "OSVersion": "15.1",
                "BuildVersion": "24B83",
            }
        refused = refused_at == "Authenticate"
        self.emit(
            "server.checkin", "server", message="Authenticate", enrollment_id=phone.udid, status=401 if refused else 200
        )
        self.exchange(
            phone,
            "checkin:Authenticate",
            "/checkin",
            plist.dumps(authenticate),
            content_type="application/x-apple-aspen-mdm-checkin",
            status=401 if refused else 200,
            answer=b"refused by the administrator\n" if refused else b"",
        )
        if refused:
            self.emit(
                "device.enrollment-failed",
                device=phone.name,
                stage="authenticate",
                error_chain=[{"ErrorCode": 12002, "ErrorDomain": "MCMDMErrorDomain"}],
            )
            return False
        self.emit(
            "device.profile-installed",
            device=phone.name,
            identifier="com.acme.enroll",
            uuid="x",
            managed=True,
            replaced=False,
        )
        update = {
            "MessageType": "TokenUpdate",
            "AwaitingConfiguration": False,
            "PushMagic": phone.magic,
            "Token": phone.token,
            **ids,
        }
        if phone.unlock_token:
            update["UnlockToken"] = phone.unlock_token
        refused = refused_at == "TokenUpdate"
        self.exchange(
            phone,
            "checkin:TokenUpdate",
            "/checkin",
            plist.dumps(update),
            content_type="application/x-apple-aspen-mdm-checkin",
            status=401 if refused else 200,
        )
        if refused:
            self.emit(
                "device.profile-removed", device=phone.name, identifier="com.acme.enroll", uuid="x", why="refused"
            )
            self.emit("device.unenrolled", device=phone.name, reason="refused", url=f"{URL}/checkin", status=401)
            return False
        self.emit("device.token-updated", device=phone.name, push_token=phone.token.hex(), first=True)
        self.emit("device.enrolled", device=phone.name, server_url=f"{URL}/mdm", topic=TOPIC)
        return True

    def push(self, phone: Phone, *, heard: bool = True) -> None:
        apns_id = str(self.maker.chance.uuid()).upper()
        common = {"apns_id": apns_id, "topic": TOPIC, "token": phone.token.hex()}
        self.emit(
            "push.accepted", "apns", expiration=0, payload=mdm_push.build_payload(phone.magic), replaced=False, **common
        )
        self.clock.advance(12)
        if not heard:
            self.emit("push.stored", "apns", expires_ms=self.clock.now_ms() + 7 * DAY, **common)
            return
        self.emit("push.delivered", "apns", **common)
        self.emit("device.push-heard", device=phone.name, number=1, connects=True)
        self.clock.advance(800)

    def connect(
        self,
        phone: Phone,
        commands: list[tuple[str, dict[str, Any], dict[str, Any]]],
        *,
        idle_status: int = 200,
        final: tuple[str, dict[str, Any]] | None = None,
    ) -> None:
        """Idle, then each command (request type, keys, response keys), then the empty 200."""
        report: dict[str, Any] = {"Status": "Idle", "UDID": phone.udid}
        label = "connect:Idle"
        commands = (
            commands
            + [inventory(phone), security(phone), install(self.maker), certificates(phone, self.maker)] * self.busy
        )
        for request_type, asked, answered in commands:
            uuid = str(self.maker.chance.uuid()).upper()
            self.emit(
                "server.command-queued",
                "server",
                enrollment_id=phone.udid,
                command_uuid=uuid,
                request_type=request_type,
            )
            command = plist.dumps({"CommandUUID": uuid, "Command": {"RequestType": request_type, **asked}})
            self.exchange(phone, label, "/mdm", plist.dumps(report), answer=command)
            status = answered.get("Status", "Acknowledged")
            report = {"CommandUUID": uuid, "UDID": phone.udid, "Status": status, **answered}
            label = f"connect:{status}"
            self.emit(
                "device.command-answered",
                device=phone.name,
                command_uuid=uuid,
                request_type=request_type,
                status=status,
                error_chain=None,
                simulated=True,
            )
            self.clock.advance(30)
        self.exchange(
            phone,
            label,
            "/mdm",
            plist.dumps(report),
            status=idle_status,
            answer=b"" if idle_status == 200 else b"gone\n",
        )


def inventory(phone: Phone) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return (
        "DeviceInformation",
        {"Queries": ["DeviceName", "OSVersion", "BatteryLevel", "WiFiMAC", "IsSupervised"]},
        {
            "QueryResponses": {
                "DeviceName": "iPhone",
                "OSVersion": "18.1",
                "BatteryLevel": plist.single(0.86),
                "DeviceCapacity": 119.20929718017578,
                "WiFiMAC": "3c:22:fb:01:02:03",
                "IsSupervised": False,
                "UDID": phone.udid,
                "SerialNumber": phone.serial,
                "EASDeviceIdentifier": "0GV1R7D4KP6E53A2",
            }
        },
    )


def security(phone: Phone) -> tuple[str, dict[str, Any], dict[str, Any]]:
    return (
        "SecurityInfo",
        {},
        {
            "SecurityInfo": {
                "HardwareEncryptionCaps": 3,
                "PasscodeCompliant": True,
                "PasscodePresent": True,
                "ManagementStatus": {"IsUserEnrollment": False},
            }
        },
    )


def certificates(phone: Phone, maker: Maker) -> tuple[str, dict[str, Any], dict[str, Any]]:
    listed = [
        {"CommonName": f"{phone.name} identity", "Data": phone.identity.certificate, "IsIdentity": True},
        {"CommonName": "Acme Lab CA", "Data": maker.authority.certificate, "IsIdentity": False},
    ]
    return ("CertificateList", {}, {"CertificateList": listed})


def install(maker: Maker) -> tuple[str, dict[str, Any], dict[str, Any]]:
    payload = plist.dumps(
        {
            "PayloadType": "Configuration",
            "PayloadIdentifier": "com.acme.wifi",
            "PayloadUUID": "F1",
            "PayloadVersion": 1,
            "PayloadContent": [
                {"PayloadType": "com.apple.wifi.managed", "SSID_STR": "Acme", "Password": "correct-horse-battery"}
            ],
        }
    )
    return ("InstallProfile", {"Payload": cms.sign(payload, maker.authority.identity, form="der")}, {})


def _enrollment(story: Story, maker: Maker, platforms: list[str]) -> None:
    for platform in platforms:
        phone = maker.phone(platform)
        with story.case(f"enrollment/scep[{platform}]", "SCEP identity, first push, first commands", platform, [phone]):
            with story.step("the device installs the enrollment profile"):
                story.enroll(phone)
            with story.step("the server queues three commands and pushes"):
                story.push(phone)
                story.connect(phone, [inventory(phone), security(phone), certificates(phone, maker)])
            with story.step("every command was answered once"):
                pass
    for refused in ("Authenticate", "TokenUpdate"):
        for platform in platforms:
            phone = maker.phone(platform)
            with story.case(
                f"enrollment/refused-at-{refused.lower()}[{platform}]",
                f"The server refuses at {refused}",
                platform,
                [phone],
            ):
                with story.step(f"the server answers {refused} with 401"):
                    story.enroll(phone, refused_at=refused)
                with story.step("nothing of the profile is left on the device"):
                    pass
    for platform in platforms:
        phone = maker.phone(platform)
        with story.case(f"enrollment/scep-failure[{platform}]", "SCEP fails: nothing is installed", platform, [phone]):
            with story.step("the SCEP server refuses the challenge"):
                story.enroll(phone, scep_fails=True)
    phone = maker.phone("ios")
    with (
        story.case("enrollment/untrusted-server[ios]", "The server's certificate is not trusted", "ios", [phone]),
        story.step("the device refuses the server"),
    ):
        story.exchange(
            phone,
            "enroll:profile",
            "/enroll",
            method="GET",
            status=None,
            error=("TLSFailed", "the certificate is signed by CN=Elsewhere, which the device does not trust"),
            signed=False,
            identity=False,
        )


def _unenroll(story: Story, maker: Maker, platforms: list[str]) -> None:
    for at in ("Idle", "report"):
        for platform in platforms:
            phone = maker.phone(platform)
            with story.case(
                f"401-unenroll/{at.lower()}[{platform}]",
                f"401 to the {at} removes the enrollment, then a month of silence",
                platform,
                [phone],
            ):
                with story.step("a clean enrollment"):
                    story.enroll(phone)
                with story.step(f"the server answers the {at} with 401"):
                    story.push(phone)
                    story.connect(phone, [] if at == "Idle" else [security(phone)], idle_status=401)
                    story.emit(
                        "device.profile-removed",
                        device=phone.name,
                        identifier="com.acme.enroll",
                        uuid="x",
                        why="refused",
                    )
                    story.exchange(
                        phone,
                        "checkin:CheckOut",
                        "/checkin",
                        plist.dumps({"MessageType": "CheckOut", "Topic": TOPIC, "UDID": phone.udid}),
                        status=401,
                    )
                    story.emit("device.unenrolled", device=phone.name, reason="refused", url=f"{URL}/mdm", status=401)
                with story.step("the device stays silent for 30 days of pushes"):
                    for days in (1, 3, 26):
                        story.clock.advance(days * DAY)
                        story.push(phone)
                        story.emit("device.push-ignored", device=phone.name, why="not enrolled")
    for status in (403, 404, 410, 500):
        phone = maker.phone("macos")
        with story.case(f"401-unenroll/status-{status}[macos]", f"A plain {status} does not unenrol", "macos", [phone]):
            with story.step("a clean enrollment"):
                story.enroll(phone)
            with story.step(f"the server answers Idle with {status}"):
                story.push(phone)
                story.connect(phone, [], idle_status=status)
                story.emit(
                    "device.retry-scheduled",
                    device=phone.name,
                    at_ms=story.clock.now_ms() + MINUTE,
                    reason="status",
                    attempt=1,
                )
                story.clock.advance(MINUTE)
                story.connect(phone, [security(phone)])


def _lock(story: Story, maker: Maker, failing: bool) -> None:
    for variant in ("intel", "silicon"):
        phone = maker.phone("macos")
        bad = failing and variant == "silicon"
        with story.case(
            f"lock/pin[macos-{variant}]",
            "Mac with PIN: gone until someone types it",
            "macos",
            [phone],
            grade="failed" if bad else "passed",
        ):
            with story.step("a clean enrollment"):
                story.enroll(phone)
            with story.step("lock the Mac with a PIN"):
                story.api(phone)
                story.push(phone)
                story.connect(
                    phone,
                    [
                        (
                            "DeviceLock",
                            {"PIN": "836471", "Message": "Please return to Acme", "PhoneNumber": "+1 555 0100"},
                            {},
                        )
                    ],
                )
                story.emit("device.locked", device=phone.name, by="command", pin=True, message="Please return to Acme")
                story.emit(
                    "device.power", device=phone.name, state="off" if variant == "intel" else "restarting", why="lock"
                )
            more = (
                {
                    "expected": f"no request of {phone.name} until the PIN is typed",
                    "observed": f"connect:Idle of {phone.name} 4.0 s after the lock",
                }
                if bad
                else {}
            )
            with story.step("the Mac stays silent until the PIN is typed", grade="failed" if bad else "passed", **more):
                story.clock.advance(4 * SECOND)
                if bad:
                    story.connect(phone, [])
                else:
                    story.push(phone, heard=False)
                    story.clock.advance(3 * DAY)
            if not bad:
                with story.step("someone types the PIN"):
                    story.emit("device.lock-refused", device=phone.name, by="PIN")
                    story.emit("device.unlocked", device=phone.name, by="pin")
                    story.emit("device.power", device=phone.name, state="on", why="pin")
                    story.connect(phone, [security(phone)])
    phone = maker.phone("ios")
    with story.case("lock/message[ios]", "iPhone with message and number", "ios", [phone]):
        with story.step("a clean enrollment"):
            story.enroll(phone)
        with story.step("lock with a message"):
            story.push(phone)
            story.connect(
                phone,
                [
                    ("DeviceLock", {"Message": "Lost", "PhoneNumber": "+1 555 0100"}, {"MessageResult": "Success"}),
                    install(maker),
                ],
            )
    phone = maker.phone("ios")
    with (
        story.case("lock/no-passcode[ios]", "A phone without a passcode says so in MessageResult", "ios", [phone]),
        story.step("lock a phone without passcode"),
    ):
        story.enroll(phone)
        story.push(phone)
        story.connect(phone, [("DeviceLock", {}, {"MessageResult": "NoPasscodeSet"})])
    phones = [maker.phone("ios"), maker.phone("macos")]
    with story.case(
        "lock/notnow[ios]",
        "NotNow while locked; the device comes back by itself",
        "ios",
        phones,
        grade="tolerated",
        expected="InstallProfile is offered again in the next session",
        observed="InstallProfile is offered again in the next session, after two others",
    ):
        for phone in phones:
            story.enroll(phone)
        phone = phones[0]
        with story.step("the phone is locked"):
            story.emit("device.locked", device=phone.name, by="user", pin=False)
            story.push(phone)
            story.connect(phone, [(*install(maker)[:2], {"Status": "NotNow"})])
        with story.step("the phone is unlocked"):
            story.clock.advance(90 * MINUTE)
            story.emit("device.unlocked", device=phone.name, by="passcode")
            story.connect(phone, [install(maker)])
    phone = maker.phone("tvos")
    with story.case(
        "lock/refused[tvos]",
        "Apple TV has no lock",
        "tvos",
        [phone],
        grade="not-applicable",
        observed="DeviceLock does not exist on tvOS",
    ):
        pass


def demo_events(*, failing: bool = True, repeat: int = 1, seed: int = 2026, busy: int = 0) -> tuple[list[Event], Maker]:
    """The events of a demo of 30 cases times `repeat`."""
    maker = Maker(seed)
    events: list[Event] = []
    story = Story(maker, events, busy=busy)
    for _ in range(repeat):
        _enrollment(story, maker, ["ios", "macos", "tvos"])
        _unenroll(story, maker, ["ios", "macos", "tvos"])
        _lock(story, maker, failing)
        phone = maker.phone("ios")
        with story.case(
            "enrollment/cut-answer[ios]",
            "A lost TokenUpdate is sent again",
            "ios",
            [phone],
            grade="error" if failing else "passed",
            **(
                {
                    "expected": "TokenUpdate again after one minute",
                    "observed": "the server at https://mdm.acme.example:8443 stopped answering",
                }
                if failing
                else {}
            ),
        ):
            story.exchange(
                phone,
                "checkin:TokenUpdate",
                "/checkin",
                plist.dumps(
                    {
                        "MessageType": "TokenUpdate",
                        "PushMagic": phone.magic,
                        "Token": phone.token,
                        "Topic": TOPIC,
                        "UDID": phone.udid,
                    }
                ),
                status=None,
                error=("ExchangeCut", "the connection ended after 0 bytes of an answer"),
            )
    return events, maker


def demo_run(*, failing: bool = True, repeat: int = 1, seed: int = 2026, busy: int = 0) -> tuple[Run, list[Case]]:
    """A run and its cases, made from the events of a demo."""
    events, maker = demo_events(failing=failing, repeat=repeat, seed=seed, busy=busy)
    collector = Collector()
    for event in events:
        collector(event)
    run = Run(
        version="0.1.0",
        seed=seed,
        target="reference server",
        started_ms=START,
        ended_ms=START + 48_300,
        mode="live",
        command=f"mdmsim run scenarios/ --live --seed {seed}",
    )
    return run, collector.close(maker.clock.now_ms())


def secrets_of(maker: Maker) -> list[str]:
    """Every secret that the devices of this maker sent, in the spellings in which it could turn up."""
    found = [CHALLENGE, API_KEY, "correct-horse-battery"]
    for phone in maker._phones.values():
        found += [phone.magic, phone.token.hex(), base64.b64encode(phone.token).decode()]
        if phone.unlock_token:
            found += [phone.unlock_token.hex(), base64.b64encode(phone.unlock_token).decode()]
    return found

"""A server in process, devices that speak to it by hand, and an APNs that only writes down."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import anyio

from mdmsim.chance import Chance
from mdmsim.clock import Clock, ManualClock
from mdmsim.events import EventLog, Events
from mdmsim.http import Identity, Request, Response
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import SharedKeys
from mdmsim.pki.mdm_signature import sign_body
from mdmsim.protocol.checkin import Authenticate, CheckOut, Ids, TokenUpdate, build_checkin
from mdmsim.protocol.connect import Command, ErrorItem, Report, Status, build_report, parse_command
from mdmsim.protocol.content_type import CHECKIN, CONNECT
from reference_server import Settings, create_app
from reference_server.app import App
from reference_server.logs import Log

API_KEY = "test-api-key-0123456789"
TOPIC = "com.apple.mgmt.External.00000000-1111-2222-3333-444444444444"
KEYS = SharedKeys(3)
DEVICE_CA = "Acme Device CA"


@cache
def authority(name: str) -> Authority:
    return Authority.create(name, keys=KEYS, clock=ManualClock(), chance=Chance(name))


@cache
def push_identity() -> Identity:
    return authority("Acme Push CA").issue_push(TOPIC)


def settings(**changes: Any) -> Settings:
    values: dict[str, Any] = {
        "public_url": "https://mdm.example.com",
        "push": push_identity(),
        "ca": authority(DEVICE_CA).identity,
        "api_key": API_KEY,
        "apns_url": "https://api.push.apple.com",
        "enroll_access": "anyone",
    }
    return Settings(**(values | changes))


@dataclass
class RecordingApns:
    """Outbound calls, written down; answered by `answer`."""

    requests: list[Request] = field(default_factory=list)
    answer: Callable[[Request], Response] = lambda request: Response(200, (("apns-id", "11111111-AAAA"),))

    async def send(self, request: Request) -> Response:
        await anyio.lowlevel.checkpoint()
        self.requests.append(request)
        return self.answer(request)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def command(self) -> Command | None:
        assert self.status == 200, self.body
        return parse_command(self.body) if self.body else None


class Server:
    """One server: its app, and everything that tests look at."""

    def __init__(self, *, clock: Clock | None = None, **changes: Any) -> None:
        self.manual = ManualClock()
        self.clock = clock or self.manual
        self.apns = RecordingApns()
        self.events = Events(self.clock)
        self.seen = EventLog()
        self.events.subscribe(self.seen)
        self.log_lines: list[bytes] = []
        self.settings = settings(**changes)
        self.app = self.start()

    def start(self) -> App:
        """The application on the same database: again after `app.close()` it is a restart."""
        log = Log(self.clock, self.log_lines.append)
        self.app = create_app(
            self.settings, self.clock, Chance("tests"), self.apns, events=self.events, log=log, keys=KEYS
        )
        return self.app

    @property
    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log_lines]

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        *,
        headers: tuple[tuple[str, str], ...] = (),
        certificate: bytes | None = None,
        client: str = "192.0.2.7",
        chunks: list[bytes] | None = None,
        declare: int | None = None,
    ) -> Answer:
        """One ASGI exchange. `chunks`: the body in pieces, without Content-Length; `declare`: a Content-Length."""
        path, _, query = path.partition("?")
        length = declare if declare is not None else None if chunks is not None else len(body)
        raw = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers]
        if length is not None:
            raw.append((b"content-length", str(length).encode()))
        scope: dict[str, Any] = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "scheme": "https",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode("latin-1"),
            "root_path": "",
            "headers": raw,
            "client": (client, 50000),
            "server": ("mdm.example.com", 443),
        }
        if certificate is not None:
            chain = [ssl.DER_cert_to_PEM_cert(certificate)]
            scope["extensions"] = {"tls": {"client_cert_chain": chain}}
        pieces = list(chunks) if chunks is not None else [body]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            await anyio.lowlevel.checkpoint()
            if not pieces:
                return {"type": "http.disconnect"}
            piece = pieces.pop(0)
            return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            await anyio.lowlevel.checkpoint()
            sent.append(message)

        await self.app(scope, receive, send)
        assert sent, "the application did not answer"
        answered = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        self.unread = len(pieces)
        return Answer(sent[0]["status"], answered, b"".join(message.get("body", b"") for message in sent[1:]))

    async def api(self, method: str, path: str, body: Any = None, *, key: str | None = API_KEY) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = (("Authorization", f"Bearer {key}"),) if key is not None else ()
        return await self.request(method, f"/api/v1{path}", data, headers=headers)

    async def queue(self, device: Device | str, request_type: str = "SecurityInfo", **more: Any) -> str:
        """Queue a command; its CommandUUID."""
        udid = device if isinstance(device, str) else device.udid
        answer = await self.api("POST", f"/devices/{udid}/commands", {"request_type": request_type, **more})
        assert answer.status == 201, answer.body
        return str(answer.json()["command_uuid"])

    async def command(self, device: Device, command_uuid: str) -> Any:
        return (await self.api("GET", f"/devices/{device.udid}/commands/{command_uuid}")).json()

    async def device(self, udid: str) -> Any:
        return (await self.api("GET", f"/devices/{udid}")).json()

    async def enrolled(self, udid: str = "UDID-1", **more: Any) -> Device:
        device = Device(self, udid, **more)
        await device.enrol()
        return device

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Inside the application's lifespan, with its background jobs."""
        inbox_send, inbox = anyio.create_memory_object_stream[dict[str, Any]](4)
        outbox, outbox_receive = anyio.create_memory_object_stream[Any](4)
        async with anyio.create_task_group() as group, inbox_send, inbox, outbox, outbox_receive:
            group.start_soon(self.app, {"type": "lifespan", "asgi": {"version": "3.0"}}, inbox.receive, outbox.send)
            await inbox_send.send({"type": "lifespan.startup"})
            assert (await outbox_receive.receive())["type"] == "lifespan.startup.complete"
            yield
            await inbox_send.send({"type": "lifespan.shutdown"})
            assert (await outbox_receive.receive())["type"] == "lifespan.shutdown.complete"


def fresh_identity(name: str = "device", ca: str = DEVICE_CA, **more: Any) -> Identity:
    """A fresh device identity (its key is shared, its certificate is not)."""
    return authority(ca).client_identity(name, **more)


class Device:
    """A device that says exactly what it is told to say."""

    def __init__(
        self, server: Server, udid: str = "UDID-1", *, identity: Identity | None = None, by: str = "certificate"
    ) -> None:
        self.server = server
        self.udid = udid
        self.identity = identity or fresh_identity()
        self.by = by
        self.token = b"\x01" * 32
        self.push_magic = f"MAGIC-{udid}"
        self.serial = f"SERIAL-{udid}"

    @property
    def ids(self) -> Ids:
        return Ids(udid=self.udid)

    async def put(self, path: str, content_type: str, body: bytes) -> Answer:
        headers: tuple[tuple[str, str], ...] = (("Content-Type", content_type), ("User-Agent", "MDM/1.0"))
        if self.by in ("signature", "both"):
            headers += (("Mdm-Signature", sign_body(body, self.identity)),)
        certificate = self.identity.certificate if self.by in ("certificate", "both") else None
        return await self.server.request("PUT", path, body, headers=headers, certificate=certificate)

    async def checkin(self, message: Any) -> Answer:
        return await self.put("/mdm/checkin", CHECKIN, build_checkin(message))

    async def authenticate(self, **more: Any) -> Answer:
        fields = {"topic": TOPIC, "serial_number": self.serial, "os_version": "18.2.1", "product_name": "iPhone15,4"}
        return await self.checkin(Authenticate(ids=self.ids, **(fields | more)))

    async def token_update(self, **more: Any) -> Answer:
        fields = {"topic": TOPIC, "token": self.token, "push_magic": self.push_magic}
        return await self.checkin(TokenUpdate(ids=self.ids, **(fields | more)))

    async def check_out(self) -> Answer:
        return await self.checkin(CheckOut(ids=self.ids, topic=TOPIC))

    async def enrol(self) -> None:
        for answer in (await self.authenticate(), await self.token_update()):
            assert answer.status == 200, answer.body

    async def report(
        self,
        status: Status,
        command_uuid: str | None = None,
        chain: tuple[ErrorItem, ...] = (),
        **response: Any,
    ) -> Answer:
        report = Report(self.ids, status, command_uuid, chain, response)
        return await self.put("/mdm/connect", CONNECT, build_report(report))

    async def idle(self) -> Answer:
        return await self.report(Status.IDLE)

    async def acknowledge(self, command_uuid: str, **response: Any) -> Answer:
        return await self.report(Status.ACKNOWLEDGED, command_uuid, **response)

    async def not_now(self, command_uuid: str) -> Answer:
        return await self.report(Status.NOT_NOW, command_uuid)

    async def drain(self) -> list[str]:
        """Acknowledge everything that is served; the request types in order."""
        served = []
        answer = await self.idle()
        while (command := answer.command) is not None:
            served.append(command.request_type)
            answer = await self.acknowledge(command.command_uuid)
        return served

"""A service on a bench: a clock moved by hand, one registered push certificate, everything that happened."""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.events import EventLog, Events
from mdmsim.fakeapns.answers import Answer, PushRequest
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Session
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakeapns.storage import MemoryStorage, Push
from mdmsim.faults import FaultPlan
from mdmsim.http import Identity
from mdmsim.pki.certificate import identity_to_pem, to_pem

TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
OTHER_TOPIC = "com.apple.mgmt.External.99999999-2222-4333-8444-555555555555"
PAYLOAD = b'{"mdm":"8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"}'

#: Stands for the bench's own certificate where None means none.
_OWN = b"own"


class Bench:
    def __init__(self, provider: Identity) -> None:
        self.clock = ManualClock()
        self.provider = provider
        self.storage = MemoryStorage()
        self.log = EventLog()
        self.service = self.build()

    def build(self, **settings: Any) -> ApnsService:
        """The service, anew, on the same storage: what a restart is."""
        events = Events(self.clock)
        events.subscribe(self.log)
        certificates = PushCertificates(self.clock)
        certificates.register(self.provider.certificate)
        chance = Chance(7)
        self.service = ApnsService(
            self.clock,
            chance,
            events,
            FaultPlan(chance.stream("faults")),
            ApnsSettings(**settings),
            certificates=certificates,
            storage=self.storage,
        )
        return self.service

    def push(
        self,
        token: bytes | str,
        *,
        payload: bytes = PAYLOAD,
        method: str = "POST",
        path: str | None = None,
        certificate: bytes | None = _OWN,
        over: Provider | None = None,
        **headers: str,
    ) -> Answer:
        """Push as a provider would; headers are given with underscores for dashes. `over`: the connection."""
        text = token.hex() if isinstance(token, bytes) else token
        return self.service.push(
            PushRequest(
                method,
                path if path is not None else f"/3/device/{text}",
                tuple((name.replace("_", "-"), value) for name, value in headers.items()),
                payload,
            ),
            over or self.connect(certificate),
        )

    def connect(self, certificate: bytes | None = _OWN, **wishes: Any) -> Provider:
        """A provider's connection, with the bench's own certificate where none is given."""
        return self.service.open_provider(self.provider.certificate if certificate is _OWN else certificate, **wishes)

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the condition holds; it is looked at again after every event of the service."""
        with trio.fail_after(15):
            while not condition():
                happened = trio.Event()
                stop = self.service.events.subscribe(lambda event, happened=happened: happened.set())
                if not condition():
                    await happened.wait()
                stop()

    def device(self, service: ApnsService | None = None) -> Device:
        return Device(service or self.service)


class Device:
    """A listener that takes nothing by itself, so that tests choose when the connection writes."""

    def __init__(self, service: ApnsService) -> None:
        self.service = service
        self.woken = 0
        self.lost: list[tuple[str, bytes]] = []
        self.session: Session = service.open_session(self)

    def wake(self) -> None:
        self.woken += 1

    def replaced(self, topic: str, token: bytes) -> None:
        self.lost.append((topic, token))

    def take(self) -> list[Push]:
        return self.session.take()

    def hear(self) -> list[bytes]:
        """Take everything and acknowledge it; the payloads."""
        heard = []
        while pushes := self.session.take():
            for push in pushes:
                heard.append(push.payload)
                self.session.acknowledge(push.number)
        return heard


def reason(answer: Answer) -> tuple[int, str | None]:
    """Status and reason of an answer."""
    return answer.status, json.loads(answer.body)["reason"] if answer.body else None


def client_context(anchor: bytes, identity: Identity | None = None, alpn: tuple[str, ...] = ()) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=to_pem(anchor).decode())
    # Test authorities live at the manual clock's date.
    context.verify_flags |= ssl.VerifyFlags(0x200000)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    if identity is not None:
        with tempfile.NamedTemporaryFile(suffix=".pem") as file:
            file.write(identity_to_pem(identity))
            file.flush()
            context.load_cert_chain(file.name)
    return context


@asynccontextmanager
async def serving(serve: Any) -> AsyncIterator[int]:
    """Run something with `serve(listeners, task_status=...)` on a loopback port; the port."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(serve, listeners)
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()

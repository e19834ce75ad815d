"""Everything around NanoMDM, of the product's own parts: fake APNs, CONNECT proxy, TLS fronts, fleets of devices.

One trio loop in a thread carries it, so that it outlives a test. Not to be left running while another test plays an
in-process world: the two would share trio's scheduler settings.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import trio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, WallClock
from mdmsim.device.device import Behaviour, Device, Work
from mdmsim.device.flows.unenroll import leave
from mdmsim.device.personas import make_persona
from mdmsim.device.store import MemoryStore
from mdmsim.events import Event, EventLog, Events
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.service import ApnsService
from mdmsim.faults import FaultPlan
from mdmsim.fleet.fleet import Fleet, Sender
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.cms import sign
from mdmsim.pki.keys import KeySource
from mdmsim.pki.push_certificate import new_topic
from mdmsim.protocol.payloads import CertificatePayload, MdmPayload, ScepPayload
from mdmsim.protocol.profile import build_profile
from mdmsim.proxy.authority import CA_FILE, kept_authority
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.tls_front import TlsFront
from mdmsim.startup import LOOPBACK_ADDRESSES
from mdmsim.transport.faulty import Faulty
from mdmsim.transport.recording import Recording
from mdmsim.transport.trio_client import TrioTransport
from tests.interop.nanomdm import PATIENCE, NanoMDM, nanomdm
from tests.interop.scepserver import CHALLENGE, ScepServer, scepserver

APNS_HOST = "api.push.apple.com"
HEADER = "X-Client-Cert"


async def listen() -> tuple[list[trio.SocketListener], int]:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
    return listeners, listeners[0].socket.getsockname()[1]


@dataclass
class Apple:
    """The fake APNs and the proxy that leads to it."""

    service: ApnsService
    log: EventLog
    events: Events
    port: int
    courier_port: int
    proxy_port: int
    ca_file: Path


@asynccontextmanager
async def apple(folder: Path, clock: WallClock, chance: Chance) -> AsyncIterator[Apple]:
    events, log = Events(clock), EventLog()
    events.subscribe(log)
    service = ApnsService(clock, chance.stream("apns"), events, FaultPlan(chance.stream("apns faults")))
    authority = kept_authority(folder, clock=clock, chance=chance.stream("ca"))
    ca_file = folder / CA_FILE
    front = Front(service, authority.issue_server(SERVER_NAMES, LOOPBACK_ADDRESSES))
    async with (
        served(front.serve) as port,
        served(CourierServer(service).serve) as courier_port,
        served(ConnectProxy({APNS_HOST: ("127.0.0.1", port)}).serve) as proxy_port,
    ):
        yield Apple(service, log, events, port, courier_port, proxy_port, ca_file)


@asynccontextmanager
async def running(serve: Callable[..., Awaitable[Any]]) -> AsyncIterator[Any]:
    """Something that serves until cancelled; what it said when it was ready."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def served(serve: Callable[..., Awaitable[Any]]) -> AsyncIterator[int]:
    """Something that serves listeners until cancelled; its port."""
    listeners, port = await listen()
    async with running(partial(serve, listeners)):
        yield port


@asynccontextmanager
async def fleet_of(
    apple: Apple, events: Events, clock: WallClock, chance: Chance, keys: KeySource, behaviour: Behaviour
) -> AsyncIterator[Fleet]:
    with TrioTransport() as transport:

        def sender_for(device_id: str) -> Sender:
            faulty = Faulty(transport, FaultPlan(chance.stream(device_id)), events=events, device=device_id)
            return Recording(faulty, events, clock=clock, device=device_id)

        fleet = Fleet(
            store=MemoryStore(),
            clock=clock,
            chance=chance,
            keys=keys,
            events=events,
            sender_for=sender_for,
            behaviour=behaviour,
        )
        courier = CourierClient("127.0.0.1", apple.courier_port, on_push=fleet.on_push, chance=chance.stream("courier"))
        async with courier, running(fleet.run):
            fleet.courier = courier
            yield fleet


@dataclass
class Way:
    """One way from devices to a NanoMDM: its URLs, who signs, and the front between, if there is one."""

    name: str
    server: NanoMDM
    fleet: Fleet
    site: Site
    server_url: str
    checkin_url: str | None
    scep_url: str
    sign_message: bool
    anchors: tuple[bytes, ...] = ()
    front: TlsFront | None = None
    signed_profile: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def profile(self) -> bytes:
        """An enrollment profile for NanoMDM, which has none of its own."""
        uuid = self.site.chance.stream(f"profile/{self.name}").uuid
        mdm = MdmPayload(
            topic=self.site.topic,
            server_url=self.server_url,
            check_in_url=self.checkin_url,
            identity_certificate_uuid="B1B6F6B4-0000-4000-8000-000000000001",
            access_rights=8191,
            sign_message=self.sign_message,
            check_out_when_removed=True,
        )
        scep = ScepPayload(
            url=self.scep_url,
            name="Interop CA",
            subject=((("O", "mdmsim"),), (("CN", "interop device"),)),
            challenge=CHALLENGE,
            key_size=2048,
            key_usage=5,
        )
        roots = tuple(
            CertificatePayload(type="com.apple.security.root", content=der).to_payload(
                identifier=f"test.interop.root.{n}", uuid=str(uuid()).upper()
            )
            for n, der in enumerate(self.anchors)
        )
        plist = build_profile(
            identifier="test.interop",
            uuid=str(uuid()).upper(),
            display_name="Interop",
            payloads=(
                mdm.to_payload(identifier="test.interop.mdm", uuid=str(uuid()).upper()),
                scep.to_payload(identifier="test.interop.scep", uuid="B1B6F6B4-0000-4000-8000-000000000001"),
                *roots,
            ),
        )
        return self.site.sign(plist) if self.signed_profile else plist

    def add(self, kind: str, **state: Any) -> Member:
        """A device out of the box."""
        device_id = f"{self.name}-{kind}-{next(self.numbers)}"
        persona = make_persona(kind, chance=self.site.chance.stream(device_id), supervised=True)
        self.site.call(lambda: _now(lambda: self.fleet.add(device_id, persona, **state)))
        return Member(self, device_id)

    def enrol(self, kind: str) -> Member:
        """A device that has enrolled."""
        member = self.add(kind)
        member.install(self.profile())
        return member


async def _now(act: Callable[[], Any]) -> Any:
    await trio.lowlevel.checkpoint()
    return act()


@dataclass
class Member:
    """A device of a way's fleet, seen from a test's thread."""

    way: Way
    device_id: str

    @property
    def device(self) -> Device:
        return self.way.fleet[self.device_id]

    @property
    def udid(self) -> str:
        return self.device.persona.udid

    def install(self, profile: bytes) -> None:
        self.way.site.call(partial(self.way.fleet.install, self.device_id, profile))

    def change(self, apply: Callable[[Work], None]) -> None:
        """A person does something to the device."""
        self.way.site.call(partial(self.way.fleet.change, self.device_id, apply))

    def leave(self) -> None:
        """A person removes the enrollment profile."""
        self.way.site.call(partial(self.way.fleet.perform, self.device_id, lambda device: leave(device, reason="user")))

    def happened(self, kind: str, **data: Any) -> Event:
        """The first event of that kind (and data) that the device published or will publish soon."""

        def matches(event: Event) -> bool:
            same = event.kind == kind and event.device == self.device_id
            return same and all(event.data.get(key) == value for key, value in data.items())

        return self.way.site.wait(matches, f"{kind} {data} of {self.device_id}")

    def labels(self) -> list[str]:
        """What the device sent, in order."""
        log = self.way.site.log
        return [event.data["label"] for event in log.of("exchange", device=self.device_id)]

    def exchanges(self) -> list[Event]:
        return self.way.site.log.of("exchange", device=self.device_id)


@dataclass
class Site:
    """The whole installation. `log`: what happened at devices, on the wire and at APNs."""

    portal: BlockingPortal
    clock: WallClock
    chance: Chance
    events: Events
    log: EventLog
    apple: Apple
    scep: ScepServer
    topic: str
    push: Identity
    authority: Authority
    profile_signer: Identity
    scep_front: TlsFront
    ways: dict[str, Way] = field(default_factory=dict)

    def call(self, act: Callable[[], Any]) -> Any:
        """Run an async function in the loop that carries everything; its value, or what it raised."""
        return self.portal.call(act)

    def sign(self, plist: bytes) -> bytes:
        return sign(
            plist,
            self.profile_signer,
            form="der",
            attributes=True,
            signed_at_ms=self.clock.now_ms(),
            certificates=self.profile_signer.chain,
        )

    def wait(self, matches: Callable[[Event], bool], what: str) -> Event:
        """The first event that matches, whether it happened or is yet to happen; fails after PATIENCE seconds."""

        async def look() -> Event | None:
            happened = trio.Event()
            found: list[Event] = [event for event in self.log.events if matches(event)]

            def notice(event: Event) -> None:
                if matches(event):
                    found.append(event)
                    happened.set()

            if not found:
                stop = self.events.subscribe(notice)
                with trio.move_on_after(PATIENCE):
                    await happened.wait()
                stop()
            return found[0] if found else None

        event: Event | None = self.call(look)
        assert event is not None, f"{what} did not happen within {PATIENCE:g} s"
        return event

    def pushes(self, kind: str, member: Member) -> list[Event]:
        """What APNs did with pushes for a device: `push.accepted`, `push.delivered`..."""
        token = member.device.voice().push_token.hex()
        return [event for event in self.log.of(kind) if event.data["token"] == token]


SIGNED_HTTP = "signed-http"
SIGNED_TLS = "signed-tls"
NGINX = "certificate-nginx"
RFC9440 = "certificate-rfc9440"
WAYS = (SIGNED_HTTP, SIGNED_TLS, NGINX, RFC9440)


@contextmanager
def site(folder: Path, keys: KeySource) -> Iterator[Site]:
    """scepserver, two NanoMDMs (one for signatures, one for certificates in headers), APNs, and the four ways in."""
    clock = WallClock()
    chance = Chance("interop")
    with ExitStack() as stack:
        scep = stack.enter_context(scepserver(folder / "scep"))
        portal = stack.enter_context(start_blocking_portal("trio"))
        fake = stack.enter_context(portal.wrap_async_context_manager(apple(folder, clock, chance)))
        authority = Authority.create("Interop Root CA", keys=keys, clock=clock, chance=chance.stream("root"))
        topic = new_topic(chance.stream("topic"))
        push = authority.issue_push(topic)
        fake.service.certificates.register(push.certificate)
        events, log = fake.events, fake.log
        proxy = f"http://127.0.0.1:{fake.proxy_port}"
        around = {"ca": scep.ca, "apns_ca": fake.ca_file, "proxy": proxy}
        by_signature = stack.enter_context(nanomdm(folder / "nanomdm-signature", **around))
        by_header = stack.enter_context(nanomdm(folder / "nanomdm-header", **around, header=HEADER))

        def fleet(name: str, behaviour: Behaviour) -> Fleet:
            made = fleet_of(fake, events, clock, chance.stream(name), keys, behaviour)
            return stack.enter_context(portal.wrap_async_context_manager(made))

        server_identity = authority.issue_server(["localhost"], ["127.0.0.1"])

        def front(upstream: int, **settings: Any) -> tuple[TlsFront, str]:
            made = TlsFront(server_identity, ("127.0.0.1", upstream), clock=clock, **settings)
            port = stack.enter_context(portal.wrap_async_context_manager(served(made.serve)))
            return made, f"https://127.0.0.1:{port}"

        scep_front, scep_url = front(scep.port)
        here = Site(
            portal=portal,
            clock=clock,
            chance=chance,
            events=events,
            log=log,
            apple=fake,
            scep=scep,
            topic=topic,
            push=push,
            authority=authority,
            profile_signer=authority.client_identity("Interop profile signer"),
            scep_front=scep_front,
        )
        quick = {"boot_seconds": 0}
        here.ways[SIGNED_HTTP] = Way(
            name=SIGNED_HTTP,
            server=by_signature,
            fleet=fleet(SIGNED_HTTP, Behaviour(allow_http=True, **quick)),
            site=here,
            server_url=f"http://127.0.0.1:{by_signature.port}/mdm",
            checkin_url=None,
            scep_url=scep.url,
            sign_message=True,
        )
        strict = fleet("tls", Behaviour(**quick))
        over_tls: dict[str, Any] = {
            "site": here,
            "fleet": strict,
            "scep_url": f"{scep_url}/scep",
            "anchors": (authority.certificate,),
            "signed_profile": True,
        }
        made, url = front(by_signature.port)
        here.ways[SIGNED_TLS] = Way(
            name=SIGNED_TLS,
            server=by_signature,
            server_url=f"{url}/mdm",
            checkin_url=None,
            sign_message=True,
            front=made,
            **over_tls,
        )
        device_cas = certificates_from_pem(scep.ca.read_bytes())
        for name, form in ((NGINX, "nginx"), (RFC9440, "rfc9440")):
            made, url = front(by_header.port, client_authorities=device_cas, header=HEADER, form=form)
            here.ways[name] = Way(
                name=name,
                server=by_header,
                server_url=f"{url}/mdm",
                checkin_url=f"{url}/checkin",
                sign_message=False,
                front=made,
                **over_tls,
            )
        for server in (by_signature, by_header):
            assert server.put_push_certificate(push) == topic
        yield here


__all__ = ["SECOND", "WAYS", "Member", "Site", "Way", "site"]

"""A signed connect on a kept TLS connection: what the device's end costs, against a signature and a bare exchange."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import httptools
import trio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from benchmarks.measure import Figure, at_most_ratio, beside, child, in_turn, own_cpu
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.device.device import Device
from mdmsim.device.flows.connect import drain_queue, idle
from mdmsim.device.flows.server import connect_endpoint, put
from mdmsim.device.personas import make_persona
from mdmsim.device.state import DeviceState, Enrollment, IdentityRef
from mdmsim.device.store import MemoryStore
from mdmsim.events import Events
from mdmsim.http import Request, Response
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys, load_key
from mdmsim.transport.driver import run_flow
from mdmsim.transport.trio_client import TrioTransport

EXCHANGES = 400
ROUNDS = 7


class _IO:
    def __init__(self, device: Device, transport: TrioTransport) -> None:
        self._device, self._transport = device, transport

    async def send(self, request: Request) -> Response:
        return await self._transport.send(request)

    async def pause(self, seconds: float) -> None:
        raise AssertionError("a connect does not pause")

    def save(self) -> None:
        self._device.save()


class _Answers:
    def __init__(self) -> None:
        self.complete = False

    def on_message_complete(self) -> None:
        self.complete = True


class Setup:
    """One enrolled device in memory, a certificate authority, and a bare server's address."""

    def __init__(self, authority: Authority, url: str) -> None:
        clock = WallClock()
        persona = make_persona("iphone", chance=Chance(1))
        store = MemoryStore()
        identity = authority.client_identity("bench device")
        enrollment = Enrollment(
            profile="bench",
            server_url=url,
            checkin_url=url,
            topic="com.apple.mgmt.External.bench",
            access_rights=8191,
            identity=IdentityRef(certificate=store.put(identity.certificate), key=store.put(identity.key)),
            sign_message=True,
            checkout_when_removed=True,
            anchors=[store.put(authority.certificate)],
            confirmed=True,
        )
        self.identity = identity
        self.device = Device(
            DeviceState(device_id="bench", persona=persona, enrollment=enrollment),
            store=store,
            clock=clock,
            chance=Chance(1),
            keys=FreshKeys(),
            events=Events(clock),
        )
        self.enrollment = enrollment

    def wire_bytes(self) -> bytes:
        """The very request that the device sends, as bytes."""
        request = put(self.device, self.enrollment, connect_endpoint(self.enrollment), idle(self.device).body, "idle")
        lines = [f"{request.method} /mdm HTTP/1.1", "Host: 127.0.0.1:1", f"Content-Length: {len(request.body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + request.body


async def measure(authority: Authority, port: int, anchors: Path) -> list[Figure]:
    setup = Setup(authority, f"https://127.0.0.1:{port}/mdm")
    body = idle(setup.device).body
    key = load_key(setup.identity.key)
    assert isinstance(key, rsa.RSAPrivateKey)
    message = setup.wire_bytes()

    context = ssl.create_default_context(cafile=str(anchors))
    stream = await trio.open_ssl_over_tcp_stream("127.0.0.1", port, ssl_context=context, https_compatible=True)
    with TrioTransport() as transport:
        io = _IO(setup.device, transport)

        def signatures() -> float:
            began = own_cpu()
            for _ in range(EXCHANGES):
                key.sign(body, padding.PKCS1v15(), hashes.SHA256())
            return (own_cpu() - began) / EXCHANGES * 1000

        async def bare() -> float:
            began = own_cpu()
            for _ in range(EXCHANGES):
                answers = _Answers()
                parser = httptools.HttpResponseParser(answers)
                await stream.send_all(message)
                while not answers.complete:
                    parser.feed_data(await stream.receive_some(65536))
            return (own_cpu() - began) / EXCHANGES * 1000

        async def signed() -> float:
            began = own_cpu()
            for _ in range(EXCHANGES):
                await run_flow(drain_queue(setup.device), io)
            return (own_cpu() - began) / EXCHANGES * 1000

        await signed()
        await bare()
        taken: list[tuple[float, float, float]] = []
        for _ in range(ROUNDS):
            taken.append((signatures(), await bare(), await signed()))
    taken.sort(key=lambda row: row[2] / (row[0] + row[1]))
    signature, exchange, whole = taken[len(taken) // 2]
    return [
        at_most_ratio("connect.signed", whole, "ms client CPU", signature + exchange, 1.6),
        beside("connect.floor.signature", signature, "ms"),
        beside("connect.floor.exchange", exchange, "ms"),
        *cold_signature(),
    ]


def cold_signature() -> list[Figure]:
    """A signature with a key that was just loaded, which pays for the blinding's set-up."""
    der = FreshKeys().take()
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    def cold() -> float:
        keys = [load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True) for _ in range(50)]
        began = own_cpu()
        for key in keys:
            assert isinstance(key, rsa.RSAPrivateKey)
            key.sign(b"body", padding.PKCS1v15(), hashes.SHA256())
        return (own_cpu() - began) / 50 * 1000

    return [beside("connect.signature.cold-key", in_turn(5, cold)[0], "ms")]


def run() -> list[Figure]:
    clock = WallClock()
    authority = Authority.create("Bench CA", keys=FreshKeys(), clock=clock, chance=Chance(1))
    with tempfile.TemporaryDirectory() as directory:
        server, root = Path(directory) / "server.pem", Path(directory) / "root.pem"
        server.write_bytes(identity_to_pem(authority.issue_server(["127.0.0.1"])))
        from mdmsim.pki.certificate import to_pem

        root.write_bytes(to_pem(authority.certificate))
        with child(["-m", "benchmarks.bare_server", str(server)]) as (_, line):
            return trio.run(measure, authority, int(line), root)

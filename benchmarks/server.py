"""Signed connects of a thousand enrolled devices: what the reference server's end costs, NanoMDM beside it.

Every Idle is one durable write in SQLite (`synchronous=FULL`), with logging, identity binding and push bookkeeping on,
over kept TLS connections. NanoMDM speaks plain HTTP and keeps files, so its figure is company, not a floor.
"""

from __future__ import annotations

import base64
import json
import ssl
import subprocess
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httptools
import trio

from benchmarks.measure import Figure, at_least, beside, child, cpu_of
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.device.personas import Persona, make_persona
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, public_key_of
from mdmsim.pki.mdm_signature import HEADER, sign_body
from mdmsim.protocol.checkin import Authenticate, Ids, TokenUpdate, build_checkin
from mdmsim.protocol.connect import Command, Report, Status, build_command, build_report, parse_command
from tests.interop.go_programs import NoGo, go_program

DEVICES = 1000
CONNECTIONS = 16
IDLES = 4000
PAIRS = 1500
TOPIC = "com.apple.mgmt.External.8f1a2e52-0000-4000-8000-000000000001"
CHECKIN = "application/x-apple-aspen-mdm-checkin"
CONNECT = "application/x-apple-aspen-mdm"


@dataclass(slots=True)
class Sim:
    """A device as far as a server's load goes: identity and the messages it sends, signed once."""

    persona: Persona
    identity: Identity

    @property
    def ids(self) -> Ids:
        return Ids(udid=self.persona.udid)


class _Answer:
    def __init__(self) -> None:
        self.body = b""
        self.complete = False

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.complete = True


def sims(authority: Authority, count: int) -> list[Sim]:
    """That many devices. Keys are shared, certificates are not: the server sees a thousand identities."""
    keys = [FreshKeys().take() for _ in range(4)]
    made = []
    for number in range(count):
        key = keys[number % len(keys)]
        certificate = authority.issue_client(f"bench {number}", public_key=public_key_of(key))
        persona = make_persona("iphone", chance=Chance(f"bench/{number}"))
        made.append(Sim(persona, Identity(certificate=certificate, key=key)))
    return made


def put(path: str, kind: str, body: bytes, identity: Identity) -> bytes:
    """The bytes of one signed PUT."""
    head = (
        f"PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nUser-Agent: MDM/1.0\r\n"
        f"{HEADER}: {sign_body(body, identity)}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


async def exchange(stream: trio.abc.Stream, message: bytes) -> tuple[int, bytes]:
    answer = _Answer()
    parser = httptools.HttpResponseParser(answer)
    await stream.send_all(message)
    while not answer.complete:
        data = await stream.receive_some(65536)
        if not data:
            raise RuntimeError("the server closed the connection")
        parser.feed_data(data)
    return parser.get_status_code(), answer.body


@dataclass(slots=True)
class Server:
    """A server under load: how to connect to it, its paths, its process, and how it is given commands."""

    connect: Callable[[], Awaitable[trio.abc.Stream]]
    checkin_path: str
    connect_path: str
    pid: int
    queue: Callable[[Sequence[Sim]], None]


async def load(server: Server, devices: Sequence[Sim]) -> tuple[float, float]:
    """Enrol the devices, then measure: server CPU ms per Idle, and per Idle, command, Acknowledged."""
    streams = [await server.connect() for _ in range(CONNECTIONS)]

    async def share(work: Callable[[trio.abc.Stream, Sim], Awaitable[None]], jobs: Sequence[Sim]) -> None:
        async def worker(number: int) -> None:
            for sim in jobs[number::CONNECTIONS]:
                await work(streams[number], sim)

        async with trio.open_nursery() as nursery:
            for number in range(CONNECTIONS):
                nursery.start_soon(worker, number)

    async def enroll(stream: trio.abc.Stream, sim: Sim) -> None:
        persona = sim.persona
        authenticate = Authenticate(
            ids=sim.ids,
            topic=TOPIC,
            os_version=persona.os_version,
            build_version=persona.build_version,
            product_name=persona.product_name,
            serial_number=persona.serial,
        )
        update = TokenUpdate(ids=sim.ids, topic=TOPIC, token=bytes(32), push_magic=persona.udid)
        for message in (authenticate, update):
            body = build_checkin(message)
            status, answer = await exchange(stream, put(server.checkin_path, CHECKIN, body, sim.identity))
            if status != 200:
                raise RuntimeError(f"check-in answered {status}: {answer[:200]!r}")

    idle = {
        id(sim): put(server.connect_path, CONNECT, build_report(Report(ids=sim.ids, status=Status.IDLE)), sim.identity)
        for sim in devices
    }

    async def connect(stream: trio.abc.Stream, sim: Sim) -> None:
        status, body = await exchange(stream, idle[id(sim)])
        if (status, body) != (200, b""):
            raise RuntimeError(f"Idle answered {status}: {body[:200]!r}")

    async def pair(stream: trio.abc.Stream, sim: Sim) -> None:
        status, body = await exchange(stream, idle[id(sim)])
        if status != 200 or not body:
            raise RuntimeError(f"Idle answered {status} without a command")
        command = parse_command(body)
        report = Report(ids=sim.ids, status=Status.ACKNOWLEDGED, command_uuid=command.command_uuid)
        status, body = await exchange(stream, put(server.connect_path, CONNECT, build_report(report), sim.identity))
        if (status, body) != (200, b""):
            raise RuntimeError(f"Acknowledged answered {status}: {body[:200]!r}")

    await share(enroll, devices)
    await share(connect, devices)
    jobs = list(devices) * (IDLES // len(devices))
    before = cpu_of(server.pid)
    await share(connect, jobs)
    idle_ms = (cpu_of(server.pid) - before) / len(jobs) * 1000
    spent = 0.0
    for _ in range(PAIRS // len(devices) + 1):
        server.queue(devices)
        before = cpu_of(server.pid)
        await share(pair, devices)
        spent += cpu_of(server.pid) - before
    return idle_ms, spent / (len(devices) * (PAIRS // len(devices) + 1)) * 1000


@contextmanager
def reference() -> Iterator[tuple[Server, Authority]]:
    """The reference server as a process, TLS and all, logging to a file."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        arguments = ["-m", "reference_server", "--ready-json", "--data", str(folder), "--log", str(folder / "log")]
        with child([*arguments, "--apns-url", "https://127.0.0.1:9"]) as (process, line):
            ready = json.loads(line)
            pem = (folder / "ca.pem").read_bytes()
            authority = Authority.from_pem(pem, keys=FreshKeys(), clock=WallClock(), chance=Chance(7))
            context = ssl.create_default_context(cafile=ready["ca_file"])
            port = urlsplit(ready["url"]).port

            async def connect() -> trio.abc.Stream:
                stream = await trio.open_ssl_over_tcp_stream(
                    "127.0.0.1", port, ssl_context=context, https_compatible=True
                )
                await stream.do_handshake()
                return stream

            def queue(devices: Sequence[Sim]) -> None:
                body = {
                    "request_type": "DeviceInformation",
                    "keys": {"Queries": ["SerialNumber"]},
                    "devices": [sim.persona.udid for sim in devices],
                    "push": False,
                }
                _call("POST", f"{ready['url']}/api/v1/commands", body, f"Bearer {ready['api_key']}", context)

            yield Server(connect, "/mdm/checkin", "/mdm/connect", process.pid, queue), authority


@contextmanager
def nanomdm() -> Iterator[tuple[Server, Authority]]:
    """NanoMDM with its file storage. Raises NoGo where it cannot be installed."""
    program = go_program("nanomdm")
    authority = Authority.create("Bench Device CA", keys=FreshKeys(), clock=WallClock(), chance=Chance(8))
    with tempfile.TemporaryDirectory() as directory:
        from mdmsim.pki.certificate import to_pem

        (Path(directory) / "ca.pem").write_bytes(to_pem(authority.certificate))
        port = _free_port()
        process = subprocess.Popen(
            [
                str(program), "-listen", f"127.0.0.1:{port}", "-api", "bench", "-ca", f"{directory}/ca.pem",
                "-storage", "filekv", "-storage-dsn", f"{directory}/db",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip

        async def connect() -> trio.abc.Stream:
            for _ in range(100):
                try:
                    return await trio.open_tcp_stream("127.0.0.1", port)
                except OSError:
                    await trio.sleep(0.1)
            raise RuntimeError("NanoMDM does not answer")

        def queue(devices: Sequence[Sim]) -> None:
            for number, sim in enumerate(devices):
                command = Command(
                    f"bench-{number}-{Chance.of_machine().hex(4)}", "DeviceInformation", {"Queries": ["UDID"]}
                )
                url = f"http://127.0.0.1:{port}/v1/enqueue/{sim.persona.udid}?nopush=1"
                key = base64.b64encode(b"nanomdm:bench").decode()
                _call("PUT", url, build_command(command), f"Basic {key}", None)

        try:
            yield Server(connect, "/mdm", "/mdm", process.pid, queue), authority
        finally:
            process.terminate()
            process.wait()


def _call(method: str, url: str, body: object, authorization: str, context: ssl.SSLContext | None) -> None:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Authorization": authorization}, method=method)
    if not isinstance(body, bytes):
        request.add_header("Content-Type", "application/json")
    with urllib.request.urlopen(request, context=context) as response:
        response.read()


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run() -> list[Figure]:
    with reference() as (server, authority):
        idle, pair = trio.run(load, server, sims(authority, DEVICES))
    figures = [
        at_least("server.idle", 1000 / idle, "signed Idle per CPU s", 1100.0),
        beside("server.idle.cost", idle, "ms server CPU"),
        beside("server.pair.cost", pair, "ms server CPU, Idle + command + Acknowledged"),
    ]
    try:
        with nanomdm() as (server, authority):
            idle, pair = trio.run(load, server, sims(authority, DEVICES))
    except NoGo as missing:
        print(f"NanoMDM is left out: {missing}")
        return figures
    return [
        *figures,
        beside("server.nanomdm.idle.cost", idle, "ms server CPU, plain HTTP, filekv"),
        beside("server.nanomdm.pair.cost", pair, "ms server CPU, plain HTTP, filekv"),
    ]

"""Messages that only exist between sockets, shown to programs of others as they come: pushes, proxies, API, frames."""

from __future__ import annotations

import base64
import json
import os
import struct
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import msgpack
import trio
from anyio.from_thread import start_blocking_portal

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock, WallClock
from mdmsim.device.personas import make_persona
from mdmsim.device.store import MemoryStore
from mdmsim.events import EventLog, Events
from mdmsim.fakeapns.answers import PushRequest
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.errors import REASONS, ApnsError, CourierError
from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakedep.serve import Ready as DepReady
from mdmsim.fakedep.serve import ServeSettings as DepServeSettings
from mdmsim.fakedep.serve import serve as serve_dep
from mdmsim.fleet.fleet import Fleet
from mdmsim.http import Trust
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_to_pem, to_pem
from mdmsim.pki.cms import verify
from mdmsim.pki.keys import FreshKeys, SharedKeys
from mdmsim.pki.proxy_header import to_nginx, to_rfc9440
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.tls_front import TlsFront
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.outbound import HttpOutbound
from mdmsim.transport.trio_client import TrioTransport
from mdmsim.world.processes import run_server_process
from tests.interop.corpus import Sample
from tests.interop.needs import from_go, from_path
from tests.interop.processes import free_port
from tests.interop.stack import NGINX, RFC9440, SIGNED_HTTP, Site, listen, running, served, site

TOPIC = "com.apple.mgmt.External.7f3c1c6e-0d2f-4b8e-9a51-0c4bb0f6a001"


@dataclass
class Evidence:
    """What parsers said: for each kind of message and parser the objections, of which there should be none."""

    said: dict[tuple[str, str], list[str]] = field(default_factory=dict)

    def note(self, kind: str, parser: str, *problems: str) -> None:
        """A message of that kind was shown to that parser. Empty problems are none."""
        self.said.setdefault((kind, parser), []).extend(problem for problem in problems if problem)

    def expect(self, kind: str, parser: str, expected: object, found: object) -> None:
        """The parser read a message: noted as accepted if it found what was meant."""
        self.note(kind, parser, "" if expected == found else f"found {found!r:.300}, not {expected!r:.300}")


# ---- courier frames, read by the msgpack library


def courier_frames(evidence: Evidence) -> None:
    """A client, a server and a wire tap between them, until every kind of frame has gone by."""
    for side, frame in trio.run(_conversation):
        (length,) = struct.unpack(">I", frame[:4])
        try:
            content = msgpack.unpackb(frame[4:])
        except ValueError as error:
            evidence.note(f"courier {side}: unreadable", "msgpack", str(error))
            continue
        problem = "" if length == len(frame) - 4 else f"announced {length} bytes, sent {len(frame) - 4}"
        evidence.note(f"courier {side}: {content['kind']}", "msgpack", problem)


async def _conversation() -> list[tuple[str, bytes]]:
    service = ApnsService(ManualClock(), Chance("courier"))
    streams = {"client": bytearray(), "server": bytearray()}
    seen = trio.Event()

    async def carry(source: trio.SocketStream, target: trio.SocketStream, side: str, wires: trio.CancelScope) -> None:
        try:
            while data := bytes(await source.receive_some(65536)):
                streams[side] += data
                if all(_has_ping(each) for each in streams.values()):
                    seen.set()
                await target.send_all(data)
        except trio.BrokenResourceError:
            pass  # the other end hung up, as each may at the end
        wires.cancel()

    async def relay(client: trio.SocketStream) -> None:
        async with await trio.open_tcp_stream("127.0.0.1", port) as server, trio.open_nursery() as wires:
            wires.start_soon(carry, client, server, "client", wires.cancel_scope)
            wires.start_soon(carry, server, client, "server", wires.cancel_scope)

    async with trio.open_nursery() as nursery:
        listeners, port = await listen()
        await nursery.start(CourierServer(service, keep_alive=0.2).serve, listeners)
        taps, tapped = await listen()
        await nursery.start(partial(trio.serve_listeners, relay, taps))
        pushed = trio.Event()
        async with CourierClient(
            "127.0.0.1", tapped, on_push=lambda *_: pushed.set(), chance=Chance("client")
        ) as client:
            token = await client.register("d1", TOPIC)
            await client.subscribe([(TOPIC, token)])
            certificate = _push_certificate()
            service.certificates.register(certificate)
            request = PushRequest("POST", f"/3/device/{token.hex()}", (), b'{"mdm":"magic"}')
            service.push(request, service.open_provider(certificate))
            await pushed.wait()
            client.call("d1", ["UDID-1", "SERIAL-1"])
            client.acted([(TOPIC, token)])
            await client.unsubscribe([(TOPIC, token)])
            await client.retire(TOPIC, token)
            try:
                await client.retire(TOPIC, b"never issued")
            except CourierError:
                pass
            await seen.wait()
        nursery.cancel_scope.cancel()
    return [(side, frame) for side, stream in streams.items() for frame in _frames(bytes(stream))]


def _push_certificate() -> bytes:
    authority = Authority.create("Push CA", keys=SharedKeys(1), clock=ManualClock(), chance=Chance("push"), kind="ec")
    return authority.issue_push(TOPIC).certificate


def _has_ping(stream: bytearray) -> bool:
    return b"\xa4ping" in stream


def _frames(stream: bytes) -> Iterator[bytes]:
    while stream:
        (length,) = struct.unpack(">I", stream[:4])
        yield stream[: 4 + length]
        stream = stream[4 + length :]


# ---- what NanoMDM, scepserver and curl meet


def around_nanomdm(evidence: Evidence, folder: Path, samples: list[Sample]) -> None:
    """An enrollment by each way in, every answer of APNs, and what the proxies say by themselves."""
    with site(folder, SharedKeys(6)) as here:
        for name, kind in ((NGINX, "iphone"), (RFC9440, "mac-silicon")):
            member = here.ways[name].enrol(kind)
            refused = [e.data["label"] for e in member.exchanges() if e.data["status"] != 200]
            evidence.expect("device HTTP requests", "NanoMDM", [], refused)
            for label in ("scep:GetCACaps", "scep:GetCACert", "scep:PKIOperation PKCSReq by POST"):
                evidence.expect(label, "scepserver", [], [e for e in refused if label.startswith(e)])
            assert member.device.state.enrollment is not None
            certificate = member.device.identity(member.device.state.enrollment.identity).certificate
            form, text = ("nginx", to_nginx(certificate)) if name == NGINX else ("rfc9440", to_rfc9440(certificate))
            kind_of_header = "client certificate as nginx" if name == NGINX else "client certificate as RFC 9440"
            samples.append(Sample(kind_of_header, f"header-{form}", b"", text, certificate))
        _apns_answers(evidence, here)
        _proxy_answers(evidence, here, folder)


def _apns_answers(evidence: Evidence, here: Site) -> None:
    way = here.ways[SIGNED_HTTP]
    member = way.enrol("mac-silicon")
    queued = way.server.push(member.udid)
    accepted = here.pushes("push.accepted", member)
    evidence.expect("APNs answer 200", "NanoMDM", accepted[-1].data["apns_id"], queued.apns_id)
    plan = here.apple.service.faults
    for reason, status in REASONS.items():
        fault = plan.add("push.refused", why="every reason in turn", answer=ApnsError.of(reason), times=1)
        said = way.server.push(member.udid).push_error or ""
        plan.remove(fault)
        expected = f"push HTTP status: {status}: APNs push error: {reason}"
        evidence.note(f"APNs answer {status} {reason}", "NanoMDM", "" if said.startswith(expected) else said or "200")


def _proxy_answers(evidence: Evidence, here: Site, folder: Path) -> None:
    proxy = f"http://127.0.0.1:{here.apple.proxy_port}"
    push = folder / "push.pem"
    push.write_bytes(identity_to_pem(here.push))
    trust = ("--cacert", str(here.apple.ca_file), "--cert", str(push), "--http2")
    url = f"https://api.push.apple.com/3/device/{'ab' * 32}"
    said = curl("-x", proxy, *trust, "--data", "{}", "--write-out", " %{http_connect} %{http_version}", url)
    evidence.expect("CONNECT answer 200", "curl", '{"reason":"BadDeviceToken"} 200 2', said.decode())
    connect = ("-x", proxy, "--output", os.devnull, "--write-out", "%{http_connect}")
    plain = ("-x", proxy, "--output", os.devnull, "--write-out", "%{response_code}", "http://api.push.apple.com/")
    evidence.expect("CONNECT answer 403", "curl", b"403", curl(*connect, "https://example.com/", fails=True))
    long = ("--proxy-header", f"X-Long: {'x' * 20_000}")
    evidence.expect("CONNECT answer 431", "curl", b"431", curl(*connect, *long, "https://example.com/", fails=True))
    evidence.expect("CONNECT answer 405", "curl", b"405", curl(*plain))
    evidence.expect("CONNECT answer 400", "curl", b"400", curl(*plain, "--request", "NOT HTTP"))
    nowhere = ConnectProxy({"api.push.apple.com": ("127.0.0.1", free_port())})
    with here.portal.wrap_async_context_manager(served(nowhere.serve)) as port:
        broken = ("-x", f"http://127.0.0.1:{port}", *connect[2:])
        evidence.expect("CONNECT answer 502", "curl", b"502", curl(*broken, url, fails=True))
    scep_front = next(way.scep_url for way in here.ways.values() if way.front is not None)
    root = folder / "root.pem"
    root.write_bytes(to_pem(here.authority.root))
    with _front_to_nowhere(here) as front:
        said = curl("--cacert", str(root), "--output", os.devnull, "--write-out", "%{response_code}", front)
    evidence.expect("front answer 502", "curl", b"502", said)
    said = curl("--cacert", str(root), f"{scep_front}?operation=GetCACaps")
    evidence.note("front answer passed on", "curl", "" if b"POSTPKIOperation" in said else repr(said))


@contextmanager
def _front_to_nowhere(here: Site) -> Iterator[str]:
    identity = here.authority.issue_server(["localhost"], ["127.0.0.1"])
    front = TlsFront(identity, ("127.0.0.1", free_port()), clock=here.clock)
    with here.portal.wrap_async_context_manager(served(front.serve)) as port:
        yield f"https://127.0.0.1:{port}/"


def curl(*arguments: str, fails: bool = False) -> bytes:
    """curl's standard output."""
    environment = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    done = subprocess.run(
        [from_path("curl"), "--silent", "--show-error", *arguments],
        capture_output=True,
        timeout=30,
        env=environment,
        check=False,
    )
    assert fails or done.returncode == 0, done.stderr.decode(errors="replace")
    return done.stdout


# ---- the reference server, its API, its pushes, its SCEP


def around_reference_server(evidence: Evidence, folder: Path, samples: list[Sample]) -> None:
    """The reference server as a process: pushed by it is a server of Go's, asked is it by curl and scepclient."""
    clock = WallClock()
    authority = Authority.create("Go APNs CA", keys=FreshKeys(), clock=clock, chance=Chance("go"), kind="ec")
    ca = folder / "go-ca.pem"
    ca.write_bytes(to_pem(authority.certificate))
    with ExitStack() as stack:
        address, pushes = stack.enter_context(_go_apns(folder, authority))
        portal = stack.enter_context(start_blocking_portal("trio"))
        arguments = ["reference_server", "--ready-json", "--data", str(folder / "server"), "--log", os.devnull]
        arguments += ["--apns-url", f"https://{address}", "--apns-ca", str(ca)]
        dep = stack.enter_context(portal.wrap_async_context_manager(running(partial(serve_dep, DepServeSettings()))))
        arguments += ["--dep-url", dep.url]
        process = partial(
            run_server_process, "reference server", arguments, log=folder / "err", on_event=lambda _: None
        )
        server = stack.enter_context(portal.wrap_async_context_manager(running(process)))
        ready = server.ready
        anchors = certificates_from_pem(Path(ready["ca_file"]).read_bytes())
        udid = portal.call(partial(_enrolled, ready, anchors, clock))
        api = Api(ready["url"], ready["api_key"], ready["ca_file"])
        _push_request(evidence, api, udid, ready["topic"], pushes)
        _dep_answers(evidence, api, dep, samples)
        _api_answers(evidence, api, udid, samples)
        _profile(evidence, api, ready["enroll_url"], anchors, samples)
        _scepclient(evidence, api, folder, ready["ca_file"])
        apns = stack.enter_context(portal.wrap_async_context_manager(running(partial(serve, ServeSettings()))))
        _apns_admin(evidence, apns, samples)


@contextmanager
def _go_apns(folder: Path, authority: Authority) -> Iterator[tuple[str, Callable[[], Any]]]:
    """APNs by Go's net/http: its address, and a function that returns the next request it got."""
    identity = authority.issue_server(["localhost"], ["127.0.0.1"])
    pem = folder / "go-apns.pem"
    pem.write_bytes(identity_to_pem(identity))
    process = subprocess.Popen(
        [from_go("foreign"), "apns", "-cert", str(pem), "-key", str(pem)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    lines = process.stdout
    try:
        yield json.loads(lines.readline())["address"], lambda: json.loads(lines.readline())
    finally:
        process.terminate()
        process.wait()
        lines.close()


async def _enrolled(ready: dict[str, Any], anchors: tuple[bytes, ...], clock: WallClock) -> str:
    chance, keys, events = Chance("api"), SharedKeys(3), Events(clock)
    events.subscribe(EventLog())
    async with HttpOutbound() as outbound:
        adapter = ReferenceAdapter(outbound, ready["url"], ready["api_key"], Trust(anchors=anchors))
        profile = await adapter.enrollment_profile()
    with TrioTransport() as transport:
        fleet = Fleet(
            store=MemoryStore(), clock=clock, chance=chance, keys=keys, events=events, sender_for=lambda _: transport
        )
        device = fleet.add("iphone-1", make_persona("iphone", chance=chance))
        await fleet.install("iphone-1", profile)
        return device.persona.udid


@dataclass
class Api:
    """The reference server's API, asked by curl."""

    url: str
    key: str
    ca_file: str

    def call(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        arguments = ["--cacert", self.ca_file, "--request", method, "--header", f"Authorization: Bearer {self.key}"]
        if body is not None:
            arguments += ["--header", "Content-Type: application/json", "--data-binary", json.dumps(body)]
        said = curl(*arguments, "--write-out", "\n%{response_code}", self.url + path)
        content, _, status = said.rpartition(b"\n")
        return int(status), content


def _push_request(evidence: Evidence, api: Api, udid: str, topic: str, pushes: Callable[[], Any]) -> None:
    status, said = api.call("POST", f"/api/v1/devices/{udid}/push")
    request = pushes()
    evidence.expect("push request", "Go", ("HTTP/2.0", "h2", "POST", topic), tuple(
        request[name] for name in ("proto", "alpn", "method", "topic")
    ))  # fmt: skip
    headers = request["headers"]
    evidence.expect("push request", "Go", [topic, "mdm", "10"], [
        headers[name][0] for name in ("Apns-Topic", "Apns-Push-Type", "Apns-Priority")
    ])  # fmt: skip
    evidence.expect("push request", "Go", ["mdm"], list(json.loads(request["body"])))
    answer = json.loads(said)
    evidence.expect("push request", "Go", (200, 200), (status, answer["status"]))


def _dep_answers(evidence: Evidence, api: Api, dep: DepReady, samples: list[Sample]) -> None:
    """The calls about device enrollment, with a fake DEP that has sold one device."""
    account, serial = "/api/v1/dep/{name}", "C02INTEROP01"
    answers: dict[str, Any] = {}

    def ask(method: str, path: str, body: Any = None, status: int = 200) -> None:
        url = path.format(name="acme", serial=serial, profile="default")
        found, content = api.call(method, url, body)
        kind = f"API {method} {path}"
        evidence.note(kind, "curl", "" if found == status else f"{found}: {content!r:.200}")
        if content:
            samples.append(Sample(kind, "json", content))
            answers[path] = json.loads(content)

    def portal(path: str, body: Any = None) -> bytes:
        head = ("--header", f"Authorization: Bearer {dep.admin_key}", "--header", "Content-Type: application/json")
        return curl("--request", "POST", *head, "--data-binary", json.dumps(body), "--fail", dep.admin_url + path)

    ask("POST", "/api/v1/dep", {"name": "acme"}, 201)
    ask("GET", f"{account}/certificate")
    portal("/servers", {"name": "acme", "certificate": answers[f"{account}/certificate"]["pem"]})
    portal("/devices", {"devices": [{"serial_number": serial, "device_family": "Mac"}], "server": "acme"})
    token = portal("/servers/acme/token")
    ask("POST", f"{account}/token", {"content": base64.b64encode(token).decode()})
    ask("PUT", f"{account}/profiles/{{profile}}", {})
    ask("POST", f"{account}/sync", {"full": True})
    ask("POST", f"{account}/assign", {})
    ask("PUT", f"{account}/devices/{{serial}}/user", {"user": "ada"})
    ask("GET", "/api/v1/dep")
    for path in ("", "/devices", "/devices/{serial}", "/devices/{serial}/user", "/profiles", "/profiles/{profile}"):
        ask("GET", account + path)
    ask("DELETE", f"{account}/devices/{{serial}}/user", None, 204)
    ask("DELETE", account, None, 204)


def _api_answers(evidence: Evidence, api: Api, udid: str, samples: list[Sample]) -> None:
    """Every call that the API's description has, each once; a call that has no line here goes without evidence."""
    device = f"/api/v1/devices/{udid}"
    command = {"request_type": "ProfileList", "command_uuid": "first"}
    refusal = {"udid": "nobody", "at": "any"}
    script: tuple[tuple[str, str, str, Any], ...] = (
        ("GET", "/api/v1/devices", "/api/v1/devices", None),
        ("GET", "/api/v1/devices/{id}", device, None),
        ("POST", "/api/v1/devices/{id}/push", f"{device}/push", None),
        ("POST", "/api/v1/devices/{id}/renew", f"{device}/renew", None),
        ("POST", "/api/v1/devices/{id}/commands", f"{device}/commands", command),
        ("POST", "/api/v1/commands", "/api/v1/commands", {"request_type": "ProfileList", "devices": [udid]}),
        ("GET", "/api/v1/devices/{id}/commands", f"{device}/commands", None),
        ("GET", "/api/v1/devices/{id}/commands/{uuid}", f"{device}/commands/first", None),
        ("DELETE", "/api/v1/devices/{id}/commands/{uuid}", f"{device}/commands/first", None),
        ("DELETE", "/api/v1/devices/{id}/commands", f"{device}/commands", None),
        ("POST", "/api/v1/profiles", "/api/v1/profiles", {}),
        ("POST", "/api/v1/refusals", "/api/v1/refusals", refusal),
        ("GET", "/api/v1/refusals", "/api/v1/refusals", None),
        ("DELETE", "/api/v1/refusals/{id}", "/api/v1/refusals/1", None),
        ("POST", "/api/v1/devices/{id}/remove", f"{device}/remove", None),
        ("GET", "error", "/api/v1/devices/nobody", None),
        ("GET", "/api/v1/openapi.json", "/api/v1/openapi.json", None),
        ("GET", "/healthz", "/healthz", None),
        ("GET", "/readyz", "/readyz", None),
        ("GET", "/version", "/version", None),
    )
    described: set[str] = set()
    for method, path, url, body in script:
        status, content = api.call(method, url, body)
        kind = f"API {method} {path}"
        wanted = 404 if path == "error" else 204 if path.startswith("/api/v1/refusals/") else None
        evidence.note(kind, "curl", "" if status == wanted or (wanted is None and status < 300) else f"{status}")
        if content:
            samples.append(Sample(kind, "json", content))
        if path.endswith("openapi.json"):
            for template, calls in json.loads(content)["paths"].items():
                described |= {f"API {verb.upper()} {template}" for verb in calls if verb != "parameters"}
    for kind in described - {"API GET /enroll"}:  # the enrollment profile, which has a row of its own
        if (kind, "curl") not in evidence.said:
            evidence.note(kind, "curl", "nobody asked: give it a line in the script")
    status, content = curl_put(api, "/mdm/checkin", b"garbage")
    evidence.expect("refusal", "curl", (400, True), (status, bool(content.strip())))


def curl_put(api: Api, path: str, body: bytes) -> tuple[int, bytes]:
    """A check-in by hand."""
    said = curl(
        "--cacert", api.ca_file, "--request", "PUT", "--header", "Content-Type: application/x-apple-aspen-mdm-checkin",
        "--data-binary", body.decode(), "--write-out", "\n%{response_code}", api.url + path,
    )  # fmt: skip
    content, _, status = said.rpartition(b"\n")
    return int(status), content


def _profile(evidence: Evidence, api: Api, url: str, authorities: tuple[bytes, ...], samples: list[Sample]) -> None:
    signed = curl("--cacert", api.ca_file, url)
    evidence.note("enrollment profile", "curl", "" if signed else "empty")
    content = verify(signed).content
    at_ms = WallClock().now_ms()
    samples.append(
        Sample("enrollment profile", "signed-profile", signed, content.decode(), authorities=authorities, at_ms=at_ms)
    )
    samples.append(Sample("enrollment profile", "profile", content))


def _scepclient(evidence: Evidence, api: Api, folder: Path, ca_file: str) -> None:
    """A SCEP client of others enrols with the reference server; then once more with a challenge that is wrong."""
    for kind, wrong in (("CertRep issued", False), ("CertRep refused", True)):
        challenge = json.loads(api.call("POST", "/api/v1/profiles", {"wrong_challenge": wrong})[1])["challenge"]
        own = folder / kind.replace(" ", "-")
        own.mkdir()
        done = subprocess.run(
            [from_go("scepclient"), "-server-url", f"{api.url}/scep", "-challenge", challenge, "-private-key",
             str(own / "key.pem"), "-certificate", str(own / "client.pem"), "-keySize", "2048"],
            env={**os.environ, "SSL_CERT_FILE": ca_file}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        said = done.stdout + done.stderr
        if wrong:
            evidence.note(kind, "scepclient", "" if "failInfo: badRequest" in said else said)
        else:
            written = (own / "client.pem").exists() and len(certificates_from_pem((own / "client.pem").read_bytes()))
            for answer in (kind, "CA capabilities", "CA certificate"):
                evidence.note(answer, "scepclient", "" if done.returncode == 0 and written == 1 else said)


def _apns_admin(evidence: Evidence, ready: Ready, samples: list[Sample]) -> None:
    for path in ("/healthz", "/stats", "/certificates", "/tokens", "/pending", "/faults"):
        said = curl("--header", f"Authorization: Bearer {ready.admin_key}", ready.admin_url + path)
        evidence.note(f"APNs admin GET {path}", "curl", "" if said else "empty")
        samples.append(Sample(f"APNs admin GET {path}", "json", said))

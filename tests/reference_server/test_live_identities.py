"""The identity matrix over real TLS, and what TLS itself must not let through."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY, MINUTE, WallClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import public_key_of
from mdmsim.pki.mdm_signature import LEGACY, sign_body
from mdmsim.pki.names import name
from mdmsim.pki.proxy_header import to_nginx
from mdmsim.protocol.checkin import Authenticate, CheckOut, Ids, TokenUpdate, build_checkin
from mdmsim.protocol.connect import Report, Status, build_report
from mdmsim.protocol.content_type import CONNECT
from mdmsim.transport.tls import load_identity
from reference_server.tls import server_context
from tests.reference_server.kit import KEYS, TOPIC
from tests.reference_server.test_live import Process

pytestmark = pytest.mark.live


def _checkin(process: Process, identity: Identity, message: Authenticate | TokenUpdate | CheckOut) -> int:
    return process.put("checkin", build_checkin(message), identity)[0]


def _authenticate(udid: str) -> Authenticate:
    return Authenticate(ids=Ids(udid=udid), topic=TOPIC)


def _api(process: Process, method: str, path: str) -> int:
    connection = http.client.HTTPSConnection(*process.address, context=process.context(), timeout=20)
    connection.request(method, f"/api/v1{path}", headers={"Authorization": f"Bearer {process.ready['api_key']}"})
    status = connection.getresponse().status
    connection.close()
    return status


def _idle(udid: str) -> bytes:
    return build_report(Report(Ids(udid=udid), Status.IDLE))


class World:
    """A server, and identities in every state that there is: by name, with the enrollment that each speaks for."""

    def __init__(self, process: Process) -> None:
        self.process = process
        ca = process.authority()
        now = WallClock().now_ms()
        past = {"not_before_ms": now - 2 * DAY, "not_after_ms": now - MINUTE}
        self.identities: dict[str, tuple[Identity, str]] = {}

        def add(what: str, udid: str, identity: Identity | None = None) -> Identity:
            self.identities[what] = (identity or ca.client_identity(what), udid)
            return self.identities[what][0]

        process.enrol(add("own", "UDID-1"), "UDID-1")
        process.enrol(add("another device's", "UDID-1"), "UDID-2")
        add("never seen", "UDID-1")
        add("expired", "UDID-1", ca.client_identity("late", **past))
        stranger = Authority.create(name("Strangers"), keys=KEYS, clock=WallClock(), chance=Chance(1))
        add("of another CA", "UDID-1", stranger.client_identity("x"))
        forger = Authority.create(ca.name, keys=KEYS, clock=WallClock(), chance=Chance(2))
        add("of a CA with our CA's name", "UDID-1", forger.client_identity("x"))
        process.enrol(add("removed", "UDID-3"), "UDID-3")
        assert _api(process, "POST", "/devices/UDID-3/remove") == 200
        checked_out = add("checked out", "UDID-4")
        process.enrol(checked_out, "UDID-4")
        assert _checkin(process, checked_out, CheckOut(ids=Ids(udid="UDID-4"), topic=TOPIC)) == 200
        process.enrol(add("old, with a replacement pending", "UDID-5"), "UDID-5")
        pending = add("replacement before its TokenUpdate", "UDID-5")
        assert _checkin(process, pending, _authenticate("UDID-5")) == 200
        process.enrol(add("old, replaced", "UDID-6"), "UDID-6")
        process.enrol(add("replacement", "UDID-6"), "UDID-6")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    process = Process(tmp_path_factory.mktemp("server"), "--log", str(tmp_path_factory.mktemp("log") / "log"))
    yield World(process)
    assert process.stop() == 0


MATRIX = [
    ("own", 200),
    ("another device's", 403),
    ("never seen", 403),
    ("expired", 403),
    ("of another CA", 403),
    ("of a CA with our CA's name", 403),
    ("removed", 401),
    ("checked out", 403),
    ("old, with a replacement pending", 200),
    ("replacement before its TokenUpdate", 403),
    ("old, replaced", 403),
    ("replacement", 200),
]


@pytest.mark.parametrize("proof", ["certificate", "signature", "both"])
@pytest.mark.parametrize(("what", "status"), MATRIX, ids=[what for what, _ in MATRIX])
def test_the_identity_matrix_over_tls(world: World, what: str, status: int, proof: str) -> None:
    identity, udid = world.identities[what]
    body = _idle(udid)
    signature = {} if proof == "certificate" else {"Mdm-Signature": sign_body(body, identity)}
    if proof != "signature" and "CA" in what:
        # TLS refuses it before there is anybody to give it a status.
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.RemoteDisconnected)):
            world.process.put("connect", body, identity, **signature)
        return
    assert world.process.put("connect", body, None if proof == "signature" else identity, **signature)[0] == status


def test_two_proofs_that_differ_are_403_whoever_they_are(world: World) -> None:
    own, removed = world.identities["own"][0], world.identities["removed"][0]
    for shown, signer, udid in ((own, removed, "UDID-1"), (removed, own, "UDID-1"), (removed, own, "UDID-3")):
        body = _idle(udid)
        assert world.process.put("connect", body, shown, **{"Mdm-Signature": sign_body(body, signer)})[0] == 403


def test_neither_proof_is_400(world: World) -> None:
    assert world.process.put("connect", _idle("UDID-1"), None)[0] == 400


def test_a_signature_does_not_vouch_for_another_body(world: World) -> None:
    own, _ = world.identities["own"]
    replayed = {"Mdm-Signature": sign_body(_idle("UDID-1"), own)}
    assert world.process.put("connect", _idle("UDID-2"), None, **replayed)[0] == 400
    assert world.process.put("connect", _idle("UDID-1") + b"\n", None, **replayed)[0] == 400


def test_a_signature_with_sha1_is_taken(world: World) -> None:
    body = _idle("UDID-1")
    signature = sign_body(body, world.identities["own"][0], style=LEGACY)
    assert world.process.put("connect", body, None, **{"Mdm-Signature": signature}) == (200, b"")


@pytest.mark.parametrize("proof", ["certificate", "signature", "both"])
def test_an_identity_on_an_elliptic_curve_enrols(world: World, proof: str) -> None:
    key = KEYS.take_ec()
    authority = world.process.authority()
    udid = f"UDID-EC-{proof}"
    identity = Identity(certificate=authority.issue_client("curve", public_key=public_key_of(key)), key=key)
    world.process.enrol(identity, udid)
    body = _idle(udid)
    signature = {} if proof == "certificate" else {"Mdm-Signature": sign_body(body, identity)}
    shown = None if proof == "signature" else identity
    assert world.process.put("connect", body, shown, **signature) == (200, b"")


def test_a_refused_handshake_has_a_line_in_the_log_with_its_reason(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process(tmp_path / "data", "--log", str(log))
    stranger = Authority.create("Strangers", keys=KEYS, clock=WallClock(), chance=Chance(1)).client_identity("x")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        process.put("connect", _idle("UDID-1"), stranger)
    with socket.create_connection(process.address, timeout=20) as wire:
        wire.sendall(b"GET / HTTP/1.1\r\n\r\n")
        wire.recv(100)
    assert process.stop() == 0
    reasons = [line["why"] for line in map(json.loads, log.read_bytes().splitlines()) if line["message"] == "tls"]
    assert len(reasons) == 2
    assert "issuer certificate" in reasons[0] and "HTTP" in reasons[1].upper()


def test_what_is_no_http_is_400_with_a_line_in_the_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = Process(tmp_path / "data", "--log", str(log))
    with (
        socket.create_connection(process.address, timeout=20) as plain,
        process.context().wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        wire.sendall(b"PUT /mdm/connect HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
        assert wire.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert process.stop() == 0
    lines = [line for line in map(json.loads, log.read_bytes().splitlines()) if line["message"] == "http"]
    assert [(line["status"], line["why"], line["client"]) for line in lines] == [(400, "not HTTP/1.1", "127.0.0.1")]


def _session(
    process: Process, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[int, bool, ssl.SSLSession | None]:
    """One Idle of UDID-1 on a connection of its own: its status, whether TLS resumed, the session to resume."""
    body = _idle("UDID-1")
    with (
        socket.create_connection(process.address, timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1", session=session) as wire,
    ):
        wire.sendall(
            b"PUT /mdm/connect HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s"
            % (CONNECT.encode(), len(body), body)
        )
        answer = wire.recv(1000)
        return int(answer[9:12]), bool(wire.session_reused), wire.session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_resumed_session_is_the_same_device_and_a_new_one_is_not(world: World, version: ssl.TLSVersion) -> None:
    own = world.process.context(world.identities["own"][0])
    own.minimum_version = own.maximum_version = version
    status, _, session = _session(world.process, own)
    assert status == 200 and session is not None
    assert _session(world.process, own, session)[:2] == (200, True)
    # Another device on the same context, without the ticket: nothing of the first one clings to it.
    other = world.process.context(world.identities["another device's"][0])
    other.minimum_version = other.maximum_version = version
    assert _session(world.process, other)[:2] == (403, False)
    nobody = world.process.context()
    nobody.minimum_version = nobody.maximum_version = version
    assert _session(world.process, nobody)[:2] == (400, False)


def test_a_removed_device_is_401_on_a_resumed_session_too(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    identity = process.authority().client_identity("device")
    process.enrol(identity)
    context = process.context(identity)
    _, _, session = _session(process, context)
    assert _api(process, "POST", "/devices/UDID-1/remove") == 200
    assert _session(process, context, session)[:2] == (401, True)
    assert process.stop() == 0


def test_a_connection_cannot_change_its_certificate_later(world: World) -> None:
    server = server_context(world.identities["own"][0], (world.process.authority().certificate,))
    assert server.options & ssl.OP_NO_RENEGOTIATION


def test_a_subordinate_ca_alone_is_enough_to_trust_what_it_issued() -> None:
    root = Authority.create("Root", keys=KEYS, clock=WallClock(), chance=Chance(1))
    issuing = root.subordinate("Issuing")
    device = issuing.client_identity("device")
    server = server_context(root.issue_server(["localhost"]), (issuing.certificate,))
    client = ssl.create_default_context(cadata=to_pem(root.certificate).decode())
    load_identity(client, Identity(certificate=device.certificate, key=device.key))
    inbox, outbox = ssl.MemoryBIO(), ssl.MemoryBIO()
    there = server.wrap_bio(inbox, outbox, server_side=True)
    here = client.wrap_bio(outbox, inbox, server_hostname="localhost")
    for each in (here, there) * 3:
        with contextlib.suppress(ssl.SSLWantReadError):
            each.do_handshake()
    assert there.getpeercert(binary_form=True) == device.certificate


@pytest.mark.parametrize("named", [True, False])
def test_a_proxys_header_counts_only_in_the_head_and_only_from_a_named_proxy(tmp_path: Path, named: bool) -> None:
    process = Process(
        tmp_path / "data",
        "--plain-http",
        "--trust-proxy",
        "127.0.0.1" if named else "192.0.2.1",
        "--proxy-header",
        "X-Client-Cert",
    )
    identity = process.authority().client_identity("device")
    header = to_nginx(identity.certificate).encode()
    body = build_checkin(_authenticate("UDID-1"))
    start = b"PUT /mdm/checkin HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-apple-aspen-mdm-checkin\r\n"

    def ask(data: bytes) -> int:
        with socket.create_connection(process.address, timeout=20) as wire:
            wire.sendall(start + data)
            return int(wire.recv(1000)[9:12])

    in_trailer = (
        b"Transfer-Encoding: chunked\r\nTrailer: X-Client-Cert\r\n\r\n%x\r\n%s\r\n0\r\nX-Client-Cert: %s\r\n\r\n"
    )
    assert ask(in_trailer % (len(body), body, header)) == 400
    in_head = b"X-Client-Cert: %s\r\nContent-Length: %d\r\n\r\n%s"
    spoofs = (
        b"X-Client-Cert: AAAA\r\n",
        b"X_Client_Cert: x\r\n",
        b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n",
    )
    twice = ask(spoofs[0] + in_head % (header, len(body), body))
    assert twice == 400
    for spoof in spoofs[1:]:
        assert ask(spoof + in_head % (header, len(body), body)) == (200 if named else 400)
    signed = b"Mdm-Signature: %s\r\n" % sign_body(body, identity).encode()
    other = to_nginx(process.authority().client_identity("other").certificate).encode()
    assert ask(signed + in_head % (other, len(body), body)) == (403 if named else 200)
    assert process.stop() == 0


def test_a_client_that_has_nothing_more_to_say_still_gets_its_answer(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "--plain-http", "--log", os.devnull)
    for _ in range(20):
        with socket.create_connection(process.address, timeout=20) as wire:
            wire.sendall(b"PUT /mdm/connect HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            wire.shutdown(socket.SHUT_WR)
            assert wire.recv(1000).startswith(b"HTTP/1.1 400 ")
    assert process.stop() == 0


def test_a_thousand_quiet_tls_connections_neither_disturb_nor_hold_a_stop(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "--grace", "600", "--log", os.devnull)
    identity = process.authority().client_identity("device")
    process.enrol(identity)
    context = process.context()
    quiet, unshaken = [], []
    for _ in range(500):
        wire = context.wrap_socket(socket.create_connection(process.address, timeout=20), server_hostname="127.0.0.1")
        quiet.append(wire)
        unshaken.append(socket.create_connection(process.address, timeout=20))
    for wire in quiet[:100]:
        wire.sendall(b"PUT /mdm/connect HTTP/1.1\r\nHo")
    assert process.put("connect", _idle("UDID-1"), identity) == (200, b"")
    started = time.monotonic()
    assert process.stop() == 0
    assert time.monotonic() - started < 15
    for each in (*quiet, *unshaken):
        each.close()


def test_the_base64_of_a_certificate_is_no_signature(world: World) -> None:
    body = _idle("UDID-1")
    header = b64encode(world.identities["own"][0].certificate).decode()
    assert world.process.put("connect", body, None, **{"Mdm-Signature": header})[0] == 400

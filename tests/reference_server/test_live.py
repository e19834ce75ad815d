"""The server as a process: real TLS, real client certificates, signals, exit codes."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY, MINUTE, WallClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.mdm_signature import sign_body
from mdmsim.protocol.checkin import Authenticate, Ids, TokenUpdate, build_checkin
from mdmsim.protocol.connect import Report, Status, build_report
from mdmsim.protocol.content_type import CHECKIN, CONNECT
from tests.reference_server.kit import KEYS, TOPIC

pytestmark = pytest.mark.live


class Process:
    """`python -m reference_server`, and a client for it."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        self.process = subprocess.Popen(
            [sys.executable, "-m", "reference_server", "--data", str(data), "--ready-json", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        self.ready: dict[str, Any] = json.loads(line)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", int(self.ready["port"])

    def authority(self) -> Authority:
        pem = (self.data / "ca.pem").read_bytes()
        return Authority.from_pem(pem, keys=KEYS, clock=WallClock(), chance=Chance.of_machine())

    def context(self, identity: Identity | None = None) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ready["ca_file"])
        if identity is not None:
            path = self.data / f"{identity.fingerprint}.pem"
            path.write_bytes(identity_to_pem(identity))
            context.load_cert_chain(path)
        return context

    def put(self, kind: str, body: bytes, identity: Identity | None, **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPSConnection(*self.address, context=self.context(identity), timeout=20)
        try:
            content_type = CHECKIN if kind == "checkin" else CONNECT
            connection.request("PUT", f"/mdm/{kind}", body, {"Content-Type": content_type, **headers})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def enrol(self, identity: Identity, udid: str = "UDID-1") -> None:
        ids = Ids(udid=udid)
        for message in (
            Authenticate(ids=ids, topic=TOPIC),
            TokenUpdate(ids=ids, topic=TOPIC, token=b"\x01" * 32, push_magic="MAGIC"),
        ):
            assert self.put("checkin", build_checkin(message), identity) == (200, b"")

    def stop(self, number: int = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        code = self.process.wait(20)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()
        return code


IDLE = build_report(Report(Ids(udid="UDID-1"), Status.IDLE))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = Process(tmp_path_factory.mktemp("server"), "--log", os.devnull)
    yield process
    assert process.stop() == 0


@pytest.fixture(scope="module")
def identity(running: Process) -> Identity:
    found = running.authority().client_identity("device")
    running.enrol(found)
    return found


def test_a_client_certificate_reaches_the_application(running: Process, identity: Identity) -> None:
    assert running.put("connect", IDLE, identity) == (200, b"")


def test_without_a_client_certificate_a_signature_suffices(running: Process, identity: Identity) -> None:
    signed = {"Mdm-Signature": sign_body(IDLE, identity)}
    assert running.put("connect", IDLE, None, **signed) == (200, b"")
    assert running.put("connect", IDLE, None)[0] == 400


def test_a_certificate_and_a_signature_that_differ_are_403(running: Process, identity: Identity) -> None:
    other = running.authority().client_identity("other")
    assert running.put("connect", IDLE, other, **{"Mdm-Signature": sign_body(IDLE, identity)})[0] == 403


def test_an_expired_certificate_passes_the_handshake_and_is_403(running: Process, identity: Identity) -> None:
    del identity
    now = WallClock().now_ms()
    expired = running.authority().client_identity("late", not_before_ms=now - 2 * DAY, not_after_ms=now - MINUTE)
    assert running.put("connect", IDLE, expired)[0] == 403


def test_a_certificate_of_another_ca_ends_the_handshake(running: Process) -> None:
    stranger = Authority.create("Strangers", keys=KEYS, clock=WallClock(), chance=Chance(1)).client_identity("x")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        running.put("connect", IDLE, stranger)


def test_the_enrollment_profile_and_the_page_need_no_certificate(running: Process) -> None:
    connection = http.client.HTTPSConnection(*running.address, context=running.context(), timeout=20)
    for path, kind in (("/enroll", "application/x-apple-aspen-config"), ("/", "text/html; charset=utf-8")):
        connection.request("GET", path)
        answer = connection.getresponse()
        assert (answer.status, answer.getheader("content-type"), bool(answer.read())) == (200, kind, True)
    connection.close()


def test_keys_are_nobody_elses_business(running: Process) -> None:
    modes = {path.name: path.stat().st_mode & 0o777 for path in running.data.iterdir()}
    assert {name for name, mode in modes.items() if mode & 0o077} <= {
        "ca-root.pem",
        "server.names",
        *(name for name in modes if len(name) == 68),
    }
    assert modes["ca.pem"] == modes["push.pem"] == modes["api-key"] == modes["server.sqlite"] == 0o600


def test_an_oversized_body_is_answered_before_it_was_sent(running: Process, identity: Identity) -> None:
    with (
        socket.create_connection(running.address, timeout=20) as plain,
        running.context(identity).wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        wire.sendall(
            b"PUT /mdm/connect HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-apple-aspen-mdm\r\n"
            b"Content-Length: 200000000\r\n\r\n<plist>"
        )
        assert wire.recv(1000).startswith(b"HTTP/1.1 413 ")


def test_endless_headers_are_431(running: Process) -> None:
    with (
        socket.create_connection(running.address, timeout=20) as plain,
        running.context().wrap_socket(plain, server_hostname="127.0.0.1") as wire,
    ):
        wire.sendall(b"PUT /mdm/connect HTTP/1.1\r\nHost: x\r\nMdm-Signature: ")
        wire.sendall(b"A" * (128 * 1024))
        assert wire.recv(1000).startswith(b"HTTP/1.1 431 ")


def test_a_long_signature_is_taken(running: Process, identity: Identity) -> None:
    assert running.put("connect", IDLE, identity, **{"X-Padding": "A" * 20_000})[0] == 200


def test_idle_clients_do_not_hold_a_stop(tmp_path: Path) -> None:
    process = Process(tmp_path / "data", "--grace", "600")
    sockets = [socket.create_connection(process.address, timeout=20) for _ in range(3)]
    wires = [process.context().wrap_socket(each, server_hostname="127.0.0.1") for each in sockets]
    wires[0].sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert wires[0].recv(1000).startswith(b"HTTP/1.1 200 ")
    assert process.stop() == 0
    for wire in wires:
        wire.close()


def test_what_was_answered_survives_kill_9(tmp_path: Path) -> None:
    process = Process(tmp_path / "data")
    identity = process.authority().client_identity("device")
    process.enrol(identity)
    assert process.stop(signal.SIGKILL) == -signal.SIGKILL
    again = Process(tmp_path / "data")
    assert again.ready["api_key"] == process.ready["api_key"]
    assert again.put("connect", IDLE, identity) == (200, b"")
    assert again.stop(signal.SIGINT) == 0


def test_events_are_streamed_as_lines(tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    process = Process(tmp_path / "data", "--events", str(events))
    process.enrol(process.authority().client_identity("device"))
    assert process.stop() == 0
    kinds = [json.loads(line)["kind"] for line in events.read_bytes().splitlines()]
    assert kinds == ["server.checkin", "server.checkin", "server.enrolled"]


def _run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "reference_server", *arguments], capture_output=True, timeout=60, check=False
    )
    return done.returncode, done.stderr.decode()


def test_a_taken_port_is_a_message_and_3(tmp_path: Path, running: Process) -> None:
    code, said = _run("--data", str(tmp_path), "--port", str(running.address[1]))
    assert code == 3
    assert str(running.address[1]) in said and "Traceback" not in said


def test_a_folder_that_is_none_is_a_message_and_2(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, said = _run("--data", str(tmp_path / "file" / "data"))
    assert code == 2
    assert "--data" in said and "Traceback" not in said


def test_a_broken_key_file_is_a_message_and_2(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("rubbish")
    code, said = _run("--data", str(tmp_path))
    assert code == 2
    assert "ca.pem" in said and "Traceback" not in said


def test_a_broken_database_is_a_message_and_2(tmp_path: Path) -> None:
    (tmp_path / "server.sqlite").write_bytes(b"no database at all" * 100)
    code, said = _run("--data", str(tmp_path))
    assert code == 2
    assert "server.sqlite" in said and "Traceback" not in said

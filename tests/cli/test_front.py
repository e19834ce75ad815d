"""`mdmsim front`: a server of plain HTTP behind TLS with client certificates."""

from __future__ import annotations

import json
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from mdmsim.pki.keys import SharedKeys
from mdmsim.pki.proxy_header import parse
from tests.cli.commands import CommandLine, process


@pytest.fixture(scope="module")
def device_ca() -> Authority:
    return Authority.create("Acme Device CA", keys=SharedKeys(1), clock=WallClock(), chance=Chance("front"))


@pytest.fixture(scope="module")
def device(device_ca: Authority) -> Identity:
    return device_ca.client_identity("device")


@pytest.fixture(scope="module")
def behind() -> Iterator[tuple[int, list[dict[str, str]]]]:
    """A server of plain HTTP: its port, and the headers of what it was asked."""
    seen: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield server.server_address[1], seen
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def front(*arguments: object) -> Iterator[dict[str, Any]]:
    with process("front", *arguments, "--json") as running:
        yield _first_line(running)
        running.send_signal(signal.SIGTERM)
        assert running.wait(20) == 0


def _first_line(running: subprocess.Popen[str]) -> dict[str, Any]:
    assert running.stdout is not None and running.stderr is not None
    line = running.stdout.readline()
    assert line, running.stderr.read()
    facts: dict[str, Any] = json.loads(line)
    return facts


def get(facts: dict[str, Any], folder: Path, identity: Identity | None = None, **headers: str) -> httpx.Response:
    context = ssl.create_default_context(cafile=facts["ca_file"])
    if identity is not None:
        (folder / "device.pem").write_bytes(identity_to_pem(identity))
        context.load_cert_chain(folder / "device.pem")
    with httpx.Client(verify=context, trust_env=False, timeout=20) as client:
        return client.get(f"{facts['url']}/mdm", headers=headers)


@pytest.mark.parametrize(
    ("words", "header", "form"),
    [
        ((), "X-Client-Cert", "pem"),
        (("--form", "rfc9440"), "Client-Cert", "rfc9440"),
        (("--header", "X-Mine"), "X-Mine", "pem"),
    ],
)
def test_the_server_behind_gets_the_devices_certificate_in_the_header_that_is_told(
    tmp_path: Path,
    behind: tuple[int, list[dict[str, str]]],
    device_ca: Authority,
    device: Identity,
    words: tuple[str, ...],
    header: str,
    form: str,
) -> None:
    port, seen = behind
    (tmp_path / "ca.pem").write_bytes(to_pem(device_ca.certificate))
    with front(f"http://127.0.0.1:{port}", "--client-ca", tmp_path / "ca.pem", *words) as facts:
        assert (facts["header"], facts["form"], facts["client_certificates"]) == (header, form, True)
        assert (facts["upstream"], facts["upstream_answers"]) == (f"http://127.0.0.1:{port}", True)
        assert get(facts, tmp_path, device).status_code == 200
        assert parse(seen[-1][header.lower()])[0] == device.certificate
        assert seen[-1][header.lower()].startswith(":") is (form == "rfc9440")
        assert seen[-1]["x-forwarded-for"] == "127.0.0.1"
        # Without a certificate nobody gets to say whose it is.
        assert get(facts, tmp_path, **{header: seen[-1][header.lower()]}).status_code == 200
        assert header.lower() not in seen[-1]


def test_a_server_that_is_not_up_yet_is_answered_for_with_502(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with front(f"127.0.0.1:{port}") as facts:
        assert facts["upstream_answers"] is False
        answer = get(facts, tmp_path)
    assert (answer.status_code, "does not answer" in answer.text) == (502, True)


def test_the_ca_stays_in_the_data_folder_and_its_key_is_private(tmp_path: Path) -> None:
    data = tmp_path / "front"
    said = []
    for _ in range(2):
        with front("http://127.0.0.1:9", "--data", data, "--name", "mdm.example.com") as facts:
            said.append(Path(facts["ca_file"]).read_bytes())
    assert said[0] == said[1]
    assert (data / "front-ca.key.pem").stat().st_mode & 0o777 == 0o600


def test_people_are_told_where_it_is_and_what_is_missing() -> None:
    with process("front", "http://127.0.0.1:9") as running:
        assert running.stdout is not None
        said = ""
        while "Ctrl-C" not in said:
            line = running.stdout.readline()
            assert line
            said += line
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 130
    assert "TLS front   https://127.0.0.1:" in said
    assert "no --client-ca" in said
    assert "nothing answers at http://127.0.0.1:9 yet" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("mdm.example.com",), "SERVER mdm.example.com: not an address. Write HOST:PORT"),
        (("https://127.0.0.1:9000",), "https://127.0.0.1:9000: a server that speaks TLS needs no front"),
        (("http://127.0.0.1:9000/mdm",), "SERVER http://127.0.0.1:9000/mdm: not an address"),
        (("ftp://127.0.0.1:9000",), "ftp://127.0.0.1:9000: the server behind speaks plain HTTP"),
        (("127.0.0.1:9", "--header", "x_forwarded_for"), "--header x_forwarded_for: that header has a meaning"),
        (("http://17.0.0.1:80",), "http://17.0.0.1:80 is Apple's, or leads there"),
        (("127.0.0.1:9", "--client-ca", "/nowhere.pem"), "--client-ca /nowhere.pem: no such file"),
        (("127.0.0.1:9", "--client-ca", __file__), f"--client-ca {__file__}: no certificate in it"),
        (("127.0.0.1:9", "--header", "X Cert"), "--header X Cert: not a header's name"),
        (("127.0.0.1:9", "--header", "Host"), "--header Host: that header has a meaning of its own"),
        (("127.0.0.1:9", "--name", "https://mdm"), "--name https://mdm: not a host name"),
        (("127.0.0.1:9", "--data", "/proc/nothing"), "--data /proc/nothing: cannot be made"),
        (("127.0.0.1:9", "--server-identity", "/nowhere.pem"), "/nowhere.pem: cannot be read"),
        (("127.0.0.1:9", "--host", "nosuch.invalid"), 'host="nosuch.invalid": no such host'),
    ],
)
def test_what_cannot_be_started_is_the_users_mistake(
    mdmsim: CommandLine, arguments: tuple[str, ...], says: str
) -> None:
    ended = mdmsim("front", *arguments)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(says)


def test_a_taken_port_is_exit_code_3(mdmsim: CommandLine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        ended = mdmsim("front", "http://127.0.0.1:9", "--port", port)
    assert (ended.code, ended.out, ended.err.count("\n")) == (3, "", 1)
    assert ended.err.startswith(f"--port {port} on 127.0.0.1: ")

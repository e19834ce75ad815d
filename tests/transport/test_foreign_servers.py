"""The transports against servers that nobody here wrote: uvicorn, and openssl's s_server."""

from __future__ import annotations

import re
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import uvicorn

from mdmsim.clock import WallClock
from mdmsim.http import Request, Response, Trust
from mdmsim.transport.blocking import BlockingTransport
from mdmsim.transport.inprocess import Network
from mdmsim.transport.trio_client import TrioTransport
from tests.transport.certs import HOST, ROOT, SERVER, leaf

DEVICE = leaf(ROOT, purpose="client", common_name="device", rsa_key=True)
PLAIN = Trust(allow_http=True)


class Mirror:
    """An ASGI app that keeps each request's scope and body, and answers with the body."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            raise RuntimeError("no lifespan here")
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.seen.append({**scope, "body": body})
        headers = [(b"x-order", b"1"), (b"x-order", b"2")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body[:3], "more_body": True})
        await send({"type": "http.response.body", "body": body[3:]})


@pytest.fixture(scope="module")
def mirror() -> Iterator[tuple[Mirror, int]]:
    app = Mirror()
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    server = uvicorn.Server(uvicorn.Config(app, http="httptools", log_level="critical", lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield app, listener.getsockname()[1]
    server.should_exit = True
    thread.join()
    listener.close()


REQUESTS = {
    "a put": (
        "PUT",
        "/a%20b/%C3%BC?c=%20d&e",
        (("User-Agent", "MDM/1.0"), ("X-A", "1"), ("x-a", "2")),
        b"<plist/>" * 99,
    ),
    "an empty put": ("PUT", "/", (), b""),
    "a get": ("GET", "/scep?operation=GetCACaps&message=", (("Accept", "*/*"),), b""),
    "a large post": ("POST", "/x", (), bytes(range(256)) * 1024),
}


@pytest.mark.parametrize("case", REQUESTS)
@pytest.mark.parametrize("shell", ["trio", "blocking"])
def test_uvicorn_understands_every_request(mirror: tuple[Mirror, int], case: str, shell: str) -> None:
    app, port = mirror
    method, target, headers, body = REQUESTS[case]
    request = Request(method, f"http://127.0.0.1:{port}{target}", headers, body, trust=PLAIN)
    response = trio.run(TrioTransport().send, request) if shell == "trio" else BlockingTransport().send(request)
    assert (response.status, response.body, app.seen[-1]["body"]) == (201, body, body)


@pytest.mark.parametrize("case", REQUESTS)
def test_the_in_process_server_shows_an_app_what_uvicorn_shows_it(mirror: tuple[Mirror, int], case: str) -> None:
    live, port = mirror
    method, target, headers, body = REQUESTS[case]
    request = Request(method, f"http://127.0.0.1:{port}{target}", headers, body, trust=PLAIN)
    inside = Mirror()

    async def main() -> tuple[Response, Response]:
        network = Network(WallClock())
        async with network.serving("127.0.0.1", port, inside):
            return await TrioTransport().send(request), await network.client("phone").send(request)

    first, second = trio.run(main)
    keys = (
        "type",
        "http_version",
        "method",
        "scheme",
        "path",
        "raw_path",
        "query_string",
        "root_path",
        "headers",
        "body",
    )
    assert {key: inside.seen[0][key] for key in keys} == {key: live.seen[-1][key] for key in keys}
    assert inside.seen[0]["server"] == live.seen[-1]["server"]
    added = {"date", "server"}  # uvicorn's own
    assert tuple(h for h in first.headers if h[0].lower() not in added) == second.headers
    assert (first.status, first.body) == (second.status, second.body)


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("shell", ["trio", "blocking"])
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_openssl_sees_the_clients_certificate_and_resumes_its_session(tmp_path: Path, shell: str, version: str) -> None:
    key = ssl.DER_cert_to_PEM_cert(SERVER.key).replace("CERTIFICATE", "PRIVATE KEY")
    (tmp_path / "server.pem").write_text(key + ssl.DER_cert_to_PEM_cert(SERVER.certificate))
    (tmp_path / "root.pem").write_text(ssl.DER_cert_to_PEM_cert(ROOT.der))
    command = ["openssl", "s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-Verify", "1", "-www", version]
    with subprocess.Popen([*command, "-CAfile", "root.pem"], cwd=tmp_path, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            port = next(int(m[1]) for line in server.stdout if (m := re.match(r"ACCEPT 127\.0\.0\.1:(\d+)", line)))
            request = Request("GET", f"https://{HOST}/", identity=DEVICE, trust=Trust(anchors=(ROOT.der,)))
            settings: dict[str, Any] = {"connect_to": {f"{HOST}:443": ("127.0.0.1", port)}}
            if shell == "trio":

                async def twice() -> list[Response]:
                    with TrioTransport(**settings) as transport:
                        return [await transport.send(request), await transport.send(request)]

                pages = [response.body.decode() for response in trio.run(twice)]
            else:
                with BlockingTransport(**settings) as transport:
                    pages = [transport.send(request).body.decode() for _ in range(2)]
        finally:
            server.terminate()
    assert all("CN" in page and "device" in page for page in pages)
    assert "New, TLSv1" in pages[0] and "Reused, TLSv1" in pages[1]

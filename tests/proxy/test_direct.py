"""One port for all of Apple's names, for hosts files."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.proxy.direct import DirectFront
from tests.fakeapns.support import TOPIC, Bench, client_context, serving

pytestmark = pytest.mark.anyio

HOST, SANDBOX = "api.push.apple.com", "api.sandbox.push.apple.com"


@pytest.fixture
def bench(authority: Authority) -> Bench:
    return Bench(authority.issue_push(TOPIC))


@pytest.fixture
async def direct(bench: Bench, authority: Authority) -> AsyncIterator[tuple[DirectFront, int]]:
    front = Front(bench.service, authority.issue_server(SERVER_NAMES))
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    dead = listener.socket.getsockname()
    await listener.aclose()
    async with serving(front.serve) as apns:
        routes = {HOST: ("127.0.0.1", apns), SANDBOX: dead}
        made = DirectFront(routes)
        async with serving(made.serve) as port:
            yield made, port


async def _handshake(port: int, authority: Authority, name: str | None) -> str | None:
    context = client_context(authority.certificate, alpn=("h2",))
    context.check_hostname = name is not None
    with trio.fail_after(10):
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        async with trio.SSLStream(stream, context, server_hostname=name, https_compatible=True) as tls:
            await tls.do_handshake()
            return tls.selected_alpn_protocol()


async def test_the_name_leads_to_the_fake(direct: tuple[DirectFront, int], authority: Authority) -> None:
    assert await _handshake(direct[1], authority, HOST) == "h2"
    assert direct[0].counters["spliced"] == 1


@pytest.mark.parametrize("name", ["www.apple.com", None])
async def test_other_names_get_the_alert_for_them(
    direct: tuple[DirectFront, int], authority: Authority, name: str | None
) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await _handshake(direct[1], authority, name)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert caught.value.__cause__.reason == "TLSV1_UNRECOGNIZED_NAME"
    assert direct[0].counters["refused"] == 1


async def test_a_fake_that_is_not_there_is_an_internal_error(
    direct: tuple[DirectFront, int], authority: Authority
) -> None:
    with pytest.raises(trio.BrokenResourceError) as caught:
        await _handshake(direct[1], authority, SANDBOX)
    assert isinstance(caught.value.__cause__, ssl.SSLError)
    assert caught.value.__cause__.reason == "TLSV1_ALERT_INTERNAL_ERROR"
    assert direct[0].counters["unreachable"] == 1


@pytest.mark.parametrize(("said", "answer"), [(b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "), (b"\x00\x01\x02", b"")])
async def test_what_is_no_tls_is_told_so(direct: tuple[DirectFront, int], said: bytes, answer: bytes) -> None:
    with trio.fail_after(10):
        async with await trio.open_tcp_stream("127.0.0.1", direct[1]) as stream:
            await stream.send_all(said)
            received = b""
            while data := await stream.receive_some(4096):
                received += bytes(data)
    assert received[: len(answer) or None] == answer
    assert direct[0].counters["not-tls"] == 1


@pytest.mark.interop
@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl here")
async def test_curl_pushes_where_a_hosts_file_leads_here(
    bench: Bench, direct: tuple[DirectFront, int], tmp_path: Path
) -> None:
    token = bench.service.register("mac-1", TOPIC)
    (tmp_path / "push.pem").write_bytes(identity_to_pem(bench.provider))
    command = ["curl", "-sS", "-i", "--http2", "--insecure", "--cert", str(tmp_path / "push.pem"), "-d", "{}"]
    # What a line of a hosts file does, and port 443 or 2197 led to the front's.
    command += ["--connect-to", f"{HOST}:2197:127.0.0.1:{direct[1]}"]
    with trio.fail_after(20):
        done = await trio.run_process(
            [*command, f"https://{HOST}:2197/3/device/{token.hex()}"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
    assert b"HTTP/2 200" in done.stdout, done.stderr

"""The front against clients that nobody here wrote, over real TLS: httpx, curl, openssl, and h2 by hand."""

from __future__ import annotations

import json
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import h2.config
import h2.connection
import h2.events
import httpx
import pytest
import trio

from mdmsim.clock import DAY
from mdmsim.fakeapns.front.context import APPLE_HOSTS, SERVER_NAMES
from mdmsim.fakeapns.front.server import Front
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from mdmsim.startup import LOOPBACK_ADDRESSES
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, client_context, serving

pytestmark = pytest.mark.anyio


class Served:
    def __init__(self, bench: Bench, authority: Authority, front: Front, port: int) -> None:
        self.bench = bench
        self.authority = authority
        self.front = front
        self.port = port
        self.token = bench.service.register("ipad-1", TOPIC)

    def url(self, token: str | None = None) -> str:
        return f"https://127.0.0.1:{self.port}/3/device/{token or self.token.hex()}"

    def context(self, identity: Identity | None, *alpn: str) -> ssl.SSLContext:
        return client_context(self.authority.certificate, identity, alpn)


@pytest.fixture(scope="session")
def server_identity(authority: Authority) -> Identity:
    return authority.issue_server(SERVER_NAMES, LOOPBACK_ADDRESSES)


@pytest.fixture
async def served(bench: Bench, authority: Authority, server_identity: Identity) -> AsyncIterator[Served]:
    front = Front(bench.service, server_identity)
    async with serving(front.serve) as port:
        yield Served(bench, authority, front, port)


# httpx


async def test_httpx_pushes_over_http2_with_a_client_certificate(served: Served, provider: Identity) -> None:
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:
        answer = await client.post(served.url(), content=PAYLOAD)
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, b"")
    assert served.bench.service.pending()[0].payload == PAYLOAD


async def test_httpx_reads_apples_reason(served: Served, provider: Identity) -> None:
    served.bench.service.retire(TOPIC, served.token)
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:
        answer = await client.post(served.url(), content=PAYLOAD)
    assert (answer.status_code, answer.json()["reason"]) == (410, "Unregistered")


async def test_httpx_without_a_certificate_is_told_so_in_an_answer(served: Served) -> None:
    async with httpx.AsyncClient(http2=True, verify=served.context(None)) as client:
        answer = await client.post(served.url(), content=PAYLOAD)
    assert (answer.status_code, answer.json()) == (403, {"reason": "MissingProviderToken"})


async def test_httpx_pushes_many_at_once_on_one_connection(served: Served, provider: Identity) -> None:
    statuses: list[int] = []
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:

        async def one() -> None:
            statuses.append((await client.post(served.url(), content=PAYLOAD)).status_code)

        await one()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(one)
    assert (statuses, served.front.counters["accepted"]) == ([200] * 51, 1)


async def test_httpx_sends_a_huge_payload_and_gets_413(served: Served, provider: Identity) -> None:
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:
        answer = await client.post(served.url(), content=b"x" * 300_000)
    assert (answer.status_code, answer.json()) == (413, {"reason": "PayloadTooLarge"})


async def test_a_certificate_that_nobody_registered_fails_in_the_handshake(
    served: Served, authority: Authority
) -> None:
    stranger = authority.issue_push(OTHER_TOPIC)
    async with httpx.AsyncClient(http2=True, verify=served.context(stranger)) as client:
        with pytest.raises(httpx.TransportError):
            await client.post(served.url(), content=PAYLOAD)


async def test_a_certificate_registered_later_is_accepted_from_then_on(served: Served, authority: Authority) -> None:
    late = authority.issue_push(OTHER_TOPIC)
    served.bench.service.certificates.register(late.certificate)
    token = served.bench.service.register("ipad-1", OTHER_TOPIC)
    async with httpx.AsyncClient(http2=True, verify=served.context(late)) as client:
        answer = await client.post(served.url(token.hex()), content=PAYLOAD)
    assert answer.status_code == 200


async def test_an_expired_certificate_is_judged_by_world_time(served: Served, provider: Identity) -> None:
    served.bench.clock.advance(400 * DAY)
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:
        answer = await client.post(served.url(), content=PAYLOAD)
    assert (answer.status_code, answer.json()) == (403, {"reason": "BadCertificate"})


@pytest.mark.parametrize("host", [*APPLE_HOSTS, "localhost"])
async def test_the_server_certificate_carries_every_name(served: Served, provider: Identity, host: str) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    tls = trio.SSLStream(stream, served.context(provider, "h2"), server_hostname=host)
    await tls.do_handshake()
    assert tls.selected_alpn_protocol() == "h2"
    await trio.aclose_forcefully(tls)


# curl and openssl


@pytest.fixture
def files(tmp_path: Path, authority: Authority, provider: Identity) -> Path:
    (tmp_path / "ca.pem").write_bytes(to_pem(authority.certificate))
    (tmp_path / "push.pem").write_bytes(identity_to_pem(provider))
    return tmp_path


def _curl_speaks_http2() -> bool:
    curl = shutil.which("curl")
    return curl is not None and b"HTTP2" in subprocess.run([curl, "--version"], capture_output=True, check=True).stdout


needs_curl = pytest.mark.skipif(not _curl_speaks_http2(), reason="no curl with HTTP/2 here")
needs_openssl = pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl here")


async def run(*command: str, stdin: bytes = b"") -> str:
    with trio.fail_after(20):
        done = await trio.run_process(command, stdin=stdin, capture_stdout=True, capture_stderr=True, check=False)
    return (done.stdout + done.stderr).decode("latin-1")


@pytest.mark.interop
@needs_curl
@pytest.mark.parametrize("mode", ["--http2", "--http2-prior-knowledge"])
async def test_curl_pushes(served: Served, files: Path, mode: str) -> None:
    said = await run(
        "curl", "-sS", "-i", mode, "--insecure", "--cert", str(files / "push.pem"), "-d", "{}", served.url()
    )
    assert said.startswith("HTTP/2 200")


@pytest.mark.interop
@needs_curl
async def test_curl_shows_the_error_body(served: Served, files: Path) -> None:
    said = await run(
        "curl", "-sS", "--http2", "--insecure", "--cert", str(files / "push.pem"), "-d", "{}", served.url("ab")
    )
    assert json.loads(said) == {"reason": "BadDeviceToken"}


@pytest.mark.interop
@needs_openssl
async def test_openssl_negotiates_h2_and_believes_the_certificate(served: Served, files: Path) -> None:
    said = await run(
        "openssl", "s_client", "-alpn", "h2", "-connect", f"127.0.0.1:{served.port}", "-CAfile", str(files / "ca.pem"),
        "-cert", str(files / "push.pem"), "-verify_hostname", "api.push.apple.com", "-no_check_time",
    )  # fmt: skip
    assert "ALPN protocol: h2" in said
    assert "Verify return code: 0 (ok)" in said


@pytest.mark.interop
@needs_openssl
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
async def test_openssl_connects_with_either_version(served: Served, version: str) -> None:
    said = await run("openssl", "s_client", version, "-connect", f"127.0.0.1:{served.port}")
    assert "Cipher is (NONE)" not in said


@pytest.mark.interop
@needs_openssl
async def test_openssl_is_refused_below_tls_1_2(served: Served) -> None:
    said = await run(
        "openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0", "-connect", f"127.0.0.1:{served.port}"
    )
    assert "Cipher is (NONE)" in said


# by hand


class ByHand:
    """h2's client on a trio TLS stream."""

    def __init__(self, served: Served, identity: Identity | None, *alpn: str) -> None:
        self._served = served
        self._context = served.context(identity, *alpn)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.events: list[h2.events.Event] = []

    async def __aenter__(self) -> ByHand:
        stream = await trio.open_tcp_stream("127.0.0.1", self._served.port)
        self.tls = trio.SSLStream(stream, self._context, server_hostname="api.push.apple.com", https_compatible=True)
        await self.tls.do_handshake()
        self.h2.initiate_connection()
        await self.flush()
        return self

    async def __aexit__(self, *error: object) -> None:
        await trio.aclose_forcefully(self.tls)

    async def flush(self) -> None:
        await self.tls.send_all(self.h2.data_to_send())

    async def ask(self, stream: int, *, end: bool = True) -> None:
        path = f"/3/device/{self._served.token.hex()}"
        self.h2.send_headers(
            stream,
            [(":method", "POST"), (":scheme", "https"), (":authority", "api.push.apple.com"), (":path", path)],
        )
        self.h2.send_data(stream, PAYLOAD, end_stream=end)
        await self.flush()

    async def until(self, *kinds: type[h2.events.Event]) -> h2.events.Event | None:
        """The next event of these kinds; None at the end of the connection."""
        with trio.fail_after(15):
            while True:
                for position, event in enumerate(self.events):
                    if isinstance(event, kinds):
                        del self.events[: position + 1]
                        return event
                self.events.clear()
                data = await self.tls.receive_some(65536)
                if not data:
                    return None
                self.events += self.h2.receive_data(data)
                await self.flush()


@pytest.mark.parametrize("alpn", [(), ("h2",), ("http/1.1", "h2")])
async def test_prior_knowledge_and_any_order_of_alpn_work(
    served: Served, provider: Identity, alpn: tuple[str, ...]
) -> None:
    async with ByHand(served, provider, *alpn) as client:
        await client.ask(1)
        answer = await client.until(h2.events.ResponseReceived)
        assert dict(answer.headers)[":status"] == "200"


async def test_at_shutdown_open_requests_are_answered_before_goaway(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity)
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        await nursery.start(front.serve, listeners)
        served = Served(bench, authority, front, listeners[0].socket.getsockname()[1])
        async with ByHand(served, provider) as client:
            await client.until(h2.events.RemoteSettingsChanged)
            await client.ask(1, end=False)
            client.h2.ping(b"12345678")
            await client.flush()
            await client.until(h2.events.PingAckReceived)
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                client.h2.end_stream(1)
                await client.flush()
                assert await client.until(h2.events.ResponseReceived) is not None
                goodbye = await client.until(h2.events.ConnectionTerminated)
                assert isinstance(goodbye, h2.events.ConnectionTerminated)
                assert (goodbye.error_code, goodbye.last_stream_id) == (0, 1)
                assert await client.until(h2.events.ResponseReceived) is None


async def test_at_shutdown_a_request_that_never_ends_is_cut_after_the_grace(
    bench: Bench, authority: Authority, provider: Identity, server_identity: Identity
) -> None:
    front = Front(bench.service, server_identity, grace=0.1)
    async with serving(front.serve) as port:
        served = Served(bench, authority, front, port)
        client = ByHand(served, provider)
        await client.__aenter__()
        await client.until(h2.events.RemoteSettingsChanged)
        await client.ask(1, end=False)
    assert front.connections == 0
    await client.__aexit__()


async def test_a_fault_cuts_the_connection_instead_of_answering(served: Served, provider: Identity) -> None:
    served.bench.service.faults.add("answer.cut", why="networks fail", times=1)
    async with ByHand(served, provider) as client:
        await client.ask(1)
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            assert await client.until(h2.events.ResponseReceived) is not None
    assert len(served.bench.service.pending()) == 1


async def test_a_fault_never_answers_one_stream_and_answers_the_next(served: Served, provider: Identity) -> None:
    served.bench.service.faults.add("answer.stalled", why="Apple may be slow", times=1)
    async with ByHand(served, provider) as client:
        await client.ask(1)
        await client.ask(3)
        answer = await client.until(h2.events.ResponseReceived)
        assert answer.stream_id == 3


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"", b"\x16\x03\x01\x02\x00\x01"])
async def test_what_is_not_tls_is_let_go_and_others_do_not_notice(
    served: Served, provider: Identity, text: bytes
) -> None:
    async with ByHand(served, provider) as good:
        async with await trio.open_tcp_stream("127.0.0.1", served.port) as stream:
            await stream.send_all(text)
            await stream.send_eof()
            with trio.fail_after(10):
                while await stream.receive_some(4096):
                    continue
        await good.ask(1)
        assert await good.until(h2.events.ResponseReceived) is not None


async def test_http_1_over_tls_ends_with_goaway(served: Served, provider: Identity) -> None:
    stream = await trio.open_tcp_stream("127.0.0.1", served.port)
    tls = trio.SSLStream(stream, served.context(provider), server_hostname="localhost", https_compatible=True)
    await tls.send_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    received = b""
    with trio.fail_after(10):
        while data := await tls.receive_some(4096):
            received += data
    assert b"\x07" in received
    assert served.front.counters["protocol-error"] == 1

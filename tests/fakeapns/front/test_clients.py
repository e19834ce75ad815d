"""The front against clients that nobody here wrote, over real TLS: httpx, curl, openssl."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
import trio

from mdmsim.clock import DAY
from mdmsim.fakeapns.front.context import APPLE_HOSTS
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from tests.fakeapns.front.support import Served
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC

pytestmark = pytest.mark.anyio


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


async def test_httpx_probes_with_head_and_gets_the_status_without_content(served: Served, provider: Identity) -> None:
    # RFC 9110 section 9.3.2: no content after HEAD. Push servers probe so (gorush asks every ten seconds).
    async with httpx.AsyncClient(http2=True, verify=served.context(provider)) as client:
        answer = await client.head(served.url())
        again = await client.post(served.url(), content=PAYLOAD)
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 405, b"")
    assert (again.status_code, served.front.counters["accepted"]) == (200, 1)


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

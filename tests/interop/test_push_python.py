"""Push clients in Python and on the command line: httpx (Zentral's), aioapns, curl; directly and through the proxy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import aioapns
import anyio
import httpx
import pytest
import trio
from aioapns import connection

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import Certificate
from mdmsim.fakeapns.front.settings import FrontSettings
from tests.interop.needs import from_path, missing
from tests.interop.push_clients import MAGIC, PAYLOAD, context, environment, run

pytestmark = [
    pytest.mark.interop,
    pytest.mark.timeout(120),
    pytest.mark.filterwarnings("ignore:X509.get_subject is deprecated:DeprecationWarning"),  # aioapns
]

APPLE = "api.push.apple.com"


# httpx, as Zentral uses it


ZENTRAL = {"apns-push-type": "mdm", "apns-priority": "10"}


def zentral_headers(apns: FakeApns) -> dict[str, str]:
    return {**ZENTRAL, "apns-topic": apns.topic, "apns-expiration": str(apns.clock.now_ms() // 1000 + 3600)}


def test_httpx_offers_http_1_first_and_gets_http_2(apns: FakeApns) -> None:
    """httpcore puts http/1.1 before h2 in its ALPN offer; the server chooses by its own preference."""
    phone = apns.device()
    with httpx.Client(http2=True, verify=context(apns, apns.certificate()), trust_env=False) as client:
        answer = client.post(
            f"{apns.url}/3/device/{phone.token}", content=PAYLOAD, headers=zentral_headers(apns), timeout=5
        )
    assert (answer.http_version, answer.status_code, answer.content) == ("HTTP/2", 200, b"")
    assert phone.wait_for_push().payload == PAYLOAD


def test_httpx_pushes_to_apples_name_through_the_proxy(apns: FakeApns, proxy_port: int) -> None:
    phone = apns.device()
    with httpx.Client(
        http2=True, verify=context(apns, apns.certificate()), proxy=f"http://127.0.0.1:{proxy_port}", trust_env=False
    ) as client:
        answer = client.post(f"https://{APPLE}/3/device/{phone.token}", content=PAYLOAD, headers=zentral_headers(apns))
    assert (answer.http_version, answer.status_code) == ("HTTP/2", 200)
    assert phone.wait_for_push().payload == PAYLOAD


def test_httpx_has_every_answer_of_many_requests_on_one_connection_before_the_end() -> None:
    """A client made with h2 loses everything in flight at GOAWAY: open streams are answered first (measured: h2 4.4)."""
    statuses: list[int] = []

    async def main(apns: FakeApns, closing: Callable[[], None]) -> None:
        phones = [apns.device() for _ in range(200)]
        async with httpx.AsyncClient(http2=True, verify=context(apns, apns.certificate())) as client:

            async def one(token: str) -> None:
                answer = await client.post(f"{apns.url}/3/device/{token}", content=PAYLOAD)
                statuses.append(answer.status_code)

            await one(phones[0].token)
            async with trio.open_nursery() as nursery:
                for phone in phones:
                    nursery.start_soon(one, phone.token)
                # All have arrived, not all have been answered.
                with trio.fail_after(20):
                    while len(apns.pushes) < 201:
                        await trio.lowlevel.checkpoint()
                nursery.start_soon(trio.to_thread.run_sync, closing)

    with FakeApns(front=FrontSettings(grace=20)) as apns:
        trio.run(main, apns, apns.close)
    assert statuses == [200] * 201


@pytest.mark.parametrize("alert", ["certificate_expired", "certificate_revoked", "unknown_ca", "internal_error"])
def test_httpx_names_the_alert_that_ended_the_handshake(apns: FakeApns, alert: str) -> None:
    apns.faults.add("tls.refused", reason=alert)
    with (
        httpx.Client(http2=True, verify=context(apns, apns.certificate()), trust_env=False) as client,
        pytest.raises(httpx.TransportError, match=f"(?i){alert.replace('_', ' ')}"),
    ):
        client.post(f"{apns.url}/3/device/{apns.token('phone')}", content=PAYLOAD)


def test_httpx_keeps_to_a_limit_of_one_stream(apns: FakeApns) -> None:
    phone, certificate = apns.device(), apns.certificate()
    apns.faults.add("streams.limited", times=1)
    statuses: list[int] = []

    async def main() -> None:
        async with httpx.AsyncClient(http2=True, verify=context(apns, certificate), timeout=30) as client:

            async def one() -> None:
                statuses.append((await client.post(f"{apns.url}/3/device/{phone.token}", content=PAYLOAD)).status_code)

            await one()
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(one)

    trio.run(main)
    assert statuses == [200] * 21


def test_httpx_with_a_certificate_for_the_other_environment_is_cut_off_before_it_is_judged(apns: FakeApns) -> None:
    """GOAWAY with the reason as debug data, last stream 0, as seen at Apple's (sideshow/apns2 issue 93)."""
    certificate = apns.certificate(environment="sandbox")
    with (
        httpx.Client(http2=True, verify=context(apns, certificate), trust_env=False) as client,
        pytest.raises(httpx.RemoteProtocolError, match=r"BadCertificateEnvironment|last_stream_id:0|disconnected"),
    ):
        client.post(f"{apns.url}/3/device/{apns.token('phone')}", content=PAYLOAD)
    assert apns.pushes == []


# aioapns


def pool(apns: FakeApns, certificate: Certificate, **more: Any) -> Any:
    """aioapns with a client certificate. Its servers are attributes of a class: where to go is said by another class."""

    class Fake(connection.APNsProductionClientProtocol):
        APNS_SERVER = APPLE if "proxy_host" in more else "localhost"
        APNS_PORT = 443 if "proxy_host" in more else apns.port

    options = {"max_connection_attempts": 1, **more}
    client = aioapns.APNs(client_cert=certificate.file, ssl_context=context(apns), **options)
    client.pool.protocol_class = Fake
    return client


def send(make: Callable[[], Any], token: str, count: int = 1, **request: Any) -> list[Any]:
    """What aioapns made of each answer. One that is never matched would hang: it fails after half a minute."""
    results: list[Any] = []

    async def main() -> None:
        client = make()
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                for _ in range(count):
                    group.start_soon(one, client)
        client.pool.close()

    async def one(client: Any) -> None:
        asked = aioapns.NotificationRequest(device_token=token, message={"mdm": MAGIC}, **request)
        results.append(await client.send_notification(asked))

    anyio.run(main)
    return results


def test_aioapns_finds_its_answer_by_the_id_in_small_letters(apns: FakeApns) -> None:
    """It looks the answer up by `apns-id` byte for byte: an echo in capitals would never be found (its connection.py)."""
    phone, certificate = apns.device(), apns.certificate()
    (result,) = send(lambda: pool(apns, certificate), phone.token)
    assert (result.is_successful, result.status) == (True, "200")
    assert result.notification_id == apns.pushes[0].apns_id == apns.pushes[0].apns_id.lower()
    assert phone.wait_for_push().json == {"mdm": MAGIC}


def test_aioapns_reads_a_refusal(apns: FakeApns) -> None:
    """It parses every DATA frame as a whole JSON text, and an empty one raises inside its protocol."""
    phone, certificate = apns.device(), apns.certificate()
    phone.retire()
    (result,) = send(lambda: pool(apns, certificate), phone.token)
    assert (result.is_successful, result.status, result.description) == (False, "410", "Unregistered")


def test_aioapns_pushes_hundreds_at_once(apns: FakeApns) -> None:
    phone, certificate = apns.device(), apns.certificate()
    results = send(lambda: pool(apns, certificate), phone.token, count=300)
    assert [result.status for result in results] == ["200"] * 300


def test_aioapns_keeps_to_a_limit_of_one_stream(apns: FakeApns) -> None:
    phone, certificate = apns.device(), apns.certificate()
    apns.faults.add("streams.limited", times=1)
    results = send(lambda: pool(apns, certificate), phone.token, count=20)
    assert [result.status for result in results] == ["200"] * 20


@pytest.mark.parametrize("name", ["goaway", "answer.cut"])
def test_aioapns_tries_again_on_another_connection(apns: FakeApns, name: str) -> None:
    phone, certificate = apns.device(), apns.certificate()
    apns.faults.add(name, times=1)
    (result,) = send(lambda: pool(apns, certificate, max_connection_attempts=3), phone.token)
    assert result.is_successful
    assert {push.connection for push in apns.pushes} == {1, 2}


class MendedProxy(connection.HttpProxyProtocol):
    """aioapns 4.0 hands asyncio's own view of a socket back to asyncio, which cannot send since Python 3.11.

    With a copy of the real socket in its place the rest of its code runs as it is.
    """

    async def create_apns_connection(self) -> None:
        self.transport.pause_reading()
        real = self.transport.get_extra_info("socket").dup()
        _, self.apns_protocol = await self.loop.create_connection(
            self.apns_protocol_factory, server_hostname=self.apns_host, ssl=self.ssl_context, sock=real
        )
        self.apns_connection_ready.set()


def test_aioapns_takes_the_proxys_answer_for_a_tunnel(
    apns: FakeApns, proxy_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It searches the proxy's answer for `HTTP/1.1 200 Connect`, in one piece (its connection.py)."""
    monkeypatch.setattr(connection, "HttpProxyProtocol", MendedProxy)
    phone, certificate = apns.device(), apns.certificate()
    (result,) = send(lambda: pool(apns, certificate, proxy_host="127.0.0.1", proxy_port=proxy_port), phone.token)
    assert result.is_successful
    assert phone.wait_for_push().json == {"mdm": MAGIC}


# curl


def curl(
    apns: FakeApns, *words: str, token: str, certificate: Certificate | None = None, payload: str = PAYLOAD.decode()
) -> str:
    program = from_path("curl")
    version = run([program, "--version"], env=environment(apns)).stdout
    if "HTTP2" not in version:
        missing("this curl was built without HTTP/2")
    credential = ["--cert", certificate.certificate_file, "--key", certificate.key_file] if certificate else []
    done = run(
        [program, "-sS", "--http2", "--cacert", apns.ca_file, *credential, "-d", payload, *words,
         f"{apns.url}/3/device/{token}"],
        env=environment(apns),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl_pushes_as_apples_documentation_shows(apns: FakeApns) -> None:
    phone = apns.device()
    said = curl(
        apns, "-i", "--header", f"apns-topic: {apns.topic}", "--header", "apns-push-type: mdm",
        token=phone.token, certificate=apns.certificate(),
    )  # fmt: skip
    assert said.startswith("HTTP/2 200")
    assert re.search(r"^apns-id: [0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}\r?$", said, re.MULTILINE)
    assert phone.wait_for_push().payload == PAYLOAD


def test_curl_without_a_certificate_is_told_what_is_missing(apns: FakeApns) -> None:
    said = curl(apns, "-w", " %{http_code}", token=apns.token("phone"))
    assert said == '{"reason":"MissingProviderToken"} 403'


def test_curl_reaches_the_fake_by_apples_name(apns: FakeApns) -> None:
    phone = apns.device()
    certificate = apns.certificate()
    done = run(
        [from_path("curl"), "-sS", "--http2", "--cacert", apns.ca_file, "--cert", certificate.file, "-d", "{}",
         "--connect-to", f"{APPLE}:443:127.0.0.1:{apns.port}", "-w", "%{http_code}",
         f"https://{APPLE}/3/device/{phone.token}"],
        env=environment(apns),
    )  # fmt: skip
    assert (done.stdout, len(phone.pushes)) == ("200", 1)


def test_curl_goes_through_the_proxy(apns: FakeApns, proxy_port: int) -> None:
    phone = apns.device()
    certificate = apns.certificate()
    done = run(
        [from_path("curl"), "-sS", "--http2", "--cacert", apns.ca_file, "--cert", certificate.file, "-d", "{}",
         "--proxy", f"http://127.0.0.1:{proxy_port}", "-w", "%{http_code}", f"https://{APPLE}:2197/3/device/{phone.token}"],
        env=environment(apns),
    )  # fmt: skip
    assert (done.stdout, len(phone.pushes)) == ("200", 1)


@pytest.mark.parametrize("host", ["api.sandbox.push.apple.com", "api.development.push.apple.com"])
def test_the_sandbox_is_another_world_by_its_name(apns: FakeApns, host: str) -> None:
    """The older alias is what aioapns, nanopush, buford and apns2 have written in their code."""
    phone = apns.device(environment="sandbox")
    production = apns.device()
    certificate = apns.certificate(environment="both")

    def push(token: str) -> str:
        return run(
            [from_path("curl"), "-sS", "-i", "--http2", "--cacert", apns.ca_file, "--cert", certificate.file, "-d", "{}",
             "--connect-to", f"{host}:443:127.0.0.1:{apns.port}", f"https://{host}/3/device/{token}"],
            env=environment(apns),
        ).stdout  # fmt: skip

    said = push(phone.token)
    assert said.startswith("HTTP/2 200")
    assert "apns-unique-id: " in said
    assert "BadDeviceToken" in push(production.token)
    assert (len(phone.pushes), len(production.pushes)) == (1, 0)


def test_of_two_pushes_to_a_device_that_is_away_the_newer_comes_once(apns: FakeApns) -> None:
    phone = apns.device(online=False)
    for number in (1, 2):
        curl(apns, payload=f'{{"mdm":{number}}}', token=phone.token, certificate=apns.certificate())
    phone.go_online()
    phone.go_offline()
    phone.go_online()
    assert [push.json for push in phone.pushes] == [{"mdm": 2}]


def test_now_or_never_is_never_for_a_device_that_is_away(apns: FakeApns) -> None:
    phone = apns.device(online=False)
    said = curl(apns, "-i", "--header", "apns-expiration: 0", token=phone.token, certificate=apns.certificate())
    phone.go_online()
    assert (said.startswith("HTTP/2 200"), phone.pushes) == (True, [])


def test_an_error_body_is_one_line_of_json(apns: FakeApns) -> None:
    phone = apns.device()
    phone.retire()
    said = json.loads(curl(apns, token=phone.token, certificate=apns.certificate()))
    assert sorted(said) == ["reason", "timestamp"]
    assert isinstance(said["timestamp"], int)

from __future__ import annotations

import json

import httpx
import pytest

from mdmsim.fakeapns.inprocess import HOSTS, InProcessApns
from mdmsim.http import Request
from mdmsim.pki.certificate import to_pem
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench

pytestmark = pytest.mark.anyio


@pytest.fixture
def token(bench: Bench) -> bytes:
    return bench.service.register("tv-1", TOPIC)


async def test_a_request_with_an_identity_is_answered(bench: Bench, token: bytes) -> None:
    url = f"https://{HOSTS[0]}/3/device/{token.hex()}"
    request = Request("POST", url, (("Apns-Priority", "10"),), PAYLOAD, identity=bench.provider)
    answer = await InProcessApns(bench.service).handle(request)
    assert (answer.status, answer.body, len(answer.header("apns-id") or "")) == (200, b"", 36)


async def test_the_certificate_may_be_handed_in_beside_the_request(bench: Bench, token: bytes) -> None:
    request = Request("POST", f"https://{HOSTS[0]}/3/device/{token.hex()}", body=PAYLOAD)
    apns = InProcessApns(bench.service)
    assert (await apns.handle(request)).status == 403
    assert (await apns.handle(request, bench.provider.certificate)).status == 200


async def test_a_cut_answer_is_an_error_of_the_call(bench: Bench, token: bytes) -> None:
    bench.service.faults.add("answer.cut", why="networks fail")
    request = Request("POST", f"https://{HOSTS[0]}/3/device/{token.hex()}", body=PAYLOAD, identity=bench.provider)
    with pytest.raises(ConnectionError):
        await InProcessApns(bench.service).handle(request)


@pytest.mark.parametrize(
    ("with_certificate", "expected"), [(True, (200, None)), (False, (403, "MissingProviderToken"))]
)
async def test_the_asgi_app_takes_the_certificate_from_the_tls_extension(
    bench: Bench, token: bytes, with_certificate: bool, expected: tuple[int, str | None]
) -> None:
    app = InProcessApns(bench.service).asgi
    chain = [to_pem(bench.provider.certificate).decode()] if with_certificate else []

    async def with_tls(scope: dict[str, object], receive: object, send: object) -> None:
        await app({**scope, "extensions": {"tls": {"client_cert_chain": chain}}}, receive, send)  # type: ignore[arg-type]

    transport = httpx.ASGITransport(app=with_tls)
    async with httpx.AsyncClient(transport=transport, base_url=f"https://{HOSTS[0]}") as client:
        answer = await client.post(f"/3/device/{token.hex()}", content=PAYLOAD, headers={"Apns-Priority": "10"})
    reason = json.loads(answer.content)["reason"] if answer.content else None
    assert (answer.status_code, reason) == expected


async def test_the_asgi_app_has_a_lifespan(bench: Bench) -> None:
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, str]:
        return messages.pop(0)

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message["type"])

    await InProcessApns(bench.service).asgi({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

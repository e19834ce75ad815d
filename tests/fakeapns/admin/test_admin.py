from __future__ import annotations

import re

import httpx
import pytest
import trio

from mdmsim.asgi import serve_asgi
from mdmsim.fakeapns.admin.app import create_app
from mdmsim.fakeapns.admin.endpoints import MAX_BODY
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, reason, serving

pytestmark = pytest.mark.anyio


async def test_health_needs_no_key(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/healthz", headers={"authorization": ""})).json() == {"status": "ok"}


@pytest.mark.parametrize("given", ["", "Bearer wrong", "secret", "Bearer s\u00e9cret".encode("latin-1")])
async def test_everything_else_needs_the_key(admin: httpx.AsyncClient, given: str | bytes) -> None:
    assert (await admin.get("/stats", headers={"authorization": given})).status_code == 401  # type: ignore[dict-item]


async def test_a_certificate_is_registered_by_pem(admin: httpx.AsyncClient, authority: Authority) -> None:
    certificate = authority.issue_push(OTHER_TOPIC).certificate
    answer = await admin.post("/certificates", content=to_pem(certificate))
    assert (answer.status_code, answer.json()["topic"]) == (201, OTHER_TOPIC)
    assert [one["topic"] for one in (await admin.get("/certificates")).json()] == [TOPIC, OTHER_TOPIC]


@pytest.mark.parametrize("body", [b"", b"nothing", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
async def test_what_is_no_push_certificate_is_400(admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await admin.post("/certificates", content=body)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_tokens_are_registered_listed_and_retired(admin: httpx.AsyncClient, bench: Bench) -> None:
    made = await admin.post("/tokens", json={"device": "mac-1", "topic": TOPIC})
    token = made.json()["token"]
    assert (made.status_code, bytes.fromhex(token)) == (201, bench.service.register("mac-1", TOPIC))
    assert (await admin.delete(f"/tokens/{TOPIC}/{token}")).status_code == 204
    (listed,) = (await admin.get("/tokens", params={"device": "mac-1"})).json()["tokens"]
    assert listed["retired_ms"] == bench.clock.now_ms()
    assert (await admin.get("/tokens", params={"device": "mac-2"})).json()["total"] == 0


async def test_a_token_can_be_adopted(admin: httpx.AsyncClient, bench: Bench) -> None:
    await admin.post("/tokens", json={"device": "mac-1", "topic": TOPIC, "token": "ab" * 32})
    assert bench.push("ab" * 32).status == 200


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("DELETE", f"/tokens/{TOPIC}/zz", 400), ("DELETE", f"/tokens/{TOPIC}/ab", 404), ("DELETE", "/faults/9", 404)],
)
async def test_what_is_not_there_is_said_so(admin: httpx.AsyncClient, method: str, path: str, status: int) -> None:
    assert (await admin.request(method, path)).status_code == status


async def test_pending_pushes_can_be_seen(admin: httpx.AsyncClient, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.push(token)
    (push,) = (await admin.get("/pending")).json()["pending"]
    assert push["token"] == token.hex()


async def test_stats_count(admin: httpx.AsyncClient, bench: Bench) -> None:
    bench.push("zz")
    stats = (await admin.get("/stats")).json()
    assert (stats["pushes"]["refused"], stats["connections"]) == (1, {"providers": 2})


async def test_a_fault_is_planned_counted_and_ended(admin: httpx.AsyncClient, bench: Bench) -> None:
    one, other = (bench.service.register(name, TOPIC) for name in ("mac-1", "mac-2"))
    plan = {"name": "push.refused", "why": "Apple is busy", "reason": "TooManyRequests", "token": one.hex()}
    number = (await admin.post("/faults", json=plan)).json()["number"]
    assert [reason(bench.push(token)) for token in (one, other)] == [(429, "TooManyRequests"), (200, None)]
    (fault,) = (await admin.get("/faults")).json()
    assert fault["injected"] == 1
    assert (await admin.delete(f"/faults/{number}")).status_code == 204
    assert bench.push(one).status == 200


@pytest.mark.parametrize(
    "plan",
    [
        {"name": "push.telegram", "why": "x"},
        {"name": "push.lost", "why": ""},
        {"name": "push.lost", "why": "x", "rate": 5},
        {"name": "push.lost", "why": "x", "typo": 1},
        {"name": "push.refused", "why": "x", "reason": "NotApples"},
        {"name": "push.refused", "why": "x", "status": 500},
        {},
    ],
)
async def test_a_fault_that_cannot_be_planned_is_400(admin: httpx.AsyncClient, plan: dict[str, object]) -> None:
    answer = await admin.post("/faults", json=plan)
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_body_that_is_too_long_is_413(admin: httpx.AsyncClient) -> None:
    assert (await admin.post("/certificates", content=b"x" * (MAX_BODY + 1))).status_code == 413


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nope", 404, "GET /nope: no such call; there is /blackout, .*/transactions. GET /openapi.json"),
        ("GET", "/transactions/abc", 404, 'number "abc": .*whole number'),
        ("GET", f"/transactions/{'9' * 5000}", 404, 'number "9999'),
        ("DELETE", "/faults/abc", 404, 'number "abc"'),
        ("DELETE", "/stats", 405, "DELETE /stats: no such call; there is GET here"),
        ("PUT", "/tokens", 405, "there is GET, POST here"),
    ],
)
async def test_a_call_that_there_is_not_says_in_json_what_there_is(
    admin: httpx.AsyncClient, method: str, path: str, status: int, words: str
) -> None:
    answer = await admin.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert re.search(words, answer.json()["error"])


async def test_a_method_that_there_is_not_is_answered_with_those_that_there_are(admin: httpx.AsyncClient) -> None:
    assert (await admin.put("/tokens")).headers["allow"] == "GET, POST"


@pytest.mark.parametrize(
    ("data", "kind", "words"),
    [
        ("device,since\n".encode("utf-16"), "text/csv", "due-list: it is not UTF-8. Save it as UTF-8."),
        (b"", "text/csv", "due-list, line 1: no column since."),
    ],
)
async def test_a_due_list_that_cannot_be_read_is_told_in_the_command_lines_words(
    admin: httpx.AsyncClient, data: bytes, kind: str, words: str
) -> None:
    answer = await admin.post("/due", content=data, headers={"content-type": kind})
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(words)


async def test_what_is_no_http_gets_a_400(bench: Bench) -> None:
    app = create_app(bench.service, key="secret")

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await serve_asgi(app, listeners, task_status=task_status)

    async with serving(serve) as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(PAYLOAD + b"\r\n\r\n")
            assert (await stream.receive_some(4096)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize("body", [b"junk", bytes(100), b"0\x03abc"])
async def test_what_is_no_certificate_is_told_without_a_parsers_words(admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await admin.post("/certificates", content=body)
    said = "push certificate: not an X.509 certificate. Send a push certificate as PEM or DER."
    assert (answer.status_code, answer.json()) == (400, {"error": said})


async def test_a_wrong_body_is_told_with_what_is_allowed(admin: httpx.AsyncClient) -> None:
    answer = await admin.post("/faults", json={"name": "push.lost", "rate": 7})
    assert answer.json()["error"] == "FaultSpec: rate: takes a number from 0 to 1"

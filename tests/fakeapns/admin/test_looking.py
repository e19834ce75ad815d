"""What the admin API tells of requests, tokens and connections."""

from __future__ import annotations

import json

import httpx
import pytest
import trio

from mdmsim.asgi import serve_asgi
from mdmsim.fakeapns.admin.app import create_app
from mdmsim.http import Identity
from tests.fakeapns.admin.conftest import client_of
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, serving

pytestmark = pytest.mark.anyio

MAGIC = json.loads(PAYLOAD)["mdm"]


async def _numbers(admin: httpx.AsyncClient, **query: str | int) -> list[int]:
    answer = await admin.get("/transactions", params=query)
    assert answer.status_code == 200, answer.text
    return [one["number"] for one in answer.json()["transactions"]]


async def test_requests_come_newest_first_in_pages(admin: httpx.AsyncClient, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    for _ in range(5):
        bench.push(token)
    first = (await admin.get("/transactions", params={"limit": 2})).json()
    assert [one["number"] for one in first["transactions"]] == [5, 4]
    second = (await admin.get("/transactions", params={"limit": 2, "before": first["next"]})).json()
    last = (await admin.get("/transactions", params={"limit": 2, "before": second["next"]})).json()
    assert [one["number"] for one in last["transactions"]] == [1]
    assert last["next"] is None


async def test_requests_are_found_by_everything_that_they_have(admin: httpx.AsyncClient, bench: Bench) -> None:
    one, other = bench.service.register("mac-1", TOPIC), bench.service.register("phone-2", TOPIC)
    bench.service.tokens.call("mac-1", ["UDID-1", "SERIAL1"])
    bench.push(one, apns_id="8A5B1D0E-0000-4000-8000-000000000001")
    bench.clock.advance(1000)
    provider = bench.connect()
    bench.push(other, over=provider)
    bench.push(other, over=provider, apns_priority="7")
    bench.service.faults.add("push.lost", why="a test")
    bench.push(one)
    assert await _numbers(admin, device="mac-1") == [4, 1]
    assert await _numbers(admin, device="SERIAL1") == [4, 1]
    assert await _numbers(admin, token=other.hex()) == await _numbers(admin, device="phone-2") == [3, 2]
    assert await _numbers(admin, q=other.hex()[:16]) == [3, 2]
    assert await _numbers(admin, topic=OTHER_TOPIC) == []
    assert await _numbers(admin, status=400) == [3]
    assert await _numbers(admin, reason="BadPriority", verdict="refused") == [3]
    assert await _numbers(admin, verdict="accepted") == [4, 2, 1]
    assert await _numbers(admin, provider=provider.number) == [3, 2]
    assert await _numbers(admin, apns_id="8A5B1D0E-0000-4000-8000-000000000001") == [1]
    assert await _numbers(admin, fault="any") == await _numbers(admin, fault="push.lost") == [4]
    assert await _numbers(admin, since=str(bench.clock.now_ms())) == [4, 3, 2]
    assert await _numbers(admin, q="UDID-1") == [4, 1]
    assert await _numbers(admin, q="udid-1 push.lost") == [4]
    assert await _numbers(admin, q="hone-2 badprio") == [3]


async def test_a_request_tells_the_life_of_its_push(admin: httpx.AsyncClient, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    start = bench.clock.now_ms()
    bench.push(token)
    bench.clock.advance(100)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    device.hear()
    bench.clock.advance(50)
    device.session.acted([(TOPIC, token)])
    one = (await admin.get("/transactions/1")).json()
    moments = [one[name] - start for name in ("at_ms", "stored_ms", "delivered_ms", "acknowledged_ms", "acted_ms")]
    assert moments == [0, 0, 100, 100, 150]
    assert one["state"] == "acted"


async def test_secrets_are_masked_unless_the_payload_is_asked_for(admin: httpx.AsyncClient, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.push(token, authorization="bearer abcdefghijkl")
    for path in ("/transactions/1", "/pending", f"/tokens/{TOPIC}/{token.hex()}"):
        answer = await admin.get(path)
        assert MAGIC not in answer.text
        assert "abcdefghijkl" not in answer.text
        assert MAGIC in (await admin.get(path, params={"reveal": "true"})).text or path == "/transactions/1"
    detail = (await admin.get("/transactions/1")).json()
    assert json.loads(detail["payload"]) == {"mdm": "•••• 36 characters"}
    assert ["authorization", "bearer •••• 12 characters"] in detail["headers"]
    assert (await admin.get("/transactions/1", params={"reveal": "true"})).json()["payload"] == PAYLOAD.decode()


async def test_a_payload_that_is_no_json_is_not_shown(admin: httpx.AsyncClient, bench: Bench) -> None:
    bench.push(bench.service.register("mac-1", TOPIC), payload=b"mdm=" + MAGIC.encode())
    assert (await admin.get("/transactions/1")).json()["payload"] == "40 bytes that are no JSON"


async def test_a_hundred_thousand_tokens_come_in_pages(admin: httpx.AsyncClient, bench: Bench) -> None:
    for number in range(100_000):
        bench.service.adopt(TOPIC, number.to_bytes(32, "big"), device=f"mac-{number}")
    page = (await admin.get("/tokens")).json()
    assert (len(page["tokens"]), page["total"], page["next"]) == (100, 100_000, 100)
    last = (await admin.get("/tokens", params={"offset": 99_950})).json()
    assert (len(last["tokens"]), last["next"]) == (50, None)
    found = (await admin.get("/tokens", params={"q": "mac-9999 external"})).json()
    assert found["total"] == 11
    assert (await admin.get("/tokens", params={"limit": 1001})).status_code == 400


@pytest.mark.parametrize(
    ("state", "devices"),
    [
        ("active", ["listening", "deaf", "waiting"]),
        ("retired", ["gone"]),
        ("listening", ["listening"]),
        ("deaf", ["deaf", "waiting"]),
        ("pending", ["waiting"]),
    ],
)
async def test_tokens_are_found_by_how_they_are(
    admin: httpx.AsyncClient, bench: Bench, state: str, devices: list[str]
) -> None:
    tokens = {name: bench.service.register(name, TOPIC) for name in ("listening", "deaf", "waiting", "gone")}
    bench.device().session.subscribe([(TOPIC, tokens["listening"])])
    bench.push(tokens["waiting"])
    bench.service.retire(TOPIC, tokens["gone"])
    page = (await admin.get("/tokens", params={"state": state})).json()
    assert [one["device"] for one in page["tokens"]] == devices


async def test_a_token_has_a_view_of_its_own(admin: httpx.AsyncClient, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.service.tokens.call("mac-1", ["UDID-1", "SERIAL1"])
    bench.push(token)
    view = (await admin.get(f"/tokens/{TOPIC}/{token.hex()}")).json()
    assert view["aliases"] == ["SERIAL1", "UDID-1"]
    assert view["token"]["accepted_ms"] == bench.clock.now_ms()
    assert view["pending"]["apns_id"] == view["transactions"][0]["apns_id"]


async def test_topics_are_counted(admin: httpx.AsyncClient, bench: Bench) -> None:
    token, gone = bench.service.register("mac-1", TOPIC), bench.service.register("mac-2", TOPIC)
    bench.service.adopt(OTHER_TOPIC, bytes(32))
    bench.push(token)
    bench.service.retire(TOPIC, gone)
    counts = {"tokens": 2, "retired": 1, "listening": 0, "pending": 1, "certificates": 1}
    none = {"tokens": 1, "retired": 0, "listening": 0, "pending": 0, "certificates": 0}
    assert (await admin.get("/topics")).json() == [{"topic": TOPIC, **counts}, {"topic": OTHER_TOPIC, **none}]


async def test_connections_are_told_with_what_came_over_them(admin: httpx.AsyncClient, bench: Bench) -> None:
    provider = bench.connect(peer="192.0.2.1:4711")
    token = bench.service.register("mac-1", TOPIC)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, over=provider)
    device.take()
    told = (await admin.get("/connections")).json()
    assert [(one["peer"], one["topic"], one["accepted"]) for one in told["providers"]] == [("192.0.2.1:4711", TOPIC, 1)]
    assert [(one["subscriptions"], one["in_flight"]) for one in told["couriers"]] == [(1, 1)]
    device.session.close("done")
    bench.service.close_provider(provider, "done")
    assert (await admin.get("/connections")).json() == {"providers": [], "couriers": []}


class _Front:
    """What the HTTP/2 front is for the API."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def connections_info(self) -> list[object]:
        class Info:
            number, tls, alpn, requests, open_streams, received, sent = 1, "TLSv1.3", "h2", 4, 2, 100, 200
            certificate = "UID=x"

        return [Info()]

    def goaway(
        self,
        reason: str = "",
        code: int = 0,
        *,
        connections: list[int] | int | None = None,
        last_stream: int | None = None,
    ) -> int:
        if connections == []:
            raise ValueError("connections is empty")
        self.told.append((reason, code, connections, last_stream))
        return 1


async def test_the_front_is_asked_for_its_connections_and_told_to_end_them(bench: Bench) -> None:
    front = _Front()
    bench.connect()
    async with client_of(create_app(bench.service, key="secret", front=front)) as admin:
        (provider,) = (await admin.get("/connections")).json()["providers"]
        wish = {"reason": "Shutdown", "code": 2, "connections": [1], "last_stream": 3}
        answer = await admin.post("/connections/goaway", json=wish)
        bad = await admin.post("/connections/goaway", json={"connections": []})
    assert (provider["tls"], provider["open_streams"]) == ("TLSv1.3", 2)
    assert (answer.json(), front.told) == ({"connections": 1}, [("Shutdown", 2, [1], 3)])
    assert (bad.status_code, bad.json()) == (400, {"error": "connections is empty"})


async def test_who_waits_for_changes_is_answered_when_there_is_one(admin: httpx.AsyncClient, bench: Bench) -> None:
    cursor = (await admin.get("/changes")).json()["cursor"]
    same = (await admin.get("/changes", params={"since": cursor, "wait": 0})).json()
    assert same == {"cursor": cursor, "changed": False, "now_ms": bench.clock.now_ms()}
    answers: list[bool] = []

    async def wait() -> None:
        answers.append((await admin.get("/changes", params={"since": cursor, "wait": 20})).json()["changed"])

    with trio.fail_after(15):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait)
            while not bench.service.journal.watched:
                await trio.sleep(0.01)
            bench.push("zz")
    assert answers == [True]
    assert not bench.service.journal.watched


async def test_who_waited_and_left_is_not_waited_for(bench: Bench) -> None:
    app = create_app(bench.service, key="secret")

    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await serve_asgi(app, listeners, task_status=task_status)

    cursor = ""
    async with serving(serve) as port, httpx.AsyncClient(headers={"authorization": "Bearer secret"}) as client:
        cursor = (await client.get(f"http://127.0.0.1:{port}/changes")).json()["cursor"]
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        asked = f"GET /changes?since={cursor}&wait=60 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer secret\r\n\r\n"
        await stream.send_all(asked.encode())
        with trio.fail_after(15):
            while not bench.service.journal.watched:
                await trio.sleep(0.01)
            await stream.aclose()
            while bench.service.journal.watched:
                await trio.sleep(0.01)


async def test_long_due_lists_are_told_in_part(admin: httpx.AsyncClient, bench: Bench) -> None:
    entries = [{"device": f"mac-{number}", "since": bench.clock.now_ms()} for number in range(3000)]
    bench.service.register("mac-1", TOPIC)
    report = (await admin.post("/due", json=entries, params={"limit": 5})).json()
    assert (report["counts"]["never-pushed"], len(report["answers"])) == (3000, 5)
    assert (await admin.post("/due", json=entries, params={"verdict": "acted"})).json()["answers"] == []


async def test_metrics_need_the_key_unless_told_otherwise(bench: Bench) -> None:
    for opened, status in ((False, 401), (True, 200)):
        app = create_app(bench.service, key="secret", metrics_open=opened)
        async with client_of(app) as admin:
            assert (await admin.get("/metrics", headers={"authorization": ""})).status_code == status


async def test_faults_planned_elsewhere_are_listed_and_can_be_ended(admin: httpx.AsyncClient, bench: Bench) -> None:
    bench.service.faults.add("push.lost", why="a scenario wants it")
    bench.service.tokens.call("mac-1", ["SERIAL1"])
    await admin.post("/faults", json={"name": "push.delayed", "seconds": 5, "device": "SERIAL1", "times": 2})
    first, second = (await admin.get("/faults")).json()
    assert (first["name"], first["aim"], first["why"]) == ("push.lost", {}, "a scenario wants it")
    assert (second["aim"], second["parameters"], second["times"]) == ({"device": "mac-1"}, {"seconds": 5.0}, 2)
    assert (await admin.delete(f"/faults/{first['number']}")).status_code == 204
    assert [fault["number"] for fault in (await admin.get("/faults")).json()] == [second["number"]]


async def test_a_blackout_is_begun_and_ended(admin: httpx.AsyncClient, bench: Bench) -> None:
    begun = (await admin.post("/blackout", json={"seconds": 60, "side": "providers"})).json()
    assert begun == {"providers_until_ms": bench.clock.now_ms() + 60_000, "devices_until_ms": None}
    assert bench.service.greet() is not None
    assert (await admin.delete("/blackout")).status_code == 204
    assert bench.service.greet() is None


async def test_a_revoked_certificate_may_not_push_any_more(
    admin: httpx.AsyncClient, bench: Bench, provider: Identity
) -> None:
    token = bench.service.register("mac-1", TOPIC)
    (one,) = (await admin.get("/certificates")).json()
    assert (await admin.post(f"/certificates/{one['id']}/revoke")).json()["revoked"] is True
    assert bench.push(token).status == 403
    assert (await admin.delete(f"/certificates/{one['id']}")).status_code == 204
    assert bench.service.certificates.registered() == ()
    assert bench.build().certificates.find(provider.certificate) is not None  # the bench registers it anew


async def test_a_private_key_does_not_come_out_again(admin: httpx.AsyncClient, bench: Bench) -> None:
    from tests.fakeapns.admin.test_openapi import PEM, TEAM

    wish = {"key_id": "ABCDE12345", "team_id": TEAM, "key": PEM.decode(), "topics": ["com.example.app"]}
    made = await admin.post("/signing-keys", json=wish)
    listed = await admin.get("/signing-keys")
    assert listed.json() == [made.json()]
    assert "KEY-----" not in made.text + listed.text
    assert b"PRIVATE" not in bench.service.signing_keys.registered()[0].public_key

"""The admin API: the portal over HTTP, a look inside, faults; what it refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakedep.admin import app as admin_app
from mdmsim.fakedep.admin.app import create_app
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.keys import FreshKeys
from tests.fakedep.support import NAME, Bench, header

pytestmark = pytest.mark.anyio


@pytest.fixture
async def admin(bench: Bench) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(bench.service, key="secret"))
    headers = {"authorization": "Bearer secret"}
    async with httpx.AsyncClient(transport=transport, base_url="http://admin", headers=headers) as client:
        yield client


@pytest.fixture(scope="module")
def certificate() -> str:
    authority = Authority.create("server", keys=FreshKeys(), clock=ManualClock(), chance=Chance(1))
    return to_pem(authority.certificate).decode()


async def test_health_needs_no_key(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/healthz", headers={"authorization": ""})).json() == {"status": "ok"}


@pytest.mark.parametrize("given", ["", "Bearer wrong", "secret", "Bearer s\u00e9cret".encode("latin-1")])
async def test_everything_else_needs_the_key(admin: httpx.AsyncClient, given: str | bytes) -> None:
    for path in ("/stats", "/devices", "/servers", "/faults"):
        answer = await admin.get(path, headers={"authorization": given})  # type: ignore[dict-item]
        assert answer.status_code == 401


async def test_a_server_comes_to_life_with_its_token_file(
    admin: httpx.AsyncClient, bench: Bench, certificate: str
) -> None:
    made = await admin.post("/servers", json={"name": "new one", "certificate": certificate})
    assert made.status_code == 201 and made.json()["has_certificate"]
    file = await admin.post("/servers/new one/token")
    assert file.headers["content-type"] == "application/pkcs7-mime"
    assert "new one_Token_" in file.headers["content-disposition"]
    assert b"S/MIME Encrypted Message" in file.content
    servers = {each["name"]: each for each in (await admin.get("/servers")).json()}
    assert servers["new one"]["consumer_key"].startswith("CK_")
    assert servers["new one"]["token_expires"] == "2027-01-01T00:00:00Z"
    assert (await admin.put(f"/servers/{NAME}/certificate", content=certificate)).status_code == 204
    assert (await admin.post(f"/servers/{NAME}/token")).status_code == 200


async def test_a_plain_token_logs_in(admin: httpx.AsyncClient, bench: Bench) -> None:
    bench.client.token = (await admin.post(f"/servers/{NAME}/plain-token")).json()
    assert bench.client.login()[0] == 200


async def test_devices_are_ordered_assigned_and_released(admin: httpx.AsyncClient, bench: Bench) -> None:
    order = {"devices": ["S1", {"serial_number": "S2", "device_family": "Mac", "color": "MIDNIGHT"}]}
    assert (await admin.post("/devices", json={**order, "order_number": "W9"})).json() == {"ordered": 2}
    found = (await admin.get("/devices/S2")).json()
    assert (found["server"], found["os"], found["color"], found["order_number"]) == (None, "OSX", "MIDNIGHT", "W9")
    assert (found["order_date"], found["device_assigned"]) == ("2026-01-01T00:00:00Z", None)
    assert (await admin.post("/assignments", json={"serials": ["S1"], "server": NAME})).status_code == 204
    assert [each["serial_number"] for each in (await admin.get("/devices", params={"server": NAME})).json()] == ["S1"]
    assert (await admin.get("/stats")).json() == {
        "organisations": 1,
        "servers": 1,
        "devices": 2,
        "profile_status": {"empty": 2},
    }
    assert (await admin.post("/assignments", json={"serials": ["S1"], "server": None})).status_code == 204
    assert (await admin.get("/devices/S1")).json()["server"] is None
    assert (await admin.post("/releases", json={"serials": ["S1", "S2"]})).status_code == 204
    assert (await admin.get("/devices")).json() == []


async def test_profiles_can_be_looked_at(admin: httpx.AsyncClient, bench: Bench) -> None:
    uuid = bench.client.define(department="IT")
    (found,) = (await admin.get(f"/servers/{NAME}/profiles")).json()
    assert (found["profile_uuid"], found["department"]) == (uuid, "IT")


async def test_organisations_terms_and_defaults(admin: httpx.AsyncClient, bench: Bench) -> None:
    assert (await admin.post("/organisations", json={"name": "Other"})).status_code == 201
    assert (await admin.post("/terms", json={"pending": True})).status_code == 204
    assert bench.client.login() == (403, "T_C_NOT_SIGNED")
    assert (await admin.post("/terms", json={"pending": False})).status_code == 204
    assert (await admin.put("/default-server", json={"family": "Mac", "server": NAME})).status_code == 204
    assert (await admin.put("/default-server", json={"family": "Mac", "server": None})).status_code == 204
    assert (await admin.delete(f"/servers/{NAME}")).status_code == 204
    assert bench.client.login() == (403, "ACCESS_DENIED")


async def test_sessions_can_be_ended(admin: httpx.AsyncClient, bench: Bench) -> None:
    for how, status in (("expire", 401), ("forget", 403)):
        bench.client.login()
        assert (await admin.post("/sessions", json={"how": how, "server": NAME})).status_code == 204
        assert bench.client.call("GET", "/account")[0] == status
    assert (await admin.post("/sessions", json={"how": "softly"})).status_code == 400


async def test_a_fault_is_planned_counted_and_ended(admin: httpx.AsyncClient, bench: Bench) -> None:
    plan = {"name": "request.refused", "why": "too fast", "body": "TOO_MANY_REQUESTS", "retry_after_s": 9}
    planned = await admin.post("/faults", json={**plan, "endpoint": "/account", "server": NAME})
    assert planned.status_code == 201
    answer = bench.client.answer("GET", "/account")
    assert (answer.status, answer.body, header(answer, "retry-after")) == (429, b"TOO_MANY_REQUESTS", "9")
    assert bench.client.call("POST", "/server/devices", {})[0] == 200
    (found,) = (await admin.get("/faults")).json()
    assert (found["injected"], found["why"]) == (1, "too fast")
    assert (await admin.delete(f"/faults/{found['number']}")).status_code == 204
    assert (await admin.delete(f"/faults/{found['number']}")).status_code == 404
    assert bench.client.call("GET", "/account")[0] == 200


async def test_a_fault_for_one_device(admin: httpx.AsyncClient, bench: Bench) -> None:
    bench.order("S1", "S2")
    plan = {"name": "assign.refused", "why": "busy", "answer": "FAILED", "serial": "S2", "times": 1}
    assert (await admin.post("/faults", json=plan)).status_code == 201
    found = bench.client.post("/profile", {"profile_name": "n", "url": "https://a/", "devices": ["S1", "S2"]})
    assert found["devices"] == {"S1": "SUCCESS", "S2": "FAILED"}


async def test_a_refusal_with_a_status_of_its_own(admin: httpx.AsyncClient, bench: Bench) -> None:
    plan = {"name": "request.refused", "why": "down", "status": 500, "body": "boom", "times": 1}
    assert (await admin.post("/faults", json=plan)).status_code == 201
    assert (await admin.post("/faults", json={"name": "request.refused", "why": "x", "times": 1})).status_code == 201
    bench.client.session = "none"
    assert [bench.client.call("GET", "/account") for _ in range(2)] == [(500, "boom"), (503, "")]


@pytest.mark.parametrize(
    "plan",
    [
        {"name": "no.such", "why": "x"},
        {"name": "answer.cut", "why": ""},
        {"name": "answer.cut", "why": "x", "rate": 5},
        {"name": "answer.cut", "why": "x", "typo": 1},
        {"name": "answer.cut", "why": "x", "status": 500},
        {"name": "request.refused", "why": "x", "body": "NOT_APPLES"},
        {"name": "request.refused", "why": "x", "answer": "FAILED"},
        {},
    ],
)
async def test_a_fault_that_cannot_be_planned_is_400(
    admin: httpx.AsyncClient, bench: Bench, plan: dict[str, Any]
) -> None:
    answer = await admin.post("/faults", json=plan)
    assert answer.status_code == 400 and answer.json()["error"]
    assert bench.service.faults.planned == []


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/devices/UNKNOWN1", None, 404),
        ("GET", "/devices?server=nobody", None, 404),
        ("GET", "/servers/nobody/profiles", None, 404),
        ("DELETE", "/servers/nobody", None, 404),
        ("POST", "/servers/nobody/token", None, 404),
        ("POST", f"/servers/{NAME}/token", None, 400),
        ("PUT", f"/servers/{NAME}/certificate", b"nonsense", 400),
        ("POST", "/servers", {"name": NAME}, 400),
        ("POST", "/servers", {"name": 5}, 400),
        ("POST", "/servers", b"{", 400),
        ("POST", "/devices", {"devices": ["S 1"]}, 400),
        ("POST", "/devices", {"devices": [{"serial_number": "S1", "colour": "red"}]}, 400),
        ("POST", "/devices", {"devices": ["S1"], "server": "nobody"}, 404),
        ("POST", "/assignments", {"serials": ["UNKNOWN1"], "server": NAME}, 404),
        ("POST", "/releases", {"serials": "S1"}, 400),
        ("PUT", "/default-server", {"family": "Newton", "server": NAME}, 400),
        ("POST", "/organisations", {"name": "Example Organisation"}, 400),
        ("POST", "/terms", {"pending": True, "organisation": "nobody"}, 400),
        ("PATCH", "/devices", None, 405),
        ("GET", "/nowhere", None, 404),
    ],
)
async def test_a_mistake_is_a_message_and_changes_nothing(
    admin: httpx.AsyncClient, bench: Bench, method: str, path: str, body: Any, status: int
) -> None:
    sent = {"content": body} if isinstance(body, bytes) else {"json": body} if body is not None else {}
    answer = await admin.request(method, path, **sent)
    assert answer.status_code == status
    assert bench.service.devices() == [] and len(bench.service.servers()) == 1


async def test_a_body_that_is_too_long_is_413(admin: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admin_app, "MAX_BODY", 100)
    assert (await admin.post("/devices", content=b"x" * 101)).status_code == 413

"""The document of the admin API: valid, whole, and true."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from openapi_schema_validator import OAS31Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from starlette.routing import Route

from mdmsim.fakeapns.admin.app import create_app
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from tests.fakeapns.support import OTHER_TOPIC, TOPIC, Bench

pytestmark = pytest.mark.anyio

TEAM = "TEAM123456"
#: A .p8 file as downloaded.
PEM = ec.generate_private_key(ec.SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def _document(admin: httpx.AsyncClient) -> dict[str, Any]:
    answer = await admin.get("/openapi.json", headers={"authorization": ""})
    return dict(answer.json())


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(method.upper(), path): each for path, item in document["paths"].items() for method, each in item.items()}


async def test_the_document_is_valid_openapi_3_1(admin: httpx.AsyncClient) -> None:
    document = await _document(admin)
    assert document["openapi"] == "3.1.0"
    OpenAPIV31SpecValidator(document).validate()


async def test_every_route_is_in_it_and_everything_in_it_is_a_route(admin: httpx.AsyncClient, bench: Bench) -> None:
    routes = {
        (method, route.path)
        for route in create_app(bench.service, key="x").routes
        if isinstance(route, Route)
        for method in (route.methods or set()) - {"HEAD"}
    }
    assert set(_operations(await _document(admin))) == routes


async def test_every_parameter_and_call_says_what_it_is_for(admin: httpx.AsyncClient) -> None:
    operations = _operations(await _document(admin)).values()
    assert [operation for operation in operations if not operation["summary"]] == []
    parameters = [one for operation in operations for one in operation.get("parameters", ())]
    assert [one["name"] for one in parameters if not one["description"]] == []


async def _calls(admin: httpx.AsyncClient, bench: Bench, authority: Authority) -> list[tuple[str, str, httpx.Response]]:
    """Every call once, and successful: its method, its path as described, its answer."""
    token = bench.service.register("mac-1", TOPIC).hex()
    device = bench.device()
    device.session.subscribe([(TOPIC, bytes.fromhex(token))])
    for _ in range(2):
        bench.push(token, apns_topic=TOPIC)
        device.hear()
    bench.connect()
    bench.push(bench.service.register("mac-2", TOPIC))
    bench.push("zz")
    certificate = authority.issue_push(OTHER_TOPIC).certificate
    made = await admin.post("/certificates", content=to_pem(certificate))
    one = f"/certificates/{made.json()['id']}"
    fault = await admin.post("/faults", json={"name": "push.delayed", "seconds": 5, "device": "mac-1"})
    key = {"key_id": "ABCDE12345", "team_id": TEAM, "key": PEM.decode()}
    calls: list[tuple[str, str, str, Any]] = [
        ("GET", "/", "/", None),
        ("GET", "/openapi.json", "/openapi.json", None),
        ("GET", "/healthz", "/healthz", None),
        ("GET", "/stats", "/stats", None),
        ("GET", "/history", "/history", None),
        ("GET", "/changes", "/changes", None),
        ("GET", "/metrics", "/metrics", None),
        ("GET", "/transactions", "/transactions?limit=2", None),
        ("GET", "/transactions/{number}", "/transactions/1", None),
        ("GET", "/tokens", "/tokens", None),
        ("POST", "/tokens", "/tokens", {"device": "mac-9", "topic": TOPIC}),
        ("GET", "/tokens/{topic}/{token}", f"/tokens/{TOPIC}/{token}", None),
        ("GET", "/pending", "/pending", None),
        ("GET", "/topics", "/topics", None),
        ("POST", "/due", "/due", [{"device": "mac-1", "since": 0}, {"device": "mac-2", "since": 0}]),
        ("GET", "/connections", "/connections", None),
        ("GET", "/certificates", "/certificates", None),
        ("POST", "/certificates/{id}/revoke", f"{one}/revoke", None),
        ("DELETE", "/certificates/{id}", one, None),
        ("POST", "/signing-keys", "/signing-keys", key),
        ("GET", "/signing-keys", "/signing-keys", None),
        ("DELETE", "/signing-keys/{key_id}", "/signing-keys/ABCDE12345", None),
        ("GET", "/faults", "/faults", None),
        ("GET", "/faults/names", "/faults/names", None),
        ("DELETE", "/faults/{number}", f"/faults/{fault.json()['number']}", None),
        ("POST", "/blackout", "/blackout", {"seconds": 3, "side": "providers"}),
        ("GET", "/blackout", "/blackout", None),
        ("DELETE", "/blackout", "/blackout", None),
        ("GET", "/log-level", "/log-level", None),
        ("PUT", "/log-level", "/log-level", {"level": "off"}),
        ("DELETE", "/tokens/{topic}/{token}", f"/tokens/{TOPIC}/{token}", None),
    ]
    answers = [
        (method, described, await admin.request(method, path, json=body)) for method, described, path, body in calls
    ]
    return [("POST", "/certificates", made), ("POST", "/faults", fault), *answers]


async def test_every_answer_is_what_the_document_says(
    admin: httpx.AsyncClient, bench: Bench, authority: Authority
) -> None:
    document = await _document(admin)
    operations = _operations(document)
    answers = await _calls(admin, bench, authority)
    without_front = ("POST", "/connections/goaway")
    assert {(method, path) for method, path, _ in answers} == set(operations) - {without_front}
    for method, path, answer in answers:
        assert answer.status_code < 300, (method, path, answer.text)
        said = operations[method, path]["responses"][str(answer.status_code)].get("content")
        if said is None:
            assert answer.content == b""
        elif "application/json" in said:
            schema = {**said["application/json"]["schema"], "components": document["components"]}
            problems = [error.message for error in OAS31Validator(schema).iter_errors(answer.json())]
            assert problems == [], (method, path)
        else:
            assert answer.headers["content-type"].partition(";")[0] in said


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/stats?verbose=1", None, 400),
        ("GET", "/transactions?limit=0", None, 400),
        ("GET", "/transactions?tocken=ab", None, 400),
        ("GET", "/transactions?since=yesterday", None, 400),
        ("GET", "/transactions?token=zz", None, 400),
        ("GET", "/transactions/77", None, 404),
        ("GET", f"/tokens/{TOPIC}/abcd", None, 404),
        ("GET", "/tokens?state=lost", None, 400),
        ("POST", "/tokens", {"topic": TOPIC}, 400),
        ("POST", "/tokens", {"device": "x", "topic": TOPIC, "token": "ab"}, 400),
        ("POST", "/due", [{"device": "mac-1"}], 400),
        ("POST", "/certificates/abc/revoke", None, 404),
        ("DELETE", "/certificates/abc", None, 404),
        ("POST", "/signing-keys", {"key_id": "short", "team_id": TEAM, "key": PEM.decode()}, 400),
        ("POST", "/signing-keys", {"key_id": "ABCDE12345", "team_id": TEAM, "key": "no"}, 400),
        ("DELETE", "/signing-keys/ABCDE12345", None, 404),
        ("POST", "/blackout", {"seconds": 0}, 400),
        ("PUT", "/log-level", {"level": "loud"}, 400),
        ("POST", "/connections/goaway", {}, 501),
        ("POST", "/connections/goaway", {"code": 99}, 400),
    ],
)
async def test_a_refusal_is_described_and_says_why(
    admin: httpx.AsyncClient, method: str, path: str, body: Any, status: int
) -> None:
    answer = await admin.request(method, path, json=body)
    assert answer.status_code == status, answer.text
    assert json.loads(answer.content)["error"]
    where = path.partition("?")[0]
    described = [
        operation
        for (verb, template), operation in _operations(await _document(admin)).items()
        if verb == method and (template == where or (template.count("/") == where.count("/") and "{" in template))
    ]
    assert any(str(status) in operation["responses"] for operation in described)

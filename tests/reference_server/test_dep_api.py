"""The API of accounts at Apple: what it answers is what it describes, and mistakes are told."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from reference_server.api.dep_endpoints import dep_endpoints
from reference_server.api.endpoints import PREFIX
from tests.reference_server.apple import AppleServer
from tests.reference_server.schema_check import violations
from tests.reference_server.test_api import server_handlers

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


@pytest.fixture
def apple() -> Iterator[AppleServer]:
    server = AppleServer()
    yield server
    server.app.close()


async def test_every_answer_is_what_the_description_says(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    token = base64.b64encode(apple.dep.portal.token("MDM").content).decode()
    one, profile = "/dep/{name}", "/dep/{name}/profiles/{profile}"
    calls: list[tuple[str, str, str, Any]] = [
        ("GET", "/dep", "/dep", None),
        ("POST", "/dep", "/dep", {"name": "second"}),
        ("GET", one, "/dep/abm", None),
        ("GET", f"{one}/certificate", "/dep/abm/certificate", None),
        ("POST", f"{one}/token", "/dep/abm/token", {"content": token}),
        ("POST", f"{one}/sync", "/dep/abm/sync", None),
        ("GET", f"{one}/devices", "/dep/abm/devices", None),
        ("GET", f"{one}/devices/{{serial}}", "/dep/abm/devices/A", None),
        ("PUT", f"{one}/devices/{{serial}}/user", "/dep/abm/devices/A/user", {"user": "ada"}),
        ("GET", f"{one}/devices/{{serial}}/user", "/dep/abm/devices/A/user", None),
        ("DELETE", f"{one}/devices/{{serial}}/user", "/dep/abm/devices/A/user", None),
        ("GET", f"{one}/profiles", "/dep/abm/profiles", None),
        ("GET", profile, "/dep/abm/profiles/default", None),
        ("PUT", profile, "/dep/abm/profiles/kiosk", {"keys": {"department": "Hall"}}),
        ("POST", f"{one}/assign", "/dep/abm/assign", {"profile": "kiosk", "devices": ["A"]}),
        ("DELETE", one, "/dep/second", None),
    ]
    document = (await apple.request("GET", f"{PREFIX}/openapi.json")).json()
    described = {(e.method, e.path) for e in dep_endpoints(server_handlers())}
    assert {(method, path) for method, path, *_ in calls} == described
    for method, path, actual, body in calls:
        answer = await apple.api(method, actual, body)
        responses = document["paths"][PREFIX + path][method.lower()]["responses"]
        assert 200 <= answer.status < 300 and str(answer.status) in responses, (method, path, answer.body)
        if (content := responses[str(answer.status)].get("content")) is not None:
            schema = content["application/json"]["schema"]
            assert violations(document, schema, answer.json()) == [], (method, path)


async def test_every_operation_wants_the_key(apple: AppleServer) -> None:
    for endpoint in dep_endpoints(server_handlers()):
        path = endpoint.path.format(name="abm", serial="A", profile="default")
        assert (await apple.api(endpoint.method, path, {}, key=None)).status == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/dep/nobody", None, 404, "unknown-account"),
        ("DELETE", "/dep/nobody", None, 404, "unknown-account"),
        ("GET", "/dep/nobody/certificate", None, 404, "unknown-account"),
        ("POST", "/dep/nobody/token", {"content": "QQ=="}, 404, "unknown-account"),
        ("POST", "/dep/nobody/sync", None, 404, "unknown-account"),
        ("GET", "/dep/nobody/devices", None, 404, "unknown-account"),
        ("POST", "/dep", {"name": "empty"}, 409, "name-taken"),
        ("POST", "/dep", {"name": ""}, 400, "bad-body"),
        ("POST", "/dep", {"name": "a/b"}, 400, "bad-body"),
        ("POST", "/dep", {"name": "a\n"}, 400, "bad-body"),
        ("POST", "/dep/empty/sync", None, 409, "no-token"),
        ("POST", "/dep/empty/sync", {"full": "yes"}, 400, "bad-body"),
        ("POST", "/dep/empty/assign", {}, 409, "no-token"),
        ("POST", "/dep/empty/assign", {"devices": []}, 400, "bad-body"),
        ("POST", "/dep/empty/assign", {"devices": ["X"]}, 404, "unknown-device"),
        ("POST", "/dep/empty/assign", {"profile": "none"}, 404, "unknown-profile"),
        ("GET", "/dep/empty/devices/X", None, 404, "unknown-device"),
        ("GET", "/dep/empty/devices?limit=0", None, 400, "bad-query"),
        ("GET", "/dep/empty/profiles/none", None, 404, "unknown-profile"),
        ("PUT", "/dep/empty/profiles/d%20e", {"keys": {}}, 400, "bad-name"),
        ("PUT", "/dep/empty/profiles/default", {"keys": {"devices": ["A"]}}, 400, "bad-dep-profile"),
        ("PUT", "/dep/empty/profiles/default", {"keys": {"profile_name": ""}}, 400, "bad-dep-profile"),
        (
            "PUT",
            "/dep/empty/profiles/default",
            {"keys": {"is_mdm_removable": False, "is_supervised": False}},
            400,
            "bad-dep-profile",
        ),
        ("PUT", "/dep/empty/profiles/default", {"key": {}}, 400, "bad-body"),
        ("POST", "/dep/empty/token", {}, 400, "bad-token"),
        ("POST", "/dep/empty/token", {"content": "QQ=="}, 400, "bad-token"),
        ("POST", "/dep/empty/token", {"content": "?"}, 400, "bad-body"),
        ("POST", "/dep/empty/token", {"content": base64.b64encode(b"\x30\x80" * 900).decode()}, 400, "bad-token"),
        ("POST", "/dep/empty/token", {"content": base64.b64encode(b"A" * 70_000).decode()}, 400, "bad-token"),
        ("POST", "/dep/empty/token", {"plain": {"consumer_key": "CK"}}, 400, "bad-body"),
        (
            "POST",
            "/dep/empty/token",
            {
                "plain": dict.fromkeys(
                    ("consumer_key", "consumer_secret", "access_token", "access_secret", "access_token_expiry"), ""
                )
            },
            400,
            "bad-token",
        ),
    ],
)
async def test_a_users_mistake_is_a_4xx_that_says_what_and_where(
    apple: AppleServer, method: str, path: str, body: Any, status: int, error: str
) -> None:
    await apple.api("POST", "/dep", {"name": "empty"})
    before = (await apple.api("GET", "/dep/empty")).json()
    answer = await apple.api(method, path, body)
    assert (answer.status, answer.json()["error"]) == (status, error), answer.body
    assert answer.json()["what"] and "\n" not in answer.json()["what"]
    assert (await apple.api("GET", "/dep/empty")).json() == before
    assert apple.calls == []


async def test_devices_come_in_pages(apple: AppleServer) -> None:
    await apple.connect_dep(*(f"S{n}" for n in range(5)))
    await apple.synced()
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = (await apple.api("GET", f"/dep/abm/devices?limit=2&after={after}")).json()
        seen += [device["serial_number"] for device in page["devices"]]
        after = page["next"]
    assert seen == [f"S{n}" for n in range(5)]


async def test_the_private_key_is_in_no_answer(apple: AppleServer) -> None:
    await apple.connect_dep()
    answers = [await apple.api("GET", path) for path in ("/dep", "/dep/abm", "/dep/abm/certificate")]
    assert not any("PRIVATE" in json.dumps(answer.json()) for answer in answers)

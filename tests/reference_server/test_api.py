"""The REST API: what it does, how it refuses, and that its description is true."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from mdmsim.protocol.connect import Status
from reference_server.api.endpoints import PREFIX, endpoints
from tests.reference_server.kit import API_KEY, Answer, Server
from tests.reference_server.schema_check import violations

pytestmark = pytest.mark.anyio

OF_DEVICES = ("/", "/scep", "/enroll/automated", "/enroll/web")


async def _document(server: Server) -> Any:
    return (await server.request("GET", f"{PREFIX}/openapi.json")).json()


def _routes(server: Server) -> set[tuple[str, str]]:
    routes = set()
    for route in server.app._web.routes:
        path = route.path.replace(":path}", "}")
        routes |= {(method, path) for method in (route.methods or {"GET"}) - {"HEAD"}}
    return routes


async def test_every_route_is_described_and_every_description_is_a_route(server: Server) -> None:
    document = await _document(server)
    described = {(method.upper(), path) for path, each in document["paths"].items() for method in each}
    # Devices' own URLs are Apple's and RFC 8894's to describe.
    assert described == {route for route in _routes(server) if route[1] not in OF_DEVICES}
    assert document["openapi"] == "3.1.0"


async def test_the_description_says_what_everything_is_for(server: Server) -> None:
    document = await _document(server)
    operations = [operation for each in document["paths"].values() for operation in each.values()]
    tags = {tag["name"] for tag in document["tags"]}
    assert all(operation["summary"] and set(operation["tags"]) <= tags for operation in operations)
    parameters = [parameter for operation in operations for parameter in operation.get("parameters", ())]
    assert [parameter["name"] for parameter in parameters if not parameter.get("description")] == []


async def test_operation_ids_are_unique_and_references_lead_somewhere(server: Server) -> None:
    document = await _document(server)
    names = [operation["operationId"] for each in document["paths"].values() for operation in each.values()]
    assert len(names) == len(set(names))
    text = json.dumps(document)
    for reference in {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}:
        assert reference in document["components"]["schemas"]


async def _every_call(server: Server) -> list[tuple[str, str, Answer]]:
    """One successful call of each operation: its method, its path as described, its answer."""
    device = await server.enrolled("UDID-1")
    uuid, spare = await server.queue(device), await server.queue(device)
    await device.idle()
    await device.report(Status.ACKNOWLEDGED, uuid, SecurityInfo={"PasscodePresent": True, "Data": b"x"})
    rule = (await server.api("POST", "/refusals", {"serial": "NOBODY"})).json()
    one, command = "/devices/{id}", "/devices/{id}/commands/{uuid}"
    calls: list[tuple[str, str, str, Any]] = [
        ("GET", "/devices", "/devices", None),
        ("GET", one, "/devices/UDID-1", None),
        ("POST", f"{one}/push", "/devices/UDID-1/push", None),
        ("POST", f"{one}/commands", "/devices/UDID-1/commands", {"request_type": "ProfileList"}),
        ("GET", f"{one}/commands", "/devices/UDID-1/commands", None),
        ("GET", command, f"/devices/UDID-1/commands/{uuid}", None),
        ("DELETE", command, f"/devices/UDID-1/commands/{spare}", None),
        ("POST", "/commands", "/commands", {"devices": ["UDID-1"], "request_type": "ProfileList"}),
        ("DELETE", f"{one}/commands", "/devices/UDID-1/commands", None),
        ("POST", f"{one}/remove", "/devices/UDID-1/remove", None),
        ("POST", "/profiles", "/profiles", None),
        ("POST", "/refusals", "/refusals", {"udid": "NOBODY"}),
        ("GET", "/refusals", "/refusals", None),
        ("DELETE", "/refusals/{id}", f"/refusals/{rule['id']}", None),
    ]
    return [(method, described, await server.api(method, path, body)) for method, described, path, body in calls]


async def test_every_answer_is_what_the_description_says(server: Server) -> None:
    document = await _document(server)
    answers = await _every_call(server)
    assert {(method, path) for method, path, _ in answers} == {
        (endpoint.method, endpoint.path) for endpoint in endpoints(server_handlers())
    }
    for method, path, answer in answers:
        responses = document["paths"][PREFIX + path][method.lower()]["responses"]
        assert str(answer.status) in responses, (method, path, answer.status, answer.body)
        content = responses[str(answer.status)].get("content")
        if content is None:
            assert answer.body == b""
        else:
            schema = content["application/json"]["schema"]
            assert violations(document, schema, answer.json()) == [], (method, path)


def server_handlers() -> Any:
    """Stands in for the handlers where only the table matters."""

    class Anything:
        def __getattr__(self, name: str) -> Any:
            return name

    return Anything()


@pytest.mark.parametrize("key", [None, "", "wrong", API_KEY[:-1], "schlüssel"])
async def test_every_operation_wants_the_key(server: Server, key: str | None) -> None:
    for endpoint in endpoints(server_handlers()):
        path = endpoint.path.replace("{id}", "UDID-1").replace("{uuid}", "X")
        answer = await server.api(endpoint.method, path, {}, key=key)
        assert (answer.status, answer.json()["error"]) == (401, "unauthorized")
        assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/devices/NOBODY", None, 404, "unknown-device"),
        ("POST", "/devices/NOBODY/remove", None, 404, "unknown-device"),
        ("POST", "/devices/NOBODY/push", None, 404, "unknown-device"),
        ("POST", "/devices/NOBODY/commands", {"request_type": "X"}, 404, "unknown-device"),
        ("GET", "/devices/NOBODY/commands", None, 404, "unknown-device"),
        ("GET", "/devices/UDID-1/commands/NONE", None, 404, "unknown-command"),
        ("DELETE", "/refusals/77", None, 404, "unknown-refusal"),
        ("DELETE", "/refusals/x", None, 404, "unknown-refusal"),
        ("GET", "/nowhere", None, 404, "unknown-path"),
        ("PATCH", "/devices", None, 405, "wrong-method"),
        ("GET", "/devices?limit=0", None, 400, "bad-query"),
        ("GET", "/devices?limit=many", None, 400, "bad-query"),
        ("GET", "/devices?colour=red", None, 400, "bad-query"),
        ("GET", "/devices?status=happy", None, 400, "bad-query"),
        ("POST", "/devices/UDID-1/commands", {}, 400, "bad-command"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "plist": "QQ=="}, 400, "bad-command"),
        ("POST", "/devices/UDID-1/commands", {"plist": "QQ=="}, 400, "bad-command"),
        ("POST", "/devices/UDID-1/commands", {"plist": "?"}, 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", {"request_typ": "X"}, 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "keys": {"A": None}}, 400, "bad-value"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "keys": {"A": {"base64": "?"}}}, 400, "bad-value"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "keys": {"A": {"date": "soon"}}}, 400, "bad-value"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "keys": {"A": "\x00"}}, 400, "bad-command"),
        ("POST", "/devices/UDID-1/commands", {"request_type": "X", "keys": {"A": 2**70}}, 400, "bad-command"),
        ("POST", "/devices/UDID-1/commands", b"[" * 100_000, 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", b'{"request_type": "ProfileList", "request_type": "X"}', 400, "bad-body"),
        (
            "POST",
            "/devices/UDID-1/commands",
            b'{"request_type": "Settings", "keys": {"Settings": ' + b"9" * 5000 + b"}}",
            400,
            "bad-body",
        ),
        ("POST", "/devices/UDID-1/commands", b'{"request_type": "\\ud800"}', 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", b'{"keys": {"a": NaN}, "request_type": "ProfileList"}', 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", b'{"keys":' + b'{"a":' * 5_000, 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", b"\xff\xfe", 400, "bad-body"),
        ("POST", "/devices/UDID-1/commands", b"", 400, "bad-body"),
        ("POST", "/commands", {"devices": [], "request_type": "X"}, 400, "bad-body"),
        ("POST", "/commands", {"devices": ["UDID-1", "NOBODY"], "request_type": "X"}, 404, "unknown-device"),
        ("POST", "/profiles", {"devices": "two"}, 400, "bad-body"),
        ("POST", "/profiles", {"display_name": "\x01"}, 400, "bad-profile"),
        ("POST", "/refusals", {}, 400, "bad-refusal"),
        ("POST", "/refusals", {"udid": "A", "serial": "B"}, 400, "bad-refusal"),
        ("POST", "/refusals", {"udid": "A", "at": "noon"}, 400, "bad-body"),
    ],
)
async def test_a_users_mistake_is_a_4xx_that_says_what_and_where(
    server: Server, method: str, path: str, body: Any, status: int, error: str
) -> None:
    await server.enrolled("UDID-1")
    answer = await server.api(method, path, body)
    assert (answer.status, answer.json()["error"]) == (status, error), answer.body
    assert answer.json()["what"] and "\n" not in answer.json()["what"]
    assert [line["why"] for line in server.log if line.get("status") == status] == [answer.json()["what"]]
    assert len((await server.api("GET", "/devices/UDID-1/commands")).json()["commands"]) == 0


async def test_values_nested_too_deeply_are_refused(server: Server) -> None:
    await server.enrolled("UDID-1")
    body = b'{"request_type":"X","keys":' + b'{"a":' * 300 + b"1" + b"}" * 300 + b"}"
    answer = await server.api("POST", "/devices/UDID-1/commands", body)
    assert (answer.status, answer.json()["error"]) == (400, "bad-value")


async def test_a_body_over_the_limit_is_413() -> None:
    server = Server(max_body=1000)
    answer = await server.request(
        "POST",
        f"{PREFIX}/profiles",
        headers=(("Authorization", f"Bearer {API_KEY}"),),
        declare=5000,
    )
    assert (answer.status, answer.json()["error"]) == (413, "too-large")


async def test_devices_come_in_pages(server: Server) -> None:
    for number in range(5):
        await server.enrolled(f"UDID-{number}")
    seen, after = [], ""
    while after is not None:
        page = (await server.api("GET", f"/devices?limit=2&after={after}")).json()
        seen += [device["id"] for device in page["devices"]]
        after = page["next"]
    assert seen == [f"UDID-{number}" for number in range(5)]


async def test_devices_are_found_by_serial_and_status(server: Server) -> None:
    one, other = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    await other.check_out()
    by_serial = (await server.api("GET", f"/devices?serial={one.serial}")).json()["devices"]
    by_status = (await server.api("GET", "/devices?status=checked-out")).json()["devices"]
    assert ([d["id"] for d in by_serial], [d["id"] for d in by_status]) == (["UDID-1"], ["UDID-2"])


async def test_commands_come_in_pages_and_by_state(server: Server) -> None:
    device = await server.enrolled()
    uuids = [await server.queue(device) for _ in range(5)]
    seen, after = [], 0
    while after is not None:
        page = (await server.api("GET", f"/devices/{device.udid}/commands?limit=2&after={after}")).json()
        seen += [command["command_uuid"] for command in page["commands"]]
        after = page["next"]
    assert seen == uuids
    await device.acknowledge(uuids[0])
    done = (await server.api("GET", f"/devices/{device.udid}/commands?state=acknowledged")).json()
    assert [command["command_uuid"] for command in done["commands"]] == uuids[:1]


async def test_a_command_for_many_devices_reaches_each_once(server: Server) -> None:
    devices = [await server.enrolled(f"UDID-{number}") for number in range(3)]
    ids = [device.udid for device in devices]
    answer = await server.api("POST", "/commands", {"devices": [*ids, ids[0]], "request_type": "ProfileList"})
    assert [command["device"] for command in answer.json()["commands"]] == ids
    assert [await device.drain() for device in devices] == [["ProfileList"]] * 3


async def test_data_and_dates_travel_both_ways(server: Server) -> None:
    device = await server.enrolled()
    data = base64.b64encode(b"profile").decode()
    uuid = await server.queue(
        device, "InstallProfile", keys={"Payload": {"base64": data}, "At": {"date": "2026-01-02T03:04:05Z"}}
    )
    command = (await device.idle()).command
    assert command is not None
    assert command.keys["Payload"] == b"profile"
    await device.acknowledge(uuid, Back=command.keys["Payload"], At=command.keys["At"], Deep=[{"N": 1.5}])
    response = (await server.command(device, uuid))["results"][0]["response"]
    assert response == {
        "Back": {"base64": data},
        "At": {"date": "2026-01-02T03:04:05Z"},
        "Deep": [{"N": 1.5}],
    }


async def test_clear_passcode_gets_the_unlock_token_that_the_device_told_last(server: Server) -> None:
    device = await server.enrolled()
    refused = await server.api("POST", f"/devices/{device.udid}/commands", {"request_type": "ClearPasscode"})
    assert (refused.status, refused.json()["error"]) == (409, "no-unlock-token")
    unknown = await server.api("POST", "/devices/NOBODY/commands", {"request_type": "ClearPasscode"})
    assert unknown.status == 404
    await device.token_update(unlock_token=b"first")
    await device.token_update(unlock_token=b"second")
    await server.queue(device, "ClearPasscode")
    command = (await device.idle()).command
    assert command is not None
    assert command.keys == {"UnlockToken": b"second"}


async def test_a_command_uuid_may_be_chosen_once_per_device(server: Server) -> None:
    device = await server.enrolled()
    assert await server.queue(device, command_uuid="0001_Info") == "0001_Info"
    again = await server.api(
        "POST", f"/devices/{device.udid}/commands", {"request_type": "X", "command_uuid": "0001_Info"}
    )
    assert (again.status, again.json()["error"]) == (409, "command-uuid-taken")


@pytest.mark.parametrize("ending", ["checkout", "removal"])
async def test_nothing_can_be_queued_or_pushed_for_an_enrollment_that_ended(server: Server, ending: str) -> None:
    device = await server.enrolled()
    if ending == "checkout":
        await device.check_out()
    else:
        await server.api("POST", f"/devices/{device.udid}/remove")
    queued = await server.api("POST", f"/devices/{device.udid}/commands", {"request_type": "X"})
    pushed = await server.api("POST", f"/devices/{device.udid}/push")
    assert [(a.status, a.json()["error"]) for a in (queued, pushed)] == [
        (409, "not-enrolled"),
        (409, "no-push-token"),
    ]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/devices/UDID-1/commands?after=9223372036854775808", None),
        ("/devices/UDID-1/commands", {"request_type": "A", "keys": {"at": {"date": "0001-01-01T00:00:00+23:00"}}}),
        ("/devices/UDID-1/commands", {"request_type": "A", "keys": {"at": {"date": "9999-12-31T23:59:59-23:00"}}}),
        ("/devices/UDID-1/commands", {"request_type": ""}),
        ("/devices/UDID-1/commands", {"request_type": "A", "keys": {"RequestType": "B"}}),
        ("/devices/UDID-1/commands", {"plist": "AAAA", "command_uuid": "mine"}),
        ("/devices/UDID-1/commands", {"plist": "AAAA", "keys": {"a": 1}}),
        ("/profiles", {"devices": 10**30}),
        ("/profiles", {"devices": 0}),
        ("/profiles", {"access_rights": -1}),
        ("/profiles", {"access_rights": 8192}),
        ("/profiles", {"challenge": ""}),
    ],
)
async def test_values_out_of_all_bounds_are_400(server: Server, path: str, body: Any) -> None:
    await server.enrolled("UDID-1")
    answer = await server.api("GET" if body is None else "POST", path, body)
    assert (answer.status, bool(answer.json()["what"])) == (400, True)


async def test_dates_from_the_ends_of_the_calendar_are_told_as_they_are(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    uuid = await server.queue(device)
    await device.acknowledge(uuid, First=datetime(1, 1, 1, tzinfo=UTC), Last=datetime(9999, 12, 31, tzinfo=UTC))
    response = (await server.command(device, uuid))["results"][0]["response"]
    assert response == {"First": {"date": "0001-01-01T00:00:00Z"}, "Last": {"date": "9999-12-31T00:00:00Z"}}


async def test_a_command_uuid_with_a_slash_can_be_asked_for(server: Server) -> None:
    device = await server.enrolled("UDID-1")
    await server.queue(device, command_uuid="a/b")
    assert (await server.api("GET", "/devices/UDID-1/commands/a/b")).json()["command_uuid"] == "a/b"


async def test_no_answer_leads_to_the_host_that_a_request_claims(server: Server) -> None:
    for path in ("/enroll/", f"{PREFIX}/devices/"):
        answer = await server.request("GET", path, headers=(("Host", "evil.example"),))
        assert (answer.status, answer.headers.get("location")) == (404, None)


async def test_a_look_ahead_at_the_profile_makes_no_challenge(server: Server) -> None:
    def challenges() -> int:
        return int(server.app._storage.execute("SELECT COUNT(*) FROM challenges").fetchone()[0])

    assert (await server.request("HEAD", "/enroll")).status == 200
    assert challenges() == 0
    assert (await server.request("GET", "/enroll")).status == 200
    assert challenges() == 1


async def test_a_closed_command_cannot_be_cancelled(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    await device.drain()
    answer = await server.api("DELETE", f"/devices/{device.udid}/commands/{uuid}")
    assert (answer.status, answer.json()["error"]) == (409, "command-closed")


async def test_health_readiness_and_version_answer_without_a_key(server: Server) -> None:
    for path in ("/healthz", "/readyz", "/version", "/"):
        assert (await server.request("GET", path)).status == 200


async def test_a_storage_that_is_gone_reddens_readyz(server: Server) -> None:
    server.app.close()
    answer = await server.request("GET", "/readyz")
    assert (answer.status, list(answer.json()["troubles"])) == (503, ["storage"])

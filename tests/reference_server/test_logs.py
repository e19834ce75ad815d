"""The log: every request in it, every refusal with its reason, no secret ever."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mdmsim.clock import iso
from mdmsim.protocol.connect import Status
from tests.reference_server.kit import API_KEY, Device, Server

pytestmark = pytest.mark.anyio

UNLOCK_TOKEN, PUSH_TOKEN = b"the unlock token of this device", b"the push token, 32 bytes of it.."


async def _busy(server: Server) -> list[str]:
    """A device's life with every kind of secret in it; the challenges that were given out."""
    challenges = [(await server.api("POST", "/profiles", {})).json()["challenge"]]
    device = Device(server, by="both")
    device.token = PUSH_TOKEN
    await device.authenticate()
    await device.token_update(unlock_token=UNLOCK_TOKEN)
    uuid = await server.queue(device, "DeviceLock", keys={"PIN": "471147"})
    await device.idle()
    await device.report(Status.ERROR, uuid)
    await server.api("POST", f"/devices/{device.udid}/push")
    await server.api("GET", "/devices", key="a wrong key that nobody should read")
    await server.request("GET", "/enroll")
    await server.request("POST", "/scep?operation=PKIOperation", b"rubbish")
    await server.api("POST", f"/devices/{device.udid}/remove")
    await device.idle()
    await server.request("PUT", "/mdm/connect", b"rubbish")
    return challenges


async def test_no_secret_is_in_the_log_or_the_events(server: Server) -> None:
    challenges = await _busy(server)
    written = b"\n".join(server.log_lines).decode() + repr(server.seen.events)
    secrets = [
        API_KEY,
        "MAGIC-UDID-1",
        "471147",
        "a wrong key",
        *challenges,
        *(form for secret in (UNLOCK_TOKEN, PUSH_TOKEN) for form in (secret.hex(), base64.b64encode(secret).decode())),
        UNLOCK_TOKEN.decode(),
        PUSH_TOKEN.decode(),
    ]
    assert [secret for secret in secrets if secret in written] == []


async def test_every_refusal_has_a_line_with_its_reason(server: Server) -> None:
    await _busy(server)
    refused = [line for line in server.log if line.get("status", 200) >= 400]
    assert [line["status"] for line in refused] == [401, 400, 401, 400]
    assert all(line["why"] and line["level"] == "warning" for line in refused)


async def test_request_ids_are_in_the_answer_and_in_the_log(server: Server) -> None:
    device = await server.enrolled()
    answers = [
        await device.idle(),
        await server.api("GET", "/devices"),
        await server.request("GET", "/nowhere"),
        await server.request("PUT", "/mdm/checkin", b""),
    ]
    ids = [answer.headers["x-request-id"] for answer in answers]
    assert len(set(ids)) == 4
    assert [line["request_id"] for line in server.log[-4:]] == ids


async def test_a_line_says_when_to_the_millisecond(server: Server) -> None:
    for ms in (0, 7, 993, 1000):
        server.manual.advance(ms)
        await server.request("GET", "/healthz")
        assert server.log[-1]["at"] == iso(server.clock.now_ms())


async def test_a_line_names_the_enrollment_and_the_command(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    await device.idle()
    await device.acknowledge(uuid)
    served, answered = server.log[-2:]
    assert (served["label"], served["enrollment_id"], served["served"]) == ("connect:Idle", device.udid, uuid)
    assert (answered["label"], answered["command_uuid"]) == ("connect:Acknowledged", uuid)


async def test_a_bug_is_a_500_with_its_trace_in_the_log_only(server: Server) -> None:
    device = await server.enrolled()
    server.app.close()
    answer = await device.idle()
    assert (answer.status, answer.body) == (500, b"internal error\n")
    traces = [line["trace"] for line in server.log if line["message"] == "exception"]
    assert len(traces) == 1 and "ProgrammingError" in traces[0]


async def test_a_bug_in_the_api_is_a_500_in_the_apis_form(server: Server) -> None:
    server.app.close()
    answer = await server.api("GET", "/devices")
    assert (answer.status, answer.json()["error"]) == (500, "internal-error")
    assert any(line["message"] == "exception" for line in server.log)


async def test_events_tell_what_happened_in_order(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    await device.idle()
    await device.acknowledge(uuid)
    await device.check_out()
    told: list[tuple[str, Any]] = [(event.kind, event.data.get("enrollment_id")) for event in server.seen.events]
    assert told == [
        (kind, device.udid)
        for kind in (
            "server.checkin",
            "server.checkin",
            "server.enrolled",
            "server.command-queued",
            "server.connect",
            "server.command-served",
            "server.connect",
            "server.command-result",
            "server.checkin",
            "server.removed",
        )
    ]

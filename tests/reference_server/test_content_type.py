"""Requests of devices without a Content-Type: refused, unless the server was told to let them in."""

from __future__ import annotations

import pytest

from mdmsim.pki.mdm_signature import SignatureStyle, sign_body
from mdmsim.protocol.checkin import TokenUpdate, build_checkin
from mdmsim.protocol.connect import Report, Status, build_report
from mdmsim.protocol.content_type import CHECKIN
from reference_server.settings import BadSettings
from tests.reference_server.kit import TOPIC, Answer, Device, Server, fresh_identity, settings

pytestmark = pytest.mark.anyio


async def _put(device: Device, path: str, body: bytes, *headers: tuple[str, str]) -> Answer:
    """What mdmb sends: a signature with signed attributes, and no Content-Type with reports (its protocol/transport.go)."""
    style = SignatureStyle(attributes=True, signed_at_ms=device.server.clock.now_ms())
    signature = sign_body(body, device.identity, style=style)
    return await device.server.request("PUT", path, body, headers=(("Mdm-Signature", signature), *headers))


async def _idle(device: Device, *headers: tuple[str, str]) -> Answer:
    return await _put(device, "/mdm/connect", build_report(Report(device.ids, Status.IDLE)), *headers)


async def test_a_report_without_one_is_400_by_default(server: Server) -> None:
    answer = await _idle(await server.enrolled())
    assert (answer.status, b"content type" in answer.body) == (400, True)


async def test_a_server_that_was_told_so_serves_devices_whose_reports_have_none() -> None:
    server = Server(content_type="optional")
    device = await server.enrolled()
    uuid = await server.queue(device)
    command = (await _idle(device)).command
    assert command is not None and command.command_uuid == uuid
    report = build_report(Report(device.ids, Status.ACKNOWLEDGED, uuid))
    assert (await _put(device, "/mdm/connect", report)).status == 200
    assert (await server.command(device, uuid))["state"] == "acknowledged"


async def test_without_one_the_url_says_what_a_request_is() -> None:
    server = Server(content_type="optional")
    device = await server.enrolled()
    update = build_checkin(TokenUpdate(ids=device.ids, topic=TOPIC, token=b"fakeToken", push_magic="fakePushMagic"))
    assert (await _put(device, "/mdm/checkin", update)).status == 200
    assert (await server.device("UDID-1"))["token_updates"] == 2
    assert (await _put(device, "/mdm/connect", update)).status == 400


@pytest.mark.parametrize("wrong", ["text/plain", "", "application/x-www-form-urlencoded"])
async def test_a_wrong_one_is_400_all_the_same(wrong: str) -> None:
    server = Server(content_type="optional")
    assert (await _idle(await server.enrolled(), ("Content-Type", wrong))).status == 400


async def test_a_checkin_at_the_server_url_is_told_by_its_content_type_all_the_same() -> None:
    server = Server(content_type="optional")
    device = await server.enrolled()
    update = build_checkin(TokenUpdate(ids=device.ids, topic=TOPIC, token=b"fakeToken", push_magic="M"))
    assert (await _put(device, "/mdm/connect", update, ("Content-Type", CHECKIN))).status == 200


async def test_strangers_stay_strangers_without_one() -> None:
    server = Server(content_type="optional")
    await server.enrolled()
    assert (await _idle(Device(server, identity=fresh_identity("stranger")))).status == 403


def test_another_word_is_refused_at_the_start() -> None:
    with pytest.raises(BadSettings, match="content_type"):
        settings(content_type="lenient")

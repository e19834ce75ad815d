"""Broken, huge, nested and wrong-typed input: a 4xx at once, with a reason in the log, and never a 5xx."""

from __future__ import annotations

import base64
import functools
import plistlib
import ssl
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdmsim.pki.mdm_signature import sign_body
from mdmsim.protocol.checkin import Authenticate, build_checkin
from mdmsim.protocol.connect import Report, Status, build_report
from mdmsim.protocol.content_type import CHECKIN, CONNECT
from tests.reference_server.kit import TOPIC, Device, Server, fresh_identity

MIB = 2**20


@pytest.fixture(scope="module")
def fuzzed() -> Device:
    """One enrolled device, whose server is thrown everything at."""
    server = Server()
    device = Device(server)
    anyio.run(device.enrol, backend="trio")
    return device


async def _put(
    device: Device, path: str, content_type: str, body: bytes, headers: tuple[tuple[str, str], ...] = ()
) -> int:
    answer = await device.server.request(
        "PUT",
        path,
        body,
        headers=(("Content-Type", content_type), *headers),
        certificate=device.identity.certificate,
    )
    return answer.status


def _both(device: Device, body: bytes) -> tuple[int, int]:
    """What check-in and connect answer to a body."""

    async def main() -> tuple[int, int]:
        checkin = await _put(device, "/mdm/checkin", CHECKIN, body)
        return checkin, await _put(device, "/mdm/connect", CONNECT, body)

    return anyio.run(main, backend="trio")


def _assert_refused_with_a_reason(device: Device, body: bytes) -> None:
    device.server.log_lines.clear()
    assert _both(device, body) == (400, 400)
    reasons = [line["why"] for line in device.server.log]
    assert len(reasons) == 2 and all(reasons)


_IDLE = build_report(Report(Device(Server()).ids, Status.IDLE))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00",
        b"<",
        b"hello",
        b"bplist00",
        b"bplist00" + b"\xff" * 100,
        _IDLE[:-20],
        _IDLE + b"<plist/>",
        b'<?xml version="1.0"?><plist version="1.0"><array/></plist>',
        b'<?xml version="1.0"?><plist version="1.0"><dict/></plist>',
        b"<plist>" + b"<array>" * 10_000,
        b"<plist><dict>" + b"<key>a</key><dict>" * 10_000,
        b'<!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]><plist><dict>'
        b"<key>Status</key><string>&b;</string></dict></plist>",
        b'<!DOCTYPE plist [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><dict><key>UDID</key>'
        b"<string>&x;</string></dict></plist>",
        plistlib.dumps({"MessageType": "Authenticate", "UDID": 1, "Topic": "x"}),
        plistlib.dumps({"MessageType": "Nonsense", "UDID": "UDID-1", "Topic": "x"}),
        plistlib.dumps({"MessageType": ["Authenticate"], "UDID": "UDID-1"}),
        plistlib.dumps({"Status": "Happy", "UDID": "UDID-1"}),
        plistlib.dumps({"Status": "Acknowledged", "UDID": "UDID-1"}),
        plistlib.dumps({"Status": "Acknowledged", "UDID": "UDID-1", "CommandUUID": 7}),
        plistlib.dumps({"Status": "Error", "UDID": "UDID-1", "CommandUUID": "x", "ErrorChain": {"a": 1}}),
        plistlib.dumps({"Status": "Idle", "UDID": "a:b"}),
        plistlib.dumps({"Status": "Idle", "UDID": "x" * 1000}),
    ],
    ids=range(23),
)
def test_a_body_that_is_no_message_is_400_with_a_reason(fuzzed: Device, body: bytes) -> None:
    _assert_refused_with_a_reason(fuzzed, body)


_quick = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
_scalars = (
    st.integers(-(2**63), 2**64 - 1) | st.booleans() | st.floats(allow_nan=False) | st.binary(max_size=20) | st.dates()
)
_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), max_size=20)
_values = st.recursive(
    _texts | _scalars.filter(lambda v: not hasattr(v, "year")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=8,
)
_KEYS = [
    "MessageType",
    "Status",
    "UDID",
    "EnrollmentID",
    "UserID",
    "UserShortName",
    "Topic",
    "Token",
    "PushMagic",
    "UnlockToken",
    "CommandUUID",
    "ErrorChain",
    "AwaitingConfiguration",
    "SerialNumber",
    "OSVersion",
    "NotOnConsole",
    "RequestType",
    "Endpoint",
    "Data",
]
_WORDS = ("Authenticate", "TokenUpdate", "CheckOut", "Idle", "Acknowledged", "Error", "NotNow", "UDID-1", "", TOPIC)


@_quick
@given(st.binary(max_size=300))
def test_random_bytes_never_make_a_5xx(fuzzed: Device, body: bytes) -> None:
    assert all(status < 500 for status in _both(fuzzed, body))


@_quick
@given(st.dictionaries(st.sampled_from(_KEYS), st.sampled_from(_WORDS) | _values, max_size=8), st.booleans())
def test_wrong_typed_messages_never_make_a_5xx(fuzzed: Device, message: dict[str, Any], binary: bool) -> None:
    body = plistlib.dumps(message, fmt=plistlib.FMT_BINARY if binary else plistlib.FMT_XML)
    assert all(status < 500 for status in _both(fuzzed, body))


@_quick
@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4))
def test_a_spoilt_signature_is_400_and_never_a_5xx(fuzzed: Device, at: int, patch: bytes) -> None:
    header = bytearray(base64.b64decode(_signed(fuzzed)))
    at %= len(header)
    before = bytes(header)
    header[at : at + len(patch)] = patch
    if bytes(header) == before:
        return
    body = build_report(Report(fuzzed.ids, Status.IDLE))
    value = base64.b64encode(bytes(header)).decode()
    status = anyio.run(
        functools.partial(_put, fuzzed, "/mdm/connect", CONNECT, body, (("Mdm-Signature", value),)), backend="trio"
    )
    # 200 and 403: what was spoilt is not signed (a version number), or is another certificate's.
    assert status in (200, 400, 403)


@functools.cache
def _signed(device: Device) -> str:
    return sign_body(build_report(Report(device.ids, Status.IDLE)), device.identity)


@_quick
@given(st.binary(max_size=200), st.booleans())
def test_random_scep_messages_are_400(fuzzed: Device, message: bytes, post: bool) -> None:
    async def main() -> int:
        if post:
            return (await fuzzed.server.request("POST", "/scep?operation=PKIOperation", message)).status
        text = message.decode("latin-1").replace("#", "")
        return (await fuzzed.server.request("GET", f"/scep?operation=PKIOperation&message={text}")).status

    assert anyio.run(main, backend="trio") == 400


pytestmark_anyio = pytest.mark.anyio


@pytestmark_anyio
@pytest.mark.parametrize("path", ["/mdm/checkin", "/mdm/connect"])
async def test_a_body_that_says_it_is_huge_is_413_without_reading_any(server: Server, path: str) -> None:
    device = await server.enrolled()
    content_type = CHECKIN if path.endswith("checkin") else CONNECT
    answer = await server.request(
        "PUT",
        path,
        headers=(("Content-Type", content_type),),
        certificate=device.identity.certificate,
        declare=17 * MIB + 1,
    )
    assert (answer.status, server.unread) == (413, 1)


@pytestmark_anyio
async def test_a_body_that_turns_out_huge_is_413_before_its_end(server: Server) -> None:
    device = await server.enrolled()
    answer = await server.request(
        "PUT",
        "/mdm/connect",
        headers=(("Content-Type", CONNECT),),
        certificate=device.identity.certificate,
        chunks=[b"x" * MIB] * 30,
    )
    assert answer.status == 413
    assert server.unread == 30 - 18


@pytestmark_anyio
@pytest.mark.parametrize("who", ["nobody", "a stranger's signature", "a broken signature"])
async def test_nobody_unknown_gets_to_send_a_long_body(server: Server, who: str) -> None:
    stranger = fresh_identity(ca="Somebody Else's CA")
    headers: tuple[tuple[str, str], ...] = (("Content-Type", CONNECT),)
    if who != "nobody":
        headers += (("Mdm-Signature", sign_body(b"", stranger) if "stranger" in who else "AAAA"),)
    answer = await server.request("PUT", "/mdm/connect", headers=headers, chunks=[b"x" * 50_000] * 300)
    assert answer.status == (403 if "stranger" in who else 400)
    assert server.unread >= 298
    assert server.log[-1]["why"]


@pytestmark_anyio
async def test_a_stranger_is_refused_before_his_body_is_parsed(server: Server) -> None:
    stranger = Device(server, identity=fresh_identity(ca="Somebody Else's CA"))
    assert await _put(stranger, "/mdm/connect", CONNECT, b"no plist") == 403
    assert await _put(stranger, "/mdm/connect", CONNECT, _IDLE) == 403
    assert server.log[-1]["label"] == "connect:Idle"


@pytestmark_anyio
async def test_fields_without_measure_are_400(server: Server) -> None:
    device = Device(server)
    for name in ("topic", "serial_number", "device_name"):
        assert (await device.authenticate(**{name: "x" * 2000})).status == 400
    await device.enrol()
    for more in ({"token": b"x" * 2000}, {"push_magic": "x" * 2000}, {"unlock_token": b"x" * 100_000}):
        assert (await device.token_update(**more)).status == 400
    assert (await device.token_update(unlock_token=b"x" * 4000)).status == 200


@pytestmark_anyio
async def test_long_bodies_wait_for_room_and_all_get_their_answer(server: Server) -> None:
    device = await server.enrolled()
    statuses = []

    async def send_long() -> None:
        answer = await server.request(
            "PUT",
            "/mdm/connect",
            headers=(("Content-Type", CONNECT),),
            certificate=device.identity.certificate,
            chunks=[b"x" * 50_000] * 6,
        )
        statuses.append(answer.status)

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(send_long)
    assert statuses == [400] * 30
    assert (await device.idle()).status == 200


@pytestmark_anyio
async def test_a_content_length_of_thousands_of_digits_is_413(server: Server) -> None:
    device = await server.enrolled()
    headers = (("Content-Type", CONNECT), ("Content-Length", "9" * 5000))
    certificate = device.identity.certificate
    assert (await server.request("PUT", "/mdm/connect", headers=headers, certificate=certificate)).status == 413


@pytestmark_anyio
async def test_a_report_just_below_the_limit_is_taken(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    assert (await device.acknowledge(uuid, Big=b"x" * (12 * MIB))).status == 200


@pytestmark_anyio
async def test_a_request_that_is_cut_changes_nothing_and_is_not_answered(server: Server) -> None:
    device = await server.enrolled()
    uuid = await server.queue(device)
    body = build_report(Report(device.ids, Status.ACKNOWLEDGED, uuid))
    sent: list[Any] = []
    messages = [
        {"type": "http.request", "body": body[:100], "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Any:
        return messages.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "PUT",
        "path": "/mdm/connect",
        "headers": [(b"content-type", CONNECT.encode())],
        "extensions": {"tls": {"client_cert_chain": [ssl.DER_cert_to_PEM_cert(device.identity.certificate)]}},
    }
    await server.app(scope, receive, send)
    assert sent == []
    assert (await server.command(device, uuid))["state"] == "queued"


@pytestmark_anyio
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "HEAD", "OPTIONS"])
async def test_only_put_is_for_devices(server: Server, method: str) -> None:
    answer = await server.request(method, "/mdm/connect")
    assert (answer.status, answer.headers["allow"]) == (405, "PUT")


@pytestmark_anyio
@pytest.mark.parametrize("content_type", ["", "text/xml", "application/x-apple-aspen-mdm-checkin2", "é"])
async def test_a_content_type_that_devices_never_send_is_400(server: Server, content_type: str) -> None:
    device = await server.enrolled()
    assert await _put(device, "/mdm/connect", content_type, _IDLE) == 400
    assert await _put(device, "/mdm/checkin", content_type, _IDLE) == 400


@pytestmark_anyio
async def test_content_types_are_compared_without_their_parameters(server: Server) -> None:
    device = await server.enrolled()
    assert await _put(device, "/mdm/connect", f"{CONNECT}; charset=UTF-8", _IDLE) == 200


@pytestmark_anyio
async def test_a_profile_without_checkinurl_checks_in_at_the_serverurl(server: Server) -> None:
    device = Device(server)
    body = build_checkin(Authenticate(ids=device.ids, topic=TOPIC))
    assert await _put(device, "/mdm/connect", f"{CHECKIN}; charset=UTF-8", body) == 200


@pytestmark_anyio
async def test_one_devices_rubbish_does_not_disturb_another(server: Server) -> None:
    rude, polite = await server.enrolled("UDID-1"), await server.enrolled("UDID-2")
    await server.queue(polite)
    command = (await polite.idle()).command
    assert command is not None
    for body in (b"", b"x" * MIB, b"<plist>" + b"<dict>" * 5000):
        assert await _put(rude, "/mdm/connect", CONNECT, body) == 400
    assert (await polite.acknowledge(command.command_uuid)).status == 200


@pytestmark_anyio
@pytest.mark.parametrize("path", ["/nowhere", "/mdm", "/mdm/connect/", "/api/v2", "/../etc/passwd", "/enroll/x"])
async def test_an_unknown_path_is_404(server: Server, path: str) -> None:
    assert (await server.request("GET", path)).status == 404

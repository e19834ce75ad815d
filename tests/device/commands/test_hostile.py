"""Commands and profiles that no honest server sends: every one gets a typed answer, and the device lives on."""

from __future__ import annotations

import copy
import plistlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.device.commands.registry import FLOW_HANDLERS, HANDLERS
from mdmsim.device.errors import DeviceError
from mdmsim.device.flows.install import install_profile
from mdmsim.http import Request, Response
from mdmsim.pki.cms import sign
from mdmsim.protocol.connect import Report, Status
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import Bench, managed_profile, settings_payload

HANDLED = sorted({*HANDLERS, *FLOW_HANDLERS})
KINDS = ["iphone", "mac-intel", "mac-silicon", "appletv"]

#: Keys that one command or another reads; any command is given any of them.
KEYS = [
    "Queries",
    "ManagedOnly",
    "Payload",
    "Identifier",
    "Identifiers",
    "Items",
    "ManagedAppsOnly",
    "Message",
    "PhoneNumber",
    "PIN",
    "UnlockToken",
    "NotifyUser",
    "RebuildKernelCache",
    "KextPaths",
    "ObliterationBehavior",
    "ReturnToService",
    "PreserveDataPlan",
    "DisallowProximitySetup",
    "RequestRequiresNetworkTether",
    "Nonsense",
]

TEXT = st.one_of(
    st.sampled_from(["", "SerialNumber", "test.enrollment", "123456", "Always", "“x”", "a" * 5000]),
    st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=12),
)
LEAVES = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.binary(max_size=40),
    st.just(managed_profile()),
    st.just(datetime(2026, 1, 1, tzinfo=UTC).replace(tzinfo=None)),
    TEXT,
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["Enabled", "MDMProfileData", "WiFiProfileData", "x"]), inner, max_size=3),
    ),
    max_leaves=6,
)


def raw(uuid: str, command: object) -> bytes:
    return plistlib.dumps({"CommandUUID": uuid, "Command": command}, fmt=plistlib.FMT_XML)


def answer_to(bench: Bench, body: bytes) -> list[Report]:
    """Serve that body once, at the next Idle; return the reports that came of it."""
    served: list[bool] = []

    def interfere(request: Request) -> Response | None:
        if request.label == "connect:Idle" and not served:
            served.append(True)
            bench.server.reports.clear()
            return Response(200, body=body)
        return None

    bench.server.interfere = interfere
    bench.push()
    bench.act()
    bench.server.interfere = None
    return bench.server.reports


@settings(max_examples=120, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    request_type=st.sampled_from([*HANDLED, "MakeCoffee", "Settings"]),
    keys=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5),
)
def test_whatever_a_command_holds_it_gets_one_answer(kind: str, request_type: str, keys: dict[str, Any]) -> None:
    bench = Bench(kind, state={"supervised": True})
    bench.enroll()
    reports = answer_to(bench, raw("hostile", {**keys, "RequestType": request_type}))
    assert [r.command_uuid for r in reports] == ["hostile"]
    assert reports[0].status is not Status.IDLE
    assert (reports[0].status is Status.ERROR) == bool(reports[0].error_chain)


@pytest.mark.parametrize("request_type", HANDLED)
@pytest.mark.parametrize("value", [True, 7, 1.5, "text", b"data", [], ["x", 1], {}, {"a": {}}])
def test_every_key_of_every_command_with_every_type_is_answered(request_type: str, value: object) -> None:
    for kind in ("iphone", "mac-intel"):
        bench = Bench(kind, state={"supervised": True})
        bench.enroll()
        for key in KEYS:
            if not (bench.device.enrolled and bench.device.reachable):
                break  # it took the order: erased, switched off, behind a PIN
            uuid = f"{request_type}-{key}"
            reports = answer_to(bench, raw(uuid, {"RequestType": request_type, key: value}))
            assert [r.command_uuid for r in reports] == [uuid]


@pytest.mark.parametrize(
    "command",
    [
        None,
        {},
        {"RequestType": ""},
        {"RequestType": 5},
        {"RequestType": ["ProfileList"]},
        {"RequestType": {"a": "ProfileList"}},
        [],
        "ProfileList",
        b"ProfileList",
    ],
)
def test_a_command_without_a_readable_request_type_is_a_format_error(command: object) -> None:
    bench = Bench()
    bench.enroll()
    body = plistlib.dumps({"CommandUUID": "u"} if command is None else {"CommandUUID": "u", "Command": command})
    assert [(r.command_uuid, r.status) for r in answer_to(bench, body)] == [("u", Status.COMMAND_FORMAT_ERROR)]


def nested(depth: int) -> bytes:
    inside = b"<array>" * depth + b"</array>" * depth
    return (
        b'<plist version="1.0"><dict><key>CommandUUID</key><string>deep</string><key>Command</key><dict>'
        b"<key>RequestType</key><string>DeviceInformation</string><key>Queries</key>"
        + inside
        + b"</dict></dict></plist>"
    )


BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE plist [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">'
    b'<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;">]><plist version="1.0"><dict><key>x</key><string>&c;</string></dict></plist>'
)


@pytest.mark.parametrize(
    "body",
    [nested(100_000), BOMB, b"bplist00" + bytes(200), b"\x00" * 1000, b"<plist", b" ", b"\n"],
    ids=["deep", "entities", "binary", "zeros", "cut", "blank", "line feed"],
)
def test_a_body_that_cannot_be_read_is_asked_for_again_a_minute_later(body: bytes) -> None:
    bench = Bench()
    bench.enroll()
    bench.server.requests.clear()
    bench.server.interfere = lambda request: Response(200, body=body)
    bench.push()
    bench.act()
    assert bench.server.labels() == ["connect:Idle"]
    bench.server.interfere = None
    bench.later(61)
    assert bench.server.labels() == ["connect:Idle", "connect:Idle"]
    assert bench.device.next_wake_ms() is None


# --- profiles ---------------------------------------------------------------------------------------------------------


def big_profile(size: int) -> bytes:
    payload = Payload(type="com.apple.font", identifier="test.big.font", uuid="BIG-1", keys={"Font": bytes(size)})
    return build_profile(identifier="test.big", uuid="BIG", payloads=(payload,))


def test_a_profile_of_sixteen_megabytes_is_installed_listed_and_kept_once() -> None:
    bench = Bench("mac-silicon")
    bench.enroll()
    profile = big_profile(11 * 2**20)  # 15 MB as base64 in the profile
    assert len(profile) > 15 * 2**20
    before = len(bench.store.load("d1") or b"")
    bench.run(install_profile(bench.device, profile))
    assert len(bench.store.load("d1") or b"") - before < 1000
    assert "test.big" in [e["PayloadIdentifier"] for e in bench.ask("ProfileList").response["ProfileList"]]


@pytest.mark.parametrize("kind", ["iphone", "mac-intel"])
@pytest.mark.parametrize(
    "data",
    [
        nested(100_000),
        BOMB,
        big_profile(14 * 2**20),
        plistlib.dumps({"PayloadContent": [{}] * 50_000}),
        plistlib.dumps([]),
        plistlib.dumps("profile"),
        b"\x30\x80" * 100_000,
        b"\x30\x84\xff\xff\xff\xff" + bytes(100),
    ],
    ids=["deep", "entities", "over 17 MiB", "many payloads", "array", "string", "deep DER", "long DER"],
)
def test_a_profile_that_is_a_bomb_is_an_error_with_a_chain(kind: str, data: bytes) -> None:
    bench = Bench(kind)
    bench.enroll()
    report = bench.ask("InstallProfile", Payload=data) if len(data) < 2**20 else None
    if report is None:
        with pytest.raises(DeviceError):
            bench.run(install_profile(bench.device, data))
    else:
        assert (report.status, bool(report.error_chain)) == (Status.ERROR, True)
    assert [p.identifier for p in bench.device.state.profiles] == ["test.enrollment"]


def test_signatures_within_signatures_are_not_unwrapped_for_ever() -> None:
    bench = Bench()
    data = bench.profile()
    for _ in range(4):
        data = sign(data, bench.authority.identity, form="der", attributes=False)
    with pytest.raises(DeviceError):
        bench.run(install_profile(bench.device, data))
    assert bench.device.state.profiles == []


def paths(value: object, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The way to every value in a plist."""
    if here:
        yield here
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from paths(inner, (*here, key))


LEGAL = plistlib.loads(Bench().profile(payloads=(settings_payload(),)))
PATHS = list(paths(LEGAL))
MISSING = object()


@settings(max_examples=150, deadline=None)
@given(kind=st.sampled_from(KINDS), path=st.sampled_from(PATHS), value=st.one_of(st.just(MISSING), VALUES))
def test_an_enrollment_profile_with_one_thing_wrong_is_installed_or_refused_as_a_whole(
    kind: str, path: tuple[Any, ...], value: object
) -> None:
    broken = copy.deepcopy(LEGAL)
    inner = broken
    for key in path[:-1]:
        inner = inner[key]
    if value is MISSING:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    bench = Bench(kind)
    try:
        bench.run(install_profile(bench.device, plistlib.dumps(broken)))
    except DeviceError as error:
        assert error.chain
        assert (bench.device.state.profiles, bench.device.state.keychain) == ([], [])
        assert not bench.device.enrolled
    else:
        bench.later(7200)
        if bench.device.enrolled and bench.device.state.enrollment is not None:
            bench.push()
            bench.act()
            assert bench.ask("ProfileList").status is Status.ACKNOWLEDGED


def test_control_characters_in_commands_and_profiles_are_read_and_written_as_they_are() -> None:
    # Neither Apple's reader nor its writer checks characters (CFBinaryPList.c, CFPropertyList.c: _appendEscapedString),
    # so a server gets a report that no XML reader takes. The device goes on.
    bench = Bench("mac-silicon")
    bench.enroll()
    profile = plistlib.loads(managed_profile())
    profile["PayloadDisplayName"] = "Wi\x00Fi"
    bench.ask("InstallProfile", Payload=plistlib.dumps(profile, fmt=plistlib.FMT_BINARY))
    command = {"CommandUUID": "list", "Command": {"RequestType": "ProfileList", "Odd": "a\x01b"}}
    sent: list[bytes] = []

    def interfere(request: Request) -> Response:
        sent.append(request.body)
        idle = request.label == "connect:Idle"
        return Response(200, body=plistlib.dumps(command, fmt=plistlib.FMT_BINARY) if idle else b"")

    bench.server.interfere = interfere
    bench.push()
    bench.act()
    assert b"<string>Wi\x00Fi</string>" in sent[-1]
    assert bench.device.next_wake_ms() is None

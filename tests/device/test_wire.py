"""The wire, to the letter: headers and error chains of each platform and version, as real devices were seen to send them.

Which keys a message has is compared with captured messages elsewhere (docs/message-table.md).
"""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from mdmsim.device.flows.install import install_profile
from mdmsim.http import Request, Response
from mdmsim.protocol.connect import Report, Status
from tests.device.bench import Bench, managed_profile
from tests.device.life import scep_profile


def enrolled(kind: str, version: str | None = None) -> Bench:
    bench = Bench(kind, os_version=version)
    bench.enroll()
    return bench


def request_of(bench: Bench, label: str) -> Request:
    bench.push()
    bench.act()
    return next(request for request in bench.server.requests if request.label == label)


def test_an_iphone_of_18_2_1_sends_the_headers_that_were_captured_from_one() -> None:
    bench = Bench("iphone", os_version="18.2.1")
    bench.device.change(lambda work: setattr(work.state, "persona", replace(work.persona, region="US")))
    bench.run(install_profile(bench.device, bench.profile(sign_message=False)))
    first = {request.label: request for request in bench.server.requests}
    common = [
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Accept-Language", "en-US,en;q=0.9"),
        ("Cache-Control", "no-cache"),
    ]
    assert list(first["checkin:Authenticate"].headers) == [
        *common,
        ("Content-Type", "application/x-apple-aspen-mdm-checkin"),
        ("User-Agent", "MDM/1.0"),
    ]
    assert list(request_of(bench, "connect:Idle").headers) == [
        *common,
        ("Content-Type", "application/x-apple-aspen-mdm"),
        ("User-Agent", "MDM/1.0"),
    ]
    assert "Cache-Control" not in dict(first["scep:GetCACaps"].headers)


@pytest.mark.parametrize(
    ("version", "agent"),
    [
        ("10.11.6", "MDM-OSX/1.0 mdmclient/863"),
        ("10.12.6", "MDM-OSX/1.0 mdmclient/960"),
        ("10.15.7", "MDM-OSX/1.0 mdmclient/1090"),
        ("12.7.6", "MDM-OSX/1.0 mdmclient/1543"),
    ],
)
def test_a_mac_names_its_client_and_appends_the_charset(version: str, agent: str) -> None:
    request = request_of(enrolled("mac-intel", version), "connect:Idle")
    assert request.header("User-Agent") == agent
    assert request.header("Content-Type") == "application/x-apple-aspen-mdm; charset=UTF-8"


def test_the_signature_comes_in_one_line_and_only_when_the_profile_asks_for_it() -> None:
    for sign_message in (True, False):
        bench = Bench()
        bench.enroll(sign_message=sign_message)
        header = request_of(bench, "connect:Idle").header("Mdm-Signature")
        assert (header is not None) == sign_message
        assert "\n" not in (header or "")


@pytest.mark.parametrize("version", ["10.11.6", "10.12.6"])
def test_an_old_mac_sends_its_challenge_in_authenticate_and_the_request_type_in_results(version: str) -> None:
    bench = Bench("mac-intel", os_version=version)
    bench.run(install_profile(bench.device, bench.profile()))
    body = next(r.body for r in bench.server.requests if r.label == "checkin:Authenticate")
    assert b"<key>Challenge</key>\n\t<data>\n\tYXBwbGU=\n\t</data>" in body
    assert b"<key>RequestType</key>" not in request_of(bench, "connect:Idle").body


def test_a_format_error_of_an_old_mac_has_no_empty_request_type() -> None:
    bench = enrolled("mac-intel", "10.12.6")
    body = (
        b'<plist version="1.0"><dict><key>CommandUUID</key><string>u</string><key>Command</key><dict/></dict></plist>'
    )
    bench.server.interfere = lambda r: Response(200, body=body) if r.label == "connect:Idle" else None
    bench.push()
    bench.act()
    assert bench.server.reports[-1].status is Status.COMMAND_FORMAT_ERROR
    assert b"RequestType" not in bench.server.requests[-1].body


#: kind, OS version, command, its keys, and the chain that a device gives: domain, code, text, whether US English too.
CHAINS: list[tuple[str, str, str, dict[str, object], list[tuple[str, int, str, bool]]]] = [
    (
        "iphone",
        "11.3.1",
        "OSUpdateStatus",
        {},
        [("MCMDMErrorDomain", 12021, "“OSUpdateStatus” is not a valid request type.", True)],
    ),
    (
        "iphone",
        "18.1",
        "RestartDevice",
        {},
        [("MCMDMErrorDomain", 12021, "“RestartDevice” is not a valid request type.", True)],
    ),
    (
        "mac-intel",
        "10.13.1",
        "ShutdownDevice",
        {},
        [("MCMDMErrorDomain", 12021, "Unknown command: ShutdownDevice <MDMClientError:91>", False)],
    ),
    (
        "appletv",
        "18.1",
        "DeviceLock",
        {},
        [("MCMDMErrorDomain", 12021, "“DeviceLock” is not a valid request type.", True)],
    ),
    (
        "iphone",
        "18.1",
        "RemoveProfile",
        {"Identifier": "X"},
        [("MCMDMErrorDomain", 12075, "The profile “X” is not installed.", True)],
    ),
    (
        "mac-silicon",
        "15.1",
        "RemoveProfile",
        {"Identifier": "X"},
        [("MDMClientError", 89, "Profile with identifier 'X' not found.", False)],
    ),
    (
        "mac-intel",
        "10.12.6",
        "RemoveProfile",
        {},
        [("MDMClientError", 97, "No 'Identifier' in 'RemoveProfile' command <MDMClientError:97>", False)],
    ),
    (
        "mac-intel",
        "10.12.6",
        "ScheduleOSUpdate",
        {},
        [("MDMClientError", 74, "Command requires DEP enrollment: ScheduleOSUpdate <MDMClientError:74>", False)],
    ),
    (
        "mac-silicon",
        "15.1",
        "InstallProfile",
        {"Payload": b"no plist"},  # fleetdm/fleet issues 19771 and 25831
        [("NSCocoaErrorDomain", 3840, "Unexpected character n at line 1", False)],
    ),
    (
        "mac-intel",
        "12.7.6",
        "InstallProfile",
        {"Payload": scep_profile("test.broken", "scep").replace(b"<key>URL</key>", b"<key>Url</key>")},
        [
            (
                "CPProfile",
                -102,
                "The profile is either missing some required information, or contains information in an invalid format.",
                False,
            )
        ],
    ),
]


@pytest.mark.parametrize(("kind", "version", "request_type", "keys", "chain"), CHAINS)
def test_an_error_is_worded_as_that_platform_and_version_words_it(
    kind: str, version: str, request_type: str, keys: dict[str, object], chain: list[tuple[str, int, str, bool]]
) -> None:
    report: Report = enrolled(kind, version).ask(request_type, **keys)
    assert report.status is Status.ERROR
    assert [(i.domain, i.code, i.localized, i.us_english == i.localized) for i in report.error_chain] == chain


def test_a_person_s_own_profile_is_named_in_the_refusal() -> None:
    for kind, version, wanted in (
        ("iphone", "11.3.1", ("MCMDMErrorDomain", 12013, "The profile “test.own” is not managed by MDM.")),
    ):
        bench = enrolled(kind, version)
        bench.run(install_profile(bench.device, managed_profile("test.own")))
        [item] = bench.ask("RemoveProfile", Identifier="test.own").error_chain
        assert (item.domain, item.code, item.localized) == wanted


def test_a_mac_whose_scep_server_fails_reports_a_blank_and_the_number() -> None:
    bench = enrolled("mac-intel")
    bench.server.interfere = lambda r: Response(503) if r.label.startswith("scep:") else None
    [item] = bench.ask("InstallProfile", Payload=scep_profile("test.identity", "scep")).error_chain
    assert (item.domain, item.code, item.localized) == (
        "NSOSStatusErrorDomain",
        -909,
        " <NSOSStatusErrorDomain:-909>",
    )

"""Headers by platform and release, against the captured ones."""

from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.device.personas import Persona, fetch_headers, make_persona, mdm_headers, scep_headers
from mdmsim.http import find_header


def persona(kind: str, version: str | None = None, model: str | None = None) -> Persona:
    return make_persona(kind, chance=Chance(11), os_version=version, model=model)


def of_region(kind: str, region: str) -> Persona:
    chance = Chance("regions")
    while (found := make_persona(kind, chance=chance)).region != region:
        pass
    return found


def test_check_in_of_ios_is_as_captured() -> None:
    assert mdm_headers(of_region("ios", "US"), "checkin") == (
        ("Accept", "*/*"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Accept-Language", "en-US,en;q=0.9"),
        ("Cache-Control", "no-cache"),
        ("Content-Type", "application/x-apple-aspen-mdm-checkin"),
        ("User-Agent", "MDM/1.0"),
    )


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ios", "application/x-apple-aspen-mdm"),
        ("ipados", "application/x-apple-aspen-mdm"),
        ("tvos", "application/x-apple-aspen-mdm"),
        ("macos", "application/x-apple-aspen-mdm; charset=UTF-8"),
        ("intel", "application/x-apple-aspen-mdm; charset=UTF-8"),
    ],
)
def test_only_macs_append_a_charset(kind: str, expected: str) -> None:
    assert find_header(mdm_headers(persona(kind), "connect"), "Content-Type") == expected


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("10.11.6", "MDM-OSX/1.0 mdmclient/863"),
        ("10.12.6", "MDM-OSX/1.0 mdmclient/960"),
        ("10.14.6", "MDM-OSX/1.0 mdmclient/1090"),
        ("11.7.10", "MDM-OSX/1.0 mdmclient/1090"),
        ("12.7.6", "MDM-OSX/1.0 mdmclient/1543"),
    ],
)
def test_user_agent_of_macs_carries_the_captured_build(version: str, expected: str) -> None:
    assert find_header(mdm_headers(persona("mac-intel", version)), "User-Agent") == expected


@pytest.mark.parametrize(
    ("kind", "version", "expected"),
    [
        ("mac-intel", "10.11.6", "mdmclient/863 CFNetwork/760.9 Darwin/15.6.0 (x86_64)"),
        ("mac-intel", "10.12.6", "mdmclient/960 CFNetwork/811.9 Darwin/16.7.0 (x86_64)"),
        ("mac-intel", "10.15.7", "CertificateService/1 CFNetwork/1128.0.1 Darwin/19.6.0 (x86_64)"),
        ("mac-silicon", "15.1", "CertificateService/1 CFNetwork/1568.200.51 Darwin/24.1.0"),
        ("ios", "18.1", "profiled/1.0 CFNetwork/1568.200.51 Darwin/24.1.0"),
    ],
)
def test_scep_user_agent_follows_platform_and_release(kind: str, version: str, expected: str) -> None:
    assert find_header(scep_headers(persona(kind, version)), "User-Agent") == expected


def test_cache_control_is_on_mdm_requests_only() -> None:
    device = persona("ios")
    assert find_header(mdm_headers(device), "Cache-Control") == "no-cache"
    assert find_header(scep_headers(device, post=True), "Cache-Control") is None
    assert find_header(fetch_headers(device, post=True), "Cache-Control") is None


def test_a_fetch_with_a_body_is_signed_data() -> None:
    headers = fetch_headers(persona("ios"), post=True)
    assert find_header(headers, "Content-Type") == "application/pkcs7-signature"
    assert find_header(headers, "User-Agent") == "DeviceManagementClient/1.0"


def test_a_get_has_no_content_type() -> None:
    assert find_header(fetch_headers(persona("ios")), "Content-Type") is None
    assert find_header(scep_headers(persona("macos")), "Content-Type") is None


def test_language_follows_the_region() -> None:
    assert find_header(mdm_headers(of_region("ios", "GB")), "Accept-Language") == "en-GB,en;q=0.9"

"""InstallProfile, RemoveProfile, ProfileList: each effect seen through another command."""

from __future__ import annotations

import pytest

from mdmsim.device.errors import DeviceError
from mdmsim.device.flows.install import install_profile
from mdmsim.http import Request, Response
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import ScepPayload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import SERVER, Bench, managed_profile, settings_payload

KINDS = ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"]


def enrolled(kind: str, **persona: object) -> Bench:
    bench = Bench(kind, **persona)  # type: ignore[arg-type]
    bench.enroll()
    return bench


def listed(bench: Bench, **keys: object) -> list[str]:
    return [entry["PayloadIdentifier"] for entry in bench.ask("ProfileList", **keys).response["ProfileList"]]


@pytest.mark.parametrize("kind", KINDS)
def test_an_installed_profile_is_listed_and_a_removed_one_is_gone(kind: str) -> None:
    bench = enrolled(kind)
    assert bench.ask("InstallProfile", Payload=managed_profile()).status is Status.ACKNOWLEDGED
    assert listed(bench) == ["test.enrollment", "test.managed"]
    assert bench.ask("RemoveProfile", Identifier="test.managed").status is Status.ACKNOWLEDGED
    assert listed(bench) == ["test.enrollment"]


def test_a_profile_of_the_same_identifier_replaces_the_installed_one() -> None:
    bench = enrolled("iphone")
    bench.ask("InstallProfile", Payload=managed_profile(uuid="FIRST"))
    bench.ask("InstallProfile", Payload=managed_profile(uuid="SECOND"))
    entries = bench.ask("ProfileList").response["ProfileList"]
    assert [e["PayloadUUID"] for e in entries if e["PayloadIdentifier"] == "test.managed"] == ["SECOND"]


def test_a_scep_payload_in_an_installed_profile_is_really_enrolled() -> None:
    bench = enrolled("mac-silicon")
    scep = ScepPayload(url=f"{SERVER}/scep", subject=((("CN", "wifi identity"),),), key_size=2048)
    profile = build_profile(
        identifier="test.identity",
        uuid="IDENTITY-1",
        payloads=(settings_payload(), scep.to_payload(identifier="test.identity.scep", uuid="SCEP-2")),
    )
    bench.ask("InstallProfile", Payload=profile)
    names = [c["CommonName"] for c in bench.ask("CertificateList").response["CertificateList"] if c["IsIdentity"]]
    assert names == ["bench device", "wifi identity"]
    bench.ask("RemoveProfile", Identifier="test.identity")
    names = [c["CommonName"] for c in bench.ask("CertificateList").response["CertificateList"] if c["IsIdentity"]]
    assert names == ["bench device"]


def test_a_profile_whose_scep_fails_is_not_installed_at_all() -> None:
    bench = enrolled("iphone")
    scep = ScepPayload(url="https://ca.example.test/scep", key_size=2048)
    profile = build_profile(
        identifier="test.identity",
        uuid="IDENTITY-1",
        payloads=(settings_payload(), scep.to_payload(identifier="test.identity.scep", uuid="SCEP-2")),
    )

    def refuse(request: Request) -> Response | None:
        return Response(503) if request.url.startswith("https://ca.") else None

    bench.server.interfere = refuse
    report = bench.ask("InstallProfile", Payload=profile)
    assert report.status is Status.ERROR
    assert [item.code for item in report.error_chain] == [4001, 4001, 1009, 22002]
    assert listed(bench) == ["test.enrollment"]


@pytest.mark.parametrize(
    ("kind", "domain", "code"), [("iphone", "MCMDMErrorDomain", 12075), ("mac-intel", "MDMClientError", 89)]
)
def test_removing_a_profile_that_is_not_there_is_the_platforms_error(kind: str, domain: str, code: int) -> None:
    report = enrolled(kind).ask("RemoveProfile", Identifier="nowhere")
    assert [(i.domain, i.code) for i in report.error_chain] == [(domain, code)]


@pytest.mark.parametrize(
    ("kind", "domain", "code"), [("iphone", "MCMDMErrorDomain", 12013), ("mac-intel", "MDMClientError", 96)]
)
def test_a_profile_that_a_person_installed_cannot_be_removed_by_mdm(kind: str, domain: str, code: int) -> None:
    bench = enrolled(kind)
    bench.run(install_profile(bench.device, managed_profile("test.own")))
    report = bench.ask("RemoveProfile", Identifier="test.own")
    assert [(i.domain, i.code) for i in report.error_chain] == [(domain, code)]
    assert "test.own" in listed(bench)


def test_a_mac_does_not_let_mdm_replace_a_profile_that_a_person_installed() -> None:
    bench = enrolled("mac-silicon")
    bench.run(install_profile(bench.device, managed_profile("test.own")))
    report = bench.ask("InstallProfile", Payload=managed_profile("test.own", uuid="OTHER"))
    assert [(i.domain, i.code) for i in report.error_chain] == [("MDMClientError", 96)]


def test_managed_only_leaves_a_persons_own_profiles_out() -> None:
    bench = enrolled("ipad")
    bench.run(install_profile(bench.device, managed_profile("test.own")))
    bench.ask("InstallProfile", Payload=managed_profile())
    assert listed(bench, ManagedOnly=True) == ["test.enrollment", "test.managed"]


def test_profile_list_has_the_keys_that_each_platform_was_seen_to_send() -> None:
    for kind, managed, signers in (("iphone", True, False), ("mac-silicon", False, True)):
        bench = enrolled(kind)
        [entry] = bench.ask("ProfileList").response["ProfileList"]
        assert ("IsManaged" in entry, "SignerCertificates" in entry) == (managed, signers), kind


@pytest.mark.parametrize("kind", ["iphone", "mac-intel"])
@pytest.mark.parametrize("keys", [{}, {"Payload": "a string"}, {"Payload": b"junk"}])
def test_an_install_profile_that_cannot_work_changes_nothing(kind: str, keys: dict[str, object]) -> None:
    bench = enrolled(kind)
    report = bench.ask("InstallProfile", **keys)
    assert report.status in (Status.ERROR, Status.COMMAND_FORMAT_ERROR)
    assert listed(bench) == ["test.enrollment"]


def test_a_profile_that_an_enrolled_device_refuses_is_no_enrollment_that_failed() -> None:
    bench = enrolled("iphone")
    bench.ask("InstallProfile", Payload=b"no plist")
    with pytest.raises(DeviceError):
        bench.run(install_profile(bench.device, b"no plist"))
    assert bench.log.count("device.enrollment-failed") == 0


def test_a_missing_identifier_is_97_on_a_mac_and_a_format_error_on_ios() -> None:
    mac = enrolled("mac-intel").ask("RemoveProfile")
    assert [(i.domain, i.code) for i in mac.error_chain] == [("MDMClientError", 97)]
    assert enrolled("iphone").ask("RemoveProfile").status is Status.COMMAND_FORMAT_ERROR

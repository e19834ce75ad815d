"""What a real device would do with a profile and mdmsim does not: said out of band, never as a device's refusal."""

from __future__ import annotations

from typing import Any

import pytest

from mdmsim.device.errors import NotSimulated
from mdmsim.device.flows.install import install_profile
from mdmsim.protocol import plist
from mdmsim.protocol.connect import Status
from mdmsim.protocol.payloads import Payload
from mdmsim.protocol.profile import build_profile
from tests.device.bench import Bench

ACME = Payload(
    type="com.apple.security.acme",
    identifier="test.acme",
    uuid="ACME-1",
    keys={"DirectoryURL": "https://ca.example.test/acme", "ClientIdentifier": "x", "KeySize": 384},
)


@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-silicon"])
@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"enrollment_mode": "BYOD", "access_rights": None}, "User Enrollment (EnrollmentMode BYOD)"),
        ({"enrollment_mode": "BYOD"}, "User Enrollment (EnrollmentMode BYOD)"),
        ({"managed_apple_id": "ada@example.org"}, "User Enrollment (ManagedAppleID)"),
        ({"enrollment_mode": "ADDE"}, "Account-driven device enrollment (EnrollmentMode ADDE)"),
        ({"assigned_managed_apple_id": "ada@example.org"}, "Account-driven enrollment (AssignedManagedAppleID)"),
    ],
)
def test_another_kind_of_enrollment_sends_nothing_and_is_no_refusal(
    kind: str, changes: dict[str, Any], named: str
) -> None:
    # Such an enrollment has neither UDID nor serial number in its messages (authenticate.yaml), so nothing may be sent.
    bench = Bench(kind)
    with pytest.raises(NotSimulated) as stopped:
        bench.run(install_profile(bench.device, bench.profile(**changes)))
    assert (str(stopped.value), stopped.value.chain) == (f"{named} is not simulated", ())
    assert bench.server.requests == []
    assert not bench.device.enrolled
    assert bench.log.count("device.enrollment-failed") == 0
    [event] = bench.log.of("device.not-simulated")
    assert event.data == {"what": named, "profile": "test.enrollment"}


def test_an_apple_tv_does_not_know_the_keys_of_other_enrollments() -> None:
    # com.apple.mdm.yaml: EnrollmentMode and AssignedManagedAppleID are n/a on tvOS.
    bench = Bench("appletv")
    bench.enroll(enrollment_mode="ADDE")
    assert bench.device.enrolled


def test_the_first_phase_of_an_over_the_air_enrollment_is_no_bad_profile() -> None:
    bench = Bench()
    service = {
        "PayloadType": "Profile Service",
        "PayloadIdentifier": "test.ota",
        "PayloadContent": {"URL": "https://x"},
    }
    with pytest.raises(NotSimulated, match=r"Over-the-air enrollment \(Profile Service\) is not simulated"):
        bench.run(install_profile(bench.device, plist.dumps(service)))
    [event] = bench.log.of("device.not-simulated")
    assert event.data["profile"] == "test.ota"


def test_an_identity_by_active_directory_is_no_bad_reference() -> None:
    bench = Bench("mac-silicon")
    directory = Payload(type="com.apple.ADCertificate.managed", identifier="test.ad", uuid="AD-1")
    with pytest.raises(NotSimulated, match=r"An identity by com\.apple\.ADCertificate\.managed is not simulated"):
        bench.run(install_profile(bench.device, bench.profile(payloads=(directory,), identity_certificate_uuid="AD-1")))


def test_an_iphone_has_no_identity_by_active_directory_either() -> None:
    # com.apple.ADCertificate.managed.yaml: n/a on iOS.
    bench = Bench("iphone")
    bench.enroll(payloads=(Payload(type="com.apple.ADCertificate.managed", identifier="test.ad", uuid="AD-1"),))
    assert bench.log.count("device.not-simulated") == 0


@pytest.mark.parametrize("kind", ["iphone", "mac-silicon"])
def test_an_acme_payload_beside_scep_does_not_keep_a_device_from_enrolling(kind: str) -> None:
    # Layr-Labs/d-inference hands out such a profile to every Mac.
    bench = Bench(kind)
    bench.run(install_profile(bench.device, bench.profile(payloads=(ACME,))))
    assert bench.device.enrolled
    [event] = bench.log.of("device.not-simulated")
    assert event.data == {"what": "com.apple.security.acme (test.acme)", "profile": "test.enrollment"}


def test_an_installed_profile_with_an_acme_payload_is_acknowledged_and_says_what_is_missing() -> None:
    bench = Bench()
    bench.enroll()
    data = build_profile(identifier="test.other", uuid="OTHER-1", payloads=(ACME,))
    assert bench.ask("InstallProfile", Payload=data).status is Status.ACKNOWLEDGED
    [event] = bench.log.of("device.not-simulated")
    assert event.data["profile"] == "test.other"


def test_a_device_older_than_acme_does_not_know_the_payload() -> None:
    # com.apple.security.acme.yaml: introduced in iOS 16.0.
    bench = Bench(os_version="15.7")
    bench.enroll()
    data = build_profile(identifier="test.other", uuid="OTHER-1", payloads=(ACME,))
    assert bench.ask("InstallProfile", Payload=data).status is Status.ACKNOWLEDGED
    assert bench.log.count("device.not-simulated") == 0


def test_an_identity_by_acme_stops_the_enrollment_before_anything_is_sent() -> None:
    bench = Bench()
    with pytest.raises(NotSimulated, match=r"An identity by com\.apple\.security\.acme is not simulated"):
        bench.run(install_profile(bench.device, bench.profile(payloads=(ACME,), identity_certificate_uuid="ACME-1")))
    assert bench.server.requests == []
    assert bench.log.count("device.enrollment-failed") == 0


def test_a_renewal_by_acme_is_answered_without_a_reason_and_marked_as_not_simulated() -> None:
    bench = Bench()
    bench.enroll()
    renewal = bench.profile(payloads=(ACME,), identity_certificate_uuid="ACME-1")
    report = bench.ask("InstallProfile", Payload=renewal)
    assert (report.status, report.error_chain) == (Status.ERROR, ())
    assert bench.log.of("device.command-answered")[-1].data["simulated"] is False
    assert bench.log.count("device.not-simulated") == 1
    assert bench.ask("ProfileList").status is Status.ACKNOWLEDGED  # the old enrollment works on

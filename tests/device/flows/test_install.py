"""Enrollment by hand: what a device sends, keeps and undoes."""

from __future__ import annotations

import itertools

import pytest

from mdmsim.device.errors import DeviceError
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.wake import next_flow
from mdmsim.http import (
    BadAnswer,
    ConnectFailed,
    ExchangeCut,
    Request,
    Response,
    TimedOut,
    TLSFailed,
    TransportError,
)
from mdmsim.pki.certificate import public_key
from mdmsim.pki.cms import sign
from mdmsim.pki.mdm_signature import verify_header
from tests.device.bench import SERVER, TOPIC, Authenticate, Bench, TokenUpdate, managed_profile, settings_payload


def codes(error: DeviceError) -> list[int]:
    return [item.code for item in error.chain]


def answering(label: str, status: int, times: int = 99):  # type: ignore[no-untyped-def]
    left = [times]

    def interfere(request: Request) -> Response | None:
        if request.label == label and left[0]:
            left[0] -= 1
            return Response(status)
        return None

    return interfere


@pytest.mark.parametrize("kind", ["iphone", "ipad", "mac-intel", "mac-silicon", "appletv"])
def test_enrollment_takes_scep_then_authenticate_then_token_update(kind: str) -> None:
    bench = Bench(kind)
    bench.run(install_profile(bench.device, bench.profile()))
    assert bench.server.labels() == [
        "scep:GetCACaps",
        "scep:GetCACert",
        "scep:PKIOperation",
        "checkin:Authenticate",
        "checkin:TokenUpdate",
    ]
    assert bench.device.enrolled


def test_checkin_is_sent_with_the_identity_that_scep_issued() -> None:
    bench = Bench()
    bench.enroll()
    bench.push()
    bench.act()
    request = bench.server.requests[0]
    assert request.identity is not None
    header = request.header("Mdm-Signature")
    assert header is not None
    assert verify_header(header, request.body) == request.identity.certificate
    assert public_key(request.identity.certificate) is not None


def test_token_update_carries_a_push_token_of_32_bytes_and_an_unlock_token_only_on_ios() -> None:
    for kind, has_unlock_token in (("iphone", True), ("mac-silicon", False), ("appletv", False)):
        bench = Bench(kind)
        bench.enroll()
        [update] = bench.server.of(TokenUpdate)
        assert (len(update.token), update.unlock_token is not None) == (32, has_unlock_token), kind
        assert update.awaiting_configuration is False


def test_authenticate_names_the_device_only_on_a_mac() -> None:
    for kind, names in (("iphone", False), ("mac-intel", True), ("appletv", False)):
        bench = Bench(kind)
        bench.enroll()
        [message] = bench.server.of(Authenticate)
        assert (message.device_name is not None) == names, kind
        assert message.serial_number == bench.device.persona.serial


def test_authenticate_without_the_right_to_device_information_leaves_inventory_out() -> None:
    bench = Bench("iphone")
    bench.enroll(access_rights=8191 & ~16)
    [message] = bench.server.of(Authenticate)
    assert (message.serial_number, message.os_version, message.ids.udid) == (None, None, bench.device.persona.udid)


def test_a_signed_profile_is_unwrapped_and_its_signer_listed() -> None:
    bench = Bench("mac-silicon")
    signed = sign(
        bench.profile(), bench.authority.identity, form="der", attributes=True, signed_at_ms=bench.clock.now_ms()
    )
    bench.run(install_profile(bench.device, signed))
    [entry] = bench.ask("ProfileList").response["ProfileList"]
    assert entry["SignerCertificates"] == [bench.authority.certificate]


def test_certificates_and_identity_come_before_check_in_and_all_is_listed_after() -> None:
    bench = Bench("ipad")
    bench.enroll(payloads=(settings_payload(),))
    certificates = bench.ask("CertificateList").response["CertificateList"]
    assert [(c["CommonName"], c["IsIdentity"]) for c in certificates] == [("Bench CA", False), ("bench device", True)]


@pytest.mark.parametrize("status", [401, 403, 404, 410, 500])
def test_a_server_that_refuses_authenticate_leaves_the_device_as_it_was(status: int) -> None:
    bench = Bench()
    before = bench.store.load("d1")
    bench.server.interfere = answering("checkin:Authenticate", status)
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile()))
    assert codes(failure.value)[0] == 4001
    assert not bench.device.enrolled
    assert bench.device.state.keychain == []
    assert bench.device.state.profiles == []
    assert next_flow(bench.device) is None
    assert before is not None


INVALID_RESPONSE = (23001, "The server returned an invalid response.")


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (Response(500, body=b"out of order"), INVALID_RESPONSE),
        (BadAnswer("no HTTP"), INVALID_RESPONSE),
        # NSURLErrorDomain's own words.
        (ConnectFailed("mdm.example.test: refused"), (23001, "Could not connect to the server.")),
        (TimedOut("after 60 s"), (23001, "The request timed out.")),
        (ExchangeCut("after 0 bytes"), (23001, "The network connection was lost.")),
        # The log of profiled in project-imas/mdm-server issue 47.
        (TLSFailed("expired"), (23002, f"The server certificate for “{SERVER}/checkin” is invalid.")),
    ],
    ids=["500", "no-http", "refused", "late", "cut", "tls"],
)
def test_a_failed_check_in_is_told_in_apples_words(answer: Response | TransportError, cause: tuple[int, str]) -> None:
    bench = Bench()
    bench.server.interfere = lambda request: answer if request.label == "checkin:Authenticate" else None
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile()))
    inner = failure.value.chain[-1]
    assert (inner.domain, inner.code, inner.localized) == ("MCHTTPTransactionErrorDomain", *cause)


def test_a_scep_server_that_answers_401_fails_that_step_only() -> None:
    bench = Bench()
    bench.server.interfere = answering("scep:PKIOperation", 401)
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile()))
    # The log of profiled in mosen/SCEPy issue 1 (iOS 11.3).
    assert [(item.domain, item.code, item.localized) for item in failure.value.chain] == [
        ("MCInstallationErrorDomain", 4001, "Profile Installation Failed"),
        ("MCInstallationErrorDomain", 4001, "Profile Failed to Install"),
        ("MCProfileErrorDomain", 1009, "The profile “Bench enrollment” could not be installed."),
        ("MCSCEPErrorDomain", 22002, "The SCEP server returned an invalid response."),
    ]
    assert bench.log.count("device.unenrolled") == 0


def test_a_mac_reports_a_failed_scep_payload_with_the_os_status_it_was_seen_to_send() -> None:
    bench = Bench("mac-intel")
    bench.server.interfere = answering("scep:GetCACert", 500)
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile()))
    assert [(i.domain, i.code, i.us_english) for i in failure.value.chain] == [("NSOSStatusErrorDomain", -909, None)]


@pytest.mark.parametrize("topic", ["", "com.apple.mgmt.", "com.example.push"])
def test_a_malformed_topic_is_12022_and_nothing_is_sent(topic: str) -> None:
    bench = Bench()
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile(topic=topic)))
    assert 12022 in codes(failure.value)
    assert bench.server.requests == []


def test_a_second_mdm_profile_is_12001() -> None:
    bench = Bench()
    bench.enroll()
    other = bench.profile().replace(b"<string>test.enrollment</string>", b"<string>test.other</string>")
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, other))
    assert 12001 in codes(failure.value)
    assert bench.device.enrolled


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"server_url": "http://mdm.example.test/connect"}, 12034),
        ({"check_in_url": "http://mdm.example.test/checkin"}, 12034),
        ({"access_rights": 0}, 12000),
        ({"access_rights": 2}, 12000),
        ({"access_rights": 128 + 3}, 12000),
        ({"identity_certificate_uuid": "NOWHERE"}, 12016),
        ({"server_url_pinning_certificate_uuids": ("NOWHERE",)}, 12005),
    ],
)
def test_an_mdm_payload_that_cannot_work_is_refused_before_anything_is_sent(
    changes: dict[str, object], code: int
) -> None:
    bench = Bench()
    with pytest.raises(DeviceError) as failure:
        bench.run(install_profile(bench.device, bench.profile(**changes)))
    assert code in codes(failure.value)
    assert bench.server.requests == []


@pytest.mark.parametrize("data", [b"", b"not a profile", b"<plist", b"\x30\x80\x06\x09", b"bplist00" + bytes(40)])
def test_what_is_not_a_profile_fails_with_a_chain_and_sends_nothing(data: bytes) -> None:
    for kind in ("iphone", "mac-silicon"):
        bench = Bench(kind)
        with pytest.raises(DeviceError):
            bench.run(install_profile(bench.device, data))
        assert bench.server.requests == []


def test_a_lost_token_update_is_tried_again_after_a_minute_then_two() -> None:
    bench = Bench()
    tries: list[int] = []

    def interfere(request: Request) -> ConnectFailed | None:
        if request.label != "checkin:TokenUpdate":
            return None
        tries.append(bench.clock.now_ms())
        return ConnectFailed("no network") if len(tries) < 4 else None

    bench.server.interfere = interfere
    bench.enroll()
    assert bench.device.enrolled
    bench.later(3600)
    assert [round((b - a) / 1000) for a, b in itertools.pairwise(tries)] == [60, 120, 240]
    assert bench.log.count("device.enrolled") == 1


@pytest.mark.parametrize("status", [400, 403, 404, 410, 500, 503])
def test_a_plain_refusal_of_token_update_keeps_the_profile(status: int) -> None:
    bench = Bench()
    bench.server.interfere = answering("checkin:TokenUpdate", status, times=1)
    bench.enroll()
    assert bench.device.enrolled
    bench.later(120)
    assert bench.log.count("device.enrolled") == 1


def test_a_401_to_token_update_removes_the_profile() -> None:
    bench = Bench()
    bench.server.interfere = answering("checkin:TokenUpdate", 401)
    bench.enroll()
    assert not bench.device.enrolled
    assert bench.device.state.profiles == []
    assert bench.device.state.keychain == []
    [event] = bench.log.of("device.unenrolled")
    assert event.data == {"reason": "refused", "url": f"{SERVER}/checkin", "status": 401}


def test_without_a_check_in_url_check_in_goes_to_the_server_url() -> None:
    bench = Bench()
    bench.run(install_profile(bench.device, bench.profile(check_in_url=None, server_url=f"{SERVER}/checkin")))
    urls = {r.label: r.url for r in bench.server.requests if r.label.startswith("checkin")}
    assert urls == {"checkin:Authenticate": f"{SERVER}/checkin", "checkin:TokenUpdate": f"{SERVER}/checkin"}


def test_replacing_the_enrollment_profile_renews_identity_and_push_magic_and_keeps_the_push_token() -> None:
    bench = Bench()
    bench.enroll()
    first = bench.device.state.enrollment
    token, magic = bench.device.voice().push_token, bench.device.voice().push_magic
    bench.enroll()
    second = bench.device.state.enrollment
    assert first is not None
    assert second is not None
    assert first.identity.certificate != second.identity.certificate
    assert bench.device.voice().push_token == token
    assert bench.device.voice().push_magic != magic
    assert len(bench.device.state.profiles) == 1


def test_a_replacement_that_fails_keeps_the_old_enrollment_working() -> None:
    bench = Bench()
    bench.enroll()
    old = bench.device.state.enrollment
    bench.server.interfere = answering("checkin:Authenticate", 500)
    with pytest.raises(DeviceError):
        bench.enroll()
    bench.server.interfere = None
    bench.server.requests.clear()
    assert bench.ask("ProfileList").status == "Acknowledged"
    assert old is not None
    assert {r.identity.certificate for r in bench.server.requests if r.identity} == {
        bench.store.get(old.identity.certificate)
    }


def test_a_replacement_may_not_change_the_server_or_add_rights() -> None:
    bench = Bench()
    bench.enroll(access_rights=8191 & ~8)
    for changes in ({"server_url": f"{SERVER}/other"}, {"topic": TOPIC + "x"}, {"access_rights": 8191}):
        with pytest.raises(DeviceError) as failure:
            bench.run(install_profile(bench.device, bench.profile(**changes)))
        assert 12012 in codes(failure.value)


def test_a_profile_without_mdm_can_be_installed_by_hand_without_any_request() -> None:
    bench = Bench()
    bench.run(install_profile(bench.device, managed_profile()))
    assert [p.identifier for p in bench.device.state.profiles] == ["test.managed"]
    assert bench.server.requests == []

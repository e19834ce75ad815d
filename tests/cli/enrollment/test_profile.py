"""What an enrollment profile asks for, and what is told of a file that is none."""

from __future__ import annotations

import plistlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.cli.enrollment.obstacle import Stopped
from mdmsim.cli.enrollment.profile import Facts, read_facts
from mdmsim.clock import ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.cms import sign
from mdmsim.pki.keys import FreshKeys
from mdmsim.protocol.payloads import ROOT, Payload
from tests.cli.enrollment.profiles import IDENTITY, mdm, profile, scep

ENCRYPTED = plistlib.dumps(
    plistlib.loads(profile()) | {"PayloadContent": [], "IsEncrypted": True, "EncryptedPayloadContent": b"x"}
)


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority.create("Acme Lab CA", keys=FreshKeys(), clock=ManualClock(), chance=Chance(1))


def read(data: bytes, *, allow_hosts: frozenset[str] = frozenset(), code: int = 2) -> Facts:
    return read_facts(data, "enroll.mobileconfig", allow_hosts=allow_hosts, code=code)


def refusal(data: bytes, *, code: int = 2) -> Stopped:
    with pytest.raises(Stopped) as raised:
        read(data, code=code)
    return raised.value


def test_the_facts_are_those_of_the_mdm_payload() -> None:
    facts = read(profile())
    assert (facts.name, facts.organization, facts.signer) == ("Acme MDM", "Acme", None)
    assert facts.server_url == "https://mdm.example.com/connect"
    assert facts.checkin_url == "https://mdm.example.com/checkin"
    assert facts.topic == "com.apple.mgmt.External.test"


def test_checkin_goes_to_the_server_url_where_there_is_no_other() -> None:
    assert read(profile(scep(), mdm(CheckInURL=None))).checkin_url == "https://mdm.example.com/connect"


def test_a_signed_profile_names_its_signer(authority: Authority) -> None:
    signed = sign(profile(), authority.client_identity("Acme Signer"), form="der", attributes=True)
    assert read(signed).signer == "CN=Acme Signer"


def test_certificates_that_the_profile_carries_are_named(authority: Authority) -> None:
    uuid = "44444444-4444-4444-8444-444444444444"
    root = Payload(type=ROOT, identifier="test.root", uuid=uuid, keys={"PayloadContent": authority.certificate})
    assert read(profile(root, scep(), mdm())).carries == ("CN=Acme Lab CA",)


def test_the_size_of_the_identitys_key_is_known() -> None:
    assert read(profile(scep(Keysize=4096), mdm())).key_bits == 4096


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b"<!DOCTYPE html><html><head><title>Sign in</title>", 'it is a web page ("Sign in"), not a profile'),
        (b"<HTML>", "it is a web page, not a profile"),
        (b"hello", "it is no enrollment profile"),
        (b'{"error": "no"}', "it is no enrollment profile"),
        (profile(scep()), "no MDM payload (com.apple.mdm) in the profile; it holds com.apple.security.scep"),
    ],
)
def test_what_no_device_could_enrol_with_is_told_in_the_users_terms(data: bytes, says: str) -> None:
    stopped = refusal(data)
    assert str(stopped).startswith("enroll.mobileconfig: ")
    assert says in str(stopped)
    assert stopped.obstacle.advice
    assert stopped.code == 2


def test_an_over_the_air_enrollment_is_not_simulated_and_no_mistake() -> None:
    stopped = refusal(plistlib.dumps({"PayloadType": "Profile Service", "PayloadContent": {}}))
    assert "over-the-air enrollment (Profile Service), which is not simulated" in str(stopped)
    assert stopped.code == 3


def test_a_bad_profile_from_a_url_is_the_servers_mistake() -> None:
    assert refusal(b"", code=1).code == 1


@pytest.mark.parametrize(
    ("data", "unread"),
    [
        (plistlib.dumps({"a": 1}), "PayloadType"),
        (profile()[:400], "not closed"),
        (profile(scep(), mdm(Topic=None)), "Topic"),
        (ENCRYPTED, "encrypted for one device"),
    ],
)
def test_a_profile_that_cannot_be_read_whole_is_left_to_the_device(data: bytes, unread: str) -> None:
    facts = read(data)
    assert unread in (facts.unread or "")
    assert facts.server_url is None


def test_a_signature_that_does_not_hold_is_left_to_the_device(authority: Authority) -> None:
    signed = sign(profile(), authority.client_identity("x"), form="der", attributes=True)
    assert "signature is not good" in (read(signed.replace(b"Acme MDM", b"Evil MDM")).unread or "")


@pytest.mark.parametrize("url", ["http://mdm.example.com/mdm", "https://[::1"])
def test_a_url_that_a_device_does_not_take_is_left_to_the_device(url: str) -> None:
    assert read(profile(scep(), mdm(ServerURL=url))).server_url == url


def test_apples_hosts_are_refused_unless_named() -> None:
    data = profile(scep(), mdm(ServerURL="https://mdmenrollment.apple.com/mdm"))
    assert "--allow-host mdmenrollment.apple.com" in str(refusal(data))
    assert "Apple's" in str(refusal(profile(scep(), mdm(Topic=None, ServerURL="https://MDM.apple.com/"))))
    assert read(data, allow_hosts=frozenset({"mdmenrollment.apple.com"}))


def test_an_identity_that_is_not_simulated_is_left_to_the_device() -> None:
    identity = Payload(type="com.apple.security.acme", identifier="test.acme", uuid=IDENTITY)
    assert read(profile(identity, mdm())).server_url is not None


def test_an_identity_may_come_as_pkcs12() -> None:
    identity = Payload(
        type="com.apple.security.pkcs12", identifier="test.p12", uuid=IDENTITY, keys={"PayloadContent": b"x"}
    )
    assert read(profile(identity, mdm())).carries == ()


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_no_bytes_raise_anything_else(data: bytes) -> None:
    try:
        assert read(data).unread
    except Stopped:
        pass


@given(st.integers(0, 2000), st.binary(min_size=1, max_size=4))
@settings(max_examples=80, deadline=None)
def test_no_damaged_profile_raises_anything_else(place: int, damage: bytes) -> None:
    data = profile()
    place %= len(data)
    try:
        read(data[:place] + damage + data[place + len(damage) :])
    except Stopped:
        pass

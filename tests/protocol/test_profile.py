from __future__ import annotations

import plistlib
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import plist
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.payloads import PEM, PKCS12, ROOT
from mdmsim.protocol.profile import (
    CertificatePayload,
    MdmPayload,
    Payload,
    ScepPayload,
    build_profile,
    parse_profile,
    profile_of,
)

MDM = MdmPayload(
    topic="com.apple.mgmt.External.0f1e2d3c",
    server_url="https://mdm.example.org/mdm",
    identity_certificate_uuid="SCEP-UUID",
    check_in_url="https://mdm.example.org/checkin",
    access_rights=8191,
    sign_message=True,
    check_out_when_removed=True,
    server_capabilities=("com.apple.mdm.bootstraptoken",),
    check_in_url_pinning_certificate_uuids=("ROOT-UUID",),
)
SCEP = ScepPayload(
    url="https://mdm.example.org/scep",
    name="Example CA",
    subject=((("O", "Example"),), (("CN", "Device"), ("2.5.4.5", "C02X"))),
    challenge="hush-hush",
    key_size=2048,
    key_usage=5,
    retries=1,
    subject_alt_name={"dNSName": ("a.example.org", "b.example.org"), "rfc822Name": ("ada@example.org",)},
)
IDENTITY = CertificatePayload(type=PKCS12, content=b"PKCS", password="hush-hush", file_name="id.p12")
PAYLOADS = (
    CertificatePayload(type=ROOT, content=b"0\x82DER").to_payload(identifier="org.example.root", uuid="ROOT-UUID"),
    SCEP.to_payload(identifier="org.example.scep", uuid="SCEP-UUID", display_name="Identity"),
    MDM.to_payload(identifier="org.example.mdm", uuid="MDM-UUID"),
)


def profile(**keys: Any) -> dict[str, Any]:
    """A legal profile with one thing changed; None takes a key away."""
    whole = {
        "PayloadType": "Configuration",
        "PayloadIdentifier": "org.example",
        "PayloadUUID": "PROFILE-UUID",
        "PayloadVersion": 1,
        "PayloadContent": [payload.to_plist() for payload in PAYLOADS],
    } | keys
    return {key: value for key, value in whole.items() if value is not None}


def mdm(**keys: Any) -> Payload:
    whole = {**PAYLOADS[2].keys, **keys}
    return Payload(
        type="com.apple.mdm", identifier="i", uuid="u", keys={k: v for k, v in whole.items() if v is not None}
    )


def scep(**keys: Any) -> Payload:
    """A legal SCEP payload with keys of its PayloadContent changed; blanks in names are written as underscores."""
    content = {"URL": "https://x", **{key.replace("_", " "): value for key, value in keys.items()}}
    content = {key: value for key, value in content.items() if value is not None}
    return Payload(type="com.apple.security.scep", identifier="i", uuid="u", keys={"PayloadContent": content})


def test_a_profile_comes_back_as_it_went() -> None:
    parsed = parse_profile(
        build_profile(
            identifier="org.example",
            uuid="PROFILE-UUID",
            payloads=PAYLOADS,
            display_name="Enrollment",
            organization="Example",
            description="For tests",
            removal_disallowed=True,
            scope="System",
            extra={"ConsentText": {"default": "Yes?"}},
        )
    )
    assert parsed.payloads == PAYLOADS
    assert (parsed.identifier, parsed.uuid, parsed.version) == ("org.example", "PROFILE-UUID", 1)
    assert (parsed.display_name, parsed.organization, parsed.description) == ("Enrollment", "Example", "For tests")
    assert (parsed.removal_disallowed, parsed.scope) == (True, "System")
    assert parsed.raw["ConsentText"] == {"default": "Yes?"}


def test_a_foreign_reader_finds_the_keys_of_the_schema() -> None:
    theirs = plistlib.loads(build_profile(identifier="org.example", uuid="PROFILE-UUID", payloads=PAYLOADS))
    assert theirs == profile()


@pytest.mark.parametrize(
    "view", [MDM, SCEP, IDENTITY, CertificatePayload(type=ROOT, content=b"DER")], ids=lambda v: type(v).__name__
)
def test_a_view_comes_back_from_its_payload(view: MdmPayload | ScepPayload | CertificatePayload) -> None:
    assert type(view).of(view.to_payload(identifier="i", uuid="u")) == view


@pytest.mark.parametrize(("value", "read"), [("system", "System"), ("User", "User"), ("Device", None), (7, None)])
def test_a_scope_is_read_in_any_case_and_refused_in_none(value: object, read: str | None) -> None:
    # A key of macOS alone (TopLevel.yaml); rtrouton/privacy_preferences_control_profiles writes "system".
    assert profile_of(profile(PayloadScope=value)).scope == read


@pytest.mark.parametrize("value", [1.0, True])
def test_a_version_may_be_any_whole_number_as_other_keys_may(value: object) -> None:
    parsed = profile_of(
        profile(PayloadVersion=value, PayloadContent=[{**PAYLOADS[0].to_plist(), "PayloadVersion": value}])
    )
    assert (parsed.version, parsed.payloads[0].version) == (1, 1)


@pytest.mark.parametrize("value", [None, "1", 1.5, float("nan")])
def test_a_version_that_is_no_integer_is_left_to_the_device(value: object) -> None:
    # macOS takes such profiles (microsoft/mdatp-xplat issue 257), iOS does not (mosen/profiledocs pull request 8).
    content = [{k: v for k, v in ({**PAYLOADS[0].to_plist(), "PayloadVersion": value}).items() if v is not None}]
    parsed = profile_of(profile(PayloadVersion=value, PayloadContent=content))
    assert (parsed.version, parsed.payloads[0].version, parsed.payloads[0].to_plist()) == (None, None, content[0])


def test_payloads_are_found_by_type_and_uuid() -> None:
    parsed = profile_of(profile())
    assert parsed.of_type("com.apple.mdm") == (PAYLOADS[2],)
    assert (parsed.payload("SCEP-UUID"), parsed.payload("other")) == (PAYLOADS[1], None)


def test_an_encrypted_profile_has_no_payloads() -> None:
    parsed = profile_of(profile(PayloadContent=None, EncryptedPayloadContent=b"CMS", IsEncrypted=True))
    assert (parsed.payloads, parsed.encrypted, parsed.is_encrypted) == ((), b"CMS", True)


def test_removal_times_are_read() -> None:
    at = datetime(2026, 1, 31, tzinfo=UTC)
    parsed = profile_of(profile(RemovalDate=at, DurationUntilRemoval=3600))
    assert (parsed.removal_date, parsed.duration_until_removal) == (at, 3600.0)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"PayloadType": "com.apple.mdm"}, "profile: PayloadType is 'com.apple.mdm'; a profile's is Configuration"),
        ({"PayloadIdentifier": None}, "profile: PayloadIdentifier is missing; it must be a string"),
        ({"PayloadUUID": 5}, "profile: PayloadUUID is an integer; it must be a string"),
        ({"PayloadContent": None}, "profile: PayloadContent is missing; it must be an array of dictionaries"),
        ({"PayloadContent": {}}, "profile: PayloadContent is a dictionary; it must be an array"),
        ({"PayloadContent": [1]}, "profile: PayloadContent[0] is an integer; it must be a dictionary"),
        (
            {"PayloadContent": [{"PayloadType": "x"}]},
            "profile: PayloadContent[0].PayloadIdentifier is missing; it must be a string",
        ),
        ({"PayloadRemovalDisallowed": "yes"}, "profile: PayloadRemovalDisallowed is a string; it must be a boolean"),
        ({"RemovalDate": "2026"}, "profile: RemovalDate is a string; it must be a date"),
        ({"DurationUntilRemoval": True}, "profile: DurationUntilRemoval is a boolean; it must be a real"),
    ],
)
def test_a_bad_profile_names_the_key(changed: dict[str, Any], said: str) -> None:
    with pytest.raises(Malformed) as caught:
        parse_profile(plist.dumps(profile(**changed)))
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (mdm(ServerURL=None), "payload com.apple.mdm: ServerURL is missing; it must be a string"),
        (mdm(Topic=None), "payload com.apple.mdm: Topic is missing; it must be a string"),
        (mdm(IdentityCertificateUUID=""), "payload com.apple.mdm: IdentityCertificateUUID is empty; it must be a string of at least one byte"),
        (mdm(AccessRights="8191"), "payload com.apple.mdm: AccessRights is a string; it must be an integer"),
        (mdm(SignMessage="1"), "payload com.apple.mdm: SignMessage is a string; it must be a boolean"),
        (mdm(ServerCapabilities="x"), "payload com.apple.mdm: ServerCapabilities is a string; it must be an array"),
        (mdm(ServerCapabilities=["x", 1]), "payload com.apple.mdm: ServerCapabilities[1] is an integer; it must be a string"),
        (mdm(EnrollmentMode="byod"), "payload com.apple.mdm: EnrollmentMode is 'byod'; allowed are BYOD and ADDE"),
        (PAYLOADS[0], "payload: PayloadType is 'com.apple.security.root'; needed is com.apple.mdm"),
    ],
)  # fmt: skip
def test_a_bad_mdm_payload_names_the_key(payload: Payload, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        MdmPayload.of(payload)
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (scep(URL=None), "PayloadContent.URL is missing; it must be a string"),
        (scep(Keysize=512), "PayloadContent.Keysize is 512; allowed are 1024, 2048 and 4096"),
        (scep(Keysize="2048"), "PayloadContent.Keysize is a string; it must be an integer"),
        (scep(Challenge=1), "PayloadContent.Challenge is an integer; it must be a string"),
        (scep(Subject="CN=x"), "PayloadContent.Subject is a string; it must be an array"),
        (scep(Subject=[["CN", "x"]]), "PayloadContent.Subject[0] must be an array of pairs of strings"),
        (scep(Subject=["CN"]), "PayloadContent.Subject[0] must be an array of pairs of strings"),
        (scep(Subject=[[["CN", 1]]]), "PayloadContent.Subject[0] must be an array of pairs of strings"),
        (scep(SubjectAltName={"dNSName": 1}), "PayloadContent.SubjectAltName.dNSName is an integer"),
        (scep(CAFingerprint="00"), "PayloadContent.CAFingerprint is a string; it must be data"),
        (scep(Retries=-1), "PayloadContent.Retries is -1; allowed is 0 or more"),
        (Payload(type="com.apple.security.scep", identifier="i", uuid="u"), "PayloadContent is missing; it must be a dictionary"),
    ],
)  # fmt: skip
def test_a_bad_scep_payload_names_the_key(payload: Payload, said: str) -> None:
    with pytest.raises(Malformed) as caught:
        ScepPayload.of(payload)
    assert str(caught.value).startswith(f"payload com.apple.security.scep: {said}")


def test_scep_defaults_are_the_schemas() -> None:
    view = ScepPayload.of(scep())
    assert (view.key_size, view.key_type, view.key_usage, view.retries, view.retry_delay) == (1024, "RSA", 0, 3, 10)
    assert view.key_is_extractable


@pytest.mark.parametrize(
    "keys",
    [
        {"Keysize": 2048, "Key_Type": "RSA", "Key_Usage": 5},
        {"KeySize": 2048, "KeyType": "RSA", "KeyUsage": 5},
        {"Key_Size": 2048, "Keytype": "RSA", "Keyusage": 5},
    ],
)
def test_scep_keys_are_read_in_every_spelling(keys: dict[str, Any]) -> None:
    view = ScepPayload.of(scep(**keys))
    assert (view.key_size, view.key_type, view.key_usage, view.extra) == (2048, "RSA", 5, {})


def test_one_relative_name_may_hold_several_pairs() -> None:
    assert ScepPayload.of(scep(Subject=[[["CN", "a"], ["OU", "b"]], []])).subject == ((("CN", "a"), ("OU", "b")), ())


def test_without_a_check_in_url_check_in_goes_to_the_server_url() -> None:
    assert MdmPayload.of(mdm(CheckInURL=None)).effective_check_in_url == "https://mdm.example.org/mdm"


def test_absent_access_rights_are_none() -> None:
    assert MdmPayload.of(mdm(AccessRights=None)).access_rights is None


def test_an_empty_topic_is_left_to_the_device() -> None:
    assert MdmPayload.of(mdm(Topic="")).topic == ""


@pytest.mark.parametrize("thing", [SCEP, IDENTITY, SCEP.to_payload(identifier="i", uuid="u"), profile_of(profile())])
def test_challenge_and_password_stay_out_of_repr(thing: object) -> None:
    assert "hush" not in repr(thing)


PEM_TEXT = b"Bag\n-----BEGIN CERTIFICATE-----\r\nMII=\r\n-----END CERTIFICATE-----\n"


@pytest.mark.parametrize(
    ("kind", "content", "der"), [(ROOT, b"\x30DER", b"\x30DER"), (PEM, PEM_TEXT, b"0\x82"), (ROOT, PEM_TEXT, b"0\x82")]
)
def test_certificates_come_out_as_der(kind: str, content: bytes, der: bytes) -> None:
    assert CertificatePayload(type=kind, content=content).der == der


@pytest.mark.parametrize(
    "view",
    [
        CertificatePayload(type=PEM, content=b"\x30DER"),
        CertificatePayload(type=PEM, content=PEM_TEXT.replace(b"MII=", b"MII")),
        IDENTITY,
    ],
)
def test_what_holds_no_certificate_is_malformed(view: CertificatePayload) -> None:
    with pytest.raises(Malformed):
        _ = view.der


values = st.one_of(
    st.text("ab", max_size=2),
    st.binary(max_size=2),
    st.booleans(),
    st.integers(-3, 3),
    st.lists(st.text("a", max_size=1)),
    st.just({}),
)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([MdmPayload, ScepPayload, CertificatePayload]), st.data())
def test_whatever_a_payload_holds_nothing_but_malformed_is_raised(view: Any, data: st.DataObject) -> None:
    base = {MdmPayload: mdm(), ScepPayload: scep(), CertificatePayload: IDENTITY.to_payload(identifier="i", uuid="u")}[
        view
    ]
    inner = view is ScepPayload
    keys = dict(base.keys["PayloadContent"] if inner else base.keys)
    for key in data.draw(
        st.lists(
            st.sampled_from([*keys, "Subject", "SubjectAltName", "Keysize", "Password", "SignMessage"]), max_size=3
        )
    ):
        keys[key] = data.draw(values)
    try:
        view.of(Payload(type=base.type, identifier="i", uuid="u", keys={"PayloadContent": keys} if inner else keys))
    except Malformed as error:
        assert error.key


@pytest.mark.parametrize("seconds", ["nan", "inf"])
def test_a_duration_that_is_no_number_of_seconds_is_malformed(seconds: str) -> None:
    body = plist.dumps(profile(DurationUntilRemoval=0.0)).replace(b"<real>0.0<", f"<real>{seconds}<".encode())
    with pytest.raises(Malformed, match="DurationUntilRemoval is"):
        parse_profile(body)

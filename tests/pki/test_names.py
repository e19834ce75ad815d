"""Distinguished names from payloads and for people."""

from __future__ import annotations

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.errors import MalformedName
from mdmsim.pki.keys import FreshKeys, public_key_of
from mdmsim.pki.names import (
    NO_NAME,
    common_name,
    issuer_text,
    name,
    subject_from_payload,
    subject_text,
    subject_to_payload,
    text,
)

from .conftest import OpenSSL

PAYLOAD = [[["C", "US"]], [["O", "Acme, Inc."], ["OU", "Lab"]], [["2.5.4.5", "C02X"]], [["CN", "mac"]]]


def test_order_and_multi_valued_rdns_are_kept() -> None:
    subject = subject_from_payload(PAYLOAD)
    assert [sorted(a.value for a in rdn) for rdn in subject.rdns] == [["US"], ["Acme, Inc.", "Lab"], ["C02X"], ["mac"]]


def test_a_payloads_subject_is_given_back() -> None:
    again = subject_to_payload(subject_from_payload(PAYLOAD))
    assert [sorted(rdn) for rdn in again] == [sorted(rdn) for rdn in PAYLOAD]


def test_a_name_for_people_has_its_most_specific_part_first() -> None:
    subject = name("Acme Lab CA", organization="Acme, Inc.", serial_number="7", user_id="u", country="DE")
    assert text(subject) == r"CN=Acme Lab CA, serialNumber=7, UID=u, O=Acme\, Inc., C=DE"
    assert text(x509.Name([])) == NO_NAME


def test_subject_and_issuer_of_a_certificate(identity: Identity) -> None:
    assert subject_text(identity.certificate) == "CN=iphone-01"
    assert issuer_text(identity.certificate) == "CN=Acme Lab CA, O=Acme"
    assert common_name(identity.certificate) == "iphone-01"


def test_a_certificate_without_a_subject_has_no_common_name(authority: Authority) -> None:
    certificate = authority.issue_client(x509.Name([]), public_key=public_key_of(FreshKeys().take_ec()))
    assert common_name(certificate) is None
    assert subject_text(certificate) == NO_NAME


@pytest.mark.interop
def test_openssl_reads_the_payloads_subject(openssl: OpenSSL, authority: Authority) -> None:
    subject = subject_from_payload(PAYLOAD)
    certificate = authority.issue_client(subject, public_key=public_key_of(FreshKeys().take_ec()))
    printed = openssl("x509", "-in", "pem", "-noout", "-subject", pem=to_pem(certificate)).decode()
    assert printed.strip() in (
        'subject=C = US, O = "Acme, Inc." + OU = Lab, serialNumber = C02X, CN = mac',
        'subject=C = US, OU = Lab + O = "Acme, Inc.", serialNumber = C02X, CN = mac',
    )


def test_values_that_x520_would_not_allow_are_sent_as_a_device_does() -> None:
    subject = subject_from_payload([[["C", "Germany"]], [["CN", "x" * 200]]])
    assert subject.get_attributes_for_oid(NameOID.COUNTRY_NAME)[0].value == "Germany"


@pytest.mark.parametrize(
    ("value", "tag"),
    [
        ("Lab 7 '()+,-./:=?", asn1.PRINTABLE_STRING),
        ("", asn1.PRINTABLE_STRING),
        ("ASSET_0001", asn1.IA5_STRING),
        ("%SerialNumber%", asn1.IA5_STRING),
        ("Lab\n", asn1.IA5_STRING),
        ("Zürich", asn1.UTF8_STRING),
    ],
)
@pytest.mark.parametrize("oid", ["CN", "C", "2.5.4.5", "2.5.4.45", "2.5.4.46", "1.2.840.113549.1.9.1", "1.2.3"])
def test_the_string_type_follows_the_value_whatever_the_attribute(oid: str, value: str, tag: int) -> None:
    # apple-open-source/macos, Security/OSX/sec/Security/SecCertificateRequest.c, make_nss_atv.
    encoded = value.encode()
    assert subject_from_payload([[[oid, value]]]).public_bytes().endswith(bytes((tag, len(encoded))) + encoded)


def test_a_value_that_is_no_text_is_refused_in_plain_words() -> None:
    with pytest.raises(MalformedName, match=r"Subject\[0\]\[0\]: the value is not Unicode text"):
        subject_from_payload([[["CN", "\ud800"]]])


@pytest.mark.parametrize(
    ("value", "where"),
    [
        ("CN=x", r"Subject: an array"),
        ({}, r"Subject: an array"),
        (["CN"], r"Subject\[0\]: an array"),
        ([[]], r"Subject\[0\]: an array"),
        ([["CN", "x"]], r"Subject\[0\]\[0\]: a pair"),
        ([[["CN", "x"]], [["CN"]]], r"Subject\[1\]\[0\]: a pair"),
        ([[["CN", 5]]], r"Subject\[0\]\[0\]: name and value are strings, not a string and an integer"),
        ([[["XY", "x"]]], r"'XY' is neither one of C, L, ST, O, OU, CN nor a dotted OID"),
        ([[["9.9", "x"]]], r"neither one of"),
        ([[["cn", "x"]]], r"neither one of"),
        ([[["CN", "x"], ["CN", "x"]]], r"twice in one RDN"),
        ([[[["CN", "x"]]]], r"Subject\[0\]\[0\]: a pair of name and value is needed, not an array of 1"),
    ],
)
def test_a_wrong_subject_says_where_and_what(value: object, where: str) -> None:
    with pytest.raises(MalformedName, match=where) as error:
        subject_from_payload(value)
    assert error.value.key == "Subject"


def test_macos_reads_through_one_level_too_many() -> None:
    assert subject_from_payload([[[["CN", "x"]], [["O", "y"]]]], lenient=True) == subject_from_payload(
        [[["CN", "x"]], [["O", "y"]]]
    )


def test_being_lenient_changes_nothing_about_a_correct_subject() -> None:
    assert subject_from_payload(PAYLOAD, lenient=True) == subject_from_payload(PAYLOAD)
    assert subject_from_payload([[["CN", "x"]]], lenient=True) == subject_from_payload([[["CN", "x"]]])


def test_a_name_that_is_too_long_is_refused() -> None:
    with pytest.raises(MalformedName, match=r"common name 'xxx.*has 65 bytes, allowed are 1 to 64"):
        name("x" * 65)


JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["CN", "O", "2.5.4.5", "1.2.840.113549.1.9.1"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=12,
)


@given(JSON, st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_value_is_a_name_or_a_typed_error(value: object, lenient: bool) -> None:
    try:
        subject_from_payload(value, lenient=lenient).public_bytes()
    except MalformedName:
        pass


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["C", "L", "ST", "O", "OU", "CN", "2.5.4.5", "1.2.3"]), st.text(max_size=80)).map(
                list
            ),
            min_size=1,
            max_size=3,
        ),
        max_size=4,
    )
)
@settings(max_examples=100, deadline=None)
def test_any_subject_of_the_right_shape_can_be_encoded(value: list[list[list[str]]]) -> None:
    try:
        subject = subject_from_payload(value)
        subject.public_bytes()
    except MalformedName:
        return
    assert [sorted(rdn) for rdn in subject_to_payload(subject)] == [sorted(rdn) for rdn in value]

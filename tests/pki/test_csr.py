"""Certificate requests, against openssl in both directions."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.pki.csr import build_csr, parse_csr, san_from_payload
from mdmsim.pki.errors import MalformedCSR, MalformedName
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of
from mdmsim.pki.names import name, subject_from_payload, text

from .conftest import OpenSSL
from .mangling import mangled

SUBJECT = name("mac-01", organization="Acme", country="US")


@pytest.fixture(scope="module")
def key(keys: SharedKeys) -> bytes:
    return keys.take()


@pytest.fixture(scope="module")
def legal(key: bytes) -> bytes:
    san = san_from_payload({"dNSName": "mac-01.acme.test", "ntPrincipalName": "anna@acme.test"})
    return build_csr(key, SUBJECT, challenge="sésame", san=san, key_usage=5)


@pytest.mark.interop
def test_openssl_reads_everything_that_we_asked_for(openssl: OpenSSL, legal: bytes) -> None:
    printed = openssl("req", "-inform", "DER", "-in", "csr", "-verify", "-noout", "-text", csr=legal).decode()
    for expected in (
        "Subject: C = US, O = Acme, CN = mac-01",
        "challengePassword",
        "Digital Signature, Key Encipherment",
        "DNS:mac-01.acme.test",
        "othername: UPN::anna@acme.test",
        "sha256WithRSAEncryption",
    ):
        assert expected in printed


@pytest.mark.interop
def test_openssl_finds_no_challenge_where_there_is_none(openssl: OpenSSL, key: bytes) -> None:
    csr = build_csr(key, SUBJECT)
    printed = openssl("req", "-inform", "DER", "-in", "csr", "-verify", "-noout", "-text", csr=csr).decode()
    assert "challengePassword" not in printed
    assert re.search(r"X509v3 Key Usage: critical\n +Digital Signature\n", printed)


@pytest.mark.interop
@pytest.mark.parametrize(
    ("kind", "digest"),
    [("rsa:1024", "sha1"), ("rsa:2048", "sha1"), ("rsa:2048", "sha256"), ("ec", "sha256"), ("ec", "sha512")],
)
def test_we_read_what_openssl_asks_for(openssl: OpenSSL, kind: str, digest: str) -> None:
    curve = ("-pkeyopt", "ec_paramgen_curve:P-256") if kind == "ec" else ()
    config = b"""[req]
prompt = no
distinguished_name = dn
attributes = attributes
req_extensions = extensions
[dn]
CN = from openssl
[attributes]
challengePassword = open sesame
[extensions]
keyUsage = digitalSignature
subjectAltName = DNS:a.test
"""
    request = ("req", "-new", "-newkey", kind, *curve, "-nodes", "-keyout", "key", f"-{digest}", "-config", "config")
    found = parse_csr(openssl(*request, "-outform", "DER", config=config))
    assert (text(found.subject), found.challenge) == ("CN=from openssl", "open sesame")
    assert (found.signing, found.key_encipherment) == (True, False)
    assert found.san is not None and found.san.get_values_for_type(x509.DNSName) == ["a.test"]


def test_what_we_ask_for_is_read_back(key: bytes, legal: bytes) -> None:
    found = parse_csr(legal)
    assert (found.subject, found.public_key, found.challenge) == (SUBJECT, public_key_of(key), "sésame")
    assert (found.signing, found.key_encipherment) == (True, True)


@pytest.mark.parametrize(("bits", "wanted"), [(0, (True, False)), (1, (True, False)), (4, (False, True))])
def test_the_payloads_key_usage_bits(key: bytes, bits: int, wanted: tuple[bool, bool]) -> None:
    found = parse_csr(build_csr(key, SUBJECT, key_usage=bits))
    assert (found.signing, found.key_encipherment) == wanted


def test_an_empty_subject_is_allowed(key: bytes) -> None:
    assert parse_csr(build_csr(key, subject_from_payload([]))).subject == x509.Name([])


def test_multi_valued_rdns_stay_together(key: bytes) -> None:
    subject = subject_from_payload([[["O", "Acme"], ["OU", "Lab"]], [["CN", "x"]]])
    assert [len(list(rdn)) for rdn in parse_csr(build_csr(key, subject)).subject.rdns] == [2, 1]


def test_a_request_for_another_key_is_refused(legal: bytes, key: bytes) -> None:
    """Proof of possession: the key in the request must have signed it."""
    other = public_key_of(FreshKeys().take())
    with pytest.raises(MalformedCSR, match="its own signature is wrong"):
        parse_csr(legal.replace(public_key_of(key), other))


def test_alternative_names_take_strings_and_arrays() -> None:
    san = san_from_payload(
        {"rfc822Name": ["a@b.test", "c@d.test"], "uniformResourceIdentifier": "urn:x", "dNSName": []}
    )
    assert san is not None
    assert san.get_values_for_type(x509.RFC822Name) == ["a@b.test", "c@d.test"]
    assert san.get_values_for_type(x509.UniformResourceIdentifier) == ["urn:x"]


def test_alternative_names_take_the_tuples_of_a_scep_payload(key: bytes) -> None:
    names = {"dNSName": ("a.test", "b.test"), "ntPrincipalName": ("anna@acme.test",)}
    found = parse_csr(build_csr(key, SUBJECT, san=san_from_payload(names))).san
    assert found is not None
    assert found.get_values_for_type(x509.DNSName) == ["a.test", "b.test"]
    assert [each.value for each in found.get_values_for_type(x509.OtherName)] == [b"\x0c\x0eanna@acme.test"]


def test_keys_of_alternative_names_are_read_without_regard_to_case() -> None:
    # Apple, SecCertificateRequest.c, make_general_names: CFStringCompare with kCFCompareCaseInsensitive.
    san = san_from_payload({"DNSName": "a.test", "dnsname": "b.test", "RFC822NAME": "a@b.test"})
    assert san is not None
    assert san.get_values_for_type(x509.DNSName) == ["a.test", "b.test"]
    assert san.get_values_for_type(x509.RFC822Name) == ["a@b.test"]


def test_no_alternative_names_are_none() -> None:
    assert san_from_payload({}) is None
    assert san_from_payload({"dNSName": "", "rfc822Name": []}) is None


def test_alternative_names_that_apples_client_cannot_encode_are_left_out() -> None:
    # The same function: unknown keys, and names that are not ASCII, are passed over without an error.
    assert san_from_payload({"dNSName": "münchen.test", "iPAddress": "127.0.0.1"}) is None
    principal = san_from_payload({"ntPrincipalName": "jürgen@acme.test", "dNSName": ["münchen.test", "a.test"]})
    assert principal is not None
    assert len(list(principal)) == 2, "a principal name is UTF-8"


def test_an_alternative_name_is_sent_as_it_stands(key: bytes) -> None:
    san = san_from_payload({"rfc822Name": "Anna <anna@acme.test>", "uniformResourceIdentifier": "no uri"})
    found = parse_csr(build_csr(key, SUBJECT, san=san)).san
    assert found is not None and [each.value for each in found] == ["Anna <anna@acme.test>", "no uri"]


@pytest.mark.parametrize(
    ("value", "kind"), [({"dNSName": 5}, "an integer"), ({"rfc822Name": ["a", {}]}, "a dictionary")]
)
def test_wrong_alternative_names_name_the_key(value: dict[str, object], kind: str) -> None:
    with pytest.raises(MalformedName, match=f"SubjectAltName.{next(iter(value))}: a string is needed, not {kind}"):
        san_from_payload(value)


@pytest.mark.interop
def test_openssl_sees_the_string_types_that_apples_client_chooses(openssl: OpenSSL, key: bytes) -> None:
    values = {"CN": "Lab", "2.5.4.5": "ASSET_0001", "2.5.4.46": "%x%", "C": "Köln", "1.2.840.113549.1.9.1": "e"}
    subject = subject_from_payload([[[oid, value]] for oid, value in values.items()])
    csr = build_csr(key, subject, challenge="open sesame")
    printed = openssl("asn1parse", "-inform", "DER", "-in", "csr", csr=csr).decode()
    found = [line.split() for line in printed.splitlines() if "STRING" in line and "BIT" not in line]
    assert [words[words.index("prim:") + 1] for words in found][:6] == [
        "PRINTABLESTRING",
        "IA5STRING",
        "IA5STRING",
        "UTF8STRING",
        "PRINTABLESTRING",
        "PRINTABLESTRING",
    ]


@pytest.mark.parametrize(("challenge", "tag"), [("open sesame", 0x13), ("open_sesame", 0x0C), ("sésame", 0x0C)])
def test_the_challenge_is_a_printable_string_where_it_can_be_one(key: bytes, challenge: str, tag: int) -> None:
    # Apple, SecCertificateRequest.c, nss_attributes_from_parameters_dict; RFC 2985 section 5.4.1.
    csr = build_csr(key, SUBJECT, challenge=challenge)
    encoded = challenge.encode()
    assert bytes((tag, len(encoded))) + encoded in csr


def test_a_request_that_cannot_be_made_does_not_show_the_innards_of_a_parser(key: bytes) -> None:
    subject = x509.Name([x509.NameAttribute(NameOID.SERIAL_NUMBER, "_")])  # a PrintableString that is none
    with pytest.raises(MalformedCSR) as error:
        build_csr(key, subject)
    assert str(error.value) == "certificate request: cannot be made"


def test_garbage_is_malformed() -> None:
    for garbage in (b"", b"garbage", b"\x30\x00", bytes(70_000)):
        with pytest.raises(MalformedCSR):
            parse_csr(garbage)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_mangled_request_is_malformed_or_asks_for_the_very_same(legal: bytes, data: st.DataObject) -> None:
    changed = data.draw(mangled(legal).filter(lambda each: each != legal))
    try:
        request = parse_csr(changed)
    except MalformedCSR:
        return
    # What is outside the signature has some play (the unused bits of its BIT STRING); what is signed has none.
    assert replace(request, der=legal) == parse_csr(legal)


@given(st.text(max_size=300), st.text(min_size=1, max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_text_makes_a_request_or_a_typed_error(key: bytes, challenge: str, common_name: str) -> None:
    try:
        subject = subject_from_payload([[["CN", common_name]]])
        found = parse_csr(build_csr(key, subject, challenge=challenge))
    except (MalformedCSR, MalformedName):
        return
    assert found.challenge == challenge
    assert found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == common_name

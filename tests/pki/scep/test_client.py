"""The device's SCEP messages, as openssl reads them; and what the device makes of answers."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

import msgspec
import pytest
from asn1crypto import cms as asn1_cms
from asn1crypto import x509 as asn1_x509
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import MINUTE, ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, public_key_der, to_pem
from mdmsim.pki.cms import Form, verify
from mdmsim.pki.degenerate import certificates_only
from mdmsim.pki.envelope import CipherName, parse_enveloped_data
from mdmsim.pki.keys import FreshKeys, SharedKeys, load_key, public_key_of
from mdmsim.pki.names import name, subject_from_payload
from mdmsim.pki.scep.ca_certificates import choose_recipient, parse_ca_certificates
from mdmsim.pki.scep.capabilities import STANDARD, Capabilities
from mdmsim.pki.scep.client import (
    Certificate,
    Pending,
    Transaction,
    begin,
    operation_url,
    pki_operation_url,
    poll,
    read_reply,
)
from mdmsim.pki.scep.errors import (
    BadIssuedCertificate,
    BadReply,
    FailInfo,
    NoRequest,
    RefusedByCA,
    ScepError,
    WeakCapabilities,
)
from mdmsim.pki.scep.message import (
    CHALLENGE_PASSWORD,
    FAIL_INFO,
    MESSAGE_TYPE,
    SENDER_NONCE,
    TRANSACTION_ID,
    MessageType,
    parse_message,
)
from mdmsim.pki.scep.server import MICROSOFT, SMALLSTEP, Quirks, ScepService
from tests.pki.conftest import OpenSSL
from tests.pki.mangling import mangled

from .conftest import Ask

NOW = ManualClock().now_ms()


# ---- the request


@pytest.mark.interop
@pytest.mark.parametrize("form", ["der", "ber"])
@pytest.mark.parametrize("cipher", ["aes128", "3des"])
def test_openssl_opens_the_request_layer_by_layer(
    openssl: OpenSSL, authority: Authority, service: ScepService, ask: Ask, cipher: CipherName, form: Form
) -> None:
    message = ask(service, cipher=cipher, form=form).message
    outer = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", "message", "-out", "envelope")
    openssl("cms", *outer, "-signer", "signer", message=message)
    inner = ("-decrypt", "-binary", "-inform", "DER", "-in", "envelope", "-inkey", "ca", "-recip", "ca", "-out", "csr")
    openssl("cms", *inner, ca=authority.to_pem())
    printed = openssl("req", "-inform", "DER", "-in", "csr", "-verify", "-noout", "-text").decode()
    assert "Subject: O = Acme, CN = iphone-01" in printed
    assert "open sesame" in printed


@pytest.mark.interop
def test_openssl_reads_the_throw_away_signer_of_the_captured_shape(
    openssl: OpenSSL, service: ScepService, ask: Ask
) -> None:
    signer = parse_message(ask(service, region="AU").message).signer
    printed = openssl("x509", "-in", "pem", "-noout", "-text", pem=to_pem(signer)).decode()
    for expected in (
        "Version: 3",
        "Serial Number: 1 (0x1)",
        "Signature Algorithm: sha256WithRSAEncryption",
        "Issuer: CN = MDM SCEP SIGNER, C = AU",
        "Subject: CN = MDM SCEP SIGNER, C = AU",
        "Not Before: Dec 31 23:50:00 2025 GMT",
        "Not After : Dec 31 23:50:00 2026 GMT",
        "Public-Key: (2048 bit)",
        "X509v3 Key Usage: critical\n                Digital Signature\n",
        "X509v3 Extended Key Usage: critical\n                TLS Web Client Authentication\n",
    ):
        assert expected in printed
    assert printed.count("X509v3 ") == 3  # the heading, and these two


def test_the_signers_key_is_not_the_one_being_certified(service: ScepService, ask: Ask) -> None:
    request = service.read(ask(service).message)
    assert request.csr is not None
    assert public_key_der(request.signer) != request.csr.public_key


@pytest.mark.parametrize(
    ("digest", "tail"),
    [("sha256", ["message_digest", TRANSACTION_ID]), ("sha512", [TRANSACTION_ID, "message_digest"])],
)
def test_the_signed_attributes_are_those_captured_in_der_order(
    service: ScepService, ask: Ask, digest: str, tail: list[str]
) -> None:
    message = ask(service, digest=digest, challenge="sixteen letters!").message
    signer = asn1_cms.ContentInfo.load(message, strict=True)["content"]["signer_infos"][0]
    assert [each["type"].native for each in signer["signed_attrs"]] == [
        MESSAGE_TYPE,
        "content_type",
        SENDER_NONCE,
        "signing_time",
        CHALLENGE_PASSWORD,
        *tail,
    ]
    assert signer["version"].native == "v1"


def test_the_challenge_can_be_kept_inside_the_envelope(service: ScepService, ask: Ask) -> None:
    message = ask(service, challenge="open sesame", challenge_attribute=False).message
    assert CHALLENGE_PASSWORD not in verify(message).attributes
    assert service.read(message).challenge == "open sesame"


def test_the_attributes_have_the_captured_types_and_sizes(service: ScepService, ask: Ask) -> None:
    transaction = ask(service)
    found = verify(transaction.message).attributes
    assert found["2.16.840.1.113733.1.9.2"] == b"\x13\x0219"
    assert found["2.16.840.1.113733.1.9.5"] == b"\x04\x08" + transaction.sender_nonce
    assert found["2.16.840.1.113733.1.9.7"] == b"\x13\x28" + transaction.transaction_id.encode()
    assert verify(transaction.message).signing_time == NOW


def test_the_transaction_id_is_the_sha1_of_the_public_key_bits(service: ScepService, ask: Ask) -> None:
    key = FreshKeys().take(bits=1024)
    public = load_key(key).public_key()
    assert isinstance(public, rsa.RSAPublicKey)
    info = asn1_x509.PublicKeyInfo.load(public_key_of(key))
    expected = hashlib.sha1(info["public_key"].parsed.dump()).hexdigest().upper()
    assert ask(service, key=key).transaction_id == expected


@pytest.mark.parametrize(
    ("capabilities", "cipher", "digest"),
    [(STANDARD, "aes128", "sha256"), (Capabilities(("SHA-1", "DES3")), "3des", "sha1")],
)
def test_cipher_and_digest_follow_the_capabilities(
    service: ScepService, ask: Ask, capabilities: Capabilities, cipher: str, digest: str
) -> None:
    message = parse_message(ask(service, capabilities=capabilities).message)
    assert (message.digest, parse_enveloped_data(message.content).cipher) == (digest, cipher)


def test_a_ca_that_is_too_weak_is_refused(service: ScepService, ask: Ask) -> None:
    with pytest.raises(WeakCapabilities):
        ask(service, capabilities=Capabilities(("Renewal",)))


def test_a_subject_that_cannot_be_asked_for_is_the_devices_own_error(service: ScepService, ask: Ask) -> None:
    with pytest.raises(NoRequest) as error:
        ask(service, key=b"no key")
    assert error.value.code == 22011


def test_a_transaction_survives_msgpack(service: ScepService, ask: Ask) -> None:
    transaction = ask(service)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(transaction), type=Transaction)
    assert again == transaction


# ---- URLs


def test_urls_keep_a_query_that_the_payload_has() -> None:
    name_of_ca = "Device Management Identity Certificate"
    assert operation_url("http://ca.test/scep", "GetCACaps") == "http://ca.test/scep?operation=GetCACaps&message="
    assert operation_url("http://ca.test/scep?id=7", "GetCACert", name_of_ca) == (
        "http://ca.test/scep?id=7&operation=GetCACert&message=Device%20Management%20Identity%20Certificate"
    )
    assert pki_operation_url("http://ca.test/?") == "http://ca.test/?operation=PKIOperation"


def test_the_get_form_leaves_plus_and_slash_bare_as_macos_does() -> None:
    message = b"\xfb\xef\xff\xfe"
    url = pki_operation_url("http://ca.test/scep", message)
    assert url == "http://ca.test/scep?operation=PKIOperation&message=++///g%3D%3D"
    assert dict(parse_qsl(urlsplit(url).query))["message"] != base64.b64encode(message).decode()  # the trap


# ---- the answer


@pytest.mark.parametrize("with_ra", [False, True])
@pytest.mark.parametrize("quirks", [Quirks(), SMALLSTEP, MICROSOFT])
def test_the_certificate_is_read_whatever_the_cas_habits(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, quirks: Quirks, with_ra: bool
) -> None:
    ra = authority.registration_authority("RA") if with_ra else None
    service = ScepService(authority, clock=clock, chance=chance, ra=ra, quirks=quirks)
    transaction = ask(service)
    answer = service.handle(transaction.message)
    found = read_reply(transaction, answer.body, at_ms=clock.now_ms())
    assert found == Certificate(answer.certificate or b"", (authority.certificate,))


@pytest.mark.parametrize(
    ("quirks", "reason"),
    [
        (Quirks(wrong_recipient_nonce=True), "recipientNonce is another request's"),
        (Quirks(wrong_transaction_id=True), "transactionID '.*' is another request's"),
    ],
)
def test_an_answer_to_another_request_is_refused(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, quirks: Quirks, reason: str
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, quirks=quirks)
    transaction = ask(service)
    with pytest.raises(BadReply, match=reason) as error:
        read_reply(transaction, service.handle(transaction.message).body, at_ms=NOW)
    assert error.value.code == 22013


def test_an_answer_from_another_ca_is_refused(
    authority: Authority, keys: SharedKeys, clock: ManualClock, chance: Chance, ask: Ask, service: ScepService
) -> None:
    impostor = Authority.create("Impostor CA", keys=keys, clock=clock, chance=chance)
    transaction = ask(ScepService(impostor, clock=clock, chance=chance))
    answer = ScepService(impostor, clock=clock, chance=chance).handle(transaction.message)
    betrayed = replace(transaction, ca_certificates=(authority.certificate,))
    with pytest.raises(BadReply, match=r"its signer is not the CA of GetCACert: .*CN=Impostor CA"):
        read_reply(betrayed, answer.body, at_ms=NOW)


def test_a_failure_says_why(service: ScepService, ask: Ask) -> None:
    transaction = ask(service)
    request = service.read(transaction.message)
    answer = service.answer_failure(request, FailInfo.BAD_TIME, "the clock is wrong")
    with pytest.raises(RefusedByCA, match=r"failInfo 3 badTime \(the clock is wrong\)") as error:
        read_reply(transaction, answer.body, at_ms=NOW)
    assert (error.value.fail_info, error.value.text) == (FailInfo.BAD_TIME, "the clock is wrong")
    assert verify(answer.body).attributes[FAIL_INFO] == b"\x13\x013"


def test_a_pending_answer_leads_to_a_poll_that_gets_the_certificate(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, pending=True)
    first = ask(service)
    assert read_reply(first, service.handle(first.message).body, at_ms=NOW) == Pending()
    second = poll(first, clock=clock, chance=chance)
    assert parse_message(second.message).message_type is MessageType.CERT_POLL
    assert second.transaction_id == first.transaction_id and second.sender_nonce != first.sender_nonce
    assert read_reply(second, service.handle(second.message).body, at_ms=NOW) == Pending()
    certificate = service.approve(first.transaction_id)
    third = poll(second, clock=clock, chance=chance)
    found = read_reply(third, service.handle(third.message).body, at_ms=NOW)
    assert isinstance(found, Certificate) and found.certificate == certificate


@pytest.mark.interop
def test_openssl_reads_issuer_and_subject_in_a_poll(
    openssl: OpenSSL, authority: Authority, service: ScepService, ask: Ask, clock: ManualClock, chance: Chance
) -> None:
    message = poll(ask(service), clock=clock, chance=chance).message
    openssl("cms", "-verify", "-binary", "-noverify", "-inform", "DER", "-in", "m", "-out", "envelope", m=message)
    inner = ("-decrypt", "-binary", "-inform", "DER", "-in", "envelope", "-inkey", "ca", "-recip", "ca", "-out", "is")
    openssl("cms", *inner, ca=authority.to_pem())
    printed = openssl("asn1parse", "-inform", "DER", "-in", "is").decode()
    assert printed.index("Acme Lab CA") < printed.index("iphone-01")


def test_a_certificate_for_another_key_is_refused(
    authority: Authority, identity: Identity, service: ScepService, ask: Ask
) -> None:
    transaction = ask(service, key=FreshKeys().take())
    answer = service.answer_issued(service.read(transaction.message), identity.certificate)
    with pytest.raises(BadIssuedCertificate) as error:
        read_reply(transaction, answer.body, at_ms=NOW)
    assert error.value.code == 22007


def test_our_own_request_is_no_answer(service: ScepService, ask: Ask) -> None:
    transaction = ask(service)
    with pytest.raises(BadReply, match="messageType 19, expected 3"):
        read_reply(transaction, transaction.message, at_ms=NOW)


@pytest.mark.parametrize("body", [b"", b"<html>Internal Server Error</html>", b"\x30\x80"])
def test_an_answer_that_is_none_is_refused(service: ScepService, ask: Ask, body: bytes) -> None:
    with pytest.raises(BadReply):
        read_reply(ask(service), body, at_ms=NOW)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mangled_answer_is_refused_or_gives_the_certificate(
    authority: Authority, keys: SharedKeys, data: st.DataObject
) -> None:
    clock, chance = ManualClock(), Chance(3)
    service = ScepService(authority, clock=clock, chance=chance)
    transaction = begin(
        key=keys.take(),
        signer_key=keys.take(),
        subject=subject_from_payload([[["CN", "x"]]]),
        ca_certificates=parse_ca_certificates(service.ca_cert().body),
        capabilities=STANDARD,
        clock=clock,
        chance=chance,
    )
    answer = service.handle(transaction.message)
    try:
        found = read_reply(transaction, data.draw(mangled(answer.body)), at_ms=NOW)
    except ScepError:
        return
    assert isinstance(found, Certificate) and found.certificate == answer.certificate


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_mangled_ca_certificates_are_refused_or_usable(authority: Authority, data: st.DataObject) -> None:
    chain = certificates_only([authority.certificate, authority.certificate])
    try:
        choose_recipient(parse_ca_certificates(data.draw(mangled(data.draw(st.sampled_from([chain, chain[:900]]))))))
    except ScepError:
        pass


@pytest.mark.interop
def test_an_identity_enrolled_by_scep_works_in_openssl(
    openssl: OpenSSL, authority: Authority, service: ScepService, ask: Ask, keys: SharedKeys
) -> None:
    key = keys.take()
    transaction = ask(service, key=key, subject=name("iphone-02"))
    found = read_reply(transaction, service.handle(transaction.message).body, at_ms=NOW)
    assert isinstance(found, Certificate)
    pem = identity_to_pem(Identity(found.certificate, key))
    at = ("-attime", str((NOW + MINUTE) // 1000))
    root = to_pem(authority.certificate)
    openssl("verify", *at, "-purpose", "sslclient", "-CAfile", "root", "pem", root=root, pem=pem)

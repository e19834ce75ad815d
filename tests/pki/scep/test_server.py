"""The CA's side: what it accepts, what it answers as openssl reads it, and who may have a certificate."""

from __future__ import annotations

import base64
from dataclasses import replace
from urllib.parse import quote

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, ManualClock
from mdmsim.http import Identity
from mdmsim.pki.algorithms import Digest
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, load_certificate, not_after_ms, not_before_ms, to_pem
from mdmsim.pki.cms import Form, sign
from mdmsim.pki.csr import build_csr, san_from_payload
from mdmsim.pki.envelope import CipherName, envelope, parse_enveloped_data
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of
from mdmsim.pki.names import name, subject_from_payload, text
from mdmsim.pki.scep.capabilities import STANDARD
from mdmsim.pki.scep.challenges import CallbackChallenge, Challenges, OneTimeChallenges, StaticChallenge
from mdmsim.pki.scep.client import poll, read_reply, throw_away_signer
from mdmsim.pki.scep.errors import FailInfo, MalformedScep
from mdmsim.pki.scep.message import MessageType, Status, build_message, parse_message
from mdmsim.pki.scep.server import (
    MICROSOFT,
    SMALLSTEP,
    Quirks,
    ScepService,
    decode_message,
)
from tests.pki.conftest import OpenSSL
from tests.pki.mangling import mangled

from .conftest import Ask

NOW = ManualClock().now_ms()
LEGACY = ("-provider", "legacy", "-provider", "default")


def guarded(authority: Authority, clock: ManualClock, chance: Chance, challenges: Challenges) -> ScepService:
    return ScepService(authority, clock=clock, chance=chance, challenges=challenges)


# ---- GetCACaps and GetCACert


def test_capabilities_are_one_keyword_a_line(service: ScepService) -> None:
    assert service.ca_caps() == b"Renewal\nSHA-1\nSHA-256\nAES\nDES3\nSCEPStandard\nPOSTPKIOperation"


def test_a_ca_without_an_ra_answers_with_one_certificate(service: ScepService, authority: Authority) -> None:
    answer = service.ca_cert()
    assert (answer.content_type, answer.body) == ("application/x-x509-ca-cert", authority.certificate)


@pytest.mark.interop
def test_openssl_reads_the_chain_of_an_ra(
    openssl: OpenSSL, authority: Authority, clock: ManualClock, chance: Chance
) -> None:
    below = authority.subordinate("Issuing")
    service = ScepService(below, clock=clock, chance=chance, ra=below.registration_authority("RA"))
    answer = service.ca_cert()
    assert answer.content_type == "application/x-x509-ca-ra-cert"
    printed = openssl("pkcs7", "-inform", "DER", "-in", "chain", "-print_certs", "-noout", chain=answer.body).decode()
    assert [line for line in printed.splitlines() if line.startswith("subject")] == [
        "subject=CN = RA",
        "subject=CN = Issuing",
        "subject=O = Acme, CN = Acme Lab CA",
    ]


# ---- the answer on the wire


@pytest.mark.interop
@pytest.mark.parametrize("quirks", [Quirks(), SMALLSTEP, MICROSOFT, Quirks(cipher="aes256", digest="sha512")])
def test_openssl_opens_the_answer_layer_by_layer(
    openssl: OpenSSL, authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, quirks: Quirks
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, quirks=quirks)
    transaction = ask(service)
    answer = service.handle(transaction.message)
    files = {"ca": to_pem(authority.certificate), "signer": identity_to_pem(transaction.signer)}
    outer = ("-verify", "-binary", "-inform", "DER", "-in", "reply", "-CAfile", "ca", "-purpose", "any")
    extra = ("-certfile", "ca", "-attime", str(NOW // 1000), "-out", "envelope")
    openssl("cms", *outer, *extra, reply=answer.body, **files)
    inner = ("-decrypt", "-binary", "-inform", "DER", "-in", "envelope", "-inkey", "signer", "-recip", "signer")
    openssl("cms", *inner, *LEGACY, "-out", "certificates")
    printed = openssl("pkcs7", "-inform", "DER", "-in", "certificates", "-print_certs", "-noout").decode()
    assert printed.index("subject=O = Acme, CN = iphone-01") < printed.index("subject=O = Acme, CN = Acme Lab CA")


@pytest.mark.interop
def test_openssl_verifies_a_refusal(openssl: OpenSSL, authority: Authority, service: ScepService, ask: Ask) -> None:
    answer = service.answer_failure(service.read(ask(service).message), FailInfo.BAD_REQUEST, "no")
    outer = ("-verify", "-binary", "-noverify", "-inform", "DER", "-in", "reply")
    assert openssl("cms", *outer, reply=answer.body) == b""
    message = parse_message(answer.body)
    assert (message.status, message.fail_info, message.content) == (Status.FAILURE, FailInfo.BAD_REQUEST, b"")


def test_an_answer_repeats_transaction_and_nonce_and_adds_its_own(service: ScepService, ask: Ask) -> None:
    transaction = ask(service)
    message = parse_message(service.handle(transaction.message).body)
    assert message.transaction_id == transaction.transaction_id
    assert message.recipient_nonce == transaction.sender_nonce
    assert message.sender_nonce is not None and len(message.sender_nonce) == 16
    assert (message.message_type, message.status, message.fail_info) == (MessageType.CERT_REP, Status.SUCCESS, None)


@pytest.mark.parametrize("digest", ["sha1", "sha256", "sha512"])
@pytest.mark.parametrize("cipher", ["aes128", "aes256", "3des", "des"])
@pytest.mark.parametrize("form", ["der", "ber"])
def test_the_answer_uses_the_algorithms_of_the_request(
    service: ScepService, ask: Ask, digest: Digest, cipher: CipherName, form: Form
) -> None:
    transaction = ask(service, digest=digest, cipher=cipher, form=form)
    message = parse_message(service.handle(transaction.message).body)
    assert (message.digest, parse_enveloped_data(message.content).cipher) == (digest, cipher)


# ---- the certificate


def test_the_certificate_is_what_was_asked_for(service: ScepService, ask: Ask, keys: SharedKeys) -> None:
    subject = subject_from_payload([[["O", "Acme"], ["OU", "Lab"]], [["2.5.4.5", "C02X"]], [["CN", "mac"]]])
    san = san_from_payload({"dNSName": "a.test", "ntPrincipalName": "anna@acme.test"})
    key = keys.take()
    answer = service.handle(ask(service, key=key, subject=subject, san=san, key_usage=5).message)
    assert answer.outcome == "issued" and answer.certificate is not None
    certificate = load_certificate(answer.certificate)
    extensions = certificate.extensions
    assert certificate.subject == subject
    assert extensions.get_extension_for_class(x509.SubjectAlternativeName).value == san
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and usage.key_encipherment and not usage.key_cert_sign
    assert list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert (not_before_ms(answer.certificate), not_after_ms(answer.certificate)) == (NOW - HOUR, NOW + 365 * DAY)


@pytest.mark.interop
def test_a_request_that_openssl_signed_and_enveloped_is_served(
    openssl: OpenSSL, authority: Authority, service: ScepService, identity: Identity, chance: Chance
) -> None:
    """The request's inside and envelope are openssl's; only SCEP's attributes are ours, since openssl has none."""
    csr = openssl(
        *("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-subj", "/CN=foreign", "-outform", "DER")
    )
    arguments = ("-encrypt", "-binary", "-stream", "-outform", "DER", "-in", "csr", "-aes128", "-recip", "ca")
    enveloped = openssl("cms", *arguments, csr=csr, ca=to_pem(authority.certificate))
    message = build_message(MessageType.PKCS_REQ, "T1", enveloped, identity, sender_nonce=b"12345678")
    answer = service.handle(message)
    assert answer.outcome == "issued" and answer.certificate is not None
    pem = to_pem(answer.certificate)
    assert b"CN = foreign" in openssl("x509", "-in", "pem", "-noout", "-subject", pem=pem)


# ---- challenges


def test_a_static_challenge_lets_in_who_knows_it(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask
) -> None:
    service = guarded(authority, clock, chance, StaticChallenge("open sesame"))
    assert service.handle(ask(service).message).outcome == "issued"
    for wrong in (None, "", "open sesam", "öffne dich"):
        answer = service.handle(ask(service, challenge=wrong).message)
        assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_REQUEST)


def test_a_refusal_holds_no_secret(authority: Authority, clock: ManualClock, chance: Chance, ask: Ask) -> None:
    service = guarded(authority, clock, chance, StaticChallenge("open sesame"))
    answer = service.handle(ask(service, challenge="guess").message)
    assert b"sesame" not in answer.body and b"guess" not in answer.body
    assert "sesame" not in repr(answer) and "guess" not in repr(answer)


def test_an_empty_static_challenge_is_refused() -> None:
    with pytest.raises(ValueError, match="lets no one in"):
        StaticChallenge("")


def test_a_callback_sees_the_request(authority: Authority, clock: ManualClock, chance: Chance, ask: Ask) -> None:
    def judge(challenge: str | None, request: object) -> bool:
        return challenge == "open sesame" and getattr(request, "message_type", None) is MessageType.PKCS_REQ

    service = guarded(authority, clock, chance, CallbackChallenge(judge))
    assert service.handle(ask(service).message).outcome == "issued"


@pytest.fixture
def tickets(clock: ManualClock) -> OneTimeChallenges:
    return OneTimeChallenges(clock, Chance("tickets"), lifetime_ms=HOUR, most=3)


def test_a_failed_attempt_does_not_burn_a_one_time_challenge(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, tickets: OneTimeChallenges
) -> None:
    service, ticket = guarded(authority, clock, chance, tickets), tickets.new()
    message = ask(service, challenge=ticket).message
    broken = service.handle(tampered_envelope(service, authority, ticket, chance, clock))
    assert broken.outcome == "failed"
    assert service.handle(message).outcome == "issued"


def tampered_envelope(
    service: ScepService, authority: Authority, ticket: str, chance: Chance, clock: ManualClock
) -> bytes:
    """A request whose certificate request is signed by another key."""
    key, other = FreshKeys().take(bits=1024), FreshKeys().take(bits=1024)
    csr = build_csr(key, name("x"), challenge=ticket).replace(public_key_of(key), public_key_of(other))
    enveloped = envelope(csr, [authority.certificate], chance=chance)
    signer = throw_away_signer(other, clock=clock)
    return build_message(MessageType.PKCS_REQ, "T2", enveloped, signer, sender_nonce=b"12345678")


def test_after_a_lost_answer_the_same_request_gets_the_same_certificate(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, tickets: OneTimeChallenges
) -> None:
    service, ticket = guarded(authority, clock, chance, tickets), tickets.new()
    transaction = ask(service, challenge=ticket)
    lost, again = service.handle(transaction.message), service.handle(transaction.message)
    assert lost.certificate == again.certificate
    assert read_reply(transaction, again.body, at_ms=NOW)
    tickets.settle(ticket)  # even when the challenge is gone by then
    assert service.handle(transaction.message).certificate == lost.certificate


def test_after_a_lost_answer_a_new_key_gets_a_certificate_with_the_same_challenge(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, tickets: OneTimeChallenges
) -> None:
    service, ticket = guarded(authority, clock, chance, tickets), tickets.new()
    first = service.handle(ask(service, challenge=ticket).message)
    second = service.handle(ask(service, challenge=ticket, key=FreshKeys().take(bits=1024)).message)
    assert second.outcome == "issued" and second.certificate != first.certificate


def test_a_one_time_challenge_ends_with_use_time_or_number(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, tickets: OneTimeChallenges
) -> None:
    service = guarded(authority, clock, chance, tickets)

    def attempt(ticket: str, number: int = 0) -> str:
        return service.handle(ask(service, challenge=ticket, subject=name(f"x{number}")).message).outcome

    settled, old, greedy = tickets.new(), tickets.new(), tickets.new()
    tickets.settle(settled)
    assert attempt(settled) == "failed"
    assert [attempt(greedy, number) for number in range(4)] == ["issued", "issued", "issued", "failed"]
    clock.advance(HOUR)
    assert attempt(old) == "failed"
    assert attempt("unknown") == "failed"


def test_devices_that_share_a_key_get_certificates_of_their_own(
    service: ScepService, ask: Ask, keys: SharedKeys
) -> None:
    """A load test may share keys; the transactionID is then the same, the devices are not."""
    key = keys.take()
    one, two = (service.handle(ask(service, key=key, subject=name(f"mac-{n}")).message) for n in (1, 2))
    assert one.certificate != two.certificate


# ---- renewal, polling, refusals


def renewal(authority: Authority, signer: Identity, chance: Chance, kind: MessageType) -> bytes:
    csr = build_csr(FreshKeys().take(bits=1024), name("renewed"))
    enveloped = envelope(csr, [authority.certificate], chance=chance)
    return build_message(kind, "T3", enveloped, signer, sender_nonce=b"12345678")


@pytest.mark.parametrize("kind", [MessageType.RENEWAL_REQ, MessageType.PKCS_REQ])
def test_a_valid_certificate_of_ours_renews_without_a_challenge(
    authority: Authority, identity: Identity, clock: ManualClock, chance: Chance, kind: MessageType
) -> None:
    service = guarded(authority, clock, chance, StaticChallenge("secret"))
    answer = service.handle(renewal(authority, identity, chance, kind))
    assert answer.outcome == "issued" and answer.request.renewal_of == identity.certificate


def test_a_renewal_by_anyone_else_is_refused(
    authority: Authority, identity: Identity, keys: SharedKeys, clock: ManualClock, chance: Chance
) -> None:
    stranger = Authority.create("Acme Lab CA", keys=FreshKeys(), clock=clock, chance=chance, organization="Acme")
    service = guarded(authority, clock, chance, StaticChallenge("secret"))
    strangers = [throw_away_signer(keys.take(), clock=clock), stranger.client_identity("x")]
    for signer in strangers:
        answer = service.handle(renewal(authority, signer, chance, MessageType.RENEWAL_REQ))
        assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_CERT_ID)
    clock.advance(366 * DAY)
    answer = service.handle(renewal(authority, identity, chance, MessageType.RENEWAL_REQ))
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_CERT_ID)


@pytest.mark.parametrize("who", ["the CA", "its RA", "a CA below it"])
def test_a_renewal_signed_by_an_authority_is_refused(
    authority: Authority, clock: ManualClock, chance: Chance, who: str
) -> None:
    # Authorities sign certificates and answers; none of them is a device whose certificate could be renewed.
    ra = authority.registration_authority("RA")
    signer = {
        "the CA": authority.identity,
        "its RA": ra,
        "a CA below it": authority.subordinate("Below").identity,
    }[who]
    service = ScepService(authority, clock=clock, chance=chance, challenges=StaticChallenge("secret"), ra=ra)
    csr = build_csr(FreshKeys().take(bits=1024), name("renewed"))
    enveloped = envelope(csr, [ra.certificate], chance=chance)
    answer = service.handle(build_message(MessageType.RENEWAL_REQ, "T3", enveloped, signer, sender_nonce=b"12345678"))
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_CERT_ID)


# ---- what a certificate request may ask for


@pytest.mark.parametrize(("bits", "outcome"), [(1024, "failed"), (2048, "issued")])
def test_an_rsa_key_below_the_least_size_is_refused(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, bits: int, outcome: str
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, least_key_bits=2048)
    answer = service.handle(ask(service, key=FreshKeys().take(bits=bits)).message)
    assert answer.outcome == outcome
    if outcome == "failed":
        assert answer.fail_info is FailInfo.BAD_REQUEST
        assert answer.why == "its RSA key has 1024 bits, at least 2048 are needed"


@pytest.mark.parametrize("changed", [("Acme", "Acme Lab CA"), ("ACME", " acme  lab CA")])
def test_the_subject_of_the_ca_is_issued_to_nobody(service: ScepService, ask: Ask, changed: tuple[str, str]) -> None:
    # RFC 5280 section 7.1: names are compared without regard to case and to blanks around and in a row.
    organization, common_name = changed
    answer = service.handle(ask(service, subject=name(common_name, organization=organization)).message)
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_REQUEST)
    assert answer.why == f"its subject {text(name(common_name, organization=organization))} is an authority's"


def test_the_subjects_of_the_authorities_around_the_ca_are_issued_to_nobody(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask
) -> None:
    below = authority.subordinate("Issuing")
    service = ScepService(below, clock=clock, chance=chance, ra=below.registration_authority("RA"))
    subjects = [name("Issuing"), name("RA"), name("Acme Lab CA", organization="Acme"), name("Acme Lab CA")]
    answers = [service.handle(ask(service, subject=subject, key=FreshKeys().take()).message) for subject in subjects]
    assert [answer.outcome for answer in answers] == ["failed", "failed", "failed", "issued"]


@pytest.mark.parametrize(("allowed", "outcome"), [(False, "failed"), (True, "issued")])
def test_alternative_names_are_issued_only_where_they_may_be_asked_for(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, allowed: bool, outcome: str
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, alternative_names=allowed)
    san = x509.SubjectAlternativeName([x509.DNSName("mdm.acme.test")])
    answer = service.handle(ask(service, san=san).message)
    assert answer.outcome == outcome
    assert (answer.why == "") == allowed


def test_a_poll_by_someone_else_is_refused(
    authority: Authority, clock: ManualClock, chance: Chance, ask: Ask, keys: SharedKeys
) -> None:
    service = ScepService(authority, clock=clock, chance=chance, pending=True)
    mine = ask(service, signer_key=FreshKeys().take(bits=1024))
    service.handle(mine.message)
    service.approve(mine.transaction_id)
    other = ask(service, key=FreshKeys().take(bits=1024), signer_key=FreshKeys().take(bits=1024))
    thief = poll(replace(other, transaction_id=mine.transaction_id), clock=clock, chance=chance)
    answer = service.handle(thief.message)
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_CERT_ID)


def test_a_request_for_a_key_that_did_not_sign_it_is_refused(
    authority: Authority, service: ScepService, clock: ManualClock, chance: Chance
) -> None:
    answer = service.handle(tampered_envelope(service, authority, "x", chance, clock))
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_MESSAGE_CHECK)


def test_a_request_for_another_ca_is_refused(
    authority: Authority, service: ScepService, keys: SharedKeys, clock: ManualClock, chance: Chance, ask: Ask
) -> None:
    other = ScepService(
        Authority.create("Other", keys=FreshKeys(), clock=clock, chance=chance), clock=clock, chance=chance
    )
    answer = service.handle(ask(other).message)
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_MESSAGE_CHECK)


@pytest.mark.parametrize("kind", [MessageType.GET_CERT, MessageType.GET_CRL])
def test_an_operation_that_is_not_supported_is_refused(
    authority: Authority, service: ScepService, identity: Identity, chance: Chance, kind: MessageType
) -> None:
    answer = service.handle(renewal(authority, identity, chance, kind))
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_REQUEST)


def test_a_signer_who_cannot_receive_an_envelope_is_told_so(
    authority: Authority, service: ScepService, ec_identity: Identity, chance: Chance
) -> None:
    answer = service.handle(renewal(authority, ec_identity, chance, MessageType.PKCS_REQ))
    assert (answer.outcome, answer.fail_info) == ("failed", FailInfo.BAD_ALG)


def test_what_is_no_scep_message_is_malformed(service: ScepService, identity: Identity, ask: Ask) -> None:
    plain = sign(b"x", identity)
    attributes_only = sign(b"x", identity, attributes=True)
    reply = service.handle(ask(service).message).body
    for data in (b"", b"garbage", plain, attributes_only, reply, bytes(3 * 2**20)):
        with pytest.raises(MalformedScep):
            service.handle(data)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mangled_request_is_malformed_or_answered(
    authority: Authority, keys: SharedKeys, data: st.DataObject
) -> None:
    clock = ManualClock()
    service = ScepService(authority, clock=clock, chance=Chance(1), challenges=StaticChallenge("right"))
    csr = build_csr(keys.take(), name("x"), challenge="wrong")
    part = data.draw(st.sampled_from(["csr", "envelope", "message"]))
    if part == "csr":
        csr = data.draw(mangled(csr))
    enveloped = envelope(
        csr, [authority.certificate], chance=Chance(2), form=data.draw(st.sampled_from(["ber", "der"]))
    )
    if part == "envelope":
        enveloped = data.draw(mangled(enveloped))
    signer = throw_away_signer(keys.take(), clock=clock)
    message = build_message(MessageType.PKCS_REQ, "T4", enveloped, signer, sender_nonce=b"12345678")
    if part == "message":
        message = data.draw(mangled(message))
    try:
        answer = service.handle(message)
    except MalformedScep:
        return
    assert answer.outcome == "failed"


# ---- GET


@pytest.mark.parametrize(
    "encoded",
    [
        "++///g%3D%3D",
        "++///g==",
        "%2B%2B%2F%2F%2Fg%3D%3D",
        "--___g",
        "--___g%3d%3d",
        "++///g%0A",
    ],
)
def test_the_message_of_a_get_is_read_from_the_raw_query(encoded: str) -> None:
    for query in (f"operation=PKIOperation&message={encoded}", f"message={encoded}&operation=PKIOperation"):
        assert decode_message(query) == b"\xfb\xef\xff\xfe"


def test_a_get_without_a_message_is_malformed() -> None:
    for query in ("", "operation=PKIOperation", "message=", "xmessage=AAAA", "message=%00", "message=A"):
        with pytest.raises(MalformedScep):
            decode_message(query)


@given(st.binary(min_size=1, max_size=200), st.sampled_from(["bare", "escaped", "urlsafe"]))
@settings(max_examples=80, deadline=None)
def test_every_way_of_encoding_gives_the_message_back(message: bytes, how: str) -> None:
    text = base64.b64encode(message).decode()
    encoded = {
        "bare": text.replace("=", "%3D"),
        "escaped": quote(text, safe=""),
        "urlsafe": base64.urlsafe_b64encode(message).decode(),
    }[how]
    assert decode_message(f"operation=PKIOperation&message={encoded}") == message


@given(st.text(max_size=60))
@settings(max_examples=100, deadline=None)
def test_any_query_is_read_or_malformed(query: str) -> None:
    try:
        decode_message(f"message={query}")
    except MalformedScep:
        pass


def test_the_standard_capabilities_promise_only_what_is_served(service: ScepService, ask: Ask) -> None:
    for cipher in ("aes128", "3des"):
        for digest in ("sha1", "sha256"):
            assert service.handle(ask(service, cipher=cipher, digest=digest).message).outcome == "issued"
    assert STANDARD.post and STANDARD.renewal

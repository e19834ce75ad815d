"""What a device makes of the CA's certificates: which of them its request is encrypted to."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from itertools import permutations

import pytest
from cryptography import x509

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority, key_usage
from mdmsim.pki.certificate import to_pem
from mdmsim.pki.chain import path_within
from mdmsim.pki.degenerate import certificates_only
from mdmsim.pki.keys import FreshKeys, SharedKeys, public_key_of
from mdmsim.pki.names import name
from mdmsim.pki.scep.ca_certificates import (
    choose_recipient,
    issuing_authority,
    parse_ca_certificates,
    promises_authorities,
)
from mdmsim.pki.scep.errors import BadCAResponse, BadRAResponse, NoRACertificates
from tests.pki.conftest import OpenSSL

Issue = Callable[..., bytes]


@pytest.mark.interop
def test_both_kinds_of_getcacert_are_told_by_their_content(
    openssl: OpenSSL, authority: Authority, identity: Identity
) -> None:
    pem = to_pem(authority.certificate, identity.certificate)
    assert parse_ca_certificates(authority.certificate) == (authority.certificate,)
    chain = openssl("crl2pkcs7", "-nocrl", "-certfile", "pem", "-outform", "DER", pem=pem)
    assert set(parse_ca_certificates(chain)) == {authority.certificate, identity.certificate}


@pytest.mark.parametrize("body", [b"", b"<html>", certificates_only([])])
def test_a_getcacert_without_certificates_is_refused(body: bytes) -> None:
    with pytest.raises(BadCAResponse) as error:
        parse_ca_certificates(body)
    assert error.value.code == 22002


@pytest.mark.parametrize("digest", ["md5", "sha1", "sha256", "sha512"])
def test_a_fingerprint_chooses_its_certificate(authority: Authority, digest: str) -> None:
    other = authority.subordinate("other")
    fingerprint = hashlib.new(digest, other.certificate).digest()
    assert choose_recipient([authority.certificate, other.certificate], fingerprint) == other.certificate


def test_a_fingerprint_that_matches_nothing_is_refused(authority: Authority) -> None:
    for fingerprint in (bytes(32), bytes(5)):
        with pytest.raises(BadRAResponse) as error:
            choose_recipient([authority.certificate], fingerprint)
        assert error.value.code == 22003


def test_the_ra_with_key_encipherment_is_chosen_also_where_the_fingerprint_is_the_cas(authority: Authority) -> None:
    ra = authority.registration_authority("RA").certificate
    signing_ra = authority.issue_client("signing RA", public_key=public_key_of(FreshKeys().take()))
    chain = [signing_ra, authority.certificate, ra]
    assert choose_recipient(chain) == ra
    assert choose_recipient(chain, hashlib.sha256(authority.certificate).digest()) == ra


def test_a_ca_without_key_encipherment_is_used_all_the_same(authority: Authority) -> None:
    certificate = authority.issue_client("plain", public_key=public_key_of(FreshKeys().take()))
    assert choose_recipient([certificate]) == certificate


def test_a_ca_without_rsa_cannot_receive(authority: Authority) -> None:
    with pytest.raises(BadRAResponse, match="none of the CA's certificates holds an RSA key"):
        choose_recipient([authority.subordinate("ec", kind="ec").certificate])


# ---- whatever the order in which the certificates come


@pytest.fixture
def issuing(authority: Authority) -> Authority:
    return authority.subordinate("Issuing CA")


@pytest.fixture
def issue(keys: SharedKeys) -> Issue:
    """A certificate below an authority with these key usages."""

    def make(by: Authority, common_name: str, **usage: bool) -> bytes:
        return by.issue(public_key_of(keys.take()), name(common_name), extensions=[(key_usage(**usage), True)])

    return make


def in_every_order(certificates: list[bytes], fingerprint: bytes | None = None, *, ra: bool = False) -> set[bytes]:
    return {choose_recipient(order, fingerprint, ra=ra) for order in permutations(certificates)}


@pytest.mark.parametrize("ra", [False, True])
@pytest.mark.parametrize("fingerprint_of", [None, "root", "issuing"])
def test_of_root_and_issuing_ca_that_both_encipher_the_issuing_one_is_chosen(
    authority: Authority, issuing: Authority, fingerprint_of: str | None, ra: bool
) -> None:
    named = {None: None, "root": authority.certificate, "issuing": issuing.certificate}[fingerprint_of]
    fingerprint = None if named is None else hashlib.sha256(named).digest()
    chain = [authority.certificate, issuing.certificate]
    assert in_every_order(chain, fingerprint, ra=ra) == {issuing.certificate}


@pytest.mark.parametrize("ra", [False, True])
def test_of_separate_authorities_for_signing_and_encryption_the_latter_is_chosen(
    authority: Authority, issuing: Authority, issue: Issue, ra: bool
) -> None:
    signing, encryption = issue(issuing, "sign", signature=True), issue(issuing, "encrypt", encipherment=True)
    chain = [authority.certificate, issuing.certificate, signing, encryption]
    assert in_every_order(chain, ra=ra) == {encryption}


def test_a_pair_below_different_cas_is_none(
    authority: Authority, issuing: Authority, issue: Issue, clock: ManualClock, chance: Chance
) -> None:
    stranger = Authority.create("Stranger", keys=FreshKeys(), clock=clock, chance=chance)
    signing, encryption = issue(stranger, "sign", signature=True), issue(issuing, "encrypt", encipherment=True)
    chain = [authority.certificate, issuing.certificate, signing, encryption]
    assert in_every_order(chain, ra=True) == {issuing.certificate}


def test_of_two_authorities_of_the_same_kind_always_the_same_is_chosen(authority: Authority, issue: Issue) -> None:
    ras = [issue(authority, f"RA {number}", signature=True, encipherment=True) for number in range(2)]
    assert len(in_every_order([authority.certificate, *ras], ra=True)) == 1


def test_an_ra_goes_before_every_ca_that_enciphers(authority: Authority, issuing: Authority) -> None:
    ra = authority.registration_authority("RA").certificate
    below = issuing.subordinate("Second issuing CA")
    assert in_every_order([authority.certificate, issuing.certificate, below.certificate, ra]) == {ra}


def test_which_certificate_of_a_ca_stands_above_another_does_not_depend_on_their_order(authority: Authority) -> None:
    again = authority.issue(
        public_key_of(authority.identity.key),
        authority.name,
        extensions=[(x509.BasicConstraints(ca=True, path_length=None), True)],
    )
    leaf = authority.registration_authority("RA").certificate
    assert len({path_within(leaf, order) for order in permutations([authority.certificate, again, leaf])}) == 1


def test_an_ra_of_another_ca_than_the_fingerprints_is_not_chosen(
    authority: Authority, issuing: Authority, issue: Issue
) -> None:
    elsewhere = issue(authority, "RA of the root", signature=True, encipherment=True)
    chain = [authority.certificate, issuing.certificate, elsewhere]
    assert in_every_order(chain, hashlib.sha256(issuing.certificate).digest(), ra=True) == {issuing.certificate}


# ---- an answer that promises registration authorities


@pytest.mark.parametrize(
    ("content_type", "promised"),
    [
        ("application/x-x509-ca-ra-cert", True),
        ("Application/X-X509-CA-RA-Cert; charset=utf-8", True),
        ("application/x-x509-ca-cert", False),
        (None, False),
    ],
)
def test_the_content_type_promises_registration_authorities(content_type: str | None, promised: bool) -> None:
    assert promises_authorities(content_type) is promised


@pytest.mark.parametrize(
    "usages",
    [
        [{"certificates": True}],
        [{"certificates": True, "signature": True}],
        [{"certificates": True}, {"signature": True}],
        [{"certificates": True}, {"encipherment": True}],
    ],
)
def test_a_promise_of_registration_authorities_without_any_is_refused(
    authority: Authority, issue: Issue, usages: list[dict[str, bool]]
) -> None:
    # Apple, SecSCEPValidateCACertMessage: errSecKeyUsageIncorrect, "SCEP failed to find candidate RA certificates".
    chain = [issue(authority, f"c{number}", **usage) for number, usage in enumerate(usages)]
    assert choose_recipient(chain) in chain, "without the promise one of them is taken"
    with pytest.raises(NoRACertificates, match="x-x509-ca-ra-cert promises") as error:
        choose_recipient(chain, ra=True)
    assert (error.value.code, error.value.mac_code) == (22003, -67731)


def test_a_certificate_without_key_usage_is_no_registration_authority(authority: Authority) -> None:
    bare = authority.issue(public_key_of(FreshKeys().take()), name("bare"))
    with pytest.raises(NoRACertificates):
        choose_recipient([bare], ra=True)


# ---- the issuer that a poll names


def test_a_poll_names_the_issuing_ca_and_not_its_root(authority: Authority, issuing: Authority) -> None:
    ra = issuing.registration_authority("RA").certificate
    for order in permutations([authority.certificate, issuing.certificate, ra]):
        assert issuing_authority(order, ra) == issuing.certificate
        assert issuing_authority(order, issuing.certificate) == issuing.certificate

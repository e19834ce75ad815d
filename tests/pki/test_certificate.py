"""Reading certificates and PEM."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import (
    certificates_from_pem,
    fingerprint,
    identity_from_pem,
    identity_to_pem,
    load_certificate,
    public_key,
    to_pem,
)
from mdmsim.pki.errors import MalformedCertificate, MalformedKey
from mdmsim.pki.remember import LENGTH, remembered

from .conftest import OpenSSL
from .mangling import mangled


@pytest.mark.interop
def test_openssl_reads_our_pem_and_finds_the_same_fingerprint(openssl: OpenSSL, identity: Identity) -> None:
    pem = identity_to_pem(identity)
    assert openssl("x509", "-in", "pem", "-outform", "DER", pem=pem) == identity.certificate
    printed = openssl("x509", "-in", "pem", "-noout", "-fingerprint", "-sha256").decode()
    assert printed.strip().partition("=")[2].replace(":", "").lower() == fingerprint(identity.certificate)
    openssl("pkey", "-in", "pem", "-noout", "-check")


def test_blocks_without_a_line_break_between_them_are_read(authority: Authority, identity: Identity) -> None:
    pem = to_pem(identity.certificate).strip() + to_pem(authority.certificate)
    assert certificates_from_pem(pem) == (identity.certificate, authority.certificate)


def test_an_identity_is_found_whatever_the_order(authority: Authority, identity: Identity) -> None:
    key = identity_to_pem(identity).partition(b"-----BEGIN CERT")[0]
    pem = to_pem(authority.certificate) + key + b"some words\n" + to_pem(identity.certificate)
    assert identity_from_pem(pem.decode()) == Identity(identity.certificate, identity.key, (authority.certificate,))


def test_a_pem_without_certificates_is_refused(identity: Identity) -> None:
    for pem in (b"", b"garbage", identity_to_pem(identity).partition(b"-----BEGIN CERT")[0]):
        with pytest.raises(MalformedCertificate, match='no "BEGIN CERTIFICATE" block'):
            certificates_from_pem(pem)


def test_two_keys_are_one_too_many(authority: Authority, identity: Identity) -> None:
    with pytest.raises(MalformedKey, match="2 private keys"):
        identity_from_pem(identity_to_pem(identity) + authority.to_pem())


@pytest.mark.interop
def test_an_encrypted_key_is_refused_in_words(openssl: OpenSSL, identity: Identity) -> None:
    pem = identity_to_pem(identity)
    traditional = openssl("rsa", "-in", "pem", "-aes128", "-passout", "pass:x", "-traditional", pem=pem)
    with pytest.raises(MalformedKey, match="encrypted"):
        identity_from_pem(traditional + to_pem(identity.certificate))
    modern = openssl("pkey", "-in", "pem", "-aes128", "-passout", "pass:x")
    with pytest.raises(MalformedKey, match="not an unencrypted private key"):
        identity_from_pem(modern + to_pem(identity.certificate))


def test_a_damaged_private_key_is_noticed(identity: Identity) -> None:
    # Twice, in the exponent and in the numbers of its short cut: OpenSSL works around damage to one of them.
    damaged = bytearray(identity.key)
    damaged[400] ^= 1
    damaged[-200] ^= 1
    with pytest.raises(MalformedKey):
        identity_from_pem(identity_to_pem(Identity(identity.certificate, bytes(damaged))))


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_a_mangled_certificate_is_malformed_or_readable(identity: Identity, data: st.DataObject) -> None:
    der = data.draw(mangled(identity.certificate))
    try:
        load_certificate(der)
        public_key(der)
    except MalformedCertificate:
        pass


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mangled_pem_is_malformed_or_readable(identity: Identity, data: st.DataObject) -> None:
    pem = data.draw(mangled(identity_to_pem(identity)))
    try:
        identity_from_pem(pem)
    except (MalformedCertificate, MalformedKey):
        pass


def test_long_certificates_are_read_and_not_remembered() -> None:
    asked: list[bytes] = []

    @remembered
    def length(der: bytes) -> int:
        asked.append(der)
        return len(der)

    for size in (LENGTH, LENGTH, LENGTH + 1, LENGTH + 1):
        assert length(bytes(size)) == size
    assert [len(der) for der in asked] == [LENGTH, LENGTH + 1, LENGTH + 1]

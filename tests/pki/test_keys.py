"""Loading keys, and the sources that make or share them."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.pki.errors import MalformedKey
from mdmsim.pki.keys import FreshKeys, SharedKeys, load_key, load_public_key, matches, public_key_of

from .conftest import OpenSSL
from .mangling import mangled


@pytest.fixture(scope="module")
def key(keys: SharedKeys) -> bytes:
    return keys.take()


@pytest.mark.interop
@pytest.mark.parametrize("kind", ["rsa", "ec"])
def test_openssl_finds_our_keys_sound(openssl: OpenSSL, kind: str) -> None:
    key = FreshKeys().take() if kind == "rsa" else FreshKeys().take_ec()
    assert b"valid" in openssl("pkey", "-inform", "DER", "-in", "key", "-check", "-noout", key=key)


@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_fresh_key_has_the_size_asked_for(bits: int) -> None:
    loaded = load_key(FreshKeys().take(bits=bits))
    assert isinstance(loaded, rsa.RSAPrivateKey) and loaded.key_size == bits


def test_an_elliptic_curve_key_is_p256() -> None:
    loaded = load_key(FreshKeys().take_ec())
    assert isinstance(loaded, ec.EllipticCurvePrivateKey) and isinstance(loaded.curve, ec.SECP256R1)


def test_a_size_that_no_payload_may_ask_for_is_refused() -> None:
    with pytest.raises(ValueError, match="allowed are 1024, 2048, 3072, 4096"):
        FreshKeys().take(bits=512)


def test_loading_a_key_twice_gives_the_warm_one(key: bytes) -> None:
    assert load_key(key) is load_key(bytes(bytearray(key)))


def test_shared_keys_come_in_turn() -> None:
    shared = SharedKeys(2)
    one, two, three = (shared.take(bits=1024) for _ in range(3))
    assert one == three != two


def test_sharing_no_keys_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one"):
        SharedKeys(0)


def test_a_key_matches_its_own_public_key_alone(key: bytes, keys: SharedKeys) -> None:
    mine, other = load_key(key), load_key(FreshKeys().take(bits=1024))
    assert matches(mine, mine.public_key())
    assert not matches(mine, other.public_key())
    assert not matches(mine, load_key(FreshKeys().take_ec()).public_key())


def test_other_kinds_of_keys_are_refused() -> None:
    foreign = ed25519.Ed25519PrivateKey.generate()
    private = foreign.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    public = foreign.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    with pytest.raises(MalformedKey, match="neither RSA nor elliptic curve"):
        load_key(private)
    with pytest.raises(MalformedKey, match="neither RSA nor elliptic curve"):
        load_public_key(public)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_a_mangled_key_is_malformed_or_a_key(key: bytes, data: st.DataObject) -> None:
    try:
        load_key(data.draw(mangled(key)))
    except MalformedKey:
        pass


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_a_mangled_public_key_is_malformed_or_a_key(key: bytes, data: st.DataObject) -> None:
    try:
        load_public_key(data.draw(mangled(public_key_of(key))))
    except MalformedKey:
        pass

"""Private keys: loading them cheaply, and where fresh ones come from.

Making an RSA-2048 key costs 55 ms of CPU, loading one with the library's default checks as much; everything else of
an enrollment is a tenth of that. So keys that were made here are loaded without the checks, and a pool on disk
(`mdmsim/pki/key_pool.py`) can make them ahead of time.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mdmsim.pki.errors import MalformedKey

PrivateKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey

#: The RSA sizes that a SCEP payload may ask for (mdm/profiles/com.apple.security.scep.yaml), and what a CA might have.
RSA_SIZES = (1024, 2048, 3072, 4096)


@lru_cache(maxsize=4096)
def load_key(der: bytes) -> PrivateKey:
    """A private key from PKCS#8 (or traditional) DER, checked no further than its form: for keys that we made.

    Cached: the first signature with a freshly loaded key costs nearly twice a later one. Raises MalformedKey.
    """
    try:
        key = serialization.load_der_private_key(der, None, unsafe_skip_rsa_key_validation=True)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedKey("private key", "not an unencrypted private key in DER") from None
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey):
        raise MalformedKey("private key", "neither RSA nor elliptic curve")
    return key


@lru_cache(maxsize=4096)
def public_key_of(key: bytes) -> bytes:
    """SubjectPublicKeyInfo (DER) of a private key. Raises MalformedKey."""
    return (
        load_key(key)
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@lru_cache(maxsize=4096)
def load_public_key(der: bytes) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
    """A public key from SubjectPublicKeyInfo DER. Raises MalformedKey."""
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise MalformedKey("public key", "not a public key in DER") from None
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise MalformedKey("public key", "neither RSA nor elliptic curve")
    return key


def to_der(key: PrivateKey) -> bytes:
    """PKCS#8 DER, unencrypted."""
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def pkcs8(der: bytes) -> bytes:
    """A private key of any usual DER form as PKCS#8. Raises MalformedKey."""
    return to_der(load_key(der))


def pkcs1(der: bytes) -> bytes:
    """An RSA private key of any usual DER form as PKCS#1 (`RSA PRIVATE KEY`). Raises MalformedKey, also for other keys."""
    key = load_key(der)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise MalformedKey("private key", "only RSA keys have a PKCS#1 form")
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def matches(private: PrivateKey, public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bool:
    """Whether what the one signs, the other verifies: catches damaged keys for a hundredth of a full check's cost."""
    probe = b"mdmsim"
    try:
        if isinstance(private, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            signature = private.sign(probe, padding.PKCS1v15(), hashes.SHA256())
            public.verify(signature, probe, padding.PKCS1v15(), hashes.SHA256())
            return True
        if isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(private.sign(probe, ec.ECDSA(hashes.SHA256())), probe, ec.ECDSA(hashes.SHA256()))
            return True
    except (InvalidSignature, ValueError):
        return False
    return False


class KeySource(Protocol):
    """Where private keys come from: one for each device, server and authority."""

    def take(self, *, bits: int = 2048) -> bytes:
        """An RSA private key, PKCS#8 DER. Raises ValueError for a size outside RSA_SIZES."""

    def take_ec(self) -> bytes:
        """A P-256 private key, PKCS#8 DER."""


def check_size(bits: int) -> None:
    if bits not in RSA_SIZES:
        raise ValueError(f"RSA key of {bits} bits: allowed are {', '.join(map(str, RSA_SIZES))}")


class FreshKeys:
    """A new key every time, made on the spot."""

    def take(self, *, bits: int = 2048) -> bytes:
        check_size(bits)
        return to_der(rsa.generate_private_key(public_exponent=65537, key_size=bits))

    def take_ec(self) -> bytes:
        return to_der(ec.generate_private_key(ec.SECP256R1()))


class SharedKeys:
    """The same few RSA keys in turn: for load, where a key per device would cost more than what is measured.

    `count` keys of each size, made when first needed. Elliptic curve keys cost next to nothing and stay fresh.
    """

    def __init__(self, count: int, source: KeySource | None = None) -> None:
        if count < 1:
            raise ValueError(f"{count} shared keys: at least one is needed")
        self._count = count
        self._source = source or FreshKeys()
        self._keys: dict[int, list[bytes]] = {}
        self._turns: dict[int, int] = {}

    def take(self, *, bits: int = 2048) -> bytes:
        keys = self._keys.setdefault(bits, [])
        turn = self._turns.get(bits, 0)
        if turn >= len(keys):
            keys.append(self._source.take(bits=bits))
        self._turns[bits] = (turn + 1) % self._count
        return keys[turn]

    def take_ec(self) -> bytes:
        return self._source.take_ec()

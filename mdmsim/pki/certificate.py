"""Reading certificates, and moving certificates and identities between DER and PEM."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import warnings
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from mdmsim.clock import from_utc
from mdmsim.http import Identity
from mdmsim.pki.errors import MalformedCertificate, MalformedKey
from mdmsim.pki.keys import load_key, matches, pkcs1, pkcs8, public_key_of
from mdmsim.pki.remember import remembered

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

#: A certificate larger than this is refused unread; the largest in use are some 10 KB.
MAX_CERTIFICATE = 256 * 1024

_PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


@remembered
def load_certificate(der: bytes) -> x509.Certificate:
    """The parsed certificate; cached, because a server meets the same ones all day. Raises MalformedCertificate."""
    if len(der) > MAX_CERTIFICATE:
        raise MalformedCertificate("certificate", f"{len(der)} bytes, more than {MAX_CERTIFICATE}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd serial numbers and over-long names are the issuer's affair
            certificate = x509.load_der_x509_certificate(der)
            # Parsed lazily otherwise; touched here so that whoever holds the object can rely on it.
            _ = certificate.subject, certificate.issuer, certificate.version
            _ = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    except (ValueError, TypeError, OverflowError, x509.InvalidVersion, UnsupportedAlgorithm) as error:
        raise MalformedCertificate("certificate", f"not an X.509 certificate{without_parser(error)}") from None
    return certificate


@remembered
def public_key(der: bytes) -> PublicKey:
    """The certificate's public key. Raises MalformedCertificate, also for other kinds than RSA and elliptic curve."""
    try:
        found = load_certificate(der).public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise MalformedCertificate("certificate", f"its public key is unreadable{without_parser(error)}") from None
    if not isinstance(found, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        raise MalformedCertificate("certificate", "its public key is neither RSA nor elliptic curve")
    return found


@remembered
def public_key_der(der: bytes) -> bytes:
    """The certificate's SubjectPublicKeyInfo. Raises MalformedCertificate."""
    return public_key(der).public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def without_parser(error: BaseException) -> str:
    """What a parser of DER has against something, in brackets; nothing where that is about its own innards."""
    said = _brief(error)
    return "" if "asn1" in said or "ParseError" in said else f" ({said})"


def _brief(error: BaseException) -> str:
    return str(error).partition("\n")[0][:120] or type(error).__name__


def is_authority(der: bytes) -> bool:
    """Whether BasicConstraints make it a CA's; False also where its extensions cannot be read."""
    try:
        return load_certificate(der).extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False


def fingerprint(der: bytes) -> str:
    """SHA-256 of the certificate, lower-case hex."""
    return hashlib.sha256(der).hexdigest()


def serial(der: bytes) -> int:
    """Raises MalformedCertificate."""
    return load_certificate(der).serial_number


def not_before_ms(der: bytes) -> int:
    """Raises MalformedCertificate."""
    return from_utc(load_certificate(der).not_valid_before_utc)


def not_after_ms(der: bytes) -> int:
    """The last moment at which the certificate is valid. Raises MalformedCertificate."""
    return from_utc(load_certificate(der).not_valid_after_utc)


def to_pem(*certificates: bytes) -> bytes:
    return b"".join(_pem("CERTIFICATE", der) for der in certificates)


def _pem(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).replace(b"\n", b"")
    lines = b"".join(body[at : at + 64] + b"\n" for at in range(0, len(body), 64))
    return f"-----BEGIN {label}-----\n".encode() + lines + f"-----END {label}-----\n".encode()


def _blocks(pem: bytes | str, kind: str) -> list[bytes]:
    """DER of every PEM block whose label ends so, also where blocks follow each other without a line break."""
    text = pem if isinstance(pem, str) else pem.decode("latin-1")
    found = []
    for label, body in _PEM_BLOCK.findall(text):
        if not label.endswith(kind):
            continue
        # Encrypted keys have "Proc-Type: ..." lines before the base64; they are not for us.
        if ":" in body:
            raise MalformedKey("PEM", f"the {label} block is encrypted or has headers; hand it over in the clear")
        try:
            found.append(base64.b64decode("".join(body.split()), validate=True))
        except (binascii.Error, ValueError):
            raise MalformedCertificate("PEM", f"the {label} block is not base64") from None
    return found


def certificates_from_pem(pem: bytes | str) -> tuple[bytes, ...]:
    """Every certificate in the text, in order. Raises MalformedCertificate if there is none or one is broken."""
    try:
        found = tuple(_blocks(pem, "CERTIFICATE"))
    except MalformedKey as error:
        raise MalformedCertificate(error.what, error.reason) from None
    if not found:
        raise MalformedCertificate("PEM", 'no "BEGIN CERTIFICATE" block in it')
    for der in found:
        load_certificate(der)
    return found


def identity_from_pem(pem: bytes | str) -> Identity:
    """The one private key, the certificate that belongs to it, and the other certificates in order as its chain.

    Raises MalformedKey without exactly one unencrypted private key that matches a certificate, MalformedCertificate.
    """
    certificates = certificates_from_pem(pem)
    keys = _blocks(pem, "PRIVATE KEY")
    if len(keys) != 1:
        raise MalformedKey("PEM", f"{len(keys)} private keys in it, exactly one is needed")
    key = pkcs8(keys[0])
    mine = public_key_of(key)
    for der in certificates:
        if public_key_der(der) == mine:
            if not matches(load_key(key), public_key(der)):
                raise MalformedKey("PEM", "the private key is damaged: what it signs does not verify")
            return Identity(der, key, tuple(other for other in certificates if other != der))
    raise MalformedKey("PEM", "the private key belongs to none of the certificates")


def identity_to_pem(identity: Identity, form: Literal["pkcs8", "pkcs1"] = "pkcs8") -> bytes:
    """Private key, certificate, chain. Secret: files of it want mode 0600.

    `form`: of the key; some clients read the traditional form of RSA keys only. Raises MalformedKey where the key is
    no RSA key and `form` asks for PKCS#1.
    """
    return key_to_pem(identity.key, form) + to_pem(identity.certificate, *identity.chain)


def key_to_pem(key: bytes, form: Literal["pkcs8", "pkcs1"] = "pkcs8") -> bytes:
    """A private key (PKCS#8 DER) as PEM. Secret. Raises MalformedKey as `identity_to_pem` does."""
    return _pem("PRIVATE KEY", key) if form == "pkcs8" else _pem("RSA PRIVATE KEY", pkcs1(key))

"""Certificates for transport tests, made with cryptography alone: independent of mdmsim.pki on purpose."""

from __future__ import annotations

import datetime
import functools
import ipaddress
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mdmsim.http import Identity

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
DAY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Issuer:
    certificate: x509.Certificate
    key: Key

    @property
    def der(self) -> bytes:
        return der(self.certificate)


def der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def pkcs8(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def today() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)  # noqa: TID251  OpenSSL judges by the real date


@functools.cache
def authority(common_name: str, parent: Issuer | None = None) -> Issuer:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(parent.certificate.subject if parent else name(common_name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today() - 4000 * DAY)
        .not_valid_after(today() + 4000 * DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(False, False, False, False, False, True, True, False, False), critical=True)
    )
    return Issuer(builder.sign(parent.key if parent else key, hashes.SHA256()), key)


@functools.cache
def leaf(
    issuer: Issuer,
    *names: str,
    purpose: str = "server",
    common_name: str | None = None,
    from_days: int = -10,
    to_days: int = 80,
    rsa_key: bool = False,
    chain: tuple[bytes, ...] = (),
) -> Identity:
    """A leaf for DNS names and IP addresses, valid from so many days from now to so many."""
    key: Key = rsa.generate_private_key(65537, 2048) if rsa_key else ec.generate_private_key(ec.SECP256R1())
    usage = ExtendedKeyUsageOID.SERVER_AUTH if purpose == "server" else ExtendedKeyUsageOID.CLIENT_AUTH
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name or (names[0] if names else purpose)))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today() + from_days * DAY)
        .not_valid_after(today() + to_days * DAY)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([_general(n) for n in names]), critical=False)
    return Identity(der(builder.sign(issuer.key, hashes.SHA256())), pkcs8(key), chain)


def _general(value: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(value))
    except ValueError:
        return x509.DNSName(value)


HOST = "mdm.example.test"
ROOT = authority("Lab Root")
INTERMEDIATE = authority("Lab Intermediate", ROOT)
OTHER_ROOT = authority("Foreign Root")
SERVER = leaf(ROOT, HOST, "127.0.0.1")

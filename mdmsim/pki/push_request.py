"""The request for an MDM push certificate that Apple's portal takes: a customer's CSR, signed by the MDM vendor.

A base64 text of an XML property list with three strings: `PushCertRequestCSR` (base64 of the CSR's DER),
`PushCertCertificateChain` (PEM: the vendor's certificate, Apple's WWDR, Apple's root) and `PushCertSignature` (base64;
PKCS #1 v1.5 over the CSR's DER by the vendor's RSA key). Source: Apple, "Setting up push notifications for your MDM
customers"; SHA-256 since about 2017, SHA-1 in older documents.
"""

from __future__ import annotations

import base64
import binascii
import plistlib
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, TypeAlias
from xml.parsers.expat import ExpatError

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from mdmsim.clock import iso
from mdmsim.http import Identity
from mdmsim.pki.algorithms import HASHES, x509_signature_holds
from mdmsim.pki.certificate import (
    certificates_from_pem,
    load_certificate,
    not_after_ms,
    not_before_ms,
    public_key,
    to_pem,
)
from mdmsim.pki.csr import Request, parse_csr
from mdmsim.pki.errors import BadPushRequest, MalformedKey
from mdmsim.pki.keys import load_key, load_public_key
from mdmsim.pki.names import text
from mdmsim.protocol.errors import Malformed

RequestDigest: TypeAlias = Literal["sha256", "sha1"]

#: The longest request that is read, in bytes; real ones have some eight thousand.
MAX_REQUEST = 256 * 1024

_CSR, _CHAIN, _SIGNATURE = "PushCertRequestCSR", "PushCertCertificateChain", "PushCertSignature"


@dataclass(frozen=True, slots=True)
class VendorRule:
    """Which vendors are believed.

    `authorities` (DER): who must have issued the vendor's certificate, at the end of its chain; none: any chain will do
    whose signatures hold, also a single certificate that signed itself, because nobody but vendors has one of Apple's.
    `sha1`: whether the old digest is taken. `dates`: whether certificates of the chain must be valid today.
    """

    authorities: tuple[bytes, ...] = ()
    sha1: bool = False
    dates: bool = True


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request that holds. `vendor`: organisation or name in the vendor's certificate; `chain`: DER, vendor's first."""

    csr: Request
    vendor: str
    chain: tuple[bytes, ...]
    digest: RequestDigest


def build_push_request(csr: bytes, vendor: Identity, *, digest: RequestDigest = "sha256") -> bytes:
    """The request for that CSR (DER), signed as an MDM vendor does. Raises MalformedKey for a key that is not RSA."""
    key = load_key(vendor.key)
    if not isinstance(key, rsa.RSAPrivateKey):
        raise MalformedKey("vendor's key", "only RSA keys sign requests for push certificates")
    plist = {
        _CSR: base64.b64encode(csr).decode("ascii"),
        _CHAIN: to_pem(vendor.certificate, *vendor.chain).decode("ascii"),
        _SIGNATURE: base64.b64encode(key.sign(csr, padding.PKCS1v15(), HASHES[digest])).decode("ascii"),
    }
    return base64.b64encode(plistlib.dumps(plist)) + b"\n"


def read_push_request(data: bytes, *, now_ms: int, rule: VendorRule | None = None) -> SignedRequest:
    """Read a request as the portal does, everything checked. Raises BadPushRequest, MalformedCSR."""
    rule = rule or VendorRule()
    values = _values(data)
    csr = parse_csr(_decoded(values[_CSR], _CSR))
    key = load_public_key(csr.public_key)
    if not isinstance(key, rsa.RSAPublicKey) or key.key_size < 2048:
        raise BadPushRequest(_CSR, "the key must be RSA of at least 2048 bits")
    chain = _chain(values[_CHAIN], now_ms, rule)
    digest = _verified(chain[0], _decoded(values[_SIGNATURE], _SIGNATURE), csr.der, rule)
    return SignedRequest(csr, _vendor_name(chain[0]), chain, digest)


def _values(data: bytes) -> dict[str, str]:
    if len(data) > MAX_REQUEST:
        raise BadPushRequest("request", f"{len(data)} bytes, more than {MAX_REQUEST}")
    if data.lstrip()[:1] == b"<":
        raise BadPushRequest("request", "it is the bare property list; the portal takes it encoded as base64")
    if b"CERTIFICATE REQUEST-----" in data:
        raise BadPushRequest(
            "request", "it is the bare CSR; an MDM vendor must sign it first (mdmsim apns vendor-request makes one)"
        )
    plist = _decoded(data.decode("latin-1"), "request")
    try:
        values = plistlib.loads(plist, fmt=plistlib.FMT_XML)
    except (
        plistlib.InvalidFileException,
        ExpatError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
    ):
        raise BadPushRequest("request", "not an XML property list inside") from None
    except RecursionError:
        raise BadPushRequest("request", "nested too deep") from None
    if not isinstance(values, dict):
        raise BadPushRequest("request", "a dictionary is expected inside")
    for key in (_CSR, _CHAIN, _SIGNATURE):
        if key not in values:
            raise BadPushRequest("request", f"{key} is missing", key=key, problem="missing")
        if not isinstance(values[key], str):
            raise BadPushRequest("request", f"{key} must be a string", key=key, problem="type")
    return values


def _decoded(value: str, what: str) -> bytes:
    try:
        return base64.b64decode("".join(value.split()), validate=True)
    except (binascii.Error, ValueError):
        raise BadPushRequest(what, "not base64") from None


def _chain(pem: str, now_ms: int, rule: VendorRule) -> tuple[bytes, ...]:
    """The vendor's certificate and those above it, each signed by the next; the root may be left out.

    Not by `verify_chain`: Apple's certificates for vendors carry extensions of Apple's own, critical ones among them.
    """
    try:
        chain = certificates_from_pem(pem)
    except Malformed as error:
        raise BadPushRequest(_CHAIN, error.reason) from None
    for der in chain:
        if rule.dates and not not_before_ms(der) <= now_ms <= not_after_ms(der):
            dates = f"{iso(not_before_ms(der))} to {iso(not_after_ms(der))}"
            raise BadPushRequest(_CHAIN, f"{_name(der)} is valid from {dates}")
    # Whoever issued itself is the end, and must have signed itself.
    for der, issuer in pairwise((*chain, chain[-1]) if _self_issued(chain[-1]) else chain):
        if not _signed_by(der, issuer):
            order = "the vendor's certificate comes first, each is signed by the next"
            raise BadPushRequest(_CHAIN, f"{_name(der)} is not signed by {_name(issuer)}: {order}")
    if rule.authorities and not any(
        der == authority or _signed_by(der, authority) for authority in rule.authorities for der in chain
    ):
        names = ", ".join(_name(authority) for authority in rule.authorities)
        raise BadPushRequest(_CHAIN, f"{_name(chain[0])} does not come from {names}")
    return chain


def _self_issued(der: bytes) -> bool:
    certificate = load_certificate(der)
    return certificate.subject == certificate.issuer


def _signed_by(der: bytes, issuer: bytes) -> bool:
    try:
        key = public_key(issuer)
    except Malformed:
        return False
    certificate = load_certificate(der)
    return certificate.issuer == load_certificate(issuer).subject and x509_signature_holds(certificate, key)


def _name(der: bytes) -> str:
    return text(load_certificate(der).subject) or "a certificate without a name"


def _verified(vendor: bytes, signature: bytes, signed: bytes, rule: VendorRule) -> RequestDigest:
    try:
        key = public_key(vendor)
    except Malformed as error:
        raise BadPushRequest(_CHAIN, error.reason) from None
    if not isinstance(key, rsa.RSAPublicKey):
        raise BadPushRequest(_CHAIN, f"the key of {_name(vendor)} is not RSA")
    if _holds(key, signature, signed, "sha256"):
        return "sha256"
    if _holds(key, signature, signed, "sha1"):
        if rule.sha1:
            return "sha1"
        raise BadPushRequest(_SIGNATURE, "made with SHA-1; Apple wants SHA-256")
    raise BadPushRequest(
        _SIGNATURE,
        f"not {_name(vendor)}'s over the DER of the CSR (PKCS #1 v1.5, SHA-256): the vendor signs the DER, not the PEM",
    )


def _holds(key: rsa.RSAPublicKey, signature: bytes, signed: bytes, digest: RequestDigest) -> bool:
    try:
        key.verify(signature, signed, padding.PKCS1v15(), HASHES[digest])
    except (InvalidSignature, ValueError):
        return False
    return True


def _vendor_name(vendor: bytes) -> str:
    subject = load_certificate(vendor).subject
    for oid in (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME):
        found: list[x509.NameAttribute[str | bytes]] = list(subject.get_attributes_for_oid(oid))
        if found and isinstance(found[0].value, str):
            return found[0].value
    return "an unnamed vendor"

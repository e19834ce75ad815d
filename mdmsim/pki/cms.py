"""CMS SignedData: signing as Apple's devices do, and verifying what anyone sends (RFC 5652 section 5).

A device's own form is BER of indefinite length, SHA-256, the leaf certificate alone, no signed attributes, the
signature directly over the content (captured: Mdm-Signature headers of macOS). It is also the cheapest form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias, TypeVar

from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.algorithms import (
    DIGEST_OID,
    HASHLIB,
    Digest,
    sign_raw,
    signature_family,
    signature_oid,
    verify_raw,
)
from mdmsim.pki.asn1 import BadASN1, Element, Reader
from mdmsim.pki.certificate import public_key
from mdmsim.pki.errors import BadSignature, MalformedCertificate, MalformedCMS
from mdmsim.pki.keys import PrivateKey, load_key
from mdmsim.pki.signed_data import (
    DATA,
    SIGNED_DATA,
    SignerInfo,
    content_info,
    issuer_and_serial,
    key_identifier,
    parse_signed_data,
)

T = TypeVar("T")

Form: TypeAlias = Literal["ber", "der"]

# RFC 5652 section 11.
CONTENT_TYPE = "1.2.840.113549.1.9.3"
MESSAGE_DIGEST = "1.2.840.113549.1.9.4"
SIGNING_TIME = "1.2.840.113549.1.9.5"

#: How streaming encoders cut content into octet strings.
_CHUNK = 1000


@dataclass(frozen=True, slots=True)
class SignedContent:
    """A verified SignedData.

    `signer`: the signer's certificate; `certificates`: all that were included, in order (the signer's not necessarily
    among them); `digest`: the signer's digest algorithm; `signing_time`: milliseconds since 1970, as claimed by the
    signer, None where it says nothing; `attributes`: the signed attributes, OID to the first value in DER.
    """

    content: bytes
    signer: bytes
    certificates: tuple[bytes, ...]
    digest: Digest
    signing_time: int | None
    attributes: Mapping[str, bytes]


# ---- signing


@dataclass(frozen=True, slots=True)
class _Frame:
    """All of a message that does not depend on the content: kept per identity, so that signing costs the signature."""

    key: PrivateKey
    digest: Digest
    ber: bool
    head: bytes  # version and digest algorithms of SignedData
    certificates: bytes
    signer_head: bytes  # version, issuer and serial, digest algorithm
    signature_algorithm: bytes
    # A detached BER message without attributes whose signature has this size is `prefix` + signature + `suffix`.
    signature_size: int
    prefix: bytes
    suffix: bytes


_SIGNED_DATA_BER = b"\x30\x80" + asn1.oid(SIGNED_DATA) + b"\xa0\x80\x30\x80"


@lru_cache(maxsize=4096)
def _frame(
    identity: Identity, digest: Digest, form: Form, certificates: tuple[bytes, ...], include_signer: bool = True
) -> _Frame:
    key = load_key(identity.key)
    digest_algorithm = asn1.algorithm(DIGEST_OID[digest], asn1.NULL)
    oid = signature_oid(key, digest)
    # RSA's parameters are NULL, ECDSA's absent (RFC 5754 section 3.2, RFC 5758 section 3.2).
    signature_algorithm = asn1.algorithm(oid, asn1.NULL if oid.startswith("1.2.840.113549.") else b"")
    issuer, serial = issuer_and_serial(identity.certificate)
    signer_head = asn1.integer(1) + asn1.sequence(issuer, serial) + digest_algorithm
    head = asn1.integer(1) + asn1.set_of(digest_algorithm)
    included_certificates = (identity.certificate, *certificates) if include_signer else certificates
    included = asn1.context(0, b"".join(included_certificates)) if included_certificates else b""
    size = (key.key_size + 7) // 8
    blank = bytes(size)
    signer_infos = asn1.set_of(asn1.sequence(signer_head, signature_algorithm, asn1.octets(blank)))
    prefix = _SIGNED_DATA_BER + head + asn1.indefinite(asn1.SEQUENCE, asn1.oid(DATA)) + included + signer_infos[:-size]
    return _Frame(key, digest, form == "ber", head, included, signer_head, signature_algorithm, size, prefix, bytes(6))


def sign(
    content: bytes,
    identity: Identity,
    *,
    detached: bool = False,
    attributes: bool = False,
    signed_at_ms: int | None = None,
    digest: Digest = "sha256",
    form: Form = "ber",
    certificates: Sequence[bytes] = (),
) -> bytes:
    """A SignedData over the content, by one signer; the defaults are a device's.

    `detached`: the content is left out. `attributes`: contentType and messageDigest are signed, and signingTime where
    `signed_at_ms` is given. `certificates`: DER, included after the signer's own. For a signed profile use
    `form="der", attributes=True, certificates=identity.chain`. Raises MalformedKey, MalformedCertificate, ValueError.
    """
    if digest not in DIGEST_OID:
        raise ValueError(f"digest {digest!r}: allowed are {', '.join(DIGEST_OID)}")
    frame = _frame(identity, digest, form, tuple(certificates))
    if not attributes:
        signature = sign_raw(frame.key, content, digest)
        if detached and frame.ber and len(signature) == frame.signature_size:
            return frame.prefix + signature + frame.suffix
        return _assemble(frame, DATA, None if detached else content, b"", signature)
    return _sign_attributes(content, frame, {}, detached=detached, signed_at_ms=signed_at_ms)


def sign_with(
    content: bytes,
    identity: Identity,
    extra: Mapping[str, bytes],
    *,
    signed_at_ms: int | None = None,
    digest: Digest = "sha256",
    form: Form = "der",
    include_signer: bool = True,
) -> bytes:
    """As `sign` with attributes, and with further signed attributes: OID to the one value in DER. For SCEP.

    `include_signer`: whether the signer's certificate goes along.
    """
    frame = _frame(identity, digest, form, (), include_signer)
    return _sign_attributes(content, frame, extra, detached=False, signed_at_ms=signed_at_ms)


def _sign_attributes(
    content: bytes, frame: _Frame, extra: Mapping[str, bytes], *, detached: bool, signed_at_ms: int | None
) -> bytes:
    values = {
        CONTENT_TYPE: asn1.oid(DATA),
        MESSAGE_DIGEST: asn1.octets(HASHLIB[frame.digest](content).digest()),
        **extra,
    }
    if signed_at_ms is not None:
        values[SIGNING_TIME] = asn1.time(signed_at_ms)
    signed = asn1.set_of(*(asn1.sequence(asn1.oid(oid), asn1.set_of(value)) for oid, value in values.items()))
    # The signature is over a SET OF; in the message the set is tagged [0] (RFC 5652 section 5.4).
    signature = sign_raw(frame.key, signed, frame.digest)
    return _assemble(frame, DATA, None if detached else content, b"\xa0" + signed[1:], signature)


def _assemble(frame: _Frame, content_type: str, content: bytes | None, attributes: bytes, signature: bytes) -> bytes:
    signer = asn1.sequence(frame.signer_head, attributes, frame.signature_algorithm, asn1.octets(signature))
    tail = (frame.certificates, asn1.set_of(signer))
    kind = asn1.oid(content_type)
    if frame.ber:
        inner = (kind,) if content is None else (kind, asn1.indefinite(0xA0, chunked(content)))
        signed_data = asn1.indefinite(asn1.SEQUENCE, frame.head, asn1.indefinite(asn1.SEQUENCE, *inner), *tail)
        return asn1.indefinite(asn1.SEQUENCE, asn1.oid(SIGNED_DATA), asn1.indefinite(0xA0, signed_data))
    explicit = b"" if content is None else asn1.context(0, asn1.octets(content))
    return content_info(SIGNED_DATA, asn1.sequence(frame.head, asn1.sequence(kind, explicit), *tail))


def chunked(content: bytes, tag: int = asn1.OCTET_STRING) -> bytes:
    """An octet string in BER's constructed form, as streaming encoders cut it."""
    chunks = [asn1.octets(content[at : at + _CHUNK]) for at in range(0, len(content), _CHUNK)]
    return asn1.indefinite(tag | asn1.CONSTRUCTED, *chunks)


# ---- verifying


def is_cms(data: bytes) -> bool:
    """Whether the bytes look like a ContentInfo rather than a plist: a cheap look at the beginning, BER or DER."""
    if data[:1] != b"\x30":
        return False
    at = 2 if len(data) < 2 or data[1] <= 0x80 else 2 + (data[1] & 0x7F)
    return data[at : at + 10] == b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07"


def verify(data: bytes, *, content: bytes | None = None, known: Sequence[bytes] = ()) -> SignedContent:
    """Check a SignedData and return what it says; BER or DER, with and without signed attributes.

    `content`: what a detached signature is over; given for an attached one, both must be equal. `known`: certificates
    among which the signer's may be, if the message does not include it. Says nothing about whether the signer is
    trusted: that is `chain.verify_chain`. Raises MalformedCMS, BadSignature.
    """
    message = parse_signed_data(data)
    if len(message.signers) != 1:
        raise MalformedCMS("CMS", f"{len(message.signers)} signers, expected exactly one")
    signer = message.signers[0]
    if message.content is None:
        if content is None:
            raise MalformedCMS("CMS", "the signature is detached, and there is nothing that it could be over")
        body = content
    else:
        body = message.content
        if content is not None and content != body:
            raise BadSignature("CMS", "the content inside differs from the content given")
    certificate = find_signer(signer, (*message.certificates, *known))
    signed_at = _check(signer, certificate, body, message.content_type)
    return SignedContent(body, certificate, message.certificates, signer.digest, signed_at, signer.attributes)


def find_signer(signer: SignerInfo, candidates: Sequence[bytes]) -> bytes:
    """The certificate that a signer info names. Raises MalformedCMS."""
    for certificate in candidates:
        try:
            if signer.key_identifier is not None:
                if key_identifier(certificate) == signer.key_identifier:
                    return certificate
            elif issuer_and_serial(certificate) == (signer.issuer, signer.serial):
                return certificate
        except MalformedCertificate:
            continue  # a broken certificate beside the signer's is not our affair
    raise MalformedCMS("CMS", "the signer's certificate is neither in the message nor known")


def _check(signer: SignerInfo, certificate: bytes, body: bytes, content_type: str) -> int | None:
    """Check one signer's signature; return the signing time that it claims."""
    family = signature_family(signer.signature_oid, signer.digest)
    try:
        key = public_key(certificate)
    except MalformedCertificate as error:
        raise MalformedCMS("CMS", f"the signer's {error}") from None
    if signer.signed is None:
        # RFC 5652 section 5.3: without signed attributes the content type can only be data.
        if content_type != DATA:
            raise MalformedCMS("CMS", f"content type {content_type} without signed attributes")
        verify_raw(key, signer.signature, body, signer.digest, family)
        return None
    # Without these two comparisons an old signature would vouch for any content.
    attributes = signer.attributes
    if attributes.get(CONTENT_TYPE) != asn1.oid(content_type):
        raise BadSignature("CMS", "the signed content type is missing or another than the content's")
    digest = _value(attributes, MESSAGE_DIGEST, lambda r, e: r.octets(e, "message digest"))
    if digest is None:
        raise BadSignature("CMS", "the signed attributes lack the message digest")
    if digest != HASHLIB[signer.digest](body).digest():
        raise BadSignature("CMS", "the content is not the one whose digest was signed")
    verify_raw(key, signer.signature, signer.signed, signer.digest, family)
    return _value(attributes, SIGNING_TIME, lambda r, e: r.time_ms(e, "signing time"))


def _value(attributes: Mapping[str, bytes], oid: str, read: Callable[[Reader, Element], T]) -> T | None:
    """One attribute's value as `read` makes it; None where it is absent. Raises MalformedCMS."""
    raw = attributes.get(oid)
    if raw is None:
        return None
    reader = Reader(raw)
    try:
        return read(reader, reader.element(0, len(raw)))
    except BadASN1 as error:
        raise MalformedCMS("CMS", str(error)) from None

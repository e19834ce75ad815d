"""The structure of CMS messages: reading a SignedData without judging it (RFC 5652 sections 3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography import x509

from mdmsim.pki import asn1
from mdmsim.pki.algorithms import DIGEST_OF, Digest
from mdmsim.pki.asn1 import BadASN1, Element, Reader
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.errors import MalformedCertificate, MalformedCMS
from mdmsim.pki.remember import remembered

# RFC 5652 sections 4, 5.1 and 11.
DATA = "1.2.840.113549.1.7.1"
SIGNED_DATA = "1.2.840.113549.1.7.2"

#: More certificates or attributes than any real message holds.
MAX_PARTS = 64

_NO_ATTRIBUTES: Mapping[str, bytes] = MappingProxyType({})


def content_info(content_type: str, content: bytes) -> bytes:
    """A ContentInfo in DER."""
    return asn1.sequence(asn1.oid(content_type), asn1.context(0, content))


def key_identifier(certificate: bytes) -> bytes | None:
    """The subject key identifier extension. Raises MalformedCertificate."""
    try:
        found = load_certificate(certificate).extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        return None
    except (ValueError, x509.DuplicateExtension):
        raise MalformedCertificate("certificate", "its extensions cannot be read") from None
    return found.value.digest


@remembered
def issuer_and_serial(certificate: bytes) -> tuple[bytes, bytes]:
    """A certificate's issuer and serial number as they stand in it, for comparing. Raises MalformedCertificate."""
    load_certificate(certificate)
    try:
        reader = Reader(certificate)
        tbs = reader.children(reader.root(asn1.SEQUENCE, "certificate"), "certificate", 3)[0]
        fields = reader.children(tbs, "certificate", 6)
        first = 1 if fields[0].tag == 0xA0 else 0  # version is absent in version 1
        return reader.raw(fields[first + 2]), reader.raw(fields[first])
    except (BadASN1, IndexError) as error:
        raise MalformedCertificate("certificate", str(error)) from None


@dataclass(frozen=True, slots=True)
class SignerInfo:
    """The one signer of a SignedData, as read, nothing checked yet."""

    issuer: bytes
    serial: bytes
    key_identifier: bytes | None
    digest: Digest
    signature_oid: str
    attributes: Mapping[str, bytes]
    signed: bytes | None  # the signed attributes as the SET OF that was signed
    signature: bytes


@dataclass(frozen=True, slots=True)
class SignedData:
    """A SignedData as read, nothing checked yet. `content` is None in a detached one."""

    content_type: str
    content: bytes | None
    certificates: tuple[bytes, ...]
    signers: tuple[SignerInfo, ...]


def parse_signed_data(data: bytes) -> SignedData:
    """Raises MalformedCMS."""
    try:
        return _read_signed_data(Reader(data))
    except BadASN1 as error:
        raise MalformedCMS("CMS", str(error)) from None


def open_content_info(reader: Reader, wanted: str, name: str) -> Element:
    """The content of a ContentInfo that is the whole buffer. Raises BadASN1."""
    parts = reader.children(reader.root(asn1.SEQUENCE, "ContentInfo"), "ContentInfo", 2)
    found = reader.oid(parts[0], "content type")
    if found != wanted:
        raise BadASN1(f"content type {found}, expected {name}")
    if parts[1].tag != 0xA0:
        raise BadASN1(f"{name} is missing")
    return reader.child(parts[1], asn1.SEQUENCE, name)


def _read_signed_data(reader: Reader) -> SignedData:
    fields = reader.children(open_content_info(reader, SIGNED_DATA, "SignedData"), "SignedData", 4)
    reader.integer(fields[0], "version")
    if fields[1].tag != asn1.SET or fields[-1].tag != asn1.SET:
        raise BadASN1("SignedData lacks its digest algorithms or signer infos")
    encapsulated = reader.children(fields[2], "content", 1)
    content_type = reader.oid(encapsulated[0], "content type")
    content = None
    if len(encapsulated) > 1:
        if encapsulated[1].tag != 0xA0:
            raise BadASN1("content is not tagged [0]")
        inner = reader.children(encapsulated[1], "content", 1)
        if inner[0].tag & ~asn1.CONSTRUCTED == asn1.OCTET_STRING:
            content = reader.octets(inner[0], "content")
        else:
            # PKCS#7 1.5 allowed any type here (RFC 5652 section 5.2.1); its contents are what was signed.
            content = reader.data[inner[0].start : inner[0].stop]
    certificates: tuple[bytes, ...] = ()
    for field in fields[3:-1]:
        if field.tag == 0xA0:
            found = reader.children(field, "certificates")
            if len(found) > MAX_PARTS:
                raise BadASN1(f"{len(found)} certificates, more than {MAX_PARTS}")
            certificates = tuple(reader.raw(each) for each in found if each.tag == asn1.SEQUENCE)
    signers = reader.children(fields[-1], "signer infos")
    if len(signers) > MAX_PARTS:
        raise BadASN1(f"{len(signers)} signers, more than {MAX_PARTS}")
    return SignedData(content_type, content, certificates, tuple(_read_signer(reader, each) for each in signers))


def _read_signer(reader: Reader, element: Element) -> SignerInfo:
    fields = reader.children(element, "signer info", 5)
    reader.integer(fields[0], "version")
    issuer = serial = b""
    key_identifier = None
    if fields[1].tag == asn1.SEQUENCE:
        named = reader.children(fields[1], "signer's issuer and serial", 2)
        issuer, serial = reader.raw(named[0]), reader.raw(named[1])
    else:
        key_identifier = reader.octets(fields[1], "signer's key identifier", 0x80)
    digest_oid, _ = reader.algorithm(fields[2], "digest algorithm")
    digest = DIGEST_OF.get(digest_oid)
    if digest is None:
        raise BadASN1(f"digest algorithm {digest_oid} is not supported")
    attributes, signed, at = _NO_ATTRIBUTES, None, 3
    if fields[3].tag == 0xA0:
        attributes, at = _read_attributes(reader, fields[3]), 4
        signed = asn1.tlv(asn1.SET, reader.data[fields[3].start : fields[3].stop])
    if len(fields) < at + 2:
        raise BadASN1("signer info lacks its signature")
    oid, _ = reader.algorithm(fields[at], "signature algorithm")
    signature = reader.octets(fields[at + 1], "signature")
    return SignerInfo(issuer, serial, key_identifier, digest, oid, attributes, signed, signature)


def _read_attributes(reader: Reader, element: Element) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    parts = reader.children(element, "signed attributes")
    if len(parts) > MAX_PARTS:
        raise BadASN1(f"{len(parts)} signed attributes, more than {MAX_PARTS}")
    for part in parts:
        pair = reader.children(part, "signed attribute", 2)
        oid = reader.oid(pair[0], "signed attribute")
        values = reader.children(pair[1], f"signed attribute {oid}", 1)
        if oid in found:
            raise BadASN1(f"signed attribute {oid} occurs twice")
        found[oid] = reader.raw(values[0])
    return found

"""CMS EnvelopedData: content for those who hold one of the recipients' RSA keys (RFC 5652 section 6).

Single DES and 3DES are here because real SCEP servers and clients still send them; nothing chooses them unasked.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES

from mdmsim.chance import Chance
from mdmsim.http import Identity
from mdmsim.pki import asn1
from mdmsim.pki.algorithms import DIGEST_OF, DIGEST_OID, HASHES, RSA_ENCRYPTION, Digest
from mdmsim.pki.asn1 import BadASN1, Element, Reader
from mdmsim.pki.certificate import public_key
from mdmsim.pki.cms import Form, chunked
from mdmsim.pki.errors import CannotDecrypt, CannotEncrypt, MalformedCertificate, MalformedCMS
from mdmsim.pki.keys import load_key
from mdmsim.pki.signed_data import (
    DATA,
    MAX_PARTS,
    content_info,
    issuer_and_serial,
    key_identifier,
    open_content_info,
)

ENVELOPED_DATA = "1.2.840.113549.1.7.3"
# RFC 8017 appendix A.2.1.
_OAEP = "1.2.840.113549.1.1.7"
_MGF1 = "1.2.840.113549.1.1.8"

CipherName: TypeAlias = Literal["aes128", "aes192", "aes256", "3des", "des"]
Transport: TypeAlias = Literal["pkcs1", "oaep"]


@dataclass(frozen=True, slots=True)
class _CipherKind:
    oid: str
    key_size: int
    block: int


# RFC 3565 section 4.1, RFC 3370 section 5.1, and OIW's desCBC.
CIPHERS: Mapping[CipherName, _CipherKind] = {
    "aes128": _CipherKind("2.16.840.1.101.3.4.1.2", 16, 16),
    "aes192": _CipherKind("2.16.840.1.101.3.4.1.22", 24, 16),
    "aes256": _CipherKind("2.16.840.1.101.3.4.1.42", 32, 16),
    "3des": _CipherKind("1.2.840.113549.3.7", 24, 8),
    "des": _CipherKind("1.3.14.3.2.7", 8, 8),
}
_CIPHER_OF: Mapping[str, CipherName] = {kind.oid: cipher for cipher, kind in CIPHERS.items()}


def _cbc(cipher: CipherName, key: bytes, iv: bytes) -> Cipher[modes.CBC]:
    # Three equal keys make 3DES into single DES, which the library has no class of its own for.
    algorithm = AES(key) if cipher.startswith("aes") else TripleDES(key * 3 if len(key) == 8 else key)
    return Cipher(algorithm, modes.CBC(iv))


def envelope(
    content: bytes,
    recipients: Sequence[bytes],
    *,
    chance: Chance,
    cipher: CipherName = "aes128",
    transport: Transport = "pkcs1",
    form: Form = "der",
) -> bytes:
    """An EnvelopedData that each of the recipients (DER certificates with RSA keys) can open.

    `chance` gives the content's key and IV. `transport`: RSA PKCS#1 v1.5, or OAEP with SHA-1 as Microsoft's servers
    use. `form="ber"`: indefinite length and chunks, as devices were reported to send. Raises CannotEncrypt, ValueError.
    """
    kind = CIPHERS.get(cipher)
    if kind is None:
        raise ValueError(f"cipher {cipher!r}: envelopes are made with aes128, aes192, aes256, 3des or des")
    if not recipients:
        raise CannotEncrypt("CMS", "an envelope needs at least one recipient")
    key, iv = chance.bytes(kind.key_size), chance.bytes(kind.block)
    fill = kind.block - len(content) % kind.block
    encryptor = _cbc(cipher, key, iv).encryptor()
    encrypted = encryptor.update(content + bytes((fill,)) * fill) + encryptor.finalize()
    infos = asn1.set_of(*(_recipient_info(each, key, transport) for each in recipients))
    algorithm = asn1.algorithm(kind.oid, asn1.octets(iv))
    if form == "ber":
        info = asn1.indefinite(asn1.SEQUENCE, asn1.oid(DATA), algorithm, chunked(encrypted, 0x80))
        enveloped = asn1.indefinite(asn1.SEQUENCE, asn1.integer(0), infos, info)
        return asn1.indefinite(asn1.SEQUENCE, asn1.oid(ENVELOPED_DATA), asn1.indefinite(0xA0, enveloped))
    info = asn1.sequence(asn1.oid(DATA), algorithm, asn1.context(0, encrypted, constructed=False))
    return content_info(ENVELOPED_DATA, asn1.sequence(asn1.integer(0), infos, info))


def _recipient_info(certificate: bytes, key: bytes, transport: Transport) -> bytes:
    try:
        public = public_key(certificate)
        issuer, serial = issuer_and_serial(certificate)
    except MalformedCertificate as error:
        raise CannotEncrypt("CMS", f"a recipient's {error}") from None
    if not isinstance(public, rsa.RSAPublicKey):
        raise CannotEncrypt("CMS", "a recipient's certificate holds no RSA key")
    scheme: padding.AsymmetricPadding
    if transport == "oaep":
        scheme, algorithm = _oaep("sha1", "sha1", b""), asn1.algorithm(_OAEP, asn1.sequence())
    else:
        scheme, algorithm = padding.PKCS1v15(), asn1.algorithm(RSA_ENCRYPTION, asn1.NULL)
    try:
        encrypted = public.encrypt(key, scheme)
    except ValueError:
        raise CannotEncrypt("CMS", f"a recipient's RSA key of {public.key_size} bits is too small") from None
    return asn1.sequence(asn1.integer(0), asn1.sequence(issuer, serial), algorithm, asn1.octets(encrypted))


def _oaep(digest: Digest, mask: Digest, label: bytes) -> padding.OAEP:
    return padding.OAEP(padding.MGF1(HASHES[mask]), HASHES[digest], label or None)


# ---- opening


@dataclass(frozen=True, slots=True)
class Recipient:
    """One key transport recipient, as read."""

    issuer: bytes
    serial: bytes
    key_identifier: bytes | None
    scheme: padding.AsymmetricPadding
    encrypted_key: bytes


@dataclass(frozen=True, slots=True)
class EnvelopedData:
    """An EnvelopedData as read, nothing decrypted yet. `cipher` is what the content was encrypted with."""

    cipher: CipherName
    iv: bytes
    recipients: tuple[Recipient, ...]
    encrypted: bytes = field(repr=False)


def parse_enveloped_data(data: bytes) -> EnvelopedData:
    """Raises MalformedCMS, also for ciphers and key transports that are not supported."""
    try:
        return _read(Reader(data))
    except BadASN1 as error:
        raise MalformedCMS("CMS envelope", str(error)) from None


def _read(reader: Reader) -> EnvelopedData:
    fields = reader.children(open_content_info(reader, ENVELOPED_DATA, "EnvelopedData"), "EnvelopedData", 3)
    reader.integer(fields[0], "version")
    at = 2 if fields[1].tag == 0xA0 else 1  # originatorInfo
    if len(fields) < at + 2 or fields[at].tag != asn1.SET or fields[at + 1].tag != asn1.SEQUENCE:
        raise BadASN1("EnvelopedData lacks its recipients or its content")
    infos = reader.children(fields[at], "recipients", 1)
    if len(infos) > MAX_PARTS:
        raise BadASN1(f"{len(infos)} recipients, more than {MAX_PARTS}")
    # Kinds of recipients other than key transport are tagged [1] and up; they cannot be for us.
    recipients = tuple(_read_recipient(reader, info) for info in infos if info.tag == asn1.SEQUENCE)
    parts = reader.children(fields[at + 1], "encrypted content", 3)
    oid, parameters = reader.algorithm(parts[1], "content cipher")
    cipher = _CIPHER_OF.get(oid)
    if cipher is None:
        raise BadASN1(f"content cipher {oid} is not supported")
    iv = _read_iv(reader, parameters, CIPHERS[cipher].block)
    encrypted = reader.octets(parts[2], "encrypted content", 0x80)
    return EnvelopedData(cipher, iv, recipients, encrypted)


def _read_iv(reader: Reader, parameters: Element | None, block: int) -> bytes:
    if parameters is None:
        raise BadASN1("content cipher without IV")
    iv = reader.octets(parameters, "IV")
    if len(iv) != block:
        raise BadASN1(f"IV of {len(iv)} bytes, expected {block}")
    return iv


def _read_recipient(reader: Reader, info: Element) -> Recipient:
    fields = reader.children(info, "recipient", 4)
    reader.integer(fields[0], "version")
    issuer = serial = b""
    identifier = None
    if fields[1].tag == asn1.SEQUENCE:
        named = reader.children(fields[1], "recipient's issuer and serial", 2)
        issuer, serial = reader.raw(named[0]), reader.raw(named[1])
    else:
        identifier = reader.octets(fields[1], "recipient's key identifier", 0x80)
    oid, parameters = reader.algorithm(fields[2], "key transport")
    scheme: padding.AsymmetricPadding
    if oid == RSA_ENCRYPTION:
        scheme = padding.PKCS1v15()
    elif oid == _OAEP:
        scheme = _read_oaep(reader, parameters)
    else:
        raise BadASN1(f"key transport {oid} is not supported")
    return Recipient(issuer, serial, identifier, scheme, reader.octets(fields[3], "encrypted key"))


def _read_oaep(reader: Reader, parameters: Element | None) -> padding.OAEP:
    digest: Digest = "sha1"
    mask: Digest = "sha1"
    label = b""
    for part in reader.children(parameters, "OAEP parameters") if parameters is not None else ():
        inner = reader.child(part, asn1.SEQUENCE, "OAEP parameter")
        oid, nested = reader.algorithm(inner, "OAEP parameter")
        if part.tag == 0xA0:
            digest = _digest(oid)
        elif part.tag == 0xA1 and oid == _MGF1 and nested is not None:
            mask = _digest(reader.algorithm(nested, "OAEP mask digest")[0])
        elif part.tag == 0xA2 and nested is not None:
            label = reader.octets(nested, "OAEP label")
        else:
            raise BadASN1("OAEP parameters are not understood")
    return _oaep(digest, mask, label)


def _digest(oid: str) -> Digest:
    found = DIGEST_OF.get(oid)
    if found is None:
        raise BadASN1(f"OAEP digest {oid} is not supported, only {', '.join(DIGEST_OID)}")
    return found


def decrypt(data: bytes, identity: Identity) -> bytes:
    """The content of an EnvelopedData, BER or DER, for one of whose recipients this identity stands.

    Raises MalformedCMS for what is no envelope, CannotDecrypt for one that is not for this key or was altered; the
    latter with one and the same reason, so that a server's answers are no oracle.
    """
    return open_envelope(parse_enveloped_data(data), identity)


def open_envelope(message: EnvelopedData, identity: Identity) -> bytes:
    """As `decrypt`, for an envelope already read. Raises CannotDecrypt."""
    private = load_key(identity.key)
    recipient = _mine(message.recipients, identity.certificate)
    if recipient is None or not isinstance(private, rsa.RSAPrivateKey):
        raise CannotDecrypt("CMS envelope", "it is not addressed to this certificate")
    kind = CIPHERS[message.cipher]
    try:
        key = private.decrypt(recipient.encrypted_key, recipient.scheme)
    except (ValueError, UnsupportedAlgorithm):
        key = b""
    if len(key) != kind.key_size:
        # Bleichenbacher: go on with some other key, so that a wrong padding looks like a wrong content.
        seed = identity.key + recipient.encrypted_key
        key = hashlib.sha256(seed).digest()[: kind.key_size]
    content = _open(message, key, kind.block)
    if content is None:
        raise CannotDecrypt("CMS envelope", "it cannot be decrypted with this key")
    return content


def _mine(recipients: tuple[Recipient, ...], certificate: bytes) -> Recipient | None:
    try:
        mine = issuer_and_serial(certificate)
        identifier = key_identifier(certificate)
    except MalformedCertificate:
        return None
    for each in recipients:
        if (each.issuer, each.serial) == mine or (identifier is not None and each.key_identifier == identifier):
            return each
    # Some senders write the issuer's name in other string types than the certificate does.
    return next((each for each in recipients if each.serial == mine[1]), None)


def _open(message: EnvelopedData, key: bytes, block: int) -> bytes | None:
    if not message.encrypted or len(message.encrypted) % block:
        return None
    decryptor = _cbc(message.cipher, key, message.iv).decryptor()
    padded = decryptor.update(message.encrypted) + decryptor.finalize()
    fill = padded[-1]
    if not 1 <= fill <= block or padded[-fill:] != bytes((fill,)) * fill:
        return None
    return padded[:-fill]

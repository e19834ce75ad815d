"""GetCACert on the device's side: the CA's certificates, and which of them a request is encrypted to.

Which one it is never depends on the order in which they came: servers send chains leaf first, root first and mixed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from mdmsim.pki.certificate import is_authority, load_certificate, not_before_ms, public_key
from mdmsim.pki.chain import path_within
from mdmsim.pki.degenerate import parse_certificates_only
from mdmsim.pki.errors import MalformedCertificate, MalformedCMS
from mdmsim.pki.scep.errors import BadCAResponse, BadRAResponse, NoRACertificates
from mdmsim.protocol.content_type import CA_RA_CERT, media_type

_FINGERPRINTS = {16: hashlib.md5, 20: hashlib.sha1, 32: hashlib.sha256, 64: hashlib.sha512}


def parse_ca_certificates(body: bytes) -> tuple[bytes, ...]:
    """The answer to GetCACert, told by its content: one certificate or a certs-only message. Raises BadCAResponse."""
    try:
        load_certificate(body)
    except MalformedCertificate:
        pass
    else:
        return (body,)
    try:
        found = parse_certificates_only(body)
    except MalformedCMS as error:
        raise BadCAResponse("GetCACert", f"neither a certificate nor a certs-only message ({error.reason})") from None
    if not found:
        raise BadCAResponse("GetCACert", "a message without any certificate")
    return found


def promises_authorities(content_type: str | None) -> bool:
    """Whether the answer's content type says that registration authorities are among the certificates (RFC 8894, 4.2.1)."""
    return media_type(content_type) == CA_RA_CERT


def choose_recipient(certificates: Sequence[bytes], fingerprint: bytes | None = None, *, ra: bool = False) -> bytes:
    """Which certificate receives the request.

    One with keyEncipherment before one without, since many CAs leave the bit out; an RA before a CA; an issuing CA before
    the one above it. `fingerprint`: MD5, SHA-1, SHA-256 or SHA-512 by its length, of a certificate that is the
    recipient or stands above it. `ra`: the answer promises registration authorities; then only such count (see
    `_authorities`). Raises BadRAResponse.
    """
    paths = {der: path_within(der, certificates) for der in certificates}
    candidates = list(paths) if fingerprint is None else _under(fingerprint, paths)
    if ra:
        candidates = _authorities(candidates, paths)
    usable = [der for der in candidates if _is_rsa(der)]
    if not usable:
        raise BadRAResponse("GetCACert", "none of the CA's certificates holds an RSA key to encrypt to")

    def rank(der: bytes) -> tuple[bool, bool, int, int, bytes]:
        # Newest first, then by content, where nothing else tells two of them apart.
        return not _allows(der)[1], is_authority(der), -len(paths[der]), -not_before_ms(der), der

    return min(usable, key=rank)


def _under(fingerprint: bytes, paths: dict[bytes, tuple[bytes, ...]]) -> list[bytes]:
    """The certificates with that fingerprint, and those below them."""
    digest = _FINGERPRINTS.get(len(fingerprint))
    if digest is None:
        raise BadRAResponse("CAFingerprint", f"{len(fingerprint)} bytes, allowed are 16, 20, 32 or 64")
    found = [der for der, path in paths.items() if any(digest(each).digest() == fingerprint for each in path)]
    if not found:
        raise BadRAResponse("CAFingerprint", f"none of the CA's {len(paths)} certificates has it")
    return found


def _authorities(candidates: list[bytes], paths: dict[bytes, tuple[bytes, ...]]) -> list[bytes]:
    """Those that may receive a request as a registration authority. Raises NoRACertificates.

    A pair of one that only enciphers and one that only signs, below the same CA, goes before those that do both; a CA
    that does both counts, a certificate without KeyUsage does not. Source: SecSCEPValidateCACertMessage of Apple's
    Security framework, which refuses before PKIOperation (reported in NeySlim/ultimate-ca-manager issue 101 and PR 102,
    seize-the-dave/jscep issue 35).
    """
    both = [der for der in candidates if _allows(der) == (True, True)]
    signing = [der for der in candidates if _allows(der) == (True, False)]
    tops = {paths[der][-1] for der in signing}
    pairs = [der for der in candidates if _allows(der) == (False, True) and paths[der][-1] in tops]
    if not pairs and not both:
        raise NoRACertificates(
            "GetCACert",
            f"the type {CA_RA_CERT} promises registration authorities, and none of the {len(candidates)} certificates "
            "allows digitalSignature and keyEncipherment",
        )
    return pairs or both


def _is_rsa(der: bytes) -> bool:
    try:
        return isinstance(public_key(der), rsa.RSAPublicKey)
    except MalformedCertificate:
        return False


def _allows(der: bytes) -> tuple[bool, bool]:
    """Whether KeyUsage allows digitalSignature and keyEncipherment; neither where the certificate does not say."""
    try:
        usage = load_certificate(der).extensions.get_extension_for_class(x509.KeyUsage).value
    except (x509.ExtensionNotFound, x509.DuplicateExtension, ValueError):
        return False, False
    return usage.digital_signature, usage.key_encipherment


def issuing_authority(certificates: Sequence[bytes], recipient: bytes) -> bytes:
    """The CA that issues, which a poll names: the recipient if it is one, else the nearest CA above it."""
    return next((der for der in path_within(recipient, certificates) if is_authority(der)), recipient)

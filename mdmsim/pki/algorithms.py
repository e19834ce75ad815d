"""The digests and signature algorithms of CMS around MDM, by name and by OID."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mdmsim.pki.errors import BadSignature, MalformedCMS
from mdmsim.pki.keys import PrivateKey

Digest: TypeAlias = Literal["sha1", "sha256", "sha384", "sha512"]

# RFC 8017 appendix A.2, RFC 5754 section 2, RFC 5758 section 3.2.
DIGEST_OID: Mapping[Digest, str] = {
    "sha1": "1.3.14.3.2.26",
    "sha256": "2.16.840.1.101.3.4.2.1",
    "sha384": "2.16.840.1.101.3.4.2.2",
    "sha512": "2.16.840.1.101.3.4.2.3",
}
DIGEST_OF: Mapping[str, Digest] = {oid: digest for digest, oid in DIGEST_OID.items()}
RSA_ENCRYPTION = "1.2.840.113549.1.1.1"
RSA_SIGNATURE_OID: Mapping[Digest, str] = {
    "sha1": "1.2.840.113549.1.1.5",
    "sha256": "1.2.840.113549.1.1.11",
    "sha384": "1.2.840.113549.1.1.12",
    "sha512": "1.2.840.113549.1.1.13",
}
ECDSA_SIGNATURE_OID: Mapping[Digest, str] = {
    "sha1": "1.2.840.10045.4.1",
    "sha256": "1.2.840.10045.4.3.2",
    "sha384": "1.2.840.10045.4.3.3",
    "sha512": "1.2.840.10045.4.3.4",
}
#: Signature OIDs that name a digest, with the family of key and that digest.
_NAMED: Mapping[str, tuple[str, Digest]] = {
    **{oid: ("rsa", digest) for digest, oid in RSA_SIGNATURE_OID.items()},
    **{oid: ("ec", digest) for digest, oid in ECDSA_SIGNATURE_OID.items()},
    "1.3.14.3.2.29": ("rsa", "sha1"),  # OIW's older name, still written by some
}
#: Signature OIDs that leave the digest to digestAlgorithm. Bare curves are what some Go libraries write.
_UNNAMED: Mapping[str, str] = {
    RSA_ENCRYPTION: "rsa",
    "1.2.840.10045.2.1": "ec",
    "1.2.840.10045.3.1.7": "ec",
    "1.3.132.0.34": "ec",
    "1.3.132.0.35": "ec",
}

HASHES: Mapping[Digest, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
    "sha512": hashes.SHA512(),
}
HASHLIB = {"sha1": hashlib.sha1, "sha256": hashlib.sha256, "sha384": hashlib.sha384, "sha512": hashlib.sha512}
_ECDSA = {digest: ec.ECDSA(algorithm) for digest, algorithm in HASHES.items()}
_PKCS1 = padding.PKCS1v15()


def signature_oid(key: PrivateKey, digest: Digest) -> str:
    return (RSA_SIGNATURE_OID if isinstance(key, rsa.RSAPrivateKey) else ECDSA_SIGNATURE_OID)[digest]


def sign_raw(key: PrivateKey, data: bytes, digest: Digest) -> bytes:
    """RSA PKCS#1 v1.5, or ECDSA in DER."""
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(data, _PKCS1, HASHES[digest])
    return key.sign(data, _ECDSA[digest])


def signature_family(oid: str, digest: Digest) -> str:
    """ "rsa" or "ec" for a signature algorithm. Raises MalformedCMS for one that is unknown or names another digest."""
    if (family := _UNNAMED.get(oid)) is not None:
        return family
    named = _NAMED.get(oid)
    if named is None:
        raise MalformedCMS("CMS", f"signature algorithm {oid} is not supported")
    if named[1] != digest:
        raise MalformedCMS("CMS", f"signature algorithm over {named[1]}, digest algorithm {digest}")
    return named[0]


def verify_raw(
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, signature: bytes, data: bytes, digest: Digest, family: str
) -> None:
    """Raises BadSignature."""
    try:
        if isinstance(key, rsa.RSAPublicKey) and family == "rsa":
            key.verify(signature, data, _PKCS1, HASHES[digest])
            return
        if isinstance(key, ec.EllipticCurvePublicKey) and family == "ec":
            key.verify(signature, data, _ECDSA[digest])
            return
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        raise BadSignature("CMS", "the signature does not match the content") from None
    raise BadSignature("CMS", f"the signer's certificate holds no {family.upper()} key, the signature needs one")


def x509_signature_holds(
    signed: x509.Certificate | x509.CertificateSigningRequest, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
) -> bool:
    """Whether that key signed the certificate or request.

    By hand, because the library's own checks refuse SHA-1, which Apple's device CA, old devices' requests and many
    a private CA use.
    """
    body = signed.tbs_certificate_bytes if isinstance(signed, x509.Certificate) else signed.tbs_certrequest_bytes
    try:
        digest, parameters = signed.signature_hash_algorithm, signed.signature_algorithm_parameters
        if isinstance(key, rsa.RSAPublicKey) and isinstance(parameters, padding.PKCS1v15 | padding.PSS) and digest:
            key.verify(signed.signature, body, parameters, digest)
            return True
        if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(parameters, ec.ECDSA):
            key.verify(signed.signature, body, parameters)
            return True
    except (InvalidSignature, ValueError, TypeError, UnsupportedAlgorithm):
        return False
    return False

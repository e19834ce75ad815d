"""PKCS #12: an identity in a profile, and how a server makes one (RFC 7292; com.apple.security.pkcs12.yaml)."""

from __future__ import annotations

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import PrivateFormat, pkcs12

from mdmsim.http import Identity
from mdmsim.pki.certificate import load_certificate, without_parser
from mdmsim.pki.keys import load_key, to_der
from mdmsim.protocol.errors import Malformed

#: Rounds of the key derivation in the older form (`openssl pkcs12 -legacy` writes as many).
_ROUNDS = 2048


class MalformedPkcs12(Malformed):
    """The bytes are no PKCS #12, or hold something else than one identity."""


class WrongPassword(MalformedPkcs12):
    """The password does not open it (or the bytes are damaged: the two cannot be told apart)."""


class NotAnIdentity(MalformedPkcs12):
    """It opens, but holds no private key, or no certificate that fits it."""


def open_pkcs12(data: bytes, password: str | None) -> Identity:
    """The identity inside. `password`: None or empty for one without. Raises MalformedPkcs12 or what is below it."""
    secret = (password or "").encode() or None
    try:
        bundle = pkcs12.load_pkcs12(data, secret)
    except ValueError as error:
        if "password" in str(error).lower() or "mac" in str(error).lower():
            raise WrongPassword("PKCS #12", "the password does not open it") from None
        raise MalformedPkcs12("PKCS #12", f"it cannot be read{without_parser(error)}") from None
    except (TypeError, NotImplementedError) as error:
        raise MalformedPkcs12("PKCS #12", f"it cannot be read{without_parser(error)}") from None
    key = bundle.key
    if not isinstance(key, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) or bundle.cert is None:
        raise NotAnIdentity("PKCS #12", "it holds no private key with its certificate")
    encode = serialization.Encoding.DER
    certificate = bundle.cert.certificate.public_bytes(encode)
    chain = tuple(other.certificate.public_bytes(encode) for other in bundle.additional_certs)
    return Identity(certificate=certificate, key=to_der(key), chain=chain)


def build_pkcs12(identity: Identity, password: str, *, name: str = "identity", legacy: bool = False) -> bytes:
    """An identity as PKCS #12. `legacy`: 3DES and SHA-1: what every system that Apple made opens, and old Go programs; newer algorithms fail on older ones."""
    certificate = load_certificate(identity.certificate)
    if legacy:
        encryption = (
            PrivateFormat.PKCS12.encryption_builder()
            .kdf_rounds(_ROUNDS)
            .key_cert_algorithm(pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC)
            .hmac_hash(hashes.SHA1())
            .build(password.encode())
        )
    else:
        encryption = serialization.BestAvailableEncryption(password.encode())
    chain = [load_certificate(der) for der in identity.chain] or None
    return pkcs12.serialize_key_and_certificates(name.encode(), load_key(identity.key), certificate, chain, encryption)

"""PKCS#10 certificate requests: made as a SCEP payload asks, read with their own signature checked (RFC 2986)."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AttributeOID

from mdmsim.pki import asn1
from mdmsim.pki.algorithms import x509_signature_holds
from mdmsim.pki.authority import key_usage as usage_extension
from mdmsim.pki.certificate import without_parser
from mdmsim.pki.errors import MalformedCSR, MalformedKey, MalformedName
from mdmsim.pki.keys import load_key, load_public_key
from mdmsim.pki.names import Name
from mdmsim.protocol.plist import kind_of

#: The bits of a SCEP payload's "Key Usage" (mdm/profiles/com.apple.security.scep.yaml).
SIGNING = 1
ENCRYPTION = 4
#: Microsoft's userPrincipalName, which ntPrincipalName becomes.
NT_PRINCIPAL_NAME = x509.ObjectIdentifier("1.3.6.1.4.1.311.20.2.3")

MAX_CSR = 64 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A certificate request whose self-signature holds.

    `public_key`: SubjectPublicKeyInfo DER. `signing`, `encryption`: the key usages asked for, both False without a
    wish. `challenge`: the challengePassword, None without one. `der`: the request as it came.
    """

    subject: Name
    public_key: bytes
    challenge: str | None = field(repr=False)
    san: x509.SubjectAlternativeName | None
    signing: bool
    key_encipherment: bool
    der: bytes = field(repr=False)


def build_csr(
    key: bytes,
    subject: Name,
    *,
    challenge: str | None = None,
    san: x509.SubjectAlternativeName | None = None,
    key_usage: int = 0,
) -> bytes:
    """A request for that private key (PKCS#8 DER), signed by it with SHA-256.

    `key_usage`: the payload's bitmask; 0 asks for digitalSignature alone, as macOS does (captured: macOS 10.11).
    `challenge`: None leaves the attribute out, as devices do without a Challenge; a PrintableString where it can be one
    (RFC 2985 section 5.4.1; Apple's SecCertificateRequest.c). Raises MalformedKey, MalformedCSR.
    """
    signing = bool(key_usage & SIGNING) or not key_usage & ENCRYPTION
    builder = x509.CertificateSigningRequestBuilder(subject).add_extension(
        usage_extension(signature=signing, encipherment=bool(key_usage & ENCRYPTION)), True
    )
    try:
        if san is not None:
            builder = builder.add_extension(san, False)
        if challenge is not None:
            kind = _ASN1Type.PrintableString if asn1.is_printable(challenge) else _ASN1Type.UTF8String
            builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, challenge.encode(), _tag=kind)
        request = builder.sign(load_key(key), hashes.SHA256())
    except (ValueError, TypeError, UnicodeError) as error:
        raise MalformedCSR("certificate request", f"cannot be made{without_parser(error)}") from None
    return request.public_bytes(serialization.Encoding.DER)


def san_from_payload(value: Mapping[str, object]) -> x509.SubjectAlternativeName | None:
    """A payload's SubjectAltName: a string or an array of strings per key; None where it names nothing.

    As Apple's client does, keys are read without regard to case, values go out as they stand, and what that client
    cannot encode (an unknown key, a name that is not ASCII) is left out. Raises MalformedName naming a key of the wrong
    type. Sources: mdm/profiles/com.apple.security.scep.yaml; apple-open-source/macos, SecCertificateRequest.c,
    make_general_names (which skips an array of ntPrincipalName; the schema allows one, and so do we).
    """
    names: list[x509.GeneralName] = []
    for wanted, make in _GENERAL_NAMES.items():
        for key, found in value.items():
            if key.lower() == wanted.lower():
                names += [make(each) for each in _strings(key, found) if each.isascii() or wanted == "ntPrincipalName"]
    return x509.SubjectAlternativeName(names) if names else None


#: In the order in which they go out.
_GENERAL_NAMES: Mapping[str, Callable[[str], x509.GeneralName]] = {
    "rfc822Name": x509.RFC822Name._init_without_validation,
    "dNSName": x509.DNSName._init_without_validation,
    "uniformResourceIdentifier": x509.UniformResourceIdentifier._init_without_validation,
    "ntPrincipalName": lambda text: x509.OtherName(NT_PRINCIPAL_NAME, asn1.utf8(text)),
}


def _strings(key: str, value: object) -> list[str]:
    texts: list[str] = []
    for each in value if isinstance(value, list | tuple) else [value]:
        if not isinstance(each, str):
            reason = f"a string is needed, not {kind_of(each)}"
            raise MalformedName(f"SubjectAltName.{key}", reason, key=key, problem="type")
        texts += [each] if each else []
    return texts


def parse_csr(der: bytes) -> Request:
    """Read a request and check that its key signed it. Raises MalformedCSR."""
    if len(der) > MAX_CSR:
        raise MalformedCSR("certificate request", f"{len(der)} bytes, more than {MAX_CSR}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # over-long names are the applicant's affair
            found = x509.load_der_x509_csr(der)
            public_key = found.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            signed = x509_signature_holds(found, load_public_key(public_key))
            extensions, subject = found.extensions, found.subject
    except (
        ValueError,
        TypeError,
        UnsupportedAlgorithm,
        x509.InvalidVersion,
        x509.DuplicateExtension,
        x509.UnsupportedGeneralNameType,
    ) as error:
        raise MalformedCSR("certificate request", f"not a PKCS#10 request{without_parser(error)}") from None
    except MalformedKey as error:
        raise MalformedCSR("certificate request", str(error)) from None
    if not signed:
        raise MalformedCSR("certificate request", "its own signature is wrong")
    usage = san = None
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage):
            usage = extension.value
        elif isinstance(extension.value, x509.SubjectAlternativeName):
            san = extension.value
    return Request(
        subject,
        public_key,
        _challenge(found),
        san,
        usage is not None and usage.digital_signature,
        usage is not None and usage.key_encipherment,
        der,
    )


def _challenge(found: x509.CertificateSigningRequest) -> str | None:
    try:
        attribute = found.attributes.get_attribute_for_oid(AttributeOID.CHALLENGE_PASSWORD)
    except x509.AttributeNotFound:
        return None
    except ValueError as error:
        raise MalformedCSR("certificate request", f"its attributes cannot be read{without_parser(error)}") from None
    try:
        return attribute.value.decode()  # UTF8String or PrintableString
    except UnicodeDecodeError:
        return attribute.value.decode("latin-1")  # T61String, as old senders use it

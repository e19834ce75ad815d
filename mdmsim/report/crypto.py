"""Certificates and CMS in words: who signed, with what, for how long. Describes; never decides whether to trust.

Nothing here raises on bad bytes: what cannot be read is said to be unreadable.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from asn1crypto import cms as asn1_cms
from asn1crypto import core as asn1_core
from asn1crypto import x509 as asn1_x509

from mdmsim.clock import from_utc, iso
from mdmsim.report.redact import Redactor

#: SCEP's signed attributes (RFC 8894 section 3.2.1), under the arc 2.16.840.1.113733.1.9.
SCEP_ATTRIBUTES = {
    "2.16.840.1.113733.1.9.2": "messageType",
    "2.16.840.1.113733.1.9.3": "pkiStatus",
    "2.16.840.1.113733.1.9.4": "failInfo",
}
#: RFC 8894 section 3.2.1.2; 17 is RFC 8894's RenewalReq.
SCEP_MESSAGES = {"3": "CertRep", "17": "RenewalReq", "19": "PKCSReq", "20": "CertPoll", "21": "GetCert", "22": "GetCRL"}
#: RFC 8894 section 3.2.1.3.
SCEP_STATUS = {"0": "SUCCESS", "2": "FAILURE", "3": "PENDING"}
#: RFC 8894 section 3.2.1.4.
SCEP_FAILURES = {"0": "badAlg", "1": "badMessageCheck", "2": "badRequest", "3": "badTime", "4": "badCertId"}

_DIGESTS = {
    "sha1": "SHA-1",
    "sha224": "SHA-224",
    "sha256": "SHA-256",
    "sha384": "SHA-384",
    "sha512": "SHA-512",
    "md5": "MD5",
}
_CIPHERS = {
    "aes128_cbc": "AES-128-CBC",
    "aes192_cbc": "AES-192-CBC",
    "aes256_cbc": "AES-256-CBC",
    "tripledes_3key": "DES-EDE3-CBC",
    "des": "DES-CBC",
}

#: More certificates than this in one message are counted, not described.
MOST_CERTIFICATES = 8


@dataclass(slots=True)
class Described:
    """What something is: `about` in one line, `facts` as name and value for a table; `content`: what it signs."""

    about: str
    facts: list[list[str]] = field(default_factory=list)
    content: bytes | None = None
    certificates: list[bytes] = field(default_factory=list)


def describe_certificate(der: bytes, redactor: Redactor) -> Described | None:
    """Subject, issuer, validity and key of a certificate; None for anything else."""
    try:
        certificate = asn1_x509.Certificate.load(der, strict=True)
        subject, issuer = _name(certificate.subject), _name(certificate.issuer)
        validity = certificate["tbs_certificate"]["validity"]
        start, end = (iso(from_utc(validity[key].native))[:10] for key in ("not_before", "not_after"))
        key = _key(certificate.public_key)
        signed = _digest(certificate["signature_algorithm"].hash_algo)
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError):
        return None
    alias = redactor.certificate(der)
    redactor.subjects[alias] = subject
    facts = [
        ["Certificate", f"{subject} ({alias})"],
        ["Issued by", "itself" if subject == issuer else issuer],
        ["Valid", f"{start} to {end}"],
        ["Key", f"{key}, signed with {signed}"],
    ]
    return Described(f"certificate, {subject}", facts, certificates=[der])


def describe_cms(data: bytes, redactor: Redactor) -> Described | None:
    """What a CMS message is and who signed it; None for anything that is none."""
    try:
        info = asn1_cms.ContentInfo.load(data)
        kind = info["content_type"].native
        if kind == "signed_data":
            return _signed(info["content"], data, redactor)
        if kind == "enveloped_data":
            return _enveloped(info["content"])
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    return None


def describe_der(data: bytes, redactor: Redactor) -> Described | None:
    """A certificate, a CMS message, PKCS #12, a private key or a request; None if the bytes are no DER or BER sequence."""
    if len(data) < 16 or data[0] != 0x30:
        return None
    found = describe_cms(data, redactor) or describe_certificate(data, redactor)
    if found is not None:
        return found
    try:
        sequence = asn1_core.Sequence.load(data, strict=True)
        first = sequence[0]
        if isinstance(first, asn1_core.Integer):
            if first.native == 3:  # RFC 7292 section 4: PFX version 3
                return Described("PKCS #12 identity, hidden")
            if first.native in (0, 1):  # RFC 5958 section 2 (PrivateKeyInfo), RFC 8017 A.1.2, RFC 5915 section 3
                return Described("private key, hidden")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, IndexError, RecursionError):
        return None
    return Described("DER structure")


def _signed(content: Any, data: bytes, redactor: Redactor) -> Described:
    certificates = [entry.chosen.dump() for entry in content["certificates"] or () if entry.name == "certificate"]
    signers = content["signer_infos"]
    body = content["encap_content_info"]["content"]
    inner = bytes(body.native) if isinstance(body, asn1_core.OctetString) and body.native is not None else None
    # BER's indefinite length is what devices write (captured: Mdm-Signature of macOS begins 30 80).
    form = "BER" if data[1:2] == b"\x80" else "DER"
    if len(signers) == 0:
        found = Described(f"CMS, certificates only: {len(certificates)}", [], certificates=certificates)
    else:
        signer = signers[0]
        who = _signer(signer, certificates)
        digest = _digest(signer["digest_algorithm"]["algorithm"].native)
        attributes = signer["signed_attrs"]
        count = len(attributes) if isinstance(attributes, asn1_cms.CMSAttributes) else 0
        place = "detached" if inner is None else "with content"
        facts = [
            ["Signed by", who],
            ["Digest", digest],
            ["Form", f"{form}, {place}, {f'{count} signed attributes' if count else 'no signed attributes'}"],
        ]
        about = f"CMS, {place if inner is None else 'signed'}{', signed' if inner is None else ''} by {who}, {digest}"
        scep = _scep(attributes) if count else []
        if scep:
            facts = [["SCEP", value] for value in scep] + facts
            about = f"SCEP {' '.join(scep)}, signed by {who}, {digest}"
        found = Described(about, facts, content=inner, certificates=certificates)
    for certificate in certificates[:MOST_CERTIFICATES]:
        described = describe_certificate(certificate, redactor)
        found.facts += described.facts if described else [["Certificate", "unreadable"]]
    if len(certificates) > MOST_CERTIFICATES:
        found.facts.append(["Certificates", f"{len(certificates) - MOST_CERTIFICATES} more"])
    return found


def _enveloped(content: Any) -> Described:
    algorithm = content["encrypted_content_info"]["content_encryption_algorithm"]
    name = algorithm["algorithm"].native
    cipher = _CIPHERS.get(name, name)
    recipients = content["recipient_infos"]
    return Described(
        f"CMS, encrypted with {cipher}",
        [["Cipher", cipher], ["Recipients", str(len(recipients))]],
    )


def _signer(signer: Any, certificates: list[bytes]) -> str:
    """The subject of the signer's certificate if it came along, else how the signer is named."""
    identifier = signer["sid"]
    if identifier.name != "issuer_and_serial_number":
        return "a signer named by key identifier"
    serial, issuer = identifier.chosen["serial_number"].native, identifier.chosen["issuer"]
    for der in certificates:
        certificate = asn1_x509.Certificate.load(der)
        if certificate.serial_number == serial and certificate.issuer == issuer:
            return _name(certificate.subject)
    return f"serial {serial:x} of {_name(issuer)}"


def _scep(attributes: Any) -> list[str]:
    values: dict[str, str] = {}
    for attribute in attributes:
        name = SCEP_ATTRIBUTES.get(attribute["type"].dotted)
        if name and len(attribute["values"]):
            values[name] = str(attribute["values"][0].native)
    if "messageType" not in values:
        return []
    said = [SCEP_MESSAGES.get(values["messageType"], f"message {values['messageType']}")]
    if "pkiStatus" in values:
        said.append(SCEP_STATUS.get(values["pkiStatus"], values["pkiStatus"]))
    if "failInfo" in values:
        said.append(SCEP_FAILURES.get(values["failInfo"], values["failInfo"]))
    return said


def _name(name: Any) -> str:
    """`CN=Acme Lab CA, O=Acme`; `an empty name` where there is nothing."""
    short = {
        "common_name": "CN",
        "organization_name": "O",
        "organizational_unit_name": "OU",
        "country_name": "C",
        "user_id": "UID",
    }
    parts = []
    for rdn in name.chosen:
        for pair in rdn:
            kind = pair["type"].native
            parts.append(f"{short.get(kind, kind)}={pair['value'].native}")
    # CN first: it is what people look for, wherever the issuer put it.
    parts.sort(key=lambda part: not part.startswith("CN="))
    return ", ".join(parts) or "an empty name"


def _key(info: Any) -> str:
    if info.algorithm == "ec":
        kind, curve = info.curve
        return {"secp256r1": "EC P-256", "secp384r1": "EC P-384", "secp521r1": "EC P-521"}.get(
            str(curve), f"EC {curve or kind}"
        )
    return f"{str(info.algorithm).upper()} {info.bit_size}"


def _digest(name: str) -> str:
    return _DIGESTS.get(name, name)

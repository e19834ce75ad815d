"""Distinguished names: from a payload's Subject, from plain words, and as text for people."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from mdmsim.pki import asn1
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.errors import MalformedName
from mdmsim.protocol.plist import kind_of

Name: TypeAlias = x509.Name

#: The shortcuts that a SCEP payload's Subject may use; all else is a dotted OID (mdm/profiles/com.apple.security.scep.yaml).
SHORTCUTS: Mapping[str, x509.ObjectIdentifier] = {
    "C": NameOID.COUNTRY_NAME,
    "L": NameOID.LOCALITY_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "CN": NameOID.COMMON_NAME,
}
_SHORTCUT_OF = {oid.dotted_string: short for short, oid in SHORTCUTS.items()}
_DOTTED = re.compile(r"[012](\.(0|[1-9][0-9]{0,11})){1,20}\Z")
_SPELLED_OUT = {
    NameOID.SERIAL_NUMBER: "serialNumber",
    NameOID.EMAIL_ADDRESS: "emailAddress",
    NameOID.GIVEN_NAME: "givenName",
    NameOID.SURNAME: "surname",
    NameOID.TITLE: "title",
}
#: Stands for a subject without any attribute, which captured device identities have.
NO_NAME = "(no subject)"


def name(
    common_name: str,
    *,
    organization: str | None = None,
    organizational_unit: str | None = None,
    country: str | None = None,
    serial_number: str | None = None,
    user_id: str | None = None,
) -> Name:
    """A name from plain words, most general part first. Raises MalformedName for a value that X.520 does not allow."""
    wanted = (
        ("country", NameOID.COUNTRY_NAME, country),
        ("organization", NameOID.ORGANIZATION_NAME, organization),
        ("organizational unit", NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit),
        ("user ID", NameOID.USER_ID, user_id),
        ("serial number", NameOID.SERIAL_NUMBER, serial_number),
        ("common name", NameOID.COMMON_NAME, common_name),
    )
    attributes = []
    for what, oid, value in wanted:
        if value is None:
            continue
        try:
            attributes.append(x509.NameAttribute(oid, value))
        except ValueError:
            allowed = "2" if oid == NameOID.COUNTRY_NAME else "1 to 64"  # X.520's upper bounds
            reason = f"{what} {value[:80]!r} has {len(value.encode(errors='replace'))} bytes, allowed are {allowed}"
            raise MalformedName("name", reason, problem="value") from None
    return x509.Name(attributes)


def attribute(oid: x509.ObjectIdentifier, value: str) -> x509.NameAttribute[str | bytes]:
    """An attribute as Apple's client encodes it: the string type follows the value, whatever the attribute.

    PrintableString where the characters allow it, IA5String for other ASCII, UTF8String for the rest; X.520's length
    limits do not count. Source: apple-open-source/macos, Security/OSX/sec/Security/SecCertificateRequest.c, make_nss_atv.
    Raises MalformedName for what is not Unicode text.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise MalformedName("name", "the value is not Unicode text", problem="value") from None
    if asn1.is_printable(value):
        kind = _ASN1Type.PrintableString
    else:
        kind = _ASN1Type.IA5String if value.isascii() else _ASN1Type.UTF8String
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a country of more than two letters
        return x509.NameAttribute(oid, value, kind, _validate=False)


def subject_from_payload(value: object, *, lenient: bool = False) -> Name:
    """A payload's Subject, an array of RDN arrays of [name or OID, value] pairs, with order and multi-valued RDNs kept.

    `lenient`: one nesting level too many is read through, as macOS does and iOS does not (seen in the field).
    Raises MalformedName saying which element is wrong. Source: mdm/profiles/com.apple.security.scep.yaml.
    """
    if not isinstance(value, list):
        raise _bad("", f"an array of arrays is needed, not {_kind(value)}", "type")
    items: list[Any] = value
    if lenient and len(items) == 1 and _is_subject_shaped(items[0]):
        items = items[0]
    rdns = []
    for number, rdn in enumerate(items):
        where = f"[{number}]"
        if not isinstance(rdn, list) or not rdn:
            raise _bad(where, f"an array of [name, value] pairs is needed, not {_kind(rdn)}", "type")
        rdns.append(
            x509.RelativeDistinguishedName(
                _distinct([_attribute(pair, f"{where}[{at}]", lenient=lenient) for at, pair in enumerate(rdn)], where)
            )
        )
    return x509.Name(rdns)


def _is_subject_shaped(value: object) -> bool:
    """Whether this is itself an array of RDN arrays, so that what wraps it is one level too many."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(rdn, list) and rdn and all(isinstance(pair, list) for pair in rdn) for rdn in value)
    )


def _attribute(pair: object, where: str, *, lenient: bool) -> x509.NameAttribute[str | bytes]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise _bad(where, f"a pair of name and value is needed, not {_kind(pair)}", "type")
    key, text = pair
    if not isinstance(key, str) or not isinstance(text, str):
        raise _bad(where, f"name and value are strings, not {_kind(key)} and {_kind(text)}", "type")
    oid = SHORTCUTS.get(key.upper() if lenient else key)
    if oid is None:
        if not _DOTTED.match(key):
            raise _bad(where, f"{key[:40]!r} is neither one of {', '.join(SHORTCUTS)} nor a dotted OID", "value")
        try:
            oid = x509.ObjectIdentifier(key)
        except ValueError:
            raise _bad(where, f"{key[:40]!r} is not an object identifier", "value") from None
    try:
        return attribute(oid, text)
    except MalformedName as error:
        raise _bad(where, error.reason, "value") from None


def _distinct(attributes: list[x509.NameAttribute[str | bytes]], where: str) -> list[x509.NameAttribute[str | bytes]]:
    if len(set(attributes)) != len(attributes):
        raise _bad(where, "the same name and value twice in one RDN", "value")
    return attributes


def _bad(where: str, reason: str, problem: str) -> MalformedName:
    return MalformedName(f"Subject{where}", reason, key="Subject", problem="type" if problem == "type" else "value")


def _kind(value: object) -> str:
    return f"an array of {len(value)}" if isinstance(value, list) else kind_of(value)


def subject_to_payload(subject: Name) -> list[list[list[str]]]:
    """The name as a payload's Subject; `subject_from_payload` undoes it."""
    return [
        [[_SHORTCUT_OF.get(a.oid.dotted_string, a.oid.dotted_string), _string(a)] for a in rdn] for rdn in subject.rdns
    ]


def _string(attribute: x509.NameAttribute[str | bytes]) -> str:
    value = attribute.value
    return value if isinstance(value, str) else value.hex()


def text(subject: Name) -> str:
    """The name for people, most specific part first: `CN=Acme Lab CA, O=Acme` (RFC 4514, with blanks)."""
    return ", ".join(rdn.rfc4514_string(_SPELLED_OUT) for rdn in reversed(subject.rdns)) or NO_NAME


def comparable(subject: Name) -> tuple[frozenset[tuple[str, str]], ...]:
    """The name for comparing as RFC 5280 section 7.1 says: case does not count, nor do blanks around or in a row."""
    return tuple(
        frozenset((each.oid.dotted_string, " ".join(_string(each).casefold().split())) for each in rdn)
        for rdn in subject.rdns
    )


def subject_text(certificate: bytes) -> str:
    """Raises MalformedCertificate."""
    return text(load_certificate(certificate).subject)


def issuer_text(certificate: bytes) -> str:
    """Raises MalformedCertificate."""
    return text(load_certificate(certificate).issuer)


def common_name(certificate: bytes) -> str | None:
    """The first common name of a certificate's subject. Raises MalformedCertificate."""
    found = load_certificate(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return _string(found[0]) if found else None

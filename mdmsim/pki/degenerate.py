"""Certs-only SignedData: certificates in a CMS envelope without any signature (RFC 5652 section 5.2, RFC 8894 3.4)."""

from __future__ import annotations

from collections.abc import Sequence

from mdmsim.pki import asn1
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.errors import MalformedCertificate, MalformedCMS
from mdmsim.pki.signed_data import DATA, SIGNED_DATA, content_info, parse_signed_data


def certificates_only(certificates: Sequence[bytes]) -> bytes:
    """The certificates (DER) as a certs-only message, in that order."""
    signed_data = asn1.sequence(
        asn1.integer(1),
        asn1.set_of(),
        asn1.sequence(asn1.oid(DATA)),
        asn1.context(0, b"".join(certificates)),
        asn1.set_of(),
    )
    return content_info(SIGNED_DATA, signed_data)


def parse_certificates_only(data: bytes) -> tuple[bytes, ...]:
    """The certificates of a SignedData, BER or DER, in order; signatures are not looked at. Raises MalformedCMS."""
    found = parse_signed_data(data).certificates
    for der in found:
        try:
            load_certificate(der)
        except MalformedCertificate as error:
            raise MalformedCMS("CMS", str(error)) from None
    return found

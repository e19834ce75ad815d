"""A client certificate that a TLS-terminating proxy hands on in a header, in the forms that proxies use.

Read such a header only from named proxies: anyone else may write whatever they like into it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from urllib.parse import quote, unquote

from mdmsim.pki.certificate import MAX_CERTIFICATE, certificates_from_pem, load_certificate, to_pem
from mdmsim.pki.errors import MalformedCertificate, MalformedHeader

# Each key=value of Envoy's header; values with separators in them are quoted, with backslash escapes.
_XFCC_PAIR = re.compile(r'\s*([A-Za-z]+)=("(?:[^"\\]|\\.)*"|[^;,"]*)\s*([;,]|\Z)')
_XFCC = re.compile(r"(By|Hash|Cert|Chain|Subject|URI|DNS)=", re.IGNORECASE)

#: Certificates in a header, leaf included.
MAX_CERTIFICATES = 16


def parse(value: str) -> tuple[bytes, ...]:
    """The certificates (DER) in the header, leaf first; the form is told by the value. Raises MalformedHeader.

    Forms: `:base64:` (RFC 9440 Client-Cert), percent-encoded PEM (nginx's $ssl_client_escaped_cert; AWS ALB, which
    leaves + = / bare), `Hash=...;Cert="..."` (Envoy), bare base64 with commas between certificates (Traefik, HAProxy).
    With several hops in Envoy's form the last one counts: it is the one that the nearest proxy wrote.
    """
    text = value.strip()
    if not text:
        raise _bad("it is empty")
    if len(text) > MAX_CERTIFICATES * MAX_CERTIFICATE:
        raise _bad(f"{len(text)} characters long")
    if text.startswith(":"):
        return _certificates([_byte_sequence(text)])
    if _XFCC.match(text):
        return _from_envoy(text)
    if "BEGIN" in text[:40]:
        return _from_pem(unquote(text))  # unquote, not unquote_plus: a bare + is base64, not a blank
    return _certificates([_base64(part) for part in unquote(text).split(",")])


def parse_chain(value: str) -> tuple[bytes, ...]:
    """The certificates of RFC 9440's Client-Cert-Chain, which leaves the leaf out. Raises MalformedHeader."""
    return _certificates([_byte_sequence(part.strip()) for part in value.split(",")])


def _byte_sequence(text: str) -> bytes:
    """A structured-field byte sequence (RFC 8941 section 3.3.5)."""
    if len(text) < 3 or text[0] != ":" or text[-1] != ":":
        raise _bad("a certificate between colons was expected")
    return _base64(text[1:-1])


def _base64(text: str) -> bytes:
    try:
        # HAProxy and Traefik may leave the padding out.
        stripped = text.strip().rstrip("=")
        return base64.b64decode(stripped + "=" * (-len(stripped) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise _bad("neither percent-encoded PEM nor base64") from None


def _from_envoy(text: str) -> tuple[bytes, ...]:
    hops: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text):
        pair = _XFCC_PAIR.match(text, at)
        if pair is None:
            raise _bad("not key=value pairs between semicolons")
        key, raw, end = pair.group(1).lower(), pair.group(2), pair.group(3)
        hops[-1][key] = re.sub(r"\\(.)", r"\1", raw[1:-1]) if raw.startswith('"') else raw
        if end == ",":
            hops.append({})
        at = pair.end()
    hop = hops[-1]
    encoded = hop.get("chain") or hop.get("cert")
    if not encoded:
        raise _bad('it has neither "Cert" nor "Chain": let the proxy forward the certificate itself')
    found = _from_pem(unquote(encoded))
    leaf = _from_pem(unquote(hop["cert"]))[:1] if hop.get("cert") else found[:1]
    return tuple(dict.fromkeys((*leaf, *found)))


def _from_pem(text: str) -> tuple[bytes, ...]:
    try:
        return _limited(certificates_from_pem(text))
    except MalformedCertificate as error:
        raise _bad(error.reason) from None


def _certificates(found: list[bytes]) -> tuple[bytes, ...]:
    for der in _limited(tuple(found)):
        try:
            load_certificate(der)
        except MalformedCertificate as error:
            raise _bad(error.reason) from None
    return tuple(found)


def _limited(found: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if len(found) > MAX_CERTIFICATES:
        raise _bad(f"{len(found)} certificates, more than {MAX_CERTIFICATES}")
    return found


def _bad(reason: str) -> MalformedHeader:
    return MalformedHeader("client certificate header", reason)


def to_nginx(certificate: bytes) -> str:
    """Percent-encoded PEM with every reserved character escaped, which all readers of this form understand."""
    return quote(to_pem(certificate), safe="")


def to_rfc9440(certificate: bytes) -> str:
    """RFC 9440's Client-Cert."""
    return f":{base64.b64encode(certificate).decode()}:"


def to_rfc9440_chain(certificates: Sequence[bytes]) -> str:
    """RFC 9440's Client-Cert-Chain: the certificates above the leaf."""
    return ", ".join(to_rfc9440(der) for der in certificates)

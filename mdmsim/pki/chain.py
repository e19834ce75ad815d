"""Whether a certificate chain is to be trusted at a given moment: signatures, dates, constraints, purpose, names.

Written out rather than left to a web-PKI verifier: device identities have no names and often no extended key usage,
and whoever is refused should be told which certificate was missing. Source: RFC 5280 section 6, RFC 6125 section 6.4.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from functools import lru_cache
from typing import Literal, TypeAlias, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.oid import ExtendedKeyUsageOID, ExtensionOID

from mdmsim.clock import iso
from mdmsim.pki.algorithms import x509_signature_holds
from mdmsim.pki.certificate import load_certificate, not_after_ms, not_before_ms, public_key
from mdmsim.pki.errors import Distrust, MalformedCertificate, UntrustedCertificate
from mdmsim.pki.names import text
from mdmsim.pki.remember import CERTIFICATES, LENGTH

Purpose: TypeAlias = Literal["server", "client"]
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

#: Certificates in a path, anchor included; real ones have at most five.
MAX_PATH = 10
#: Signature checks for one chain: cross-signed certificates must not make a server search for ever.
MAX_TRIALS = 100

_PURPOSE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}
_UNDERSTOOD = {
    ExtensionOID.BASIC_CONSTRAINTS,
    ExtensionOID.KEY_USAGE,
    ExtensionOID.EXTENDED_KEY_USAGE,
    ExtensionOID.SUBJECT_ALTERNATIVE_NAME,
    ExtensionOID.CERTIFICATE_POLICIES,
}


def verify_chain(
    leaf: bytes,
    intermediates: Sequence[bytes],
    anchors: Sequence[bytes],
    *,
    at_ms: int,
    purpose: Purpose | None = None,
    hostname: str | None = None,
    dates: bool = True,
) -> tuple[bytes, ...]:
    """The path from the leaf to one of the anchors (DER, leaf first, anchor last) that holds at `at_ms`.

    `purpose`: what extended key usages, where there are any, must allow. `hostname`: a DNS name or IP address that the
    leaf's subjectAltName must hold; the common name does not count (as with Apple's clients since iOS 13). An anchor
    may be any certificate, also the leaf itself. `dates` False: nobody minds them, as with Apple's device CA, which
    expired in 2014 and signs on. Raises UntrustedCertificate for the path that came closest.
    """
    return _Search(intermediates, anchors, at_ms, purpose, hostname, dates).run(leaf)


def path_within(der: bytes, pool: Sequence[bytes]) -> tuple[bytes, ...]:
    """The certificate and those of the pool above it, as far as signatures lead; nothing else is judged.

    Does not depend on the pool's order. Raises UntrustedCertificate where the first cannot be read.
    """
    _load(der)
    path = [der]
    for _ in range(MAX_PATH):
        above = (each for each in sorted(pool) if each not in path and _is_issuer_name(each, path[-1]))
        if (issuer := next((each for each in above if _signed_by(path[-1], each)), None)) is None:
            break
        path.append(issuer)
    return tuple(path)


class _Search:
    """One search for a path, depth first, with its limits."""

    def __init__(
        self,
        intermediates: Sequence[bytes],
        anchors: Sequence[bytes],
        at_ms: int,
        purpose: Purpose | None,
        hostname: str | None,
        dates: bool,
    ) -> None:
        self._dates = dates
        self._anchors = tuple(dict.fromkeys(anchors))
        self._pool = tuple(dict.fromkeys((*anchors, *intermediates)))
        self._at_ms = at_ms
        self._purpose = purpose
        self._hostname = hostname
        self._trials = MAX_TRIALS
        # The refusal worth telling: of a path that reached an anchor rather than of a dead end, the first of each.
        self._dead_end: UntrustedCertificate | None = None
        self._refused: UntrustedCertificate | None = None

    def run(self, leaf: bytes) -> tuple[bytes, ...]:
        _load(leaf)
        found = self._extend((leaf,))
        if found is not None:
            return found
        refused = self._refused or self._dead_end
        if refused is None:
            raise _untrusted(
                leaf, Distrust.TOO_LONG, f"has no path of at most {MAX_PATH} certificates to a trusted one"
            )
        raise refused

    def _extend(self, path: tuple[bytes, ...]) -> tuple[bytes, ...] | None:
        last = path[-1]
        if last in self._anchors:
            try:
                self._judge(path)
            except UntrustedCertificate as error:
                self._refused = self._refused or error
                return None
            return path
        if len(path) >= MAX_PATH:
            return None
        issuers = [der for der in self._pool if der not in path and _is_issuer_name(der, last)]
        if not issuers:
            self._dead_end = self._dead_end or self._missing_issuer(last)
        for issuer in issuers:
            self._trials -= 1
            if self._trials < 0:
                return None
            if not _signed_by(last, issuer):
                self._dead_end = self._dead_end or _untrusted(
                    last, Distrust.BAD_SIGNATURE, "is not signed by the key of the certificate with its issuer's name"
                )
                continue
            if (found := self._extend((*path, issuer))) is not None:
                return found
        return None

    def _missing_issuer(self, der: bytes) -> UntrustedCertificate:
        certificate = _load(der)
        if certificate.subject == certificate.issuer:
            return _untrusted(der, Distrust.UNKNOWN_ISSUER, "signed itself and is not among the trusted certificates")
        return _untrusted(
            der,
            Distrust.UNKNOWN_ISSUER,
            f"is signed by {text(certificate.issuer)}, which is neither sent along nor among the trusted certificates",
        )

    def _judge(self, path: tuple[bytes, ...]) -> None:
        for depth, der in enumerate(path):
            self._judge_one(der, depth, is_anchor=depth == len(path) - 1)
        if self._hostname is not None and not names_host(path[0], self._hostname):
            raise _untrusted(path[0], Distrust.HOSTNAME, f"is for {_hosts_text(path[0])}, not for {self._hostname}")

    def _judge_one(self, der: bytes, depth: int, *, is_anchor: bool) -> None:
        if self._dates and self._at_ms < not_before_ms(der):
            raise _untrusted(
                der,
                Distrust.NOT_YET_VALID,
                f"is valid only from {iso(not_before_ms(der))} on, and it is {iso(self._at_ms)}",
            )
        if self._dates and self._at_ms > not_after_ms(der) + 999:  # the last second counts whole
            raise _untrusted(
                der, Distrust.EXPIRED, f"expired at {iso(not_after_ms(der))}, and it is {iso(self._at_ms)}"
            )
        extensions = _extensions(der)
        for extension in extensions:
            if extension.critical and extension.oid not in _UNDERSTOOD:
                raise _untrusted(
                    der,
                    Distrust.CRITICAL_EXTENSION,
                    f"has the critical extension {extension.oid.dotted_string}, which is not understood",
                )
        if depth:
            self._judge_authority(der, extensions, depth)
        usages = _get(extensions, x509.ExtendedKeyUsage)
        # An anchor is trusted for what its holder says, whatever its own usages are.
        if self._purpose is None or usages is None or (is_anchor and depth):
            return
        if _PURPOSE[self._purpose] not in usages and ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE not in usages:
            raise _untrusted(der, Distrust.PURPOSE, f"has extended key usages that do not allow a TLS {self._purpose}")

    def _judge_authority(self, der: bytes, extensions: x509.Extensions, depth: int) -> None:
        constraints = _get(extensions, x509.BasicConstraints)
        usage = _get(extensions, x509.KeyUsage)
        # Version 1 roots have no extensions; as an anchor such a one was chosen by the user.
        is_v1_anchor = der in self._anchors and _load(der).version is x509.Version.v1
        if not is_v1_anchor and (constraints is None or not constraints.ca):
            raise _untrusted(der, Distrust.NOT_A_CA, "signed another certificate without being a CA")
        if usage is not None and not usage.key_cert_sign:
            raise _untrusted(der, Distrust.NOT_A_CA, "signed another certificate, which its key usage does not allow")
        if constraints is not None and constraints.path_length is not None and depth - 1 > constraints.path_length:
            raise _untrusted(
                der, Distrust.TOO_LONG, f"allows {constraints.path_length} CAs below it, and there are {depth - 1}"
            )


def _untrusted(der: bytes, reason: Distrust, what: str) -> UntrustedCertificate:
    certificate = _load(der)
    subject, issuer = text(certificate.subject), text(certificate.issuer)
    return UntrustedCertificate(f"certificate {subject} {what}", reason=reason, subject=subject, issuer=issuer)


def _load(der: bytes) -> x509.Certificate:
    try:
        return load_certificate(der)
    except MalformedCertificate as error:
        raise UntrustedCertificate(str(error), reason=Distrust.MALFORMED) from None


def _is_issuer_name(candidate: bytes, below: bytes) -> bool:
    try:
        return load_certificate(candidate).subject == load_certificate(below).issuer
    except MalformedCertificate:
        return False  # a broken certificate among many is as good as none


def _signed_by(der: bytes, issuer: bytes) -> bool:
    # Long certificates are not remembered: strangers could fill the memory with them.
    return _found_signed_by(der, issuer) if len(der) + len(issuer) <= 2 * LENGTH else _is_signed_by(der, issuer)


def _is_signed_by(der: bytes, issuer: bytes) -> bool:
    try:
        return x509_signature_holds(_load(der), public_key(issuer))
    except MalformedCertificate:
        return False


_found_signed_by = lru_cache(maxsize=CERTIFICATES)(_is_signed_by)


def _extensions(der: bytes) -> x509.Extensions:
    try:
        return _load(der).extensions
    except (ValueError, TypeError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType, UnsupportedAlgorithm):
        raise _untrusted(der, Distrust.MALFORMED, "has extensions that cannot be read") from None


def _get(extensions: x509.Extensions, kind: type[_Extension]) -> _Extension | None:
    try:
        return extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def hosts(der: bytes) -> tuple[str, ...]:
    """The DNS names and IP addresses of a certificate's subjectAltName. Raises UntrustedCertificate if unreadable."""
    found = _get(_extensions(der), x509.SubjectAlternativeName)
    if found is None:
        return ()
    addresses = [str(address) for address in found.get_values_for_type(x509.IPAddress)]
    return (*found.get_values_for_type(x509.DNSName), *addresses)


def _hosts_text(der: bytes) -> str:
    return ", ".join(hosts(der)) or "no host name at all"


def names_host(der: bytes, hostname: str) -> bool:
    """Whether the certificate is for that DNS name or IP address. Raises UntrustedCertificate if unreadable.

    A wildcard stands for exactly one leftmost label (RFC 6125 section 6.4.3).
    """
    found = _get(_extensions(der), x509.SubjectAlternativeName)
    if found is None:
        return False
    try:
        address = ipaddress.ip_address(hostname.strip("[]"))
    except ValueError:
        pass
    else:
        return address in found.get_values_for_type(x509.IPAddress)
    wanted = hostname.rstrip(".").lower()
    for offered in (name.rstrip(".").lower() for name in found.get_values_for_type(x509.DNSName)):
        if offered == wanted:
            return True
        if offered.startswith("*.") and "." in offered[2:] and wanted.partition(".")[2] == offered[2:]:
            return wanted.partition(".")[0] != ""
    return False

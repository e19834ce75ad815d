"""Which certificate is missing when a server is not trusted: a second look at its chain, believing nothing."""

from __future__ import annotations

import contextlib
import socket
import ssl
from dataclasses import dataclass

from mdmsim.apple_network import refuse_apple_resolved_blocking
from mdmsim.clock import Clock
from mdmsim.http import ConnectFailed
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.errors import Distrust, MalformedCertificate, UntrustedCertificate
from mdmsim.pki.names import issuer_text, subject_text

#: Seconds for the second look.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class Distrusted:
    """`authority`: the CA that would have to be trusted, as text; None where the chain's fault is another, told in `fault`.

    `leaf_carried`: the server's certificate itself is among the anchors. As it is no root, that does not help.
    """

    subject: str
    authority: str | None = None
    self_signed: bool = False
    fault: str | None = None
    leaf_carried: bool = False


def presented_chain(host: str, port: int) -> tuple[bytes, ...]:
    """The certificates (DER) that a server sends, leaf first; none if it does not finish a handshake. Blocks."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with contextlib.suppress(OSError, ValueError, ConnectFailed):
        refuse_apple_resolved_blocking(host, port)
        with (
            socket.create_connection((host, port), timeout=PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=host) as tls,
        ):
            return _chain(tls)
    return ()


def _chain(tls: ssl.SSLSocket) -> tuple[bytes, ...]:
    public = getattr(tls, "get_unverified_chain", None)  # since Python 3.13
    if public is not None:
        return tuple(public() or ())
    inner = getattr(tls, "_sslobj")  # noqa: B009  (mypy knows no such attribute)
    found = inner.get_unverified_chain() or ()
    return tuple(ssl.PEM_cert_to_DER_cert(certificate.public_bytes()) for certificate in found)


def judge(chain: tuple[bytes, ...], host: str, anchors: tuple[bytes, ...], clock: Clock) -> Distrusted | None:
    """What is wrong with a chain that OpenSSL refused; None if it is not the chain.

    As on devices (`transport.tls`), only a self-signed anchor ends a chain; others help to build it.
    """
    if not chain:
        return None
    roots = tuple(der for der in anchors if _signed_itself(der))
    sent = (*chain[1:], *(der for der in anchors if der not in roots))
    try:
        top = _top((chain[0], *sent))
        subject = subject_text(chain[0])
    except MalformedCertificate as error:
        return Distrusted(subject="", fault=f"it cannot be read: {error.reason}")
    now = clock.now_ms()
    try:
        # As if its top were trusted: whatever is wrong now is not the missing CA.
        verify_chain(chain[0], sent, (top,), at_ms=now, purpose="server", hostname=host)
    except UntrustedCertificate as error:
        return Distrusted(subject=subject, fault=str(error))
    try:
        verify_chain(chain[0], sent, roots, at_ms=now, purpose="server", hostname=host)
    except UntrustedCertificate as error:
        if error.reason is not Distrust.UNKNOWN_ISSUER:
            return Distrusted(subject=subject, fault=str(error))
        self_signed = top == chain[0] and issuer_text(top) == subject
        return Distrusted(
            subject=subject, authority=issuer_text(top), self_signed=self_signed, leaf_carried=chain[0] in anchors
        )
    return None


def _signed_itself(der: bytes) -> bool:
    try:
        certificate = load_certificate(der)
    except MalformedCertificate:
        return False
    return certificate.subject == certificate.issuer


def _top(chain: tuple[bytes, ...]) -> bytes:
    """The last certificate of the path from the leaf through the others."""
    by_subject = {load_certificate(der).subject: der for der in chain}
    top = chain[0]
    for _ in chain:
        above = by_subject.get(load_certificate(top).issuer)
        if above is None or above == top:
            break
        top = above
    return top

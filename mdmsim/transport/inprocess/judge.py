"""The TLS stand-in's judgement: what a handshake would have refused, at world time and with no OpenSSL between.

Certificates are really verified (mdmsim.pki), a device really proves that it holds its key; each verdict is
remembered for as long as it holds.
"""

from __future__ import annotations

from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from mdmsim.clock import from_utc
from mdmsim.http import Identity, TLSFailed, Trust
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.errors import MalformedKey, UntrustedCertificate
from mdmsim.pki.keys import load_key
from mdmsim.transport.lru import Lru
from mdmsim.transport.place import Place

_CHALLENGE = b"the transcript of a handshake"


class Judge:
    """The verdicts of one network. `system_anchors`: what `Trust.system` stands for here, DER."""

    def __init__(self, system_anchors: tuple[bytes, ...] = ()) -> None:
        self._system = system_anchors
        self._trusted: Lru[tuple[tuple[bytes, ...], Trust, str], tuple[int, int, tuple[bytes, ...]]] = Lru(4096)
        self._welcome: Lru[tuple[Identity, tuple[bytes, ...]], bool] = Lru(16384)

    def server(self, chain: tuple[bytes, ...], trust: Trust, place: Place, at_ms: int) -> None:
        """Raise TLSFailed unless a device with that trust would accept that chain for that host at that time.

        Only a self-signed anchor ends a chain, as OpenSSL and devices have it; others help to build it.
        """
        key = (chain, trust, place.host)
        known = self._trusted.get(key)
        if known is None or not known[0] <= at_ms <= known[1]:
            anchors = (*trust.anchors, *(self._system if trust.system else ()))
            roots = tuple(der for der in anchors if _self_signed(der))
            helpers = tuple(der for der in anchors if der not in roots)
            try:
                path = verify_chain(
                    chain[0], (*chain[1:], *helpers), roots, at_ms=at_ms, purpose="server", hostname=place.host
                )
            except UntrustedCertificate as error:
                raise TLSFailed(f"the certificate of {place.at} is not trusted: {error}", problem="untrusted") from None
            known = (*_window(path), path)
            self._trusted.put(key, known)
        if trust.pins and not set(trust.pins).intersection(known[2]):
            raise TLSFailed("none of the server's certificates is pinned", problem="not-pinned")

    def client(self, identity: Identity, anchors: tuple[bytes, ...] | None) -> None:
        """Raise TLSFailed unless the key fits the certificate, and a server with those anchors lets it in.

        `anchors` None: the server asks for a certificate and judges it later. Dates are the app's to judge:
        the live server switches OpenSSL's check of them off for the same reason.
        """
        if self._welcome.get((identity, anchors or ())):
            return
        if not _holds_key(identity):
            raise TLSFailed("the client identity cannot be used: key values mismatch", problem="own")
        if anchors is not None:
            try:
                at_ms = from_utc(x509.load_der_x509_certificate(identity.certificate).not_valid_before_utc)
                verify_chain(identity.certificate, identity.chain, anchors, at_ms=at_ms, purpose="client")
            except UntrustedCertificate as error:
                raise TLSFailed(
                    f"the server refused the connection: client certificate: {error}", problem="client-certificate"
                ) from None
        self._welcome.put((identity, anchors or ()), True)


@lru_cache(maxsize=1024)
def _self_signed(der: bytes) -> bool:
    try:
        certificate = x509.load_der_x509_certificate(der)
    except ValueError:
        raise TLSFailed("a trust anchor is not a certificate", problem="own") from None
    return certificate.subject == certificate.issuer


def _window(path: tuple[bytes, ...]) -> tuple[int, int]:
    certificates = [x509.load_der_x509_certificate(der) for der in path]
    return (
        max(from_utc(c.not_valid_before_utc) for c in certificates),
        min(from_utc(c.not_valid_after_utc) for c in certificates),
    )


def _holds_key(identity: Identity) -> bool:
    try:
        public = x509.load_der_x509_certificate(identity.certificate).public_key()
        key = load_key(identity.key)
        if isinstance(key, rsa.RSAPrivateKey) and isinstance(public, rsa.RSAPublicKey):
            public.verify(key.sign(_CHALLENGE, padding.PKCS1v15(), hashes.SHA256()), _CHALLENGE, padding.PKCS1v15(), hashes.SHA256())  # fmt: skip
            return True
        if isinstance(key, ec.EllipticCurvePrivateKey) and isinstance(public, ec.EllipticCurvePublicKey):
            public.verify(key.sign(_CHALLENGE, ec.ECDSA(hashes.SHA256())), _CHALLENGE, ec.ECDSA(hashes.SHA256()))
            return True
    except (InvalidSignature, MalformedKey, ValueError):
        return False
    return False

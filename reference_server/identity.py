"""Who sent a request: the certificate of the TLS connection, the signature over the body, or a proxy's word.

Any one suffices; where a certificate and a signature are both there they must be the same certificate. Whether that
certificate may speak for the enrollment that the body names is decided afterwards, in the storage.
"""

from __future__ import annotations

import binascii
import hashlib
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from mdmsim.clock import Clock
from mdmsim.pki.certificate import not_after_ms, not_before_ms
from mdmsim.pki.chain import verify_chain
from mdmsim.pki.errors import UntrustedCertificate
from mdmsim.pki.mdm_signature import named_signer, verify_header
from mdmsim.pki.proxy_header import parse as parse_proxy_header
from mdmsim.protocol.errors import Malformed
from reference_server.clients import Clients
from reference_server.errors import Refusal
from reference_server.settings import Settings

#: A certificate's last second counts whole, as in `verify_chain`.
LAST_SECOND_MS = 999

#: How many trusted certificates are remembered as such; about 200 bytes each.
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Sender:
    """The certificate that a request came with. `fingerprint`: SHA-256 in lower-case hex. `others`: its chain, unproven."""

    certificate: bytes
    fingerprint: str
    others: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Claim:
    """What the head of a request says about its sender: the connection's certificate, a signature, or both."""

    connection: Sender | None
    signature: bytes | None

    def unproven(self) -> Sender:
        """Who it would be, as long as the body is not there. Raises Refusal 400."""
        if self.connection is not None:
            return self.connection
        signer = self._signed(named_signer)
        return Sender(signer, hashlib.sha256(signer).hexdigest())

    def prove(self, body: bytes) -> Sender:
        """Who it is. Raises Refusal: 400 for a bad signature, 403 for certificate and signature that differ."""
        connection = self.connection
        if self.signature is None and connection is not None:
            return connection
        signer = self._signed(lambda header: verify_header(header, body))
        if connection is None:
            return Sender(signer, hashlib.sha256(signer).hexdigest())
        if connection.certificate != signer:
            raise Refusal(403, "the client certificate and the Mdm-Signature's certificate differ")
        return connection

    def _signed(self, read: Callable[[str], bytes]) -> bytes:
        try:
            return read((self.signature or b"").decode("ascii"))
        except UnicodeDecodeError:
            raise Refusal(400, "the Mdm-Signature is not base64") from None
        except Malformed as error:
            raise Refusal(400, f"Mdm-Signature: {error}") from None


class Senders:
    """Finds the sender of a request."""

    def __init__(self, settings: Settings) -> None:
        self._clients = Clients(settings.trusted_proxies)
        self._header = settings.proxy_header.lower().encode("ascii") if settings.proxy_header is not None else None

    def claim(self, scope: Mapping[str, Any], headers: Iterable[tuple[bytes, bytes]]) -> Claim:
        """Who says to have sent this. Raises Refusal 400 for nothing to go by."""
        signature: bytes | None = None
        passed_on: bytes | None = None
        for name, value in headers:
            if name == b"mdm-signature":
                if signature is not None:
                    raise Refusal(400, "more than one Mdm-Signature header")
                signature = value
            elif name == self._header:
                if passed_on is not None:
                    raise Refusal(400, f"more than one {name.decode('ascii')} header")
                passed_on = value
        connection = self._of_connection(scope, passed_on)
        if connection is None and signature is None:
            raise Refusal(400, "neither a client certificate nor an Mdm-Signature")
        return Claim(connection, signature)

    def _of_connection(self, scope: Mapping[str, Any], passed_on: bytes | None) -> Sender | None:
        if self._header is not None and self._clients.is_proxy(scope):
            # The connection is the proxy's own, and so is a certificate on it.
            return _from_proxy(passed_on) if passed_on else None
        tls = (scope.get("extensions") or {}).get("tls")
        chain: Sequence[str] = (tls or {}).get("client_cert_chain") or ()
        if not chain:
            return None
        certificate, fingerprint = _from_pem(chain[0])
        return Sender(certificate, fingerprint, tuple(_from_pem(pem)[0] for pem in chain[1:]))


def _from_proxy(value: bytes) -> Sender:
    try:
        certificate, *others = parse_proxy_header(value.decode("latin-1"))
    except Malformed as error:
        raise Refusal(400, f"the proxy's certificate header: {error}") from None
    return Sender(certificate, hashlib.sha256(certificate).hexdigest(), tuple(others))


@lru_cache(maxsize=8192)
def _from_pem(pem: str) -> tuple[bytes, str]:
    """DER and fingerprint of a PEM certificate that the TLS layer handed over."""
    try:
        certificate = ssl.PEM_cert_to_DER_cert(pem)
    except (ValueError, binascii.Error):
        raise Refusal(400, "the client certificate that the TLS layer handed over is not PEM") from None
    return certificate, hashlib.sha256(certificate).hexdigest()


class Trusted:
    """Judges certificates by chain and date; a chain that was proven once is remembered by fingerprint."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._anchors = (settings.ca.certificate, *settings.identity_anchors)
        self._intermediates = settings.ca.chain
        self._proven: dict[str, tuple[int, int]] = {}

    def check(self, sender: Sender) -> None:
        """Raise a 403 Refusal if the certificate is expired, not valid yet, or of a CA that is not ours."""
        now_ms = self._clock.now_ms()
        validity = self._proven.get(sender.fingerprint)
        if validity is None:
            validity = self._prove(sender, now_ms)
        if not validity[0] <= now_ms <= validity[1]:
            raise Refusal(403, "the identity has expired or is not valid yet")

    def _prove(self, sender: Sender, now_ms: int) -> tuple[int, int]:
        try:
            path = verify_chain(
                sender.certificate,
                (*self._intermediates, *sender.others),
                self._anchors,
                at_ms=now_ms,
                purpose="client",
            )
            # The whole path's, as it is judged: a CA that runs out takes what it issued along.
            validity = (max(map(not_before_ms, path)), min(map(not_after_ms, path)) + LAST_SECOND_MS)
        except (UntrustedCertificate, Malformed) as error:
            raise Refusal(403, f"the identity is not trusted: {error}") from None
        if len(self._proven) >= _REMEMBERED:
            del self._proven[next(iter(self._proven))]
        self._proven[sender.fingerprint] = validity
        return validity

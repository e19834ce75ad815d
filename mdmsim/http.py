"""HTTP as plain data: what a flow asks for, what came back, and how a transport may fail.

A flow yields a `Request` and is resumed with a `Response`, or a `TransportError` is thrown into it. The reference
server's own outbound calls use the same values. Nothing here does I/O.
"""

from __future__ import annotations

import hashlib
import ipaddress
from dataclasses import dataclass, field
from typing import Literal, Protocol

Headers = tuple[tuple[str, str], ...]


def has_content(method: str, status: int) -> bool:
    """Whether an answer with that status to a request with that method may carry content (RFC 9110 section 6.4.1)."""
    return method != "HEAD" and status >= 200 and status not in (204, 304)


def is_loopback(host: str) -> bool:
    """Whether that name or address is this machine's own; an IPv6 address without brackets."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its private key: `certificate` is DER, `key` is PKCS#8 DER. `chain`: DER, without the leaf."""

    certificate: bytes
    key: bytes = field(repr=False)
    chain: tuple[bytes, ...] = ()

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, lower-case hex."""
        return hashlib.sha256(self.certificate).hexdigest()


@dataclass(frozen=True, slots=True)
class Trust:
    """What a client accepts as the other end of a TLS connection.

    `anchors`: DER certificates trusted besides, or instead of, the system's; `system`: whether the machine's trust
    store counts; `pins`: DER certificates of which one must be in the server's chain (none: no pinning).
    `allow_http`: plain `http://` to loopback is allowed; plain HTTP to anywhere else never is.
    """

    anchors: tuple[bytes, ...] = ()
    system: bool = False
    pins: tuple[bytes, ...] = ()
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request. `label` names it for people and metrics: `checkin:TokenUpdate`, `connect:Idle`.

    `headers` keep their spelling and order; Host and Content-Length are the transport's. `timeout` is in seconds,
    for the whole exchange. `max_redirects`: how many 3xx answers are followed, with method and body (a device
    follows them and never remembers one; Apple, MDM Protocol Reference, "Structure of MDM messages").
    """

    method: str
    url: str
    headers: Headers = ()
    body: bytes = b""
    label: str = ""
    identity: Identity | None = None
    trust: Trust = Trust()
    timeout: float = 60.0
    max_redirects: int = 5

    def header(self, name: str) -> str | None:
        """The first value of that header, names compared without case; None where there is none."""
        return find_header(self.headers, name)


@dataclass(frozen=True, slots=True)
class Response:
    """One complete HTTP answer. `url` is where it came from: after redirects not the request's own."""

    status: int
    headers: Headers = ()
    body: bytes = b""
    url: str = ""

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first value of that header, names compared without case; None where there is none."""
        return find_header(self.headers, name)


def find_header(headers: Headers, name: str) -> str | None:
    wanted = name.lower()
    for key, value in headers:
        if key.lower() == wanted:
            return value
    return None


class TransportError(Exception):
    """No complete answer came. `request` is what was sent; `sent`: whether the server may have seen all of it."""

    def __init__(self, message: str, *, sent: bool = False) -> None:
        super().__init__(message)
        self.sent = sent


class ConnectFailed(TransportError):
    """Nothing listens there, the name does not resolve, or the network is down. The server saw nothing."""


class OwnLimit(ConnectFailed):
    """This machine had no descriptor, local port or memory left to connect with: it says nothing of the server."""


class NotAsked(ConnectFailed):
    """A device does not go there: a URL that is none, plain http, one of Apple's hosts. Nothing was sent to anybody."""


#: What made a handshake fail. `untrusted`: the server's certificate (its CA, dates or name). `not-pinned`: none of its
#: certificates is one that the profile pins. `client-certificate`: the server refused the one it was shown, or missed
#: one. `version`: no version of TLS in common. `not-tls`: whatever answers there speaks no TLS. `own`: our own
#: certificate, key or trust anchor cannot be used. `other`: anything else, such as a connection that was cut.
TlsProblem = Literal["untrusted", "not-pinned", "client-certificate", "version", "not-tls", "own", "other"]


class TLSFailed(TransportError):
    """The TLS handshake failed; `problem` says at what."""

    def __init__(self, message: str, *, problem: TlsProblem = "other", sent: bool = False) -> None:
        super().__init__(message, sent=sent)
        self.problem: TlsProblem = problem


class ExchangeCut(TransportError):
    """The connection ended in the middle of the exchange; the server may have acted on the request."""


class TimedOut(TransportError):
    """The exchange took longer than the request's timeout; the server may have acted on it."""


class BadAnswer(TransportError):
    """What came back is not HTTP/1.1, is larger than allowed, or redirects for ever or to a place not allowed."""


class Outbound(Protocol):
    """How a server or an adapter makes HTTP calls of its own: sockets live, the world's network in process."""

    async def send(self, request: Request) -> Response:
        """The complete answer, whatever its status. Raises TransportError when none came."""

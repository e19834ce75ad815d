"""HTTP/1.1 as strangers speak it: uvicorn's protocol, and the limits of size and time that it leaves out.

What is refused here never reaches the application: it gets a bare 4xx, its connection ends, and the log says why. What
a limit is for: a client that sends without end must not cost memory, and one that stops half-way no connection.
"""

from __future__ import annotations

import http
import ssl
from collections.abc import Callable, Iterable
from enum import Enum, auto
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from mdmsim.http import has_content
from mdmsim.pace import USUAL, Awaited, RequestPace

#: All header lines of a request together, in bytes. An Mdm-Signature is about 2 KB, a signature with a chain 20.
MAX_HEAD = 128 * 1024

#: Bytes on the wire for one byte of a chunked body. One byte a chunk costs six.
MAX_FRAMING = 8

#: How slowly a client may send.
LIMITS = USUAL

#: Seconds that a quiet connection is kept, before its first request and between two.
KEEP_ALIVE_S = int(LIMITS.quiet)

#: What is still read, and thrown away, of a body that was refused: a close at once would take the answer along.
LINGER_S, LINGER_BYTES = 10, 32 * 2**20

#: Seconds that a client has for its half of a TLS goodbye, once it was refused.
PARTING_S = 2

#: Seconds that a client may leave an answer unread.
UNREAD_S = 600

#: Seconds between two looks at who is too slow.
WATCH_S = 1

#: `status`, the reason, the peer's address: told of each request that is refused here.
Tell = Callable[[int, str, str | None], None]


class Phase(Enum):
    """What a connection is waiting for."""

    QUIET = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LINGER = auto()
    PARTING = auto()


_AWAITED = {Phase.QUIET: Awaited.QUIET, Phase.HEAD: Awaited.HEAD, Phase.BODY: Awaited.BODY}


class PeerCertificateProtocol(HttpToolsProtocol):
    """uvicorn's protocol, and what it leaves out: the peer's certificate, limits, and a goodbye that does not wait."""

    _extensions: dict[str, Any] | None = None
    _phase = Phase.QUIET
    _since = 0.0
    _fresh = False  # whether the message in hand began with the bytes in hand
    _wire_bytes = 0  # of the message, as they came
    _body_bytes = 0  # of its body
    _message_open = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._pace = RequestPace(LIMITS, self.loop.time())
        tls = transport.get_extra_info("ssl_object")
        if tls is not None:
            certificate = tls.getpeercert(binary_form=True)
            chain = [ssl.DER_cert_to_PEM_cert(certificate)] if certificate else []
            # ASGI TLS extension 0.2; `server_cert`, `tls_version` and `cipher_suite` are of no use here.
            self._extensions = {"tls": {"client_cert_chain": chain}}

    def data_received(self, data: bytes) -> None:
        between, self._fresh = not self._message_open, False
        super().data_received(data)
        if not self._message_open or self.transport.is_closing():
            return
        # Where within `data` the message began is not known. After another's end the little that came is let off.
        if between or not self._fresh:
            self._wire_bytes += len(data)
        if self._phase is Phase.LINGER:
            if self._wire_bytes > LINGER_BYTES:
                self.transport.abort()
        elif self._wire_bytes > MAX_HEAD + MAX_FRAMING * self._body_bytes:
            in_head = self._phase is Phase.HEAD
            self._refuse(431 if in_head else 400, f"the {'headers' if in_head else 'chunks or trailers'} are too large")

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "not HTTP/1.1")

    # The parser's callbacks

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._message_open = self._fresh = True
        self._wire_bytes = self._body_bytes = 0
        self._turn(Phase.HEAD)
        if self._extensions is not None:
            self.scope["extensions"] = self._extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        # Trailers come after the head. Whoever checked the head, a proxy above all, did not see them: they say nothing
        # (RFC 9110 section 6.5.1 forbids to merge what was not asked for).
        if self._phase is Phase.HEAD:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._turn(Phase.BODY)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._pace.received(len(body))
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._message_open = False
        # A refused request that came to its end after all leaves the connection as good as new.
        self._turn(Phase.QUIET if self._phase is Phase.LINGER else Phase.ANSWER)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        # With pipelining the answer may be to an earlier message than the one that is still coming in.
        if self._phase is Phase.BODY and self.cycle.response_complete:
            self._wire_bytes = 0
            self._turn(Phase.LINGER)
        elif self._phase is Phase.ANSWER:
            self._turn(Phase.QUIET)
        super().on_response_complete()

    # Time

    def _turn(self, phase: Phase) -> None:
        self._phase = phase
        self._since = self.loop.time()
        self._pace.turn(_AWAITED.get(phase, Awaited.NOTHING), self._since)

    def watch(self, now: float) -> None:
        """Refuse or close what took too long. `now`: the loop's time."""
        waited = now - self._since
        if self.transport.is_closing():
            if self._phase is Phase.PARTING and waited > PARTING_S:
                self.transport.abort()
            return
        match self._phase:
            case Phase.BODY if self.flow.read_paused:
                self._pace.turn(Awaited.BODY, now)  # the application is behind, not the client
            case Phase.QUIET | Phase.HEAD | Phase.BODY:
                if (why := self._pace.overdue(now)) is not None:
                    if self._phase is Phase.QUIET:
                        self.transport.close()
                    else:
                        self._refuse(408, why)
            case Phase.LINGER if waited > LINGER_S:
                self.transport.abort()
            case Phase.ANSWER if self.flow.write_paused and waited > UNREAD_S:
                self.transport.abort()
            case _:
                pass

    # Ends

    def refused(self, status: int, why: str, client: str | None) -> None:
        """Called once for a request that is refused here."""

    def _refuse(self, status: int, why: str) -> None:
        if self.transport.is_closing():
            return
        self.refused(status, why, self.client[0] if self.client else None)
        cycle: Any = self.cycle  # None before the first request, whatever its type says
        if cycle is None or not cycle.response_started or cycle.response_complete:
            body = f"{why}\n".encode()
            head = (
                b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\nconnection: close\r\n"
                b"content-length: %d\r\n\r\n" % (status, http.HTTPStatus(status).phrase.encode(), len(body))
            )
            method = "" if self._phase is Phase.HEAD else self.parser.get_method().decode("ascii")
            self.transport.write(head + (body if has_content(method, status) else b""))
        self._turn(Phase.PARTING)
        self.transport.close()

    def shutdown(self) -> None:
        idle = getattr(self.cycle, "response_complete", True)
        if idle and self.transport.get_write_buffer_size() == 0:
            # A close would wait for the peer's goodbye, which a sleeping device never sends.
            self.transport.abort()
        else:
            super().shutdown()


def protocol_that_tells(tell: Tell) -> type[PeerCertificateProtocol]:
    """The protocol for one server: uvicorn makes an object of it for every connection."""

    class TellingProtocol(PeerCertificateProtocol):
        def refused(self, status: int, why: str, client: str | None) -> None:
            tell(status, why, client)

    return TellingProtocol


def watch_all(connections: Iterable[Any], now: float) -> None:
    """Look at every connection once."""
    for connection in tuple(connections):
        if isinstance(connection, PeerCertificateProtocol):
            connection.watch(now)

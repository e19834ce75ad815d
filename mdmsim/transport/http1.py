"""HTTP/1.1 without I/O: a request as bytes, and an answer read from bytes as they come. Shared by all shells."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

import httptools

from mdmsim.http import BadAnswer, ExchangeCut, Headers, Request, Response
from mdmsim.transport.coding import decode
from mdmsim.transport.place import Place

#: Methods whose body means something, so that even an empty one is announced (RFC 9110 section 8.6).
_WITH_BODY = frozenset({"PUT", "POST", "PATCH"})
_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection"})
_METHOD = re.compile(r"[A-Z][A-Z-]*\Z")
#: RFC 9110 sections 5.1 and 5.5: a name is a token; a value holds no control character but the tab.
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*\Z")
#: A header value of at most this length is worth remembering as bytes; a signature is not.
_SHORT = 256

#: Bytes on the wire for one byte of a chunked body. One byte a chunk costs six.
_FRAMING = 8


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of an answer is taken, in bytes: its body (decoded as well as on the wire), and its head."""

    body: int = 17 * 2**20
    head: int = 64 * 2**10


def _line(name: str, value: str) -> bytes:
    # isprintable is many times faster on a long signature, and true for all but the odd value with a tab.
    if not _NAME.match(name) or not (value.isprintable() or _VALUE.match(value)):
        raise ValueError(f"header {name!r} cannot be sent: control characters in it, or no token for a name")
    if name.lower() in _OURS:
        raise ValueError(f"header {name!r} is the transport's to write: leave it out of Request.headers")
    return f"{name}: {value}\r\n".encode()


_short_line = lru_cache(maxsize=8192)(_line)


@lru_cache(maxsize=8192)
def _start(method: str, place: Place) -> bytes:
    if not _METHOD.match(method):
        raise ValueError(f"{method!r} is no HTTP method")
    return f"{method} {place.target} HTTP/1.1\r\nHost: {place.authority}\r\n".encode()


def serialise_head(request: Request, place: Place) -> bytes:
    """Request line, Host, the request's headers as given, Content-Length, the empty line.

    Raises ValueError for headers that are malformed or the transport's own.
    """
    lines = [_start(request.method, place)]
    for name, value in request.headers:
        lines.append(_short_line(name, value) if len(value) <= _SHORT else _line(name, value))
    if request.body or request.method in _WITH_BODY:
        lines.append(b"Content-Length: %d\r\n" % len(request.body))
    lines.append(b"\r\n")
    return b"".join(lines)


def serialise(request: Request, place: Place) -> bytes:
    """The whole request as it goes over the wire, in one piece."""
    return serialise_head(request, place) + request.body


class Answer:
    """One answer, read piece by piece. Interim answers (1xx) are passed over (RFC 9110 section 15.2).

    `started`: a byte of it came. `complete`: it ended. `keep_alive`: the connection may serve another exchange;
    meaningful once complete. httptools parses, and calls the `on_` methods.
    """

    __slots__ = (
        "_body",
        "_framed",
        "_head",
        "_head_done",
        "_headers",
        "_limits",
        "_no_body",
        "_parser",
        "_size",
        "_surplus",
        "_taken",
        "_wire",
        "complete",
        "keep_alive",
        "started",
        "status",
    )

    def __init__(self, method: str, limits: Limits) -> None:
        self.started = self.complete = self.keep_alive = False
        self.status = 0
        self._headers: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = self._head = self._taken = self._wire = 0
        self._head_done = self._framed = self._surplus = False
        self._no_body = method == "HEAD"
        self._limits = limits
        self._parser = httptools.HttpResponseParser(self)

    # httptools calls these

    def on_message_begin(self) -> None:
        if self.complete:
            self._surplus = True
            return
        self._headers.clear()
        self._head_done = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._surplus or self._head_done:  # after the head: trailers of a chunked answer, of no use to a device
            return
        self._head += len(name) + len(value) + 4
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        if self._surplus:
            return
        self.status = self._parser.get_status_code()
        if self.status < 200:
            return
        self._head_done = True
        self.keep_alive = self._parser.should_keep_alive()
        for name, value in self._headers:
            lower = name.lower()
            if lower == b"content-length" or (lower == b"transfer-encoding" and value.lower().endswith(b"chunked")):
                self._framed = True
        if self._no_body:
            self.complete = True

    def on_body(self, body: bytes) -> None:
        if not self._surplus:
            self._size += len(body)
            self._body.append(body)

    def on_message_complete(self) -> None:
        if not self._surplus and self._head_done:
            self.complete = True

    # shells call these

    def feed(self, data: bytes) -> None:
        """Take what came. Raises BadAnswer when it is not HTTP/1.1 or larger than the limits."""
        self.started = True
        self._wire += len(data)
        if not self._head_done:
            self._taken += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            raise BadAnswer("the answer switches protocols, which nobody asked for", sent=True) from None
        except httptools.HttpParserError as error:
            if not self.complete:
                raise BadAnswer(f"the answer is not HTTP/1.1: {error}", sent=True) from None
            self._surplus = True  # rubbish after a complete answer: take the answer, drop the connection
        if self._surplus:
            self.keep_alive = False
        if self._head > self._limits.head or (not self._head_done and self._taken > self._limits.head):
            raise BadAnswer(f"the answer's head is longer than {self._limits.head} bytes", sent=True)
        if self._wire > 2 * self._limits.head + _FRAMING * self._size and not self.complete:
            raise BadAnswer("the answer's chunks or trailers are longer than what they frame", sent=True)
        if self._size > self._limits.body:
            raise BadAnswer(f"the answer's body is longer than {self._limits.body} bytes", sent=True)

    def end(self, *, clean: bool = True) -> None:
        """The connection ended. Completes an answer that only this could end.

        `clean`: the other end said so (over TLS: close_notify), nothing can have been cut off. Raises ExchangeCut
        when the answer is not whole.
        """
        self.keep_alive = False
        if self.complete:
            return
        if self._head_done and not self._framed and clean:
            self.complete = True
            return
        raise ExchangeCut(self.how_far(), sent=True)

    def how_far(self) -> str:
        """Where in the answer the connection ended, for an error message."""
        if not self.started:
            return "the connection ended before the answer"
        if not self._head_done:
            return "the connection ended in the middle of the answer's head"
        return f"the connection ended after {self._size} bytes of the answer's body"

    def response(self, request: Request, url: str) -> Response:
        """The complete answer, its body decoded. Raises BadAnswer when the coding is broken or one nobody offered."""
        headers: Headers = tuple([(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._headers])
        body = b"".join(self._body)
        for name, value in headers:
            if name.lower() == "content-encoding" and body:
                try:
                    body = decode(body, value, offered=request.header("Accept-Encoding"), limit=self._limits.body)
                except ValueError as error:
                    raise BadAnswer(f"the answer's body cannot be decoded: {error}", sent=True) from None
        return Response(self.status, headers, body, url)

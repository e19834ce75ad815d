"""One send of a transport, from the first connection to the final answer, without I/O.

Written as a flow is: a generator that yields what it wants done on a connection. The shells (trio, blocking,
in process) carry that out and know nothing of HTTP; keep-alive, stale connections, redirects and injected faults
are decided here, once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from dataclasses import dataclass, field

from mdmsim.http import ExchangeCut, Request, Response, TLSFailed, TlsProblem, TransportError
from mdmsim.transport.http1 import Answer, Limits, serialise
from mdmsim.transport.kept import Kept, Key, Link
from mdmsim.transport.place import Place, next_hop, place_of, refuse_plain_http
from mdmsim.transport.wire import Tap


class LinkBroken(Exception):
    """The connection ended other than by an orderly close: reset, aborted, or TLS without close_notify."""


class LinkRefused(LinkBroken):
    """The other end gave its reason in a TLS alert, such as a client certificate that it does not accept."""

    def __init__(self, reason: str, problem: TlsProblem = "other") -> None:
        super().__init__(reason)
        self.problem: TlsProblem = problem


@dataclass(slots=True)
class Connect:
    """Open a connection to that place, with the request's identity and trust; resumed with a `Link`."""

    place: Place
    request: Request


@dataclass(slots=True)
class Transmit:
    """Send these bytes; resumed with None once they are out."""

    link: Link
    data: bytes


@dataclass(slots=True)
class Receive:
    """Wait for bytes; resumed with some, or with b"" after an orderly end."""

    link: Link


@dataclass(slots=True)
class Hold:
    """Do nothing for that many seconds; infinite means until the request's time is up."""

    seconds: float


Step = Connect | Transmit | Receive | Hold
Steps = Generator[Step, "Link | bytes | None", Response]


def _check_nothing(place: Place) -> None:
    return None


@dataclass(slots=True)
class House:
    """What the exchanges of one transport share. `now` is in the shell's own seconds; `check` may refuse a place."""

    kept: Kept
    limits: Limits
    now: Callable[[], float]
    check: Callable[[Place], None] = field(default=_check_nothing)


class Conversation:
    """The steps of one send. `sent`: whether a server may have seen a whole request by now."""

    __slots__ = ("_house", "_tap", "request", "sent")

    def __init__(self, request: Request, house: House, tap: Tap | None) -> None:
        self.request = request
        self.sent = False
        self._house = house
        self._tap = tap

    def explain(self, error: TransportError) -> TransportError:
        """The same error, led by what was asked for; `sent` made true if any attempt got that far."""
        name = f"{self.request.label} " if self.request.label else ""
        error.args = (f"{name}{self.request.method} {self.request.url}: {error}",)
        error.sent = error.sent or self.sent
        return error

    def steps(self) -> Steps:
        """Exchange until an answer is final. Raises TransportError, explained."""
        request, followed = self.request, 0
        try:
            while True:
                response = yield from self._hop(request)
                following = next_hop(request, response, followed)
                if following is None:
                    return response
                if self._tap is not None:
                    self._tap.hops.append((response.status, following.url))
                request, followed = following, followed + 1
        except TransportError as error:
            raise self.explain(error) from error.__cause__

    def _hop(self, request: Request) -> Steps:
        place = place_of(request.url)
        if not place.tls:
            refuse_plain_http(place, request.trust)
        self._house.check(place)
        data = serialise(request, place)
        key: Key = (place.scheme, place.host, place.port, request.identity, request.trust)
        link = self._house.kept.take(key, self._house.now())
        if link is not None:
            response = yield from self._exchange(link, key, request, data, reused=True)
            if response is not None:
                return response
        # Nothing was kept, or what was kept had died while idle: not one byte of an answer came, so sending again
        # on a new connection cannot be a second answer's loss. There it happens once only.
        fresh = yield Connect(place, request)
        if fresh is None or isinstance(fresh, bytes):
            raise TypeError("the shell resumed Connect without a link")
        response = yield from self._exchange(fresh, key, request, data, reused=False)
        if response is None:
            raise TypeError("a fresh connection cannot be stale")
        return response

    def _exchange(
        self, link: Link, key: Key, request: Request, data: bytes, *, reused: bool
    ) -> Generator[Step, Link | bytes | None, Response | None]:
        """One request and its answer on one connection; None when the connection was stale."""
        answer = Answer(request.method, self._house.limits)
        tap, finished = self._tap, False
        if tap is not None:
            tap.connection, tap.reused = link.number, reused
        try:
            if tap is not None and (cut := tap.request_cut(len(data))) is not None:
                with contextlib.suppress(LinkBroken):
                    yield Transmit(link, data[:cut])
                raise ExchangeCut(f"the connection was cut after {cut} of the request's {len(data)} bytes")
            stall = tap.stall_seconds if tap is not None else None
            try:
                if tap is not None and stall is not None and tap.stall_request_after is not None:
                    yield Transmit(link, data[: tap.stall_request_after])
                    yield Hold(stall)
                    data, stall = data[tap.stall_request_after :], None
                yield Transmit(link, data)
                self.sent = True
            except LinkBroken:
                pass  # a server may answer early and stop listening: what it said is still there to be read
            if stall is not None:
                yield Hold(stall)
            came = 0
            while not answer.complete:
                try:
                    piece = yield Receive(link)
                except LinkBroken as broken:
                    if not answer.started and reused:
                        return None
                    if not answer.started and isinstance(broken, LinkRefused):
                        self.sent = False
                        raise TLSFailed(
                            f"the server refused the connection: {broken}", problem=broken.problem
                        ) from None
                    if answer.started:
                        answer.end(clean=False)
                        break
                    raise ExchangeCut(f"{answer.how_far()} ({broken})", sent=True) from None
                if not isinstance(piece, bytes):
                    raise TypeError("the shell resumed Receive without bytes")
                if not piece:
                    if not answer.started and reused:
                        return None
                    answer.end()
                    break
                came += len(piece)
                if tap is not None and tap.cut_response_after is not None and came > tap.cut_response_after:
                    raise ExchangeCut(
                        f"the connection was cut after {tap.cut_response_after} bytes of the answer", sent=True
                    )
                answer.feed(piece)
            response = answer.response(request, request.url)
            finished = True
        finally:
            if finished and answer.keep_alive:
                self._house.kept.give(key, link, self._house.now())
            elif finished:
                link.close()
            else:
                link.abort()
        return response

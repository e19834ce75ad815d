"""How slowly a client may send a request over HTTP/1.1, for every server here: one rule, without I/O.

A time limit between two bytes is none: a client that sends one byte now and then would hold a connection for ever. So
the head has a time for all of it, and a body must bring so many bytes in so many seconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto


@dataclass(frozen=True, slots=True)
class PaceLimits:
    """Times in seconds. `quiet`: of a connection before its first request and between two; `head`: from the first byte of
    a request to the end of its header lines. A body must bring `body_bytes` in each `body` seconds: less than the slowest
    radio does. `write`: in which an answer, or a piece of one, must be taken."""

    quiet: float = 75
    head: float = 20
    body: float = 30
    body_bytes: int = 16 * 1024
    write: float = 30


#: What every server here allows unless told otherwise.
USUAL = PaceLimits()


class Awaited(Enum):
    """What a connection waits for from its client; NOTHING while the server is at work."""

    QUIET = auto()
    HEAD = auto()
    BODY = auto()
    NOTHING = auto()


class RequestPace:
    """The clock of one connection. Times (`now`) are seconds of any clock that goes forward."""

    def __init__(self, limits: PaceLimits, now: float) -> None:
        self._limits = limits
        self.turn(Awaited.QUIET, now)

    def turn(self, awaited: Awaited, now: float) -> None:
        """From now on that is waited for."""
        self.awaited = awaited
        self._since = now
        self._bytes = 0

    def received(self, count: int) -> None:
        """So many bytes of the body came."""
        self._bytes += count

    def held(self, seconds: float) -> None:
        """The server did not read for so long: that time is not the client's."""
        self._since += seconds

    @property
    def deadline(self) -> float:
        """After this `overdue` has to be asked."""
        limits = self._limits
        match self.awaited:
            case Awaited.QUIET:
                return self._since + limits.quiet
            case Awaited.HEAD:
                return self._since + limits.head
            case Awaited.BODY:
                return self._since + limits.body
            case Awaited.NOTHING:
                return float("inf")

    def overdue(self, now: float) -> str | None:
        """Why the client is too slow; None while it is not."""
        if now <= self.deadline:
            return None
        limits = self._limits
        if self.awaited is Awaited.QUIET:
            return f"no request came in {limits.quiet:g} s"
        if self.awaited is Awaited.HEAD:
            return f"its headers were not complete after {limits.head:g} s"
        if self._bytes < limits.body_bytes:
            return f"less than {limits.body_bytes} bytes of its body came in {limits.body:g} s"
        self.turn(Awaited.BODY, now)
        return None

"""What all transports have in common: how they are called, and the tap on one exchange.

A `Tap` goes down through the wrappers into the transport with one request. On its way down it says what is to go
wrong on the wire; on its way back it tells what the transport did.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from mdmsim.http import Request, Response


@dataclass(slots=True)
class Tap:
    """One exchange, seen from outside. Faults count bytes as they stand on the wire, head included, TLS excluded.

    Asked for: `cut_request_after`, `cut_request_share`: the connection is cut once that many bytes (that share, 0 to
    1) of the request were sent. `cut_response_after`: it is cut once that many bytes of the answer came; an answer
    that is shorter gets through. `stall_seconds`: the device goes silent that long between sending and listening,
    or with `stall_request_after` once that many bytes of the request were sent; infinite for as long as the request's
    timeout lasts.

    Told: `fault` names the fault that was injected; `connection` numbers the connection within its transport;
    `reused`: it had served an exchange before; `hops`: status and URL of each redirect that was followed.
    """

    cut_request_after: int | None = None
    cut_request_share: float | None = None
    cut_response_after: int | None = None
    stall_seconds: float | None = None
    stall_request_after: int | None = None
    fault: str | None = None
    connection: int | None = None
    reused: bool = False
    hops: list[tuple[int, str]] = field(default_factory=list)

    def request_cut(self, length: int) -> int | None:
        """How many of `length` request bytes may leave; None for all."""
        if self.cut_request_after is not None:
            return min(self.cut_request_after, length)
        if self.cut_request_share is not None:
            return int(self.cut_request_share * length)
        return None


class AsyncTransport(Protocol):
    """Sends requests for async code: TrioTransport, a client of the in-process network, or a wrapper around one."""

    async def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """The complete answer, redirects followed. Raises TransportError when none came."""


class Transport(Protocol):
    """Sends requests for blocking code: BlockingTransport, or a wrapper around it."""

    def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """The complete answer, redirects followed. Raises TransportError when none came."""

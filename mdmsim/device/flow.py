"""Flows: what a device does on the network, as generators that do no I/O themselves.

A flow yields what it wants and is resumed with what came back; a driver (`mdmsim.transport`) carries it out. Only
`exchange` and `pause` yield directly: a generator has one receive type, and wrapping the two keeps every flow typed.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

from mdmsim.http import Request, Response

T = TypeVar("T")

#: The longest `pause`, in seconds. A longer wait ends the flow with a wake in the device's state.
LONGEST_PAUSE = 60.0


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait that many seconds, or less when a push comes."""

    seconds: float


Wish = Request | Pause
Flow = Generator[Wish, "Response | None", T]


def exchange(request: Request) -> Flow[Response]:
    """Send a request and return the complete answer. Raises TransportError, thrown in by the driver."""
    response = yield request
    if response is None:
        raise TypeError(f"the driver resumed {request.label or request.url} without a response")
    return response


def pause(seconds: float) -> Flow[None]:
    """Wait, at most `LONGEST_PAUSE`; a push ends it early. Raises ValueError for a longer wait."""
    if not 0 <= seconds <= LONGEST_PAUSE:
        raise ValueError(f"a pause lasts 0 to {LONGEST_PAUSE:.0f} s, not {seconds}: end the flow with a wake instead")
    yield Pause(seconds)

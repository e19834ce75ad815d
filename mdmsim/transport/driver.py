"""Drivers: they run a flow to its end. One for async code, one for blocking code; they differ by `await` only.

A driver adds nothing to the protocol. It saves the device's state before everything that leaves the device and at
the end, throws transport errors into the flow where it waits, returns the flow's value and always closes the flow.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

from mdmsim.device.flow import Flow
from mdmsim.http import Request, Response, TransportError

T = TypeVar("T")


class AsyncIO(Protocol):
    """What a driver needs around it, for async code. Any async library will do."""

    async def send(self, request: Request) -> Response:
        """The complete answer. Raises TransportError when none came."""

    async def pause(self, seconds: float) -> None:
        """Return after that time, or earlier when a push comes."""

    def save(self) -> None:
        """Make the device's state durable; events are released after it. Cheap when nothing changed."""


class BlockingIO(Protocol):
    """The same for blocking code: gevent, a REPL, a test."""

    def send(self, request: Request) -> Response:
        """The complete answer. Raises TransportError when none came."""

    def pause(self, seconds: float) -> None:
        """Return after that time, or earlier when a push comes."""

    def save(self) -> None:
        """Make the device's state durable; events are released after it. Cheap when nothing changed."""


async def run_flow(flow: Flow[T], io: AsyncIO) -> T:
    """Run the flow to its end and return its value.

    Raises what the flow raises. Anything but a TransportError from `io` (a cancellation, a bug) is not the flow's
    affair: the flow is closed, the state saved, and the exception goes on.
    """
    try:
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                wish = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as end:
                value: T = end.value
                return value
            answer = failure = None
            io.save()
            if isinstance(wish, Request):
                try:
                    answer = await io.send(wish)
                except TransportError as error:
                    failure = error
            else:
                await io.pause(wish.seconds)
    finally:
        try:
            flow.close()
        finally:
            io.save()


def run_flow_blocking(flow: Flow[T], io: BlockingIO) -> T:
    """Run the flow to its end and return its value.

    Raises what the flow raises. Anything but a TransportError from `io` (an interrupt, a bug) is not the flow's
    affair: the flow is closed, the state saved, and the exception goes on.
    """
    try:
        answer: Response | None = None
        failure: TransportError | None = None
        while True:
            try:
                wish = flow.send(answer) if failure is None else flow.throw(failure)
            except StopIteration as end:
                value: T = end.value
                return value
            answer = failure = None
            io.save()
            if isinstance(wish, Request):
                try:
                    answer = io.send(wish)
                except TransportError as error:
                    failure = error
            else:
                io.pause(wish.seconds)
    finally:
        try:
            flow.close()
        finally:
            io.save()

"""Answers whose body waits until the client has room for it: which of them to try again, and never more than those.

A client may open windows byte by byte, with a thousand answers waiting: looking at all of them each time would cost the
front a thousand times what it costs the client.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Waiting:
    """The bodies of one connection, by stream.

    `connection`: of the HTTP/2 library, and `error` what it raises; `sent` is told of a stream whose body went out
    whole, `lost` of one that the library does not know any more.
    """

    def __init__(
        self, connection: Any, error: type[Exception], sent: Callable[[int], None], lost: Callable[[int], None]
    ) -> None:
        self._connection = connection
        self._error = error
        self._sent = sent
        self._lost = lost
        self._bodies: dict[int, bytes] = {}
        # Those for which the window of the connection is too small, first come first: the others wait for their stream's.
        self._queue: dict[int, None] = {}
        # Streams whose windows were opened; 0 is the connection.
        self._opened: dict[int, None] = {}
        self._all = False

    def __len__(self) -> int:
        return len(self._bodies)

    def add(self, stream: int, body: bytes) -> None:
        """Send a body as the last of its stream, now or as soon as there is room."""
        self._bodies[stream] = body
        self._try(stream)

    def drop(self, stream: int) -> None:
        """Forget a stream."""
        self._bodies.pop(stream, None)
        self._queue.pop(stream, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._bodies.clear()
        self._queue.clear()
        self._opened.clear()

    def opened(self, stream: int) -> None:
        """The client has opened the window of a stream, or with 0 of the connection."""
        if stream == 0 or stream in self._bodies:
            self._opened[stream] = None

    def resized(self) -> None:
        """The client has changed the windows of all streams, by its settings."""
        self._all = bool(self._bodies)

    def send(self) -> None:
        """Send what there is room for since the last time."""
        if not self._opened and not self._all:
            return
        tried = tuple(self._bodies) if self._all else tuple(self._opened)
        connection = self._all or 0 in self._opened
        self._all = False
        self._opened.clear()
        for stream in tried:
            if stream in self._bodies and stream not in self._queue:
                self._try(stream)
        while connection and self._queue:
            stream = next(iter(self._queue))
            del self._queue[stream]
            self._try(stream)
            if stream in self._queue:
                # There is no room for this one yet. It goes on waiting at the end, as others may need less.
                break

    def _try(self, stream: int) -> None:
        body = self._bodies[stream]
        try:
            room = self._connection.local_flow_control_window(stream)
            if room >= len(body):
                self._connection.send_data(stream, body, end_stream=True)
                del self._bodies[stream]
            elif room >= self._connection.outbound_flow_control_window:
                self._queue[stream] = None
                return
            elif room > 0:
                # One frame is what clients want. But whoever leaves a stream less room than an error body needs may open
                # it only after reading something: it gets what fits.
                self._connection.send_data(stream, body[:room])
                self._bodies[stream] = body[room:]
                return
            else:
                return
        except self._error:
            self.drop(stream)
            self._lost(stream)
            return
        self._sent(stream)

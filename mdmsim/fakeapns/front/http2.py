"""A provider's HTTP/2 connection without I/O: bytes in, requests out; answers in, bytes out.

h2 (or jh2) does the protocol. What it cannot do is done around it: Apple's first SETTINGS, a stream limit that goes up
and down and refuses single streams, answers whose one DATA frame waits for the client's window, a GOAWAY after which
either end may still finish what it began, and an end to floods (`guard`).
"""

from __future__ import annotations

import struct
from collections import deque
from typing import Any

import msgspec

from mdmsim.fakeapns.answers import Answer
from mdmsim.fakeapns.front import guard
from mdmsim.fakeapns.front.engines import MAX_FRAME, engine, server_connection
from mdmsim.fakeapns.front.guard import Abuse, Guard
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.front.waiting import Waiting
from mdmsim.http import Headers, has_content

#: RFC 9113 section 6.5.2.
_MAX_CONCURRENT_STREAMS = 3

#: Bytes of a body that are kept: more than any payload that is allowed. The rest is only counted.
_KEPT_BODY = 8192
#: Bytes of a body after which the answer does not wait for its end.
_LONGEST_BODY = 1 << 20
#: Received bytes after which the connection's window is opened again: once for many requests, and long before it closes.
_WINDOW_STEP = 16384
#: Headers whose values never come again: they would only push out of the client's table what does.
_ONLY_ONCE = frozenset(("apns-id", "apns-unique-id"))
#: A GOAWAY frame without debug data.
_GOAWAY_LENGTH = 17


class Arrived(msgspec.Struct, frozen=True, gc=False):
    """A complete request. Header names are lower case (HTTP/2 knows no others), pseudo-headers left out."""

    stream: int
    method: str
    path: str
    headers: Headers
    body: bytes


class _Stream:
    __slots__ = ("arrived", "begun", "body", "ended", "headers", "length", "method", "path", "stalled")

    def __init__(self, method: str, path: str, headers: Headers, begun: float) -> None:
        self.begun = begun
        self.method = method
        self.path = path
        self.headers = headers
        self.body = b""
        self.length = 0
        self.ended = False
        self.arrived = False
        self.stalled = False


class ProviderConnection:
    """One connection of a push provider. Times (`now`) are seconds of any clock that goes forward."""

    def __init__(self, settings: FrontSettings | None = None, *, ramp: bool = False) -> None:
        self._settings = settings or FrontSettings()
        self._engine = engine(self._settings.http2)
        #: MAX_CONCURRENT_STREAMS as announced last.
        self.stream_limit = 1 if ramp else self._settings.stream_limit
        # Those that the client has not acknowledged yet, after the one that holds.
        self._limits = deque((self.stream_limit,))
        self._greeted = False
        self._h2 = server_connection(self._engine, self.stream_limit)
        self._guard = Guard(self._settings.floods, MAX_FRAME)
        self._streams: dict[int, _Stream] = {}
        self._stalled = 0
        self._waiting = Waiting(self._h2, self._engine.exceptions.H2Error, self._close, self._forget)
        self._out = bytearray()
        self._received = 0
        self._highest = 0
        self._last: int | None = None
        self._leaving_why = ""
        events = self._engine.events
        self._handlers = {
            events.RequestReceived: self._begin,
            events.DataReceived: self._data,
            events.StreamEnded: self._ended,
            events.StreamReset: self._reset,
            events.WindowUpdated: self._window,
            events.RemoteSettingsChanged: self._resized,
            events.SettingsAcknowledged: self._acknowledged,
        }
        self._arrived: list[Arrived] = []
        self._now = 0.0
        #: The highest stream that was begun.
        self.highest_begun = 0
        #: Set when either end has ended the connection: send what is outgoing, and close.
        self.finished = False
        #: Why it was finished, as the word it is counted under; empty for a plain end.
        self.why = ""
        self.requests = 0

    @property
    def open_streams(self) -> int:
        """Requests that are not answered in full yet and will be."""
        return len(self._streams) - self._stalled

    @property
    def remembered(self) -> int:
        """Streams that anything is still kept of, closed ones included: bounded, whatever a client does."""
        return len(self._h2.streams) + len(self._h2._closed_streams)

    @property
    def begun(self) -> bool:
        """Whether the client has shown that it speaks HTTP/2."""
        return self._guard.begun

    @property
    def unfinished_since(self) -> float | None:
        """When the frame or header block was begun that the client has not finished; None where there is none."""
        return self._guard.unfinished_since

    @property
    def leaving(self) -> bool:
        """Whether GOAWAY was said: the connection is finished when its open streams are answered."""
        return self._last is not None

    @property
    def blocked(self) -> bool:
        """Whether an answer waits for the client to open its window."""
        return len(self._waiting) > 0

    @property
    def last_stream(self) -> int:
        """The highest stream whose request arrived whole."""
        return self._highest

    def receive(self, data: bytes, now: float = 0.0) -> list[Arrived]:
        """Take in bytes; return the requests that they complete."""
        if self.finished:
            return []
        self._now = now
        self._arrived = []
        try:
            if seen := self._guard.look(data, now):
                handlers = self._handlers
                for event in self._h2.receive_data(seen):
                    if (handle := handlers.get(event.__class__)) is not None:
                        handle(event)
        except Abuse as abuse:
            self._end(abuse.why, abuse.code)
            return []
        except self._engine.exceptions.H2Error as error:
            self._fail(error)
            return []
        except BaseException as error:
            # jh2's decoder panics at header blocks that end too soon; what comes out is no Exception.
            if error.__class__.__name__ != "PanicException":
                raise
            self._end("compression-error", guard.COMPRESSION_ERROR)
            return []
        self._waiting.send()
        self._open_window()
        arrived = self._arrived
        if self._last is not None or self._guard.goodbye:
            last = self._last
            arrived = [request for request in arrived if last is None or request.stream <= last]
        # A request that was reset in the same bytes is not worth an answer.
        arrived = [request for request in arrived if request.stream in self._streams]
        if arrived:
            self._highest = max(self._highest, arrived[-1].stream)
            self.requests += len(arrived)
        self._leave_when_done()
        return arrived

    def awaits(self, stream: int) -> bool:
        """Whether that request is still to be answered."""
        return stream in self._streams

    def answer(self, stream: int, answer: Answer) -> None:
        """Answer a request; without effect if its stream is gone.

        200 is one HEADERS frame that ends the stream; an error is HEADERS and one DATA frame: clients parse each
        DATA frame by itself, and ignore those that are not the last. After HEAD there is none.
        """
        if self.finished or stream not in self._streams:
            return
        body = answer.body if has_content(self._streams[stream].method, answer.status) else b""
        headers = [(b":status", b"%d" % answer.status)]
        headers += [self._header(name, value) for name, value in answer.headers]
        try:
            self._h2.send_headers(stream, headers, end_stream=not body)
        except self._engine.exceptions.H2Error:
            self._forget(stream)
            return
        self._guard.answered()
        if body:
            self._waiting.add(stream, body)
        else:
            self._close(stream)
        if answer.status == 200:
            if self.stream_limit < self._settings.stream_limit:
                self.limit_streams(self._settings.stream_limit)
        elif self._settings.throttle_after_reject:
            self.limit_streams(1)

    def refuse(self, stream: int) -> None:
        """Refuse a request with RST_STREAM and REFUSED_STREAM: it was not looked at and may be sent again."""
        self._forget(stream)
        try:
            self._h2.reset_stream(stream, guard.REFUSED_STREAM)
        except self._engine.exceptions.H2Error:
            # The client was faster.
            pass

    def give_up(self, before: float) -> None:
        """Reset the streams whose requests were begun before that time and have not arrived yet."""
        late = [stream for stream, known in self._streams.items() if not known.arrived and known.begun <= before]
        for stream in late:
            self._forget(stream)
            try:
                self._h2.reset_stream(stream, guard.CANCEL)
            except self._engine.exceptions.H2Error:
                # The client was faster.
                pass

    def stall(self, stream: int) -> None:
        """Never answer that request; its stream stays open as long as the client likes."""
        if (known := self._streams.get(stream)) is not None and not known.stalled:
            known.stalled = True
            self._stalled += 1
            self._leave_when_done()

    def drop(self, stream: int) -> None:
        """Never answer that request, and wait for it no more."""
        self._forget(stream)

    def limit_streams(self, limit: int) -> None:
        """Announce another MAX_CONCURRENT_STREAMS; it holds when the client has acknowledged it."""
        if limit == self.stream_limit:
            return
        self.stream_limit = limit
        self._limits.append(limit)
        self._say(4, 0, struct.pack(">HI", _MAX_CONCURRENT_STREAMS, limit))

    def ping(self, data: bytes) -> None:
        """Ask for a sign of life; `data` is 8 bytes."""
        self._say(6, 0, data)

    def goaway(self, debug: bytes = b"", *, code: int = 0, last_stream: int | None = None) -> None:
        """Say goodbye; everything answered before goes first. `debug` has the form of an error body, or is empty.

        Built by hand: after h2's own, h2 lets a server send nothing more.
        """
        if last_stream is None:
            last_stream = self._highest
        self._out += self._h2.data_to_send()
        self._out += goaway_frame(last_stream, code, debug)

    def leave(self, debug: bytes = b"", *, code: int = 0, last_stream: int | None = None, why: str = "") -> None:
        """Say GOAWAY, answer the open streams up to `last_stream` (default: all that arrived), and be finished then.

        `why` is the word that this is counted under.
        """
        if self.finished or self.leaving:
            return
        self._leaving_why = why
        self._last = self._highest if last_stream is None else last_stream
        self.goaway(debug, code=code, last_stream=self._last)
        for stream in [stream for stream in self._streams if stream > self._last]:
            self._forget(stream)
        self._leave_when_done()

    def outgoing(self) -> bytes:
        """What to write now; empty: nothing."""
        data: bytes = self._h2.data_to_send()
        if self._out:
            data = bytes(self._out) + data
            self._out.clear()
        return data

    def backlog(self) -> int:
        """How many bytes there are to write."""
        self._out += self._h2.data_to_send()
        return len(self._out)

    # what arrives

    def _begin(self, event: Any) -> None:
        stream = self.highest_begun = event.stream_id
        if len(self._streams) >= max(self._limits):
            self._guard.overrun(self._now)
            self.refuse(stream)
            return
        method = path = ""
        headers: list[tuple[str, str]] = []
        for name, value in event.headers:
            if name[:1] != b":":
                headers.append((name.decode("latin-1"), value.decode("latin-1")))
            elif name == b":method":
                method = value.decode("latin-1")
            elif name == b":path":
                path = value.decode("latin-1")
        if self._last is None or stream <= self._last:
            self._streams[stream] = _Stream(method, path, tuple(headers), self._now)

    def _data(self, event: Any) -> None:
        self._received += event.flow_controlled_length
        stream = self._streams.get(event.stream_id)
        if stream is None:
            return
        data = event.data
        stream.length += len(data)
        if not stream.body:
            stream.body = data[:_KEPT_BODY]
        elif (room := _KEPT_BODY - len(stream.body)) > 0:
            stream.body += data[:room]
        if event.stream_ended is None:
            if stream.length > _LONGEST_BODY:
                self._complete(event.stream_id, stream)
            elif event.flow_controlled_length:
                try:
                    self._h2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
                except self._engine.exceptions.H2Error:
                    # The same bytes reset the stream, and its window does not matter any more.
                    pass

    def _ended(self, event: Any) -> None:
        if (stream := self._streams.get(event.stream_id)) is not None:
            stream.ended = True
            self._complete(event.stream_id, stream)

    def _complete(self, stream_id: int, stream: _Stream) -> None:
        if not stream.arrived:
            stream.arrived = True
            self._arrived.append(Arrived(stream_id, stream.method, stream.path, stream.headers, stream.body))
            stream.headers, stream.body = (), b""

    def _reset(self, event: Any) -> None:
        self._forget(event.stream_id)

    def _window(self, event: Any) -> None:
        self._waiting.opened(event.stream_id)

    def _resized(self, event: Any) -> None:
        self._waiting.resized()

    def _acknowledged(self, event: Any) -> None:
        # The first is for the settings at the beginning, which hold from the start: it may come after the first requests,
        # when other settings have been said already.
        if not self._greeted:
            self._greeted = True
        elif len(self._limits) > 1:
            self._limits.popleft()

    # what goes

    def _say(self, kind: int, flags: int, payload: bytes) -> None:
        self._out += self._h2.data_to_send()
        self._out += _frame(kind, flags, payload)

    def _open_window(self) -> None:
        if self._received >= _WINDOW_STEP:
            self._h2.increment_flow_control_window(self._received)
            self._received = 0

    def _header(self, name: str, value: str) -> tuple[bytes, bytes]:
        pair = name.encode("latin-1"), value.encode("latin-1")
        return self._engine.never_indexed(*pair) if name in _ONLY_ONCE else pair

    def _close(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        if stream.stalled:
            self._stalled -= 1
        if not stream.ended:
            # RFC 9113 section 8.1: the answer is complete, the rest of the request is not wanted.
            try:
                self._h2.reset_stream(stream_id, 0)
            except self._engine.exceptions.H2Error:
                pass
        self._leave_when_done()

    def _forget(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id, None)
        if stream is not None and stream.stalled:
            self._stalled -= 1
        self._waiting.drop(stream_id)
        self._leave_when_done()

    # how it ends

    def _leave_when_done(self) -> None:
        if (self._last is not None or self._guard.goodbye) and len(self._streams) == self._stalled:
            self._finish(self._leaving_why)

    def _fail(self, error: Exception) -> None:
        # The library has said GOAWAY already, with a code that is not always the best, and as its last frame.
        said = self._h2.data_to_send()
        self._out += said[:-_GOAWAY_LENGTH] if said[3 - _GOAWAY_LENGTH : 4 - _GOAWAY_LENGTH] == b"\x07" else said
        exceptions = self._engine.exceptions
        code = int(getattr(error, "error_code", guard.PROTOCOL_ERROR))
        why = "protocol-error"
        if isinstance(error, exceptions.DenialOfServiceError):
            why = "header-list-too-long"
        elif isinstance(error, exceptions.FlowControlError):
            why = "flow-control-error"
        elif str(error).startswith("Error decoding header block"):
            # RFC 9113 section 4.3; the library calls it PROTOCOL_ERROR.
            why, code = "compression-error", guard.COMPRESSION_ERROR
        self._end(why, code)

    def _end(self, why: str, code: int) -> None:
        self.goaway(code=code)
        self._finish(why)

    def _finish(self, why: str) -> None:
        self.finished = True
        self.why = why
        self._streams.clear()
        self._waiting.clear()
        self._stalled = 0


def goaway_frame(last_stream: int, code: int, debug: bytes) -> bytes:
    """RFC 9113 section 6.8. `debug` has the form of an error body, or is empty."""
    return _frame(7, 0, struct.pack(">II", last_stream, code) + debug)


def _frame(kind: int, flags: int, payload: bytes) -> bytes:
    """A frame of the connection, which is stream 0."""
    return struct.pack(">I", len(payload))[1:] + bytes((kind, flags)) + b"\0\0\0\0" + payload

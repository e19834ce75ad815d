"""A provider's HTTP/2 connection without I/O: bytes in, requests out; answers in, bytes out.

h2 does the protocol. What it cannot do is done around it: Apple's first SETTINGS, answers whose one DATA frame waits
for the client's window, and a GOAWAY after which a server may still answer.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
from hyperframe.frame import GoAwayFrame

from mdmsim.fakeapns.service import Answer
from mdmsim.http import Headers

#: The five settings that Apple's servers announce (seen in a pushy debug log of 2021; 1000 streams since 2018).
#: Clients wait for MAX_CONCURRENT_STREAMS in the first SETTINGS frame before they send anything.
MAX_STREAMS = 1000
MAX_HEADER_LIST = 8000
_SETTINGS = {
    h2.settings.SettingCodes.HEADER_TABLE_SIZE: 4096,
    h2.settings.SettingCodes.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
    h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 65535,
    h2.settings.SettingCodes.MAX_FRAME_SIZE: 16384,
    h2.settings.SettingCodes.MAX_HEADER_LIST_SIZE: MAX_HEADER_LIST,
}

#: Bytes of a body that are kept: more than any payload that is allowed. The rest is only counted.
_KEPT_BODY = 8192
#: Bytes of a body after which the answer does not wait for its end.
_LONGEST_BODY = 1 << 20


@dataclass(frozen=True, slots=True)
class Arrived:
    """A complete request. Header names are lower case (HTTP/2 knows no others), pseudo-headers left out."""

    stream: int
    method: str
    path: str
    headers: Headers
    body: bytes


@dataclass(slots=True)
class _Stream:
    method: str
    path: str
    headers: Headers
    body: bytearray = field(default_factory=bytearray)
    length: int = 0
    ended: bool = False
    arrived: bool = False


class ProviderConnection:
    """One connection of a push provider."""

    def __init__(self) -> None:
        # Names and values as bytes: decoding is ours, and cannot fail. Our own headers need no check.
        config = h2.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(config)
        announced = h2.settings.Settings(client=False, initial_values=_SETTINGS)
        # h2 would announce these two as well. Apple does not, and some old clients reject ENABLE_PUSH from a server.
        del announced[h2.settings.SettingCodes.ENABLE_PUSH]
        del announced[h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL]
        self._h2.local_settings = announced
        self._h2.initiate_connection()
        # But h2 looks them up when it judges frames.
        self._h2.local_settings = h2.settings.Settings(client=False, initial_values=_SETTINGS)
        self._h2.decoder.max_header_list_size = MAX_HEADER_LIST
        self._streams: dict[int, _Stream] = {}
        self._waiting: dict[int, bytes] = {}
        self._goaway = b""
        #: Set when either end has ended the connection: send what is outgoing, and close.
        self.finished = False
        #: Why it was finished, for people; empty for a plain end.
        self.why = ""

    @property
    def open_streams(self) -> int:
        """Requests that are not answered in full yet."""
        return len(self._streams)

    def receive(self, data: bytes) -> list[Arrived]:
        """Take in bytes; return the requests that they complete."""
        try:
            events = self._h2.receive_data(data)
        except h2.exceptions.H2Error as error:
            # h2 has said GOAWAY with the right code, except to what is not HTTP/2 from its first bytes.
            if self._h2.state_machine.state is not h2.connection.ConnectionState.CLOSED:
                self.goaway(code=h2.errors.ErrorCodes.PROTOCOL_ERROR)
            self._finish(f"protocol error: {error}")
            return []
        arrived: list[Arrived] = []
        for event in events:
            if isinstance(event, h2.events.RequestReceived):
                self._begin(event)
            elif isinstance(event, h2.events.DataReceived):
                self._data(event, arrived)
            elif isinstance(event, h2.events.StreamEnded):
                if (stream := self._streams.get(event.stream_id or 0)) is not None:
                    stream.ended = True
                    self._complete(event.stream_id or 0, stream, arrived)
            elif isinstance(event, h2.events.StreamReset):
                self._forget(event.stream_id or 0)
            elif isinstance(event, h2.events.WindowUpdated | h2.events.RemoteSettingsChanged):
                self._send_waiting()
            elif isinstance(event, h2.events.ConnectionTerminated):
                self._finish("")
        # A request that was reset in the same bytes is not worth an answer.
        return [request for request in arrived if request.stream in self._streams]

    def answer(self, stream: int, answer: Answer) -> None:
        """Answer a request; without effect if its stream is gone.

        200 is one HEADERS frame that ends the stream; an error is HEADERS and one DATA frame: clients parse each
        DATA frame by itself, and ignore those that are not the last.
        """
        if self.finished or stream not in self._streams:
            return
        headers = [(b":status", b"%d" % answer.status)]
        headers += [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers]
        try:
            self._h2.send_headers(stream, headers, end_stream=not answer.body)
        except h2.exceptions.H2Error:
            self._forget(stream)
            return
        if answer.body:
            self._waiting[stream] = answer.body
            self._send_waiting()
        else:
            self._end(stream)

    def goaway(self, debug: bytes = b"", *, code: int = 0, last_stream: int | None = None) -> None:
        """Say goodbye; everything answered before goes first. `debug` has the form of an error body, or is empty.

        Built by hand: after h2's own, h2 lets a server send nothing more.
        """
        if last_stream is None:
            last_stream = self._h2.highest_inbound_stream_id
        frame = GoAwayFrame(0, last_stream_id=last_stream, error_code=code, additional_data=debug)
        self._goaway += frame.serialize()

    def outgoing(self) -> bytes:
        """What to write now; empty: nothing."""
        data: bytes = self._h2.data_to_send()
        if self._goaway:
            data += self._goaway
            self._goaway = b""
        return data

    # inside

    def _begin(self, event: h2.events.RequestReceived) -> None:
        method = path = ""
        headers: list[tuple[str, str]] = []
        for name, value in event.headers or ():
            if name[:1] != b":":
                headers.append((bytes(name).decode("latin-1"), bytes(value).decode("latin-1")))
            elif name == b":method":
                method = bytes(value).decode("latin-1")
            elif name == b":path":
                path = bytes(value).decode("latin-1")
        self._streams[event.stream_id or 0] = _Stream(method, path, tuple(headers))

    def _data(self, event: h2.events.DataReceived, arrived: list[Arrived]) -> None:
        stream_id, data = event.stream_id or 0, event.data or b""
        try:
            self._h2.acknowledge_received_data(event.flow_controlled_length or 0, stream_id)
        except h2.exceptions.H2Error:
            # The stream ended meanwhile, and its window does not matter any more.
            pass
        stream = self._streams.get(stream_id)
        if stream is None:
            return
        stream.length += len(data)
        if len(stream.body) < _KEPT_BODY:
            stream.body += data[: _KEPT_BODY - len(stream.body)]
        if stream.length > _LONGEST_BODY:
            self._complete(stream_id, stream, arrived)

    def _complete(self, stream_id: int, stream: _Stream, arrived: list[Arrived]) -> None:
        if not stream.arrived:
            stream.arrived = True
            arrived.append(Arrived(stream_id, stream.method, stream.path, stream.headers, bytes(stream.body)))

    def _send_waiting(self) -> None:
        for stream, body in tuple(self._waiting.items()):
            try:
                if self._h2.local_flow_control_window(stream) < len(body):
                    continue
                self._h2.send_data(stream, body, end_stream=True)
            except h2.exceptions.H2Error:
                self._forget(stream)
            else:
                del self._waiting[stream]
                self._end(stream)

    def _end(self, stream_id: int) -> None:
        stream = self._streams.pop(stream_id)
        if not stream.ended:
            # RFC 9113 section 8.1: the answer is complete, the rest of the request is not wanted.
            try:
                self._h2.reset_stream(stream_id, h2.errors.ErrorCodes.NO_ERROR)
            except h2.exceptions.H2Error:
                pass

    def _forget(self, stream: int) -> None:
        self._streams.pop(stream, None)
        self._waiting.pop(stream, None)

    def _finish(self, why: str) -> None:
        self.finished = True
        self.why = why
        self._streams.clear()
        self._waiting.clear()

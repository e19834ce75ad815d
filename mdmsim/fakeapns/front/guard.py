"""What a client may send, judged by frame headers alone, before the HTTP/2 library does any work for it.

h2 bounds neither how often frames come nor what it buffers for one frame, and takes a client's GOAWAY as the end of
everything. This looks at the nine bytes before each frame, and hands the bytes on.
"""

from __future__ import annotations

from mdmsim.fakeapns.front.settings import FloodLimits

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

#: RFC 9113 section 7.
PROTOCOL_ERROR = 1
FRAME_SIZE_ERROR = 6
REFUSED_STREAM = 7
CANCEL = 8
COMPRESSION_ERROR = 9
ENHANCE_YOUR_CALM = 11

_DATA, _HEADERS, _PRIORITY, _RST_STREAM, _SETTINGS, _PUSH_PROMISE, _PING, _GOAWAY, _WINDOW_UPDATE, _CONTINUATION = (
    range(10)
)
#: Frames with a part of a header block.
_FIELDS = (_HEADERS, _CONTINUATION)
_END_STREAM = _ACK = 0x1
_END_HEADERS = 0x4

#: What a flood of that kind of frame is counted under, and the field of FloodLimits that bounds it.
_FLOODS: dict[int, tuple[str, str]] = {
    _DATA: ("empty-data-flood", "empty_data"),
    _PRIORITY: ("priority-flood", "priorities"),
    _RST_STREAM: ("rapid-reset", "resets"),
    _SETTINGS: ("settings-flood", "settings"),
    _PING: ("ping-flood", "pings"),
    _GOAWAY: ("goaway-flood", "goaways"),
    _WINDOW_UPDATE: ("window-update-flood", "window_updates"),
}
_UNKNOWN = 256
_OVERRUN = 257


class Abuse(Exception):
    """The connection must end: `why` is the word it is counted under, `code` what GOAWAY says."""

    def __init__(self, why: str, code: int) -> None:
        super().__init__(why)
        self.why = why
        self.code = code


class Guard:
    """The frame headers of one connection. `max_frame`: the MAX_FRAME_SIZE that was announced."""

    __slots__ = (
        "_allowed",
        "_block",
        "_continuations",
        "_counts",
        "_dropping",
        "_held",
        "_highest",
        "_in_block",
        "_limits",
        "_max_frame",
        "_preface",
        "_settled",
        "_since",
        "_skip",
        "goodbye",
        "unfinished_since",
    )

    def __init__(self, limits: FloodLimits, max_frame: int) -> None:
        self._limits = limits
        self._max_frame = max_frame
        #: Whether the client has said GOAWAY: it opens no more streams, and may wait for open ones.
        self.goodbye = False
        #: When the frame or header block was begun that is not complete yet; None where there is none.
        self.unfinished_since: float | None = None
        self._preface = b""
        self._held = b""
        # Bytes that still belong to the frame before.
        self._skip = 0
        self._dropping = False
        self._highest = 0
        self._settled = False
        self._in_block = False
        self._block = 0
        self._continuations = 0
        self._counts: dict[int, int] = {}
        self._since = 0.0
        self._allowed = 0

    @property
    def begun(self) -> bool:
        """Whether the client has sent the whole preface."""
        return len(self._preface) == len(PREFACE)

    def answered(self) -> None:
        """A request was answered: what belongs to two is forgiven."""
        self._allowed += 2

    def overrun(self, now: float) -> None:
        """A stream over the limit. Raises Abuse when there are too many."""
        self._count(_OVERRUN, now)

    def look(self, data: bytes, now: float) -> bytes:
        """The bytes to hand on: whole frame headers only, no GOAWAY. `now` in seconds, of any clock. Raises Abuse."""
        if len(self._preface) < len(PREFACE):
            return self._look_at_preface(data, now)
        if self._held:
            data, self._held = self._held + data, b""
        position, size = self._skip, len(data)
        begun_frame = False
        # Where the bytes begin that are neither handed on nor dropped yet.
        begun = min(position, size) if self._dropping else 0
        parts: list[bytes] = []
        while position + 9 <= size:
            # A header block is one thing, however many frames it has.
            begun_frame = begun_frame or not self._in_block
            if self._dropping:
                self._dropping, begun = False, position
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            kind, flags = data[position + 3], data[position + 4]
            stream = int.from_bytes(data[position + 5 : position + 9], "big") & 0x7FFFFFFF
            if length > self._max_frame:
                # Now, and not when all of it has been taken in.
                raise Abuse("frame-too-large", FRAME_SIZE_ERROR)
            if not self._settled:
                # RFC 9113 section 3.4: the preface ends with a SETTINGS frame. h2 does not ask for it.
                if kind != _SETTINGS or flags & _ACK:
                    raise Abuse("protocol-error", PROTOCOL_ERROR)
                self._settled = True
            if kind == _DATA:
                if not length and not flags & _END_STREAM:
                    self._count(kind, now)
            elif kind in _FIELDS:
                self._header_block(kind, flags, stream, length)
            elif kind == _GOAWAY and not stream and length >= 8 and not self._in_block:
                self._count(kind, now)
                self.goodbye = self._dropping = True
                parts.append(data[begun:position])
                begun = min(position + 9 + length, size)
            elif kind == _RST_STREAM and stream > self._highest:
                raise Abuse("protocol-error", PROTOCOL_ERROR)
            elif kind in _FLOODS:
                self._count(kind, now)
            elif kind > _CONTINUATION:
                self._count(_UNKNOWN, now)
            position += 9 + length
        if position > size:
            self._skip = position - size
        else:
            if self._dropping:
                self._dropping, begun = False, position
            self._skip = 0
            if position < size:
                self._held, data = data[position:], data[:position]
        if not (self._skip or self._held or self._in_block):
            self.unfinished_since = None
        elif self.unfinished_since is None or begun_frame:
            self.unfinished_since = now
        return b"".join((*parts, data[begun:])) if parts or begun else data

    # inside

    def _look_at_preface(self, data: bytes, now: float) -> bytes:
        if not self._preface:
            self._since = now
        missing = len(PREFACE) - len(self._preface)
        start = data[:missing]
        self._preface += start
        if not PREFACE.startswith(self._preface):
            raise Abuse("not-http2", PROTOCOL_ERROR)
        if len(data) <= missing:
            return start
        return start + self.look(data[missing:], now)

    def _header_block(self, kind: int, flags: int, stream: int, length: int) -> None:
        if kind == _HEADERS:
            if stream > self._highest:
                self._highest = stream
            self._in_block = not flags & _END_HEADERS
            self._block, self._continuations = length, 0
            return
        if flags & _END_HEADERS:
            self._in_block = False
        self._block += length
        self._continuations += 1
        if self._continuations > self._limits.continuations or self._block > self._limits.header_block:
            raise Abuse("continuation-flood", ENHANCE_YOUR_CALM)

    def _count(self, kind: int, now: float) -> None:
        count = self._counts[kind] = self._counts.get(kind, 0) + 1
        if kind == _UNKNOWN:
            why, name = "unknown-frame-flood", "unknown"
        elif kind == _OVERRUN:
            why, name = "stream-flood", "overruns"
        else:
            why, name = _FLOODS[kind]
        if count <= getattr(self._limits, name) + self._allowed:
            return
        # Only now does time matter: what came over a long while is no flood.
        if now - self._since < self._limits.seconds:
            raise Abuse(why, ENHANCE_YOUR_CALM)
        self._counts = {kind: 1}
        self._since, self._allowed = now, 0

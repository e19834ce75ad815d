"""The switches of the provider front: stream limits, waiting times, and how much of what a client may send."""

from __future__ import annotations

from typing import Literal

import msgspec


class FloodLimits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many frames of a kind a client may send within `seconds` before its connection ends with ENHANCE_YOUR_CALM.

    Every answered request gives two of each kind back, so that what belongs to requests is never a flood. HTTP/2 names
    these attacks and leaves the numbers to the server (RFC 9113 section 10.5); Apple's are unknown.
    """

    seconds: float = 10.0
    #: RST_STREAM: a client may cancel all its streams at once, but not open and cancel for ever (CVE-2023-44487).
    resets: int = 2000
    pings: int = 500
    settings: int = 100
    #: GOAWAY: one that warns and one with the last stream are usual (RFC 9113 section 6.8).
    goaways: int = 100
    #: DATA frames with nothing in them that do not end their stream.
    empty_data: int = 1000
    window_updates: int = 5000
    #: Ignored, as Apple does.
    priorities: int = 5000
    #: Frames of types that HTTP/2 does not know, which are to be ignored (RFC 9113 section 5.5).
    unknown: int = 1000
    #: Requests refused because the stream limit was reached.
    overruns: int = 2000
    #: CONTINUATION frames in one header block.
    continuations: int = 32
    #: Bytes of one header block as sent, CONTINUATION frames included.
    header_block: int = 32768

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: 0 or more")


class FrontSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the front treats connections. Times are in seconds. Raises ValueError for a value that is not allowed."""

    #: MAX_CONCURRENT_STREAMS of the first SETTINGS frame. Seen from Apple: 500 (2016), 1000 (2018, 2021), 1500 (2019).
    stream_limit: int = 1000
    #: A client without a certificate starts with one stream and gets `stream_limit` after its first 200 (Apple,
    #: "Establishing a token-based connection to APNs": one stream until a request with a valid token succeeded).
    token_ramp: bool = True
    #: As reported in 2016: a refused push drops the stream limit to 1, the next accepted one restores it.
    throttle_after_reject: bool = False
    #: After this long without a request the client is told GOAWAY with IdleTimeout; None: never.
    idle_timeout: float | None = None
    #: The same for HTTP/1.1 without TLS, without a word: it has no PING to find out whether the client is still there.
    http1_idle_timeout: float = 300.0
    #: A client that sent nothing for `ping_interval` is sent a PING, and let go if nothing came in `ping_timeout`.
    ping_interval: float = 60.0
    ping_timeout: float = 30.0
    #: How long a client may take for the TLS handshake, and again for the beginning of HTTP/2.
    handshake_timeout: float = 30.0
    #: How long a client may take for one request; then its stream is reset (CANCEL), or its HTTP/1.1 connection ends.
    request_timeout: float = 60.0
    #: How long one write may take: a client that does not read must not hold answers for ever.
    write_deadline: float = 30.0
    #: What open requests get at shutdown before their connections are cut.
    grace: float = 5.0
    #: Connections at the same time. One more ends the oldest that is not through its handshake, or has not begun HTTP, or
    #: never made a request, or else the one that was idle longest; if requests are open on all, it is refused.
    max_connections: int = 1000
    #: Bytes of answers and acknowledgements that may wait for a slow client; after that no more is read from it.
    max_backlog: int = 65536
    #: Legal variety: answers to requests that came together go out in any order, and now and then a PING comes
    #: unasked. HTTP/2 allows both (RFC 9113 sections 5 and 6.7), so that a correct client does not notice.
    variety: bool = True
    floods: FloodLimits = FloodLimits()
    #: Which library does HTTP/2: h2, or jh2, the same with parts in Rust (`pip install mdmsim[fast]`).
    http2: Literal["h2", "jh2"] = "h2"

    def __post_init__(self) -> None:
        for name in ("stream_limit", "max_connections", "max_backlog"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: 1 or more")
        for name in (
            "idle_timeout", "http1_idle_timeout", "ping_interval", "ping_timeout", "handshake_timeout", "request_timeout", "write_deadline"
        ):  # fmt: skip
            if (seconds := getattr(self, name)) is not None and seconds <= 0:
                raise ValueError(f"{name}={seconds}: more than 0 seconds")
        if self.grace < 0:
            raise ValueError(f"grace={self.grace}: 0 seconds or more")

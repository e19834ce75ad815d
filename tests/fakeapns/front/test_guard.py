"""The guard looks at frame headers alone: what it hands on, what it ends, and that chunks make no difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.fakeapns.front.guard import PREFACE, Abuse, Guard
from mdmsim.fakeapns.front.settings import FloodLimits
from tests.fakeapns.front.support import (
    ACK,
    BEGIN,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    frame,
)

LIMITS = FloodLimits(
    resets=3,
    pings=3,
    goaways=3,
    settings=3,
    empty_data=3,
    window_updates=3,
    priorities=3,
    unknown=3,
    overruns=3,
    continuations=3,
)


def guard() -> Guard:
    fresh = Guard(LIMITS, 16384)
    fresh.look(BEGIN, 0.0)
    return fresh


def ends(data: bytes, *, now: float = 0.0) -> tuple[str, int] | None:
    """How a guarded connection ends at these bytes."""
    try:
        guard().look(data, now)
    except Abuse as abuse:
        return abuse.why, abuse.code
    return None


FLOODS = {
    "rapid-reset": frame(HEADERS, END_HEADERS, 1) + frame(RST_STREAM, 0, 1, bytes(4)),
    "ping-flood": frame(PING, 0, 0, bytes(8)),
    "goaway-flood": frame(GOAWAY, 0, 0, bytes(8)),
    "settings-flood": frame(SETTINGS),
    "empty-data-flood": frame(DATA, 0, 1),
    "window-update-flood": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
    "priority-flood": frame(PRIORITY, 0, 1, bytes(5)),
    "unknown-frame-flood": frame(99, 0, 0, b"?"),
}


@pytest.mark.parametrize("why", FLOODS)
def test_a_flood_ends_with_enhance_your_calm_under_its_own_name(why: str) -> None:
    assert ends(FLOODS[why] * 5) == (why, 11)


@pytest.mark.parametrize("why", FLOODS)
def test_as_many_frames_as_are_allowed_pass(why: str) -> None:
    # The first SETTINGS frame, which begins every connection, counts.
    assert ends(FLOODS[why] * (2 if why == "settings-flood" else 3)) is None


@pytest.mark.parametrize("why", FLOODS)
def test_what_comes_over_a_long_time_is_no_flood(why: str) -> None:
    looking = guard()
    for second in range(0, 200, 10):
        looking.look(FLOODS[why], float(second))


@pytest.mark.parametrize("why", FLOODS)
def test_what_belongs_to_answered_requests_is_no_flood(why: str) -> None:
    looking = guard()
    for _ in range(100):
        looking.look(FLOODS[why], 0.0)
        looking.answered()


def test_streams_over_the_limit_are_a_flood_as_well() -> None:
    looking = guard()
    for _ in range(3):
        looking.overrun(0.0)
    with pytest.raises(Abuse, match="stream-flood"):
        looking.overrun(0.0)


def test_a_header_block_without_end_is_a_continuation_flood() -> None:
    block = frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1, b"x") * 4
    assert ends(block) == ("continuation-flood", 11)


def test_a_header_block_of_too_many_bytes_is_a_continuation_flood() -> None:
    block = frame(HEADERS, 0, 1, bytes(16384)) + frame(CONTINUATION, END_HEADERS, 1, bytes(16384)) * 2
    assert ends(block) == ("continuation-flood", 11)


def test_a_frame_that_is_too_large_ends_at_its_header() -> None:
    assert ends(frame(DATA, 0, 1, bytes(16385))[:9]) == ("frame-too-large", 6)


def test_a_reset_of_a_stream_that_never_was_is_a_protocol_error() -> None:
    assert ends(frame(RST_STREAM, 0, 1, bytes(4))) == ("protocol-error", 1)


@pytest.mark.parametrize("first", [frame(PING, 0, 0, bytes(8)), frame(SETTINGS, ACK)])
def test_the_first_frame_has_to_be_settings(first: bytes) -> None:
    with pytest.raises(Abuse, match="protocol-error"):
        Guard(LIMITS, 16384).look(PREFACE + first, 0.0)


@pytest.mark.parametrize("text", [b"GET / HTTP/1.1\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"\x16\x03\x01"])
def test_what_is_not_the_preface_is_not_http2(text: bytes) -> None:
    with pytest.raises(Abuse, match="not-http2"):
        Guard(LIMITS, 16384).look(text, 0.0)


def test_a_goaway_is_noticed_and_not_handed_on() -> None:
    looking = guard()
    ping = frame(PING, 0, 0, bytes(8))
    assert looking.look(ping + frame(GOAWAY, 0, 0, bytes(8) + b"bye") + ping, 0.0) == ping + ping
    assert looking.goodbye


@given(
    kinds=st.lists(st.tuples(st.sampled_from((DATA, HEADERS, PING, GOAWAY, 77)), st.binary(max_size=20)), max_size=3),
    cuts=st.lists(st.integers(1, 30), max_size=12),
)
def test_it_makes_no_difference_how_bytes_are_cut(kinds: list[tuple[int, bytes]], cuts: list[int]) -> None:
    sent = BEGIN + b"".join(frame(kind, END_STREAM | END_HEADERS, 0, body) for kind, body in kinds)
    whole, pieces = Guard(LIMITS, 16384), Guard(LIMITS, 16384)
    expected = whole.look(sent, 0.0)
    got, rest = b"", sent
    for cut in cuts:
        got += pieces.look(rest[:cut], 0.0)
        rest = rest[cut:]
    got += pieces.look(rest, 0.0)
    assert (got, pieces.goodbye) == (expected, whole.goodbye)

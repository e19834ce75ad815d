from __future__ import annotations

import struct

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.fakeapns.courier import protocol

_names = st.text(min_size=1, max_size=40)
_tokens = st.binary(min_size=1, max_size=100)
_numbers = st.integers(0, 2**63 - 1)
_topics = st.dictionaries(_names, st.lists(_tokens, max_size=4), max_size=3)

_client_frames = st.one_of(
    st.builds(protocol.ClientHello, version=_numbers, client=st.text(max_size=40), acknowledge=st.booleans()),
    st.builds(protocol.Register, id=_numbers, device=_names, topic=_names, channel=_names),
    st.builds(protocol.Retire, id=_numbers, topic=_names, token=_tokens),
    st.builds(protocol.Subscribe, id=_numbers, topics=_topics),
    st.builds(protocol.Unsubscribe, id=_numbers, topics=_topics),
    st.builds(protocol.Ack, numbers=st.lists(_numbers, max_size=5)),
    st.builds(protocol.Ping, id=_numbers, reply=st.booleans()),
)


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(frames=st.lists(_client_frames, max_size=6), sizes=st.lists(st.integers(0, 30), max_size=20))
@settings(max_examples=80, deadline=None)
def test_frames_come_out_as_they_went_in_however_they_are_cut(
    frames: list[protocol.FromClient], sizes: list[int]
) -> None:
    reader = protocol.client_frames()
    data = b"".join(protocol.encode(frame) for frame in frames)
    assert [frame for piece in _cut(data, sizes) for frame in reader.feed(piece)] == frames
    assert reader.error is None


@given(data=st.binary(max_size=200), sizes=st.lists(st.integers(0, 30), max_size=8))
@settings(max_examples=150, deadline=None)
def test_garbage_is_an_error_or_waits_for_more(data: bytes, sizes: list[int]) -> None:
    reader = protocol.client_frames()
    for piece in _cut(data, sizes):
        reader.feed(piece)


@given(body=st.binary(min_size=1, max_size=60))
@settings(max_examples=150, deadline=None)
def test_a_body_that_is_no_frame_is_an_error(body: bytes) -> None:
    reader = protocol.server_frames()
    assert reader.feed(struct.pack(">I", len(body)) + body) or reader.error is not None


@pytest.mark.parametrize("length", [0, protocol.MAX_FRAME + 1, 2**32 - 1])
def test_a_length_that_is_not_allowed_is_an_error_before_any_body(length: int) -> None:
    reader = protocol.client_frames()
    assert reader.feed(struct.pack(">I", length)) == []
    assert str(length) in str(reader.error)


def test_frames_before_the_error_count_and_none_after_it() -> None:
    reader = protocol.client_frames()
    ping = protocol.encode(protocol.Ping(id=1))
    assert reader.feed(ping + struct.pack(">I", 0) + ping) == [protocol.Ping(id=1)]
    assert reader.feed(ping) == []


def test_deep_nesting_is_an_error_and_not_a_crash() -> None:
    body = b"\x82\xa4kind\xa4ping\xa1x" + b"\x91" * 100_000 + b"\x01"
    reader = protocol.client_frames()
    reader.feed(struct.pack(">I", len(body)) + body)
    assert reader.error is not None


def test_unknown_keys_are_ignored_for_what_may_come() -> None:
    body = msgspec.msgpack.encode({"kind": "ping", "id": 3, "new": [1, 2]})
    assert protocol.client_frames().feed(struct.pack(">I", len(body)) + body) == [protocol.Ping(id=3)]


@pytest.mark.parametrize(
    "frame",
    [
        {"kind": "telegram"},
        {"id": 1},
        {"kind": "register", "id": 1, "device": "", "topic": "t"},
        {"kind": "register", "id": 1, "device": "d" * 256, "topic": "t"},
        {"kind": "register", "id": -1, "device": "d", "topic": "t"},
        {"kind": "retire", "id": 1, "topic": "t", "token": b""},
        {"kind": "retire", "id": 1, "topic": "t", "token": "text"},
        {"kind": "subscribe", "id": 1, "topics": {"t": [b"x" * 101]}},
        [],
        None,
    ],
)
def test_a_map_that_breaks_the_rules_is_an_error(frame: object) -> None:
    body = msgspec.msgpack.encode(frame)
    reader = protocol.client_frames()
    assert reader.feed(struct.pack(">I", len(body)) + body) == []
    assert reader.error is not None


def test_a_full_batch_of_the_longest_pairs_fits_into_a_frame() -> None:
    pairs = [("t" * 251 + f"{number:04}", b"x" * 100) for number in range(protocol.BATCH)]
    protocol.encode(protocol.Subscribe(id=1, topics=protocol.grouped(pairs)))


def test_a_frame_that_is_too_long_is_not_sent() -> None:
    with pytest.raises(ValueError, match="at most"):
        protocol.encode(protocol.PushFrame(number=1, topic="t", token=b"t", payload=b"x" * protocol.MAX_FRAME))

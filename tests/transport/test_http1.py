from __future__ import annotations

import gzip
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.http import BadAnswer, ExchangeCut, Request, TransportError
from mdmsim.transport.coding import decode
from mdmsim.transport.http1 import Answer, Limits, serialise
from mdmsim.transport.place import place_of

REQUEST = Request("PUT", "https://mdm.example.test/")
SMALL = Limits(body=1000, head=500)


def read(data: bytes, *, cuts: list[int] | None = None, limits: Limits = SMALL, method: str = "PUT") -> Answer:
    """An answer fed in pieces, then the end of the connection."""
    answer = Answer(method, limits)
    edges = [0, *sorted({cut % (len(data) + 1) for cut in cuts or []}), len(data)]
    for start, end in itertools.pairwise(edges):
        if start < end and not answer.complete:
            answer.feed(data[start:end])
    answer.end()
    return answer


def written(**changes: Any) -> bytes:
    request = Request(**{"method": "PUT", "url": "https://mdm.example.test/", **changes})
    return serialise(request, place_of(request.url))


# requests


@pytest.mark.parametrize(
    "header",
    [
        ("Host", "x"),
        ("content-length", "3"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "close"),
        ("X", "a\r\nY: b"),
        ("X", "a\x00b"),
        ("X\r\nY", "a"),
        ("", "a"),
        ("X Y", "a"),
        ("X", "b" * 300 + "\n"),
    ],
)
def test_a_header_that_would_spoil_the_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="header"):
        written(headers=(header,))


def test_a_header_with_a_tab_or_letters_beyond_ascii_is_sent_as_utf_8() -> None:
    assert "\r\nX: a\tü\r\n".encode() in written(headers=(("X", "a\tü"),))


def test_a_method_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="method"):
        written(method="PUT / HTTP/1.1\r\nX: y\r\n\r\nGET")


@pytest.mark.parametrize(
    ("url", "start"),
    [
        ("https://MDM.Example.Test:443/", b"PUT / HTTP/1.1\r\nHost: mdm.example.test\r\n"),
        ("https://mdm.example.test:8443", b"PUT / HTTP/1.1\r\nHost: mdm.example.test:8443\r\n"),
        ("https://[::1]:9/a", b"PUT /a HTTP/1.1\r\nHost: [::1]:9\r\n"),
        ("https://bücher.example/ü?q=a b", b"PUT /%C3%BC?q=a%20b HTTP/1.1\r\nHost: xn--bcher-kva.example\r\n"),
        ("https://h.test/a%2Fb;c=d?e=%26&f", b"PUT /a%2Fb;c=d?e=%26&f HTTP/1.1\r\nHost: h.test\r\n"),
        ("https://user:secret@h.test/a#frag", b"PUT /a HTTP/1.1\r\nHost: h.test\r\n"),
    ],
)
def test_a_url_becomes_target_and_host(url: str, start: bytes) -> None:
    assert written(url=url).startswith(start)


# answers


@settings(max_examples=60, deadline=None)
@given(
    status=st.integers(200, 599).filter(lambda code: code not in (204, 304)),
    body=st.binary(max_size=300),
    chunked=st.booleans(),
    cuts=st.lists(st.integers(0, 2000), max_size=8),
)
def test_an_answer_reads_the_same_however_it_is_cut_up(
    status: int, body: bytes, chunked: bool, cuts: list[int]
) -> None:
    head = f"HTTP/1.1 {status} X\r\nX-A: b\r\n".encode()
    if chunked:
        pieces = [body[i : i + 7] for i in range(0, len(body), 7)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        data = head + b"Transfer-Encoding: chunked\r\n\r\n" + framed
    else:
        data = head + b"Content-Length: %d\r\n\r\n" % len(body) + body
    response = read(data, cuts=cuts).response(REQUEST, "")
    assert (response.status, response.body, response.headers[0]) == (status, body, ("X-A", "b"))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.binary(max_size=40),
            st.sampled_from(
                [
                    b"HTTP/1.1 200 OK\r\n",
                    b"HTTP/1.1 100 C\r\n\r\n",
                    b"Content-Length: 5\r\n",
                    b"\r\n",
                    b"hello",
                    b"0\r\n\r\n",
                    b"Transfer-Encoding: chunked\r\n",
                    b"Connection: close\r\n",
                    b"Upgrade: x\r\nConnection: Upgrade\r\n",
                ]
            ),
        ),
        max_size=8,
    ),
    st.lists(st.integers(0, 400), max_size=5),
)
def test_any_bytes_are_an_answer_or_a_transport_error(parts: list[bytes], cuts: list[int]) -> None:
    try:
        read(b"".join(parts), cuts=cuts).response(REQUEST, "")
    except TransportError as error:
        assert type(error) in (BadAnswer, ExchangeCut)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 60))
def test_an_answer_cut_anywhere_is_never_taken_for_whole(length: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nX: y\r\nContent-Length: 12\r\n\r\nhello, world"
    if length < len(data):
        with pytest.raises(ExchangeCut):
            read(data[:length])


@pytest.mark.parametrize("extra", [b"", b"x"])
def test_the_body_limit_is_exact(extra: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1000 + extra
    if extra:
        with pytest.raises(BadAnswer, match="1000 bytes"):
            read(data)
    else:
        assert len(read(data).response(REQUEST, "").body) == 1000


def test_a_long_first_piece_with_a_short_head_is_fine() -> None:
    assert read(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 900).complete


def test_many_small_headers_count_together() -> None:
    with pytest.raises(BadAnswer, match="head is longer"):
        read(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"Content-Length: 0\r\n\r\n")


# codings


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["gzip", "deflate", "br"]), st.binary(max_size=200))
def test_rubbish_in_a_coding_is_a_value_error_or_a_body(coding: str, body: bytes) -> None:
    try:
        decode(body, coding, offered="gzip, deflate, br", limit=10_000)
    except ValueError:
        pass


def test_gzip_may_come_in_several_members() -> None:
    assert decode(gzip.compress(b"a") + gzip.compress(b"b"), "x-gzip", offered="*", limit=10) == b"ab"


@pytest.mark.parametrize("coding", ["identity", "", "gzip, identity"])
def test_identity_is_nothing(coding: str) -> None:
    body = gzip.compress(b"a") if "gzip" in coding else b"a"
    assert decode(body, coding, offered="gzip;q=1.0", limit=10) == b"a"


def test_a_missing_brotli_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "brotli", None)
    with pytest.raises(ValueError, match="pip install brotli"):
        decode(b"x", "br", offered="br", limit=10)


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("start", "piece"),
    [
        (b"1\r\nx\r\n0\r\nX: ", b"y" * 1000),
        (b"1\r\nx\r\n0\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
        (b"1;", b"y" * 1000),
    ],
    ids=["one endless trailer", "endless trailers", "an endless chunk extension"],
)
def test_framing_without_end_is_refused(start: bytes, piece: bytes) -> None:
    answer = Answer("PUT", Limits())
    answer.feed(CHUNKED + start)
    with pytest.raises(BadAnswer, match="chunks or trailers"):
        for _ in range(1000):
            answer.feed(piece)


def test_a_body_in_chunks_of_one_byte_is_read() -> None:
    answer = Answer("PUT", Limits())
    answer.feed(CHUNKED)
    for _ in range(1000):
        answer.feed(b"1\r\nx\r\n" * 100)
    answer.feed(b"0\r\n\r\n")
    assert answer.complete


def test_a_few_gzip_members_are_one_body_and_many_are_refused() -> None:
    member = gzip.compress(b"x" * 100_000, mtime=0)
    assert decode(member * 3, "gzip", offered="gzip", limit=10**6) == b"x" * 300_000
    with pytest.raises(ValueError, match="1000 gzip members"):
        decode(gzip.compress(b"", mtime=0) * 200_000, "gzip", offered="gzip", limit=10**6)

"""Reading the name out of a ClientHello: as OpenSSL sends them, in pieces, and mangled."""

from __future__ import annotations

import itertools
import ssl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.proxy.client_hello import LONGEST, MOST_RECORDS, ClientHello, NotTls

NAME = "api.push.apple.com"


def hello(name: str | None = NAME) -> bytes:
    """What OpenSSL sends first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.set_alpn_protocols(["h2"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


def server_name(data: bytes) -> tuple[bool, str | None]:
    """Whether the ClientHello is complete, and the name in it."""
    reading = ClientHello()
    return reading.feed(data), reading.name


HELLO = hello()


def test_the_name_is_found() -> None:
    assert server_name(HELLO) == (True, NAME)


def test_a_client_that_names_nobody_is_understood() -> None:
    assert server_name(hello(None)) == (True, None)


@given(st.integers(0, len(HELLO) - 1))
def test_a_part_is_not_complete(length: int) -> None:
    assert server_name(HELLO[:length]) == (False, None)


@given(st.lists(st.integers(5, len(HELLO) - 1), min_size=1, max_size=6, unique=True))
def test_it_may_come_in_several_records(cuts: list[int]) -> None:
    edges = [5, *sorted(cut for cut in cuts if cut > 5), len(HELLO)]
    pieces = [HELLO[start:end] for start, end in itertools.pairwise(edges)]
    records = b"".join(HELLO[:3] + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    assert server_name(records) == (True, NAME)


@given(st.binary(max_size=200))
def test_whatever_else_comes_is_told(data: bytes) -> None:
    try:
        server_name(data)
    except NotTls as error:
        assert str(error)


@given(st.data())
def test_a_mangled_one_is_read_or_refused(data: st.DataObject) -> None:
    mangled = bytearray(HELLO)
    for _ in range(data.draw(st.integers(1, 8))):
        mangled[data.draw(st.integers(0, len(HELLO) - 1))] = data.draw(st.integers(0, 255))
    try:
        server_name(bytes(mangled))
    except NotTls as error:
        assert str(error)


@given(st.lists(st.integers(0, len(HELLO)), max_size=30))
def test_it_makes_no_difference_how_it_arrives(cuts: list[int]) -> None:
    reading, edges = ClientHello(), [0, *sorted(cuts), len(HELLO)]
    complete = [reading.feed(HELLO[start:end]) for start, end in itertools.pairwise(edges) if start < len(HELLO)]
    assert complete == [False] * (len(complete) - 1) + [True]
    assert reading.name == NAME


def test_one_that_would_be_too_long_is_refused_at_its_length() -> None:
    with pytest.raises(NotTls, match=f"more than {LONGEST} bytes"):
        server_name(b"\x16\x03\x01\x40\x00" + b"\x01\xff\xff\xff")


def test_one_in_records_of_a_byte_each_is_refused() -> None:
    with pytest.raises(NotTls, match=f"more than {MOST_RECORDS} records"):
        server_name(b"".join(HELLO[:3] + b"\0\1" + bytes((byte,)) for byte in HELLO[5 : 6 + MOST_RECORDS]))


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1", b"PRI * HTTP/2.0", b"\x80\x2e\x01", b"\x16\x02\x01", b"\x15\x03"])
def test_other_protocols_are_refused_at_their_first_bytes(first: bytes) -> None:
    with pytest.raises(NotTls):
        server_name(first)

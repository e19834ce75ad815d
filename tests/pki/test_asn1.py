"""The ASN.1 reader and writers, beside asn1crypto, which no one here wrote."""

from __future__ import annotations

import pytest
from asn1crypto import core
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.pki import asn1
from mdmsim.pki.asn1 import BadASN1, Element, Reader
from mdmsim.pki.cms import chunked


def read(data: bytes) -> tuple[Reader, Element]:
    reader = Reader(data)
    return reader, reader.element(0, len(data))


@given(st.integers(-(2**140), 2**140))
@settings(max_examples=60, deadline=None)
def test_integers_are_what_asn1crypto_reads(value: int) -> None:
    assert core.Integer.load(asn1.integer(value)).native == value
    reader, element = read(asn1.integer(value))
    assert reader.integer(element, "number") == value


@given(st.tuples(st.integers(0, 2), st.integers(0, 39)), st.lists(st.integers(0, 2**34), max_size=8))
@settings(max_examples=60, deadline=None)
def test_object_identifiers_are_what_asn1crypto_reads(first: tuple[int, int], rest: list[int]) -> None:
    dotted = ".".join(map(str, (*first, *rest)))
    assert core.ObjectIdentifier.load(asn1.oid(dotted)).dotted == dotted
    reader, element = read(asn1.oid(dotted))
    assert reader.oid(element, "oid") == dotted


@pytest.mark.parametrize("size", [0, 1, 127, 128, 255, 256, 65535, 65536])
def test_lengths_are_what_asn1crypto_reads(size: int) -> None:
    assert core.OctetString.load(asn1.octets(bytes(size)), strict=True).native == bytes(size)


def test_sets_are_in_der_order() -> None:
    assert asn1.set_of(b"\x04\x01b", b"\x02\x01\x01", b"\x04\x01a") == b"\x31\x09\x02\x01\x01\x04\x01a\x04\x01b"


@pytest.mark.parametrize(
    ("at_ms", "expected"),
    [
        (0, b"\x17\x0d700101000000Z"),
        (1_767_225_600_999, b"\x17\x0d260101000000Z"),
        (2_524_607_999_000, b"\x17\x0d491231235959Z"),
        (2_524_608_000_000, b"\x18\x0f20500101000000Z"),
    ],
)
def test_times_change_their_form_in_2050(at_ms: int, expected: bytes) -> None:
    assert asn1.time(at_ms) == expected
    reader, element = read(expected)
    assert reader.time_ms(element, "time") == at_ms - at_ms % 1000


def test_utc_time_may_leave_the_seconds_out() -> None:
    reader, element = read(asn1.tlv(asn1.UTC_TIME, b"2601010000Z"))
    assert reader.time_ms(element, "time") == 1_767_225_600_000


def test_a_leap_second_is_the_start_of_the_next_minute() -> None:
    reader, element = read(asn1.tlv(asn1.UTC_TIME, b"251231235960Z"))
    assert reader.time_ms(element, "time") == 1_767_225_600_000


@pytest.mark.parametrize("digits", [b"", b"Z", b"260101000000", b"261301000000Z", b"26010100000\xb9Z", b"99123124"])
def test_what_is_no_time_is_refused(digits: bytes) -> None:
    reader, element = read(asn1.tlv(asn1.UTC_TIME, digits))
    with pytest.raises(BadASN1):
        reader.time_ms(element, "time")


def test_chunks_of_a_constructed_string_are_joined() -> None:
    chunked = asn1.indefinite(0x24, asn1.octets(b"ab"), asn1.indefinite(0x24, asn1.octets(b"cd")), asn1.octets(b"e"))
    reader, element = read(chunked)
    assert reader.octets(element, "content") == b"abcde"
    assert element.end == len(chunked)


def test_a_primitive_of_indefinite_length_is_refused() -> None:
    with pytest.raises(BadASN1, match="indefinite length on a primitive"):
        read(b"\x04\x80ab\0\0")


def test_a_tag_of_several_bytes_is_refused() -> None:
    with pytest.raises(BadASN1, match="tag of more than one byte"):
        read(b"\x3f\x81\x01\x00")


def test_endless_nesting_is_refused() -> None:
    with pytest.raises(BadASN1, match="nested deeper"):
        read(b"\x30\x80" * 100_000)


def test_many_chunks_are_walked_once_however_deep_they_nest() -> None:
    data = asn1.octets(b"x" * 100) * 20_000
    for _ in range(40):
        data = asn1.indefinite(0x24, data)
    reader, element = read(data)
    assert reader.octets(element, "content") == b"x" * 2_000_000


def test_bytes_after_the_root_are_refused() -> None:
    with pytest.raises(BadASN1, match="2 bytes follow"):
        Reader(b"\x30\x00\x00\x00").root(asn1.SEQUENCE, "thing")


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    def walk(reader: Reader, element: Element) -> None:
        assert 0 <= element.at < element.start <= element.stop <= element.end <= len(data)
        if element.tag & asn1.CONSTRUCTED:
            for child in reader.children(element, "thing"):
                walk(reader, child)

    try:
        walk(*read(data))
    except BadASN1:
        pass


@pytest.mark.parametrize("indefinite", [False, True])
def test_a_crowd_of_tiny_elements_is_refused(indefinite: bool) -> None:
    crowd = b"\x05\x00" * 200_000
    data = asn1.indefinite(asn1.SEQUENCE, crowd) if indefinite else asn1.sequence(crowd)
    reader = Reader(data)
    with pytest.raises(BadASN1, match="more elements"):
        reader.children(reader.root(asn1.SEQUENCE, "crowd"), "crowd")


def test_long_content_in_many_chunks_is_read() -> None:
    content = bytes(4 * 2**20)
    reader = Reader(chunked(content))
    assert reader.octets(reader.element(0, len(reader.data)), "content") == content

"""The little ASN.1 that CMS and SCEP need: a reader for BER as well as DER, and writers for DER.

Hand-written because it sits on the hot path of every signed request: a general ASN.1 library costs ten times as much,
and raises a dozen kinds of errors on mangled input where this raises one. Source: ITU-T X.690.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NamedTuple

from mdmsim.clock import from_utc, utc

INTEGER = 0x02
BIT_STRING = 0x03
OCTET_STRING = 0x04
NULL_TAG = 0x05
OID = 0x06
UTF8_STRING = 0x0C
PRINTABLE_STRING = 0x13
T61_STRING = 0x14
IA5_STRING = 0x16
UTC_TIME = 0x17
GENERALIZED_TIME = 0x18
BMP_STRING = 0x1E
SEQUENCE = 0x30
SET = 0x31
CONSTRUCTED = 0x20

#: Deeper nesting than this is an attack, not a message: CMS needs about twelve levels.
MAX_DEPTH = 48

#: So many elements are looked at in any buffer, and one more for so many of its bytes: real messages consist of a few
#: long ones. Two megabytes of empty ones took seconds.
FEW_ELEMENTS, BYTES_PER_ELEMENT = 2_000, 32

_END = b"\0\0"


class BadASN1(ValueError):
    """Not the ASN.1 that was expected; the one error of this module. Callers turn it into their own."""


class Element(NamedTuple):
    """One tag-length-value: `at` is its first byte, `start` to `stop` its contents, `end` the byte after it."""

    tag: int
    at: int
    start: int
    stop: int
    end: int


class Reader:
    """Elements of one buffer, in BER or DER. Every method raises BadASN1 for what does not fit, and nothing else."""

    __slots__ = ("_ends", "_left", "data")

    def __init__(self, data: bytes) -> None:
        self.data = data
        self._left = FEW_ELEMENTS + len(data) // BYTES_PER_ELEMENT
        self._ends: dict[int, int] = {}  # contents of indefinite length are walked once, however deep they nest

    def element(self, at: int, limit: int, depth: int = 0) -> Element:
        """The element that begins at `at` and must end by `limit`."""
        data = self.data
        if at + 2 > limit:
            raise BadASN1("cut short")
        self._left -= 1
        if self._left < 0:
            raise BadASN1("more elements than a message of that length has")
        tag, length = data[at], data[at + 1]
        if tag & 0x1F == 0x1F:
            raise BadASN1(f"tag of more than one byte at offset {at}")
        if length < 0x80:
            start = at + 2
            stop = end = start + length
        elif length == 0x80:
            if not tag & CONSTRUCTED:
                raise BadASN1(f"indefinite length on a primitive at offset {at}")
            start = at + 2
            stop = self._end_of_contents(start, limit, depth)
            end = stop + 2
        else:
            count = length & 0x7F
            if count > 4:
                raise BadASN1(f"length of {count} bytes at offset {at}")
            start = at + 2 + count
            stop = end = start + int.from_bytes(data[at + 2 : start], "big")
        if end > limit:
            raise BadASN1("cut short")
        return Element(tag, at, start, stop, end)

    def _end_of_contents(self, start: int, limit: int, depth: int) -> int:
        known = self._ends.get(start)
        if known is not None:
            return known
        if depth >= MAX_DEPTH:
            raise BadASN1(f"nested deeper than {MAX_DEPTH} levels")
        data, at = self.data, start
        while data[at : at + 2] != _END:
            at = self.element(at, limit, depth + 1).end
        if at + 2 > limit:
            raise BadASN1("cut short")
        self._ends[start] = at
        return at

    def root(self, tag: int, what: str) -> Element:
        """The one element that the whole buffer is."""
        found = self.element(0, len(self.data))
        if found.tag != tag:
            raise BadASN1(f"{what} expected, found tag {found.tag:#04x}")
        if found.end != len(self.data):
            raise BadASN1(f"{len(self.data) - found.end} bytes follow the {what}")
        return found

    def children(self, parent: Element, what: str, least: int = 0) -> list[Element]:
        """The elements inside a constructed one, at least that many."""
        if not parent.tag & CONSTRUCTED:
            raise BadASN1(f"{what} is not constructed")
        at, stop = parent.start, parent.stop
        found = []
        while at < stop:
            child = self.element(at, stop)
            found.append(child)
            at = child.end
        if len(found) < least:
            raise BadASN1(f"{what} has {len(found)} parts, expected {least}")
        return found

    def child(self, parent: Element, tag: int, what: str) -> Element:
        """The one element inside an explicitly tagged one."""
        found = self.children(parent, what, 1)
        if len(found) != 1 or found[0].tag != tag:
            raise BadASN1(f"{what} does not hold the one element expected")
        return found[0]

    def raw(self, element: Element) -> bytes:
        """The element with its tag and length, as it stands in the buffer."""
        return self.data[element.at : element.end]

    def body(self, element: Element, tag: int, what: str) -> bytes:
        """The contents of a primitive element of that tag."""
        if element.tag != tag:
            raise BadASN1(f"{what} has tag {element.tag:#04x}, expected {tag:#04x}")
        return self.data[element.start : element.stop]

    def octets(self, element: Element, what: str, tag: int = OCTET_STRING, depth: int = 0) -> bytes:
        """An octet string's bytes, also where BER cut it into chunks. `tag`: its tag where implicitly tagged."""
        if element.tag == tag:
            return self.data[element.start : element.stop]
        if element.tag != tag | CONSTRUCTED or depth >= MAX_DEPTH:
            raise BadASN1(f"{what} is not an octet string")
        # Chunks of an implicitly tagged string are plain octet strings again (X.690 section 8.7.3.2).
        return b"".join([self.octets(chunk, what, OCTET_STRING, depth + 1) for chunk in self.children(element, what)])

    def oid(self, element: Element, what: str) -> str:
        """An object identifier as dotted text."""
        return oid_text(self.body(element, OID, what))

    def integer(self, element: Element, what: str) -> int:
        body = self.body(element, INTEGER, what)
        if not body:
            raise BadASN1(f"{what} is an integer without a byte")
        return int.from_bytes(body, "big", signed=True)

    def algorithm(self, element: Element, what: str) -> tuple[str, Element | None]:
        """An AlgorithmIdentifier: the OID, and the parameters where there are any but NULL."""
        if element.tag != SEQUENCE:
            raise BadASN1(f"{what} is not a SEQUENCE")
        parts = self.children(element, what, 1)
        if len(parts) > 2:
            raise BadASN1(f"{what} has {len(parts)} parts, expected at most 2")
        parameters = parts[1] if len(parts) == 2 and parts[1].tag != NULL_TAG else None
        return self.oid(parts[0], what), parameters

    def text(self, element: Element, what: str) -> str:
        """Any of the string types as text."""
        codec = _CODECS.get(element.tag)
        if codec is None:
            raise BadASN1(f"{what} is not text (tag {element.tag:#04x})")
        try:
            return self.data[element.start : element.stop].decode(codec)
        except UnicodeDecodeError:
            raise BadASN1(f"{what} is not valid {codec}") from None

    def time_ms(self, element: Element, what: str) -> int:
        """UTCTime or GeneralizedTime as milliseconds since 1970."""
        try:
            digits = self.data[element.start : element.stop].decode("ascii")
            if element.tag == UTC_TIME:
                # RFC 5280 section 4.1.2.5.1: two-digit years from 50 on are of the last century.
                digits = ("19" if digits[:2] >= "50" else "20") + digits
            elif element.tag != GENERALIZED_TIME:
                raise BadASN1(f"{what} is not a time")
            if len(digits) == 13 and digits.endswith("Z"):  # BER may leave the seconds out
                digits = digits[:12] + "00Z"
            if len(digits) != 15 or not digits[:14].isdigit() or digits[14] != "Z":
                raise BadASN1(f"{what} is not a time of the form YYYYMMDDHHMMSSZ")
            parts = [int(digits[:4])] + [int(digits[at : at + 2]) for at in range(4, 14, 2)]
            leap = parts[5] == 60
            at = datetime(parts[0], parts[1], parts[2], parts[3], parts[4], 59 if leap else parts[5], tzinfo=UTC)
            return from_utc(at + timedelta(seconds=1) if leap else at)
        except BadASN1:
            raise
        except (ValueError, OverflowError):
            raise BadASN1(f"{what} is not a time") from None


_CODECS = {
    UTF8_STRING: "utf-8",
    PRINTABLE_STRING: "ascii",
    IA5_STRING: "ascii",
    T61_STRING: "latin-1",
    BMP_STRING: "utf-16-be",
}


@lru_cache(maxsize=512)
def oid_text(body: bytes) -> str:
    """Dotted text of an object identifier's contents."""
    if not body or body[-1] & 0x80 or len(body) > 64:
        raise BadASN1("not an object identifier")
    arcs, value = [], 0
    for byte in body:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(str(arc) for arc in (first, arcs[0] - 40 * first, *arcs[1:]))


def length(size: int) -> bytes:
    """A definite length in its shortest form."""
    if size < 0x80:
        return bytes((size,))
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((0x80 | len(digits),)) + digits


def tlv(tag: int, body: bytes) -> bytes:
    return bytes((tag,)) + length(len(body)) + body


def sequence(*parts: bytes) -> bytes:
    return tlv(SEQUENCE, b"".join(parts))


def set_of(*parts: bytes) -> bytes:
    """A SET OF in the order that DER asks for (X.690 section 11.6)."""
    return tlv(SET, b"".join(sorted(parts)))


def context(number: int, body: bytes, *, constructed: bool = True) -> bytes:
    return tlv(0x80 | number | (CONSTRUCTED if constructed else 0), body)


def integer(value: int) -> bytes:
    return tlv(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))


def octets(value: bytes) -> bytes:
    return tlv(OCTET_STRING, value)


def printable(value: str) -> bytes:
    return tlv(PRINTABLE_STRING, value.encode("ascii"))


def is_printable(value: str) -> bool:
    """Whether all characters are PrintableString's (X.680 section 41.4)."""
    return _PRINTABLE.fullmatch(value) is not None


def printable_or_utf8(value: str) -> bytes:
    """A PrintableString where the characters allow it, else a UTF8String (RFC 2985 section 5.4.1)."""
    return printable(value) if is_printable(value) else utf8(value)


def utf8(value: str) -> bytes:
    return tlv(UTF8_STRING, value.encode())


_PRINTABLE = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")

NULL = b"\x05\x00"


@lru_cache(maxsize=512)
def oid(dotted: str) -> bytes:
    first, second, *rest = (int(arc) for arc in dotted.split("."))
    body = b""
    for arc in (first * 40 + second, *rest):
        digits = bytes((arc & 0x7F,))
        while arc := arc >> 7:
            digits = bytes((0x80 | arc & 0x7F,)) + digits
        body += digits
    return tlv(OID, body)


def algorithm(dotted: str, parameters: bytes = b"") -> bytes:
    """An AlgorithmIdentifier."""
    return sequence(oid(dotted), parameters)


def time(at_ms: int) -> bytes:
    """UTCTime up to 2049, GeneralizedTime from then on (RFC 5652 section 11.3)."""
    at = utc(at_ms)
    if 1950 <= at.year < 2050:
        return tlv(UTC_TIME, at.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED_TIME, f"{at.year:04d}{at:%m%d%H%M%S}Z".encode())


def indefinite(tag: int, *parts: bytes) -> bytes:
    """A constructed element of indefinite length: BER as streaming encoders write it."""
    return bytes((tag, 0x80)) + b"".join(parts) + _END

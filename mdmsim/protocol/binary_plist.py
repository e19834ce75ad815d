"""Reading binary plists (`bplist00`), with the limits of the XML reader.

Layout: header, objects, offset table, 32-byte trailer (Apple, CoreFoundation, CFBinaryPList.c). Objects refer to each
other by number, so that a file of a few hundred bytes can describe an endless or an astronomically large value:
references are followed each time anew and everything that is followed counts against the limits.

Devices' own reader takes a few things that the servers' reader here refuses: see `parse_binary`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from mdmsim.protocol.plist_limits import (
    FIRST_DATE,
    FORBIDDEN,
    INT_MAX,
    INT_MIN,
    LAST_DATE,
    MAX_BYTES,
    MAX_DEPTH,
    MAX_VALUES,
    Unreadable,
)

MAGIC = b"bplist0"

_TRAILER = struct.Struct(">6xBBQQQ")
_EPOCH = datetime(2001, 1, 1, tzinfo=UTC)


def parse_binary(data: bytes, *, like_device: bool = False) -> Any:
    """The value in a binary plist. Raises Unreadable.

    `like_device` follows CFBinaryPList.c where the rules for servers are stricter: of a key that comes twice the first
    value stays, strings may hold control characters, reals may be infinite or no number, of an integer of 16 bytes
    only the last 8 count, and a date outside of the years 1 to 9999 is the first or last moment of them.
    """
    return _Reader(data, like_device).root()


class _Reader:
    __slots__ = ("_bytes", "_count", "_data", "_like_device", "_offset_size", "_ref_size", "_table", "_top", "_values")

    def __init__(self, data: bytes, like_device: bool) -> None:
        if len(data) < 8 + _TRAILER.size:
            raise Unreadable("a binary plist that is cut short")
        self._data = data
        self._like_device = like_device
        self._offset_size, self._ref_size, self._count, self._top, self._table = _TRAILER.unpack_from(
            data, len(data) - _TRAILER.size
        )
        end = len(data) - _TRAILER.size
        if not (1 <= self._offset_size <= 8 and 1 <= self._ref_size <= 8 and self._count >= 1):
            raise Unreadable("a binary plist with a wrong trailer")
        if self._top >= self._count or self._table < 9 or self._table + self._count * self._offset_size > end:
            raise Unreadable("a binary plist whose offset table lies outside of it")
        if self._table + self._count * self._offset_size != end:
            raise Unreadable("a binary plist with bytes between its offset table and its trailer")
        # Both sizes must be able to say the greatest number that is needed (__CFBinaryPlistGetTopLevelInfo).
        if 256**self._ref_size <= self._count or 256**self._offset_size <= self._table:
            raise Unreadable("a binary plist whose numbers are too short for its size")
        self._values = 0
        self._bytes = 0

    def root(self) -> Any:
        return self._object(self._top, 0)

    def _slice(self, start: int, length: int) -> bytes:
        if start + length > self._table:
            raise Unreadable("a binary plist with an object that runs past the objects' end")
        return self._data[start : start + length]

    def _object(self, number: int, depth: int) -> Any:
        if number >= self._count:
            raise Unreadable("a binary plist that refers to an object it does not have")
        at = self._table + number * self._offset_size
        offset = int.from_bytes(self._data[at : at + self._offset_size], "big")
        if not 8 <= offset < self._table:
            raise Unreadable("a binary plist with an object outside of the objects")
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unreadable(f"more than {MAX_VALUES} values")
        marker = self._data[offset]
        high, low = marker >> 4, marker & 0x0F
        if marker == 0x08:
            return False
        if marker == 0x09:
            return True
        if high == 0x1 and low <= 4:
            return self._integer(self._slice(offset + 1, 1 << low))
        if marker in (0x22, 0x23):
            return self._real(self._slice(offset + 1, 1 << low))
        if marker == 0x33:
            return self._date(self._slice(offset + 1, 8))
        if high in (0x4, 0x5, 0x6):
            return self._blob(high, *self._length(low, offset + 1))
        if high in (0xA, 0xD):
            if depth >= MAX_DEPTH:
                raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
            count, start = self._length(low, offset + 1)
            return self._array(start, count, depth) if high == 0xA else self._dict(start, count, depth)
        raise Unreadable(f"a binary plist with an object of type 0x{marker:02x}, which MDM does not use")

    def _length(self, low: int, start: int) -> tuple[int, int]:
        """How long an object is, in its own units, and where its content starts."""
        if low != 0x0F:
            return low, start
        marker = self._slice(start, 1)[0]
        if marker >> 4 != 0x1 or marker & 0x0F > 3:
            raise Unreadable("a binary plist with a length that is no integer")
        size = 1 << (marker & 0x0F)
        return int.from_bytes(self._slice(start + 1, size), "big"), start + 1 + size

    def _blob(self, high: int, length: int, start: int) -> str | bytes:
        raw = self._slice(start, length * 2 if high == 0x6 else length)
        self._bytes += len(raw)
        if self._bytes > MAX_BYTES:
            raise Unreadable(f"strings and data of more than {MAX_BYTES} bytes, repeated ones counted each time")
        if high == 0x4:
            return raw
        try:
            text = raw.decode("ascii" if high == 0x5 else "utf-16-be")
        except UnicodeDecodeError:
            raise Unreadable("a binary plist with a string that is not text") from None
        if not self._like_device and FORBIDDEN.search(text):
            raise Unreadable("a string with a control character, which no XML plist can hold")
        return text

    def _refs(self, start: int, count: int) -> Iterator[int]:
        # One by one: a list of every reference would cost its length again each time that the container is followed.
        size = self._ref_size
        if start + count * size > self._table:
            raise Unreadable("a binary plist with an object that runs past the objects' end")
        for at in range(start, start + count * size, size):
            yield int.from_bytes(self._data[at : at + size], "big")

    def _array(self, start: int, count: int, depth: int) -> list[Any]:
        return [self._object(ref, depth + 1) for ref in self._refs(start, count)]

    def _dict(self, start: int, count: int, depth: int) -> dict[str, Any]:
        keys = self._refs(start, count)
        result: dict[str, Any] = {}
        for key_ref, value_ref in zip(keys, self._refs(start + count * self._ref_size, count), strict=True):
            key = self._object(key_ref, depth + 1)
            if not isinstance(key, str):
                raise Unreadable("a dictionary with a key that is no string")
            value = self._object(value_ref, depth + 1)
            if key not in result:
                result[key] = value
            elif not self._like_device:
                raise Unreadable(f"key {key[:40]!r} twice in one dictionary")
        return result

    def _integer(self, raw: bytes) -> int:
        # One, two and four bytes are unsigned, eight and sixteen signed (CFBinaryPList.c).
        if self._like_device and len(raw) == 16:
            return int.from_bytes(raw[8:], "big")
        value = int.from_bytes(raw, "big", signed=len(raw) >= 8)
        if not INT_MIN <= value < INT_MAX:
            raise Unreadable("an integer of more than 64 bits")
        return value

    def _real(self, raw: bytes) -> float:
        value = float(struct.unpack(">f" if len(raw) == 4 else ">d", raw)[0])
        if not self._like_device and not math.isfinite(value):
            raise Unreadable("a real that is not a finite number")
        return value

    def _date(self, raw: bytes) -> datetime:
        seconds = self._real(raw)
        try:
            return _EPOCH + timedelta(seconds=math.floor(seconds))
        except OverflowError:
            if self._like_device:
                return FIRST_DATE if seconds < 0 else LAST_DATE
            raise Unreadable("a date beyond the years 1 to 9999") from None
        except ValueError:  # not a number
            raise Unreadable("a date that is no time") from None

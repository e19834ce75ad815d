"""Reals, dates and data of an XML property list, with the rules of Apple's reader.

Source: swift-corelibs-foundation, CFPropertyList.c (parseRealTag, parseDateTag, parseDataTag), CFStringScanner.c, CFDate.c.
"""

from __future__ import annotations

import binascii
import re
from datetime import datetime, timedelta

from mdmsim.protocol.plist_limits import FIRST_DATE, LAST_DATE, Unreadable

#: What strtod takes, after any blanks; nothing may follow (__CFStringScanDouble).
_REAL = re.compile(
    r"[\x00-\x20\x7f-\xa0\u2000-\u200b\u3000]*+([+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
)
_NOT_FINITE = {
    "nan": float("nan"),
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity"), float("inf")),
    **dict.fromkeys(("-inf", "-infinity"), float("-inf")),
}

#: Days before a month; Apple's table goes on after December, and no month is refused (CFDate.c).
_DAYS_BEFORE = (0, 0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334, 365, 0, 0)

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_NOT_BASE64 = bytes(set(range(256)) - set(_ALPHABET))
_SEXTET = {letter: number for number, letter in enumerate(_ALPHABET)} | {ord("="): 0}


def real_number(text: str) -> float:
    """The number in a `<real>`: blanks may stand before it, nothing behind it."""
    special = _NOT_FINITE.get(text.lower())
    if special is not None:
        return special
    match = _REAL.fullmatch(text)
    if match is None:
        raise Unreadable(f"<real> {text[:40]!r} is not a number")
    return float(match[1])


def base64_data(raw: bytes) -> bytes:
    """Base64 as parseDataTag reads it: other ASCII characters are skipped, an incomplete last group of four is dropped.

    Only bytes from 0x80 on are an error. "=" counts as a zero; a group that ends with one gives a byte less, or two
    where another "=" stands right before it, blanks apart.
    """
    if not raw.isascii():
        raise Unreadable("<data> with a character that is not ASCII")
    text = raw.translate(None, b" \t\n\v\f\r")
    if len(text) % 4 == 0 and not text.endswith(b"==="):
        try:
            return binascii.a2b_base64(text, strict_mode=True)
        except binascii.Error:
            pass
    if b"=" not in text:
        text = text.translate(None, _NOT_BASE64)
        return binascii.a2b_base64(text[: len(text) // 4 * 4])
    out = bytearray()
    bits = count = padding = 0
    for letter in text:
        padding = padding + 1 if letter == 0x3D else 0
        sextet = _SEXTET.get(letter)
        if sextet is None:
            continue
        bits = (bits << 6 | sextet) & 0xFFFFFF
        count += 1
        if count % 4 == 0:
            out += bits.to_bytes(3, "big")[: 3 - min(padding, 2)]
    return bytes(out)


def moment(year: int, month: int, day: int, hour: int, minute: int, second: int) -> datetime:
    """The time that many days, hours, minutes and seconds after the year's start: no field has a greatest value."""
    if month >= len(_DAYS_BEFORE):
        raise Unreadable(f"a <date> with the month {month}, for which Apple's reader has no rule")
    past = year - 1
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = past * 365 + past // 4 - past // 100 + past // 400 + _DAYS_BEFORE[month] + (leap and month > 2) + day - 1
    try:
        return FIRST_DATE + timedelta(days=days, hours=hour, minutes=minute, seconds=second)
    except OverflowError:
        return FIRST_DATE if days < 0 else LAST_DATE

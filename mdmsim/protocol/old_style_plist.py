"""Reading old-style (NeXT, OpenStep) property lists and strings files, which Apple's readers still take.

Strings, `<hexadecimal data>`, `( arrays )` and `{ key = value; }`; at the outermost level the braces may be left out (a
strings file). Source: swift-corelibs-foundation (Apache 2.0), CFOldStylePList.c.
"""

from __future__ import annotations

import re
from typing import Any, NoReturn

from mdmsim.protocol.plist_limits import MAX_DEPTH, MAX_VALUES, Unreadable


def parse_old_style(text: str) -> Any:
    """The value in an old-style plist: str, bytes, list or dict. Blanks alone are an empty dictionary.

    Raises Unreadable.
    """
    reader = _Reader(text)
    try:
        return reader.document()
    except Unreadable as error:
        raise Unreadable(f"{error}, line {reader.line()}") from None


_SPACES = re.compile(r"(?:[\t-\r \u2028\u2029]++|//[^\n\r\u2028\u2029]*+|/\*(?:[^*]++|\*(?!/))*+(?:\*/)?)*+")
_BARE = re.compile(r"[A-Za-z0-9_$/:.-]+")
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}|[ \n\t\r\u2028\u2029]++)*+")
_QUOTED = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_OCTAL = re.compile(r"[0-7]{1,3}")
_UNICODE = re.compile(r"[0-9A-Fa-f]{0,4}")
#: What the octal escapes from \200 on stand for: the characters of NeXTSTEP (Unicode, VENDORS/NEXT/NEXTSTEP.TXT).
_NEXTSTEP = (
    "\u00a0ÀÁÂÃÄÅÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖÙÚÛÜÝÞµ×÷©¡¢£⁄¥ƒ§¤’“«‹›ﬁﬂ®–†‡·¦¶•‚„”»…‰¬¿"
    "¹ˋ´ˆ˜¯˘˙¨²˚¸³˝˛ˇ—±¼½¾àáâãäåçèéêëìÆíªîïðñŁØŒºòóôõöæùúûıüýłøœßþÿ\0\0"
)


class _Failed(Exception):
    """A part that cannot be read. What stands around it decides whether the whole fails."""


class _Reader:
    __slots__ = ("_at", "_text", "_values")

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._values = 0

    def line(self) -> int:
        return self._text.count("\n", 0, self._at) + 1

    def document(self) -> Any:
        try:
            if not self._next():
                return {}
            value = self._value(0)
            if not self._next():
                return value
            if not isinstance(value, str):
                self._fail("more text after the outermost value")
            self._at = 0
            return self._pairs(0)
        except _Failed as error:
            raise Unreadable(str(error)) from None
        except UnicodeError:
            raise Unreadable("half a surrogate pair") from None

    def _fail(self, reason: str) -> NoReturn:
        raise _Failed(reason)

    def _next(self) -> str:
        """The character that comes next after blanks and comments, which stays; "" at the end."""
        match = _SPACES.match(self._text, self._at)
        self._at = match.end() if match else self._at
        return self._text[self._at : self._at + 1]

    def _value(self, depth: int) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unreadable(f"more than {MAX_VALUES} values")
        letter = self._next()
        if letter in ("{", "("):
            if depth >= MAX_DEPTH:
                raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
            self._at += 1
            return self._dict(depth + 1) if letter == "{" else self._array(depth + 1)
        if letter == "<":
            self._at += 1
            return self._data()
        return self._string(letter)

    def _string(self, letter: str) -> str:
        if letter in ("'", '"') and letter:
            self._at += 1
            return self._quoted(letter)
        match = _BARE.match(self._text, self._at)
        if match is None:
            self._fail(f"unexpected {letter!r}" if letter else "a value is missing at the end")
        self._at = match.end()
        return match[0]

    def _quoted(self, quote: str) -> str:
        pieces: list[str] = []
        run, start = _QUOTED[quote], self._at
        while True:
            match = run.match(self._text, self._at)
            if match:
                pieces.append(match[0])
                self._at = match.end()
            if self._at + 1 >= len(self._text) and self._text[self._at :] != quote:
                self._at = start
                self._fail("a quoted string that does not end")
            self._at += 1
            if self._text[self._at - 1] == quote:
                # Halves of surrogate pairs come one escape at a time.
                return "".join(pieces).encode("utf-16-le", "surrogatepass").decode("utf-16-le")
            pieces.append(self._escape())

    def _escape(self) -> str:
        """What the escape behind a backslash stands for."""
        if match := _OCTAL.match(self._text, self._at):
            self._at = match.end()
            number = int(match[0], 8) & 0xFF
            return chr(number) if number < 0x80 else _NEXTSTEP[number - 0x80]
        letter = self._text[self._at]
        self._at += 1
        if letter == "U" and (match := _UNICODE.match(self._text, self._at)):
            self._at = match.end()
            return chr(int(match[0] or "0", 16))
        return _ESCAPES.get(letter, letter)

    def _array(self, depth: int) -> list[Any]:
        """The array up to ")". A part that cannot be read ends it, and is forgiven where ")" follows."""
        result: list[Any] = []
        try:
            while True:
                result.append(self._value(depth))
                if self._next() != ",":
                    break
                self._at += 1
        except _Failed:
            pass
        if self._next() != ")":
            self._fail("an array without its )")
        self._at += 1
        return result

    def _dict(self, depth: int) -> dict[str, Any]:
        result = self._pairs(depth)
        if self._next() != "}":
            self._fail("a dictionary without its }")
        self._at += 1
        return result

    def _pairs(self, depth: int) -> dict[str, Any]:
        """Keys and values up to the first thing that is no key. A key alone is its own value; the last of two wins."""
        result: dict[str, Any] = {}
        while True:
            try:
                key = self._string(self._next())
            except _Failed:
                return result
            follows = self._next()
            if follows == ";":
                result[key] = key
            elif follows == "=":
                self._at += 1
                result[key] = self._value(depth)
            else:
                self._fail("a key without ; or = behind it")
            if self._next() != ";":
                self._fail("a value in a dictionary without ; behind it")
            self._at += 1

    def _data(self) -> bytes:
        match = _HEX.match(self._text, self._at)
        end = match.end() if match else self._at
        digits = self._text[self._at : end]
        self._at = end
        if self._text[end : end + 1] != ">":
            self._fail("data that is not pairs of hexadecimal digits up to >")
        self._at += 1
        return bytes.fromhex("".join(digits.split()))

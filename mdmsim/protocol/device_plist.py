"""Property lists as devices read them: the rules of Apple's own reader, which are not those of XML.

What a device is given (profiles, commands, a server's answers) goes through here; what servers and fakes are given goes
through `plist`, which keeps to XML. Source of every rule: swift-corelibs-foundation (Apache 2.0), CFPropertyList.c for
XML, CFBinaryPList.c, CFOldStylePList.c. Like Apple's, this reader tries binary, then XML, then the old style.

Departures from Apple's reader: the project's own limits (bytes, depth, values), which Apple sets higher or not at all;
dates outside of the years 1 to 9999, which Python cannot hold, become the first or last moment of that range; objects
of keyed archives (`CF$UID`), which no plist of MDM holds, and halves of surrogate pairs are refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

from mdmsim.protocol.binary_plist import MAGIC, parse_binary
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.old_style_plist import parse_old_style
from mdmsim.protocol.plist import kind_of
from mdmsim.protocol.plist_encoding import decoded
from mdmsim.protocol.plist_limits import MAX_BYTES, MAX_DEPTH, MAX_VALUES, Unreadable
from mdmsim.protocol.plist_scalars import base64_data, moment, real_number

__all__ = ["loads", "loads_any"]


def loads(data: bytes, *, what: str = "plist") -> dict[str, Any]:
    """The dictionary in a property list; dates come back aware, in UTC. Raises Malformed and nothing else."""
    value = loads_any(data, what=what)
    if not isinstance(value, dict):
        raise Malformed(what, f"the outermost value is {kind_of(value)}; it must be a dictionary", problem="type")
    return value


def loads_any(data: bytes, *, what: str = "plist") -> Any:
    """The value in a property list, of any type. Raises Malformed and nothing else."""
    if len(data) > MAX_BYTES:
        raise Malformed(what, f"{len(data)} bytes; a plist may have {MAX_BYTES}")
    if not data:
        raise Malformed(what, "empty; a plist is needed")
    try:
        return _parse(data)
    except Unreadable as error:
        raise Malformed(what, str(error)) from None


def _parse(data: bytes) -> Any:
    reason = ""
    if data.startswith(MAGIC):
        try:
            return parse_binary(data, like_device=True)
        except Unreadable as error:
            reason = str(error)
    source, text = decoded(data)
    reader = _XmlReader(source)
    try:
        return reader.document()
    except Unreadable as error:
        if source.lstrip(b" \t\r\n").startswith(b"<"):
            reason = f"{error}, line {reader.line()}"
    try:
        return parse_old_style(data.decode() if text is None else text)
    except UnicodeDecodeError:
        raise Unreadable(reason or "neither XML nor text in UTF-8") from None
    except Unreadable as error:
        raise Unreadable(reason or f"not XML, and as an old-style plist: {error}") from None


# XML -------------------------------------------------------------------------------------------------------------------

# A key and a plain value are read with one match; whatever does not fit the pattern is read step by step.
_PLAIN = (
    rb"[ \t\r\n]*<(?:string>([^<&]*)</string>|(true|false)/>|integer>([+-]?[0-9]{1,18})</integer>|data>([^<]*)</data>)"
)
_VALUE = re.compile(_PLAIN)
_PAIR = re.compile(rb"[ \t\r\n]*<key>([^<&]*)</key>" + _PLAIN)

_SPACES = re.compile(rb"[ \t\r\n]*")
_TAG_NAME = re.compile(rb"[^ \t\r\n]*")
_MARKUP = re.compile(rb"[<&]")
_REFERENCE = re.compile(rb"&(?:(lt|gt|amp|apos|quot)|#(?:x([0-9A-Fa-f]{0,8})|([0-9]{0,8})));")
_ENTITIES = {b"lt": b"<", b"gt": b">", b"amp": b"&", b"apos": b"'", b"quot": b'"'}

# Before the sign and between sign and digits, blanks of any kind may stand; after the digits none (parseIntegerTag).
# Apple's reader looks at single bytes: 0xA0 counts, the two bytes of U+00A0 do not.
_WIDE = rb"(?:[\x00-\x20\x7f-\xa0]|\xe2(?=\x80[\x50-\x8b\xaf]|\x81\x9f)|\xe3(?=\x80\x80))*+"
_INTEGER = re.compile(_WIDE + rb"([+-]?)" + _WIDE + rb"(?:0[xX]([0-9A-Fa-f]+)|([0-9]+))(?=<)")
_DATE = re.compile(rb"(-?)([0-9]*)-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z(?=<)")


class _XmlReader:
    """Walks through the bytes of one document from element to element (parseXMLPropertyList and what it calls)."""

    __slots__ = ("_at", "_data", "_plists", "_values")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._values = 0
        self._plists = 0

    def line(self) -> int:
        """The line that the reader has come to."""
        return self._data.count(b"\n", 0, self._at) + 1

    def document(self) -> Any:
        """The first element's value. What follows it is not looked at; `<plist>` is one element among others."""
        data = self._data
        while True:
            at = self._skip_blanks()
            if at + 1 >= len(data):
                raise Unreadable("no element")
            if data[at : at + 1] != b"<":
                raise Unreadable("text before the first element")
            if data.startswith(b"<!--", at):
                # Here, but not inside the document, one more character is taken for the comment's beginning.
                self._skip_past(b"-->", at + 5, "a comment")
            elif data.startswith(b"<!", at):
                self._skip_document_type(at)
            elif data.startswith(b"<?", at):
                self._skip_past(b"?>", at + 2, "a processing instruction")
            else:
                try:
                    return self._element(0)[0]
                except UnicodeDecodeError:
                    raise Unreadable("a string that is not UTF-8") from None

    def _skip_blanks(self) -> int:
        match = _SPACES.match(self._data, self._at)
        self._at = match.end() if match else self._at
        return self._at

    def _skip_past(self, mark: bytes, start: int, what: str) -> None:
        end = self._data.find(mark, start)
        if end < 0:
            raise Unreadable(f"{what} that does not end")
        self._at = end + len(mark)

    def _skip_document_type(self, at: int) -> None:
        # Anything up to ">" will do, whatever the quotes; declarations in brackets are refused (skipDTD).
        if not self._data.startswith(b"<!DOCTYPE", at):
            raise Unreadable("<! that begins neither a comment nor a document type")
        self._skip_past(b">", at, "a document type")
        if b"[" in self._data[at : self._at]:
            raise Unreadable("a document type with declarations of its own, which is refused")

    def _content(self, depth: int) -> tuple[Any, bool] | None:
        """The next element's value and whether it is a key; None where an end tag stands (getContentObject)."""
        data = self._data
        while True:
            at = self._skip_blanks()
            if data[at : at + 1] != b"<":
                raise Unreadable("text between elements" if at < len(data) else "an element without its end tag")
            follows = data[at + 1 : at + 2]
            if follows == b"/":
                return None
            if follows == b"?":
                self._skip_past(b"?>", at + 2, "a processing instruction")
            elif follows != b"!":
                return self._element(depth)
            elif data.startswith(b"<!--", at):
                self._skip_past(b"-->", at + 4, "a comment")
            else:
                raise Unreadable("<! inside the document that begins no comment")

    def _element(self, depth: int) -> tuple[Any, bool]:
        """The value of the element that begins here, and whether it is a key (parseXMLElement)."""
        start = self._at + 1
        end = self._data.find(b">", start)
        if end < 0:
            raise Unreadable("a tag that does not end")
        tag = self._data[start:end]
        self._at = end + 1
        empty = tag.endswith(b"/")
        match = _TAG_NAME.match(tag)
        name = match[0] if match else b""
        if empty and len(name) == len(tag):
            name = name[:-1]
        parse = _ELEMENTS.get(name)
        if parse is None:
            raise Unreadable(f"<{name[:40].decode('utf-8', 'replace')}> is no element of a plist")
        if empty:
            if name not in _EMPTY:
                raise Unreadable(f"an empty <{name.decode()}/>")
            value = _EMPTY[name]()
        else:
            value = parse(self, depth)
            self._end_tag(name)
        return value, name == b"key"

    def _end_tag(self, name: bytes) -> None:
        if not self._data.startswith(b"</" + name, self._at):
            raise Unreadable(f"<{name.decode()}> that is not closed by </{name.decode()}>")
        self._at += 2 + len(name)
        at = self._skip_blanks()
        if self._data[at : at + 1] != b">":
            raise Unreadable(f"</{name.decode()} with something else before its >")
        self._at = at + 1

    def _count(self) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unreadable(f"more than {MAX_VALUES} values")

    def _deeper(self, depth: int) -> int:
        if depth >= MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
        return depth + 1

    def _plist(self, depth: int) -> Any:
        self._plists += 1
        if self._plists > 1:
            depth = self._deeper(depth)
        found = self._content(depth)
        if found is None:
            raise Unreadable("a plist without a value")
        if self._content(depth) is not None:
            raise Unreadable("a second value beside the outermost one")
        return found[0]

    def _array(self, depth: int) -> list[Any]:
        depth = self._deeper(depth)
        result: list[Any] = []
        while True:
            if match := _VALUE.match(self._data, self._at):
                self._at = match.end()
                result.append(_plain(match, 0))
            elif (found := self._content(depth)) is not None:
                result.append(found[0])  # a <key> in an array is a string like any other
            else:
                return result
            self._count()

    def _dict(self, depth: int) -> dict[str, Any]:
        depth = self._deeper(depth)
        result: dict[str, Any] = {}
        while True:
            if match := _PAIR.match(self._data, self._at):
                self._at = match.end()
                result[match[1].decode()] = _plain(match, 1)
            elif (found := self._content(depth)) is not None:
                key, is_key = found
                if not is_key:
                    raise Unreadable("a value without a key in a dictionary")
                found = self._content(depth)
                if found is None:
                    raise Unreadable(f"key {key[:40]!r} without a value")
                result[key] = found[0]  # of a key that comes twice the last value stays; a <key> may be a value
            else:
                break
            self._count()
        if len(result) == 1 and type(result.get("CF$UID")) in (int, float):
            raise Unreadable("an object of a keyed archive (CF$UID), which MDM does not use")
        return result

    def _string(self, depth: int = 0) -> str:
        """Text up to the next tag. Only CDATA may interrupt it, no comment (parseStringTag)."""
        data, pieces = self._data, []
        while True:
            match = _MARKUP.search(data, self._at)
            if match is None:
                raise Unreadable("a string without its end tag")
            at = match.start()
            pieces.append(data[self._at : at])
            self._at = at
            if data[at : at + 1] == b"&":
                pieces.append(self._reference(at))
            elif data.startswith(b"<![CDATA[", at):
                self._skip_past(b"]]>", at + 9, "CDATA")
                pieces.append(data[at + 9 : self._at - 3])
            elif data.startswith(b"<!", at):
                raise Unreadable("a comment inside a string, where only CDATA may stand")
            else:
                return b"".join(pieces).decode()

    def _reference(self, at: int) -> bytes:
        match = _REFERENCE.match(self._data, at)
        if match is None:
            raise Unreadable("an entity other than those of XML itself, which is refused")
        self._at = match.end()
        if match[1]:
            return _ENTITIES[match[1]]
        # "&#;" and "&#x;" are the character 0.
        number = int(match[3] or b"0") if match[2] is None else int(match[2] or b"0", 16)
        if number > 0x10FFFF or 0xD800 <= number < 0xE000:
            raise Unreadable("a character reference that is no character")
        return chr(number).encode()

    def _base64(self, depth: int) -> bytes:
        end = self._data.find(b"<", self._at)
        raw = self._data[self._at : end if end >= 0 else len(self._data)]
        value = base64_data(raw)
        self._at += len(raw)
        return value

    def _integer(self, depth: int) -> int:
        match = _INTEGER.match(self._data, self._at)
        if match is None:
            raise Unreadable("an <integer> that is not digits alone; after the digits not even a blank may stand")
        digits, base = (match[2], 16) if match[2] else (match[3], 10)
        digits = digits.lstrip(b"0")
        value = int(digits or b"0", base) if len(digits) <= 20 else 2**64
        if value >= 2**64 or (match[1] == b"-" and value > 2**63):
            raise Unreadable("an <integer> of more than 64 bits")
        self._at = match.end()
        return -value if match[1] == b"-" else value

    def _real(self, depth: int) -> float:
        return real_number(self._string())

    def _date(self, depth: int) -> datetime:
        match = _DATE.match(self._data, self._at)
        if match is None:
            raise Unreadable("a <date> that is not of the form 2026-01-31T00:00:00Z")
        digits = match[2].lstrip(b"0")
        year = int(digits or b"0") if len(digits) < 6 else 10**6
        self._at = match.end()
        return moment(-year if match[1] else year, *(int(number) for number in match.groups()[2:]))


def _plain(match: re.Match[bytes], before: int) -> Any:
    """The value that `_PLAIN` matched; its groups come after `before` others."""
    kind = (match.lastindex or 0) - before
    text = match[match.lastindex or 0]
    if kind == 1:
        return text.decode()
    if kind == 2:
        return text == b"true"
    return int(text) if kind == 3 else base64_data(text)


_ELEMENTS: dict[bytes, Callable[[_XmlReader, int], Any]] = {
    b"plist": _XmlReader._plist,
    b"array": _XmlReader._array,
    b"dict": _XmlReader._dict,
    b"key": _XmlReader._string,
    b"string": _XmlReader._string,
    b"data": _XmlReader._base64,
    b"date": _XmlReader._date,
    b"true": lambda reader, depth: True,  # its end tag must follow at once
    b"false": lambda reader, depth: False,
    b"real": _XmlReader._real,
    b"integer": _XmlReader._integer,
}
_EMPTY: dict[bytes, Callable[[], Any]] = {
    b"array": list,
    b"dict": dict,
    b"key": str,
    b"string": str,
    b"true": lambda: True,
    b"false": lambda: False,
}

"""Property lists: written to the byte as devices write them, read with limits, from XML or binary.

Reading keeps to XML and is for what servers get; what devices get is read by `device_plist`, with Apple's rules.

Written form (captured: every message of iOS 9 to 18 and macOS 10.11 to 15): keys in ascending byte order at every
level, one tab a level, the outer dictionary not indented, `<data>` in lines of 76 - 8 x tabs characters, reals as
`%.17g`, zero as `0.0`, only `&`, `<` and `>` escaped, a line feed at the end. Dates are whole seconds in UTC.
"""

from __future__ import annotations

import binascii
import math
import re
import struct
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from mdmsim.protocol.binary_plist import MAGIC, parse_binary
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.plist_limits import FORBIDDEN, INT_MAX, INT_MIN, MAX_BYTES, MAX_DEPTH, MAX_VALUES, Unreadable

__all__ = ["MAX_BYTES", "MAX_DEPTH", "MAX_VALUES", "dumps", "loads", "loads_any", "single"]

_HEAD = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
    '<plist version="1.0">\n'
)
_TAIL = "</plist>\n"


def dumps(value: Any, *, like_device: bool = False) -> bytes:
    """The XML plist of a value, as a device writes it.

    `like_device`: also control characters, `nan` and infinities, which Apple's writer writes without a check (source:
    CFPropertyList.c, CFNumber.c); a device gets them from a server's plist, see `device_plist`.
    Takes dict (string keys), list, tuple, str, bytes, bytearray, bool, int, float and datetime (aware, or naive and then taken
    as UTC; fractions of a second are cut off). Raises Malformed for what a plist cannot hold (None, other types,
    control characters, integers beyond 64 bits, infinities, too deep nesting).
    """
    out = [_HEAD]
    _write(out, value, "", like_device)
    out.append(_TAIL)
    try:
        return "".join(out).encode()
    except UnicodeEncodeError:
        raise Malformed("plist", "a string with half a surrogate pair, which XML cannot hold") from None


def loads(data: bytes, *, what: str = "plist") -> dict[str, Any]:
    """The dictionary in an XML or binary plist; dates come back aware, in UTC. Raises Malformed and nothing else."""
    value = loads_any(data, what=what)
    if not isinstance(value, dict):
        raise Malformed(what, f"the outermost value is {kind_of(value)}; it must be a dictionary", problem="type")
    return value


def loads_any(data: bytes, *, what: str = "plist") -> Any:
    """The value in an XML or binary plist, of any type. Raises Malformed and nothing else."""
    if len(data) > MAX_BYTES:
        raise Malformed(what, f"{len(data)} bytes; a plist may have {MAX_BYTES}")
    if not data:
        raise Malformed(what, "empty; a plist is needed")
    try:
        return parse_binary(data) if data.startswith(MAGIC) else _parse_xml(data)
    except Unreadable as error:
        raise Malformed(what, str(error)) from None


def single(x: float) -> float:
    """`x` cut to 32 bits and widened again: how devices compute battery level and capacities (captured: iOS 11, 13).

    Raises OverflowError beyond the range of 32-bit floats.
    """
    return float(struct.unpack("<f", struct.pack("<f", x))[0])


def kind_of(value: Any) -> str:
    """A value's plist type, with its article, for messages about wrong types."""
    for kind, name in _KINDS:
        if isinstance(value, kind):
            return name
    return f"a {type(value).__name__}"


_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (str, "a string"),
    (bytes, "data"),
    (int, "an integer"),
    (float, "a real"),
    (dict, "a dictionary"),
    (list, "an array"),
    (datetime, "a date"),
)


# Writing -------------------------------------------------------------------------------------------------------------


def _write(out: list[str], value: Any, tabs: str, lax: bool) -> None:
    if isinstance(value, str):
        out.append(f"{tabs}<string>{_escape(value, lax)}</string>\n")
    elif value is True:
        out.append(f"{tabs}<true/>\n")
    elif value is False:
        out.append(f"{tabs}<false/>\n")
    elif isinstance(value, int):
        if not INT_MIN <= value < INT_MAX:
            raise Malformed("plist", f"an integer of {value.bit_length()} bits; allowed are -2^63 to 2^64 - 1")
        out.append(f"{tabs}<integer>{int(value)}</integer>\n")
    elif isinstance(value, dict):
        _write_dict(out, value, tabs, lax)
    elif isinstance(value, bytes | bytearray):
        out.append(f"{tabs}<data>\n")
        # 76 characters with tabs counted as eight; never fewer than 16 (plistlib's floor; deepest captured line: 44).
        step = max(16, 76 - 8 * len(tabs)) // 4 * 3
        for start in range(0, len(value), step):
            line = binascii.b2a_base64(value[start : start + step], newline=False).decode("ascii")
            out.append(f"{tabs}{line}\n")
        out.append(f"{tabs}</data>\n")
    elif isinstance(value, list | tuple):
        _write_array(out, value, tabs, lax)
    elif isinstance(value, float):
        if not math.isfinite(value):
            if not lax:
                raise Malformed("plist", f"a real that is {value}; reals must be finite")
            text = "nan" if math.isnan(value) else "+infinity" if value > 0 else "-infinity"
            out.append(f"{tabs}<real>{text}</real>\n")
            return
        out.append(f"{tabs}<real>{value:.17g}</real>\n" if value else f"{tabs}<real>0.0</real>\n")
    elif isinstance(value, datetime):
        at = value if value.tzinfo is None else value.astimezone(UTC)
        out.append(
            f"{tabs}<date>{at.year:04d}-{at.month:02d}-{at.day:02d}T{at.hour:02d}:{at.minute:02d}:{at.second:02d}Z</date>\n"
        )
    else:
        raise Malformed("plist", f"a value of type {type(value).__name__}, which a plist cannot hold", problem="type")


def _write_dict(out: list[str], value: dict[str, Any], tabs: str, lax: bool) -> None:
    inner = _deeper(tabs)
    if not value:
        out.append(f"{tabs}<dict/>\n")
        return
    out.append(f"{tabs}<dict>\n")
    try:
        keys = sorted(value)
    except TypeError:
        raise Malformed("plist", "a dictionary whose keys are not all strings", problem="type") from None
    for key in keys:
        if not isinstance(key, str):
            raise Malformed("plist", "a dictionary whose keys are not all strings", problem="type")
        out.append(f"{inner}<key>{_escape(key, lax)}</key>\n")
        _write(out, value[key], inner, lax)
    out.append(f"{tabs}</dict>\n")


def _write_array(out: list[str], value: list[Any] | tuple[Any, ...], tabs: str, lax: bool) -> None:
    inner = _deeper(tabs)
    if not value:
        out.append(f"{tabs}<array/>\n")
        return
    out.append(f"{tabs}<array>\n")
    for item in value:
        _write(out, item, inner, lax)
    out.append(f"{tabs}</array>\n")


def _deeper(tabs: str) -> str:
    if len(tabs) >= MAX_DEPTH:
        raise Malformed("plist", f"nested deeper than {MAX_DEPTH} levels")
    return tabs + "\t"


def _escape(text: str, lax: bool) -> str:
    if not lax and FORBIDDEN.search(text):
        raise Malformed("plist", "a string with a control character or half a surrogate pair, which XML cannot hold")
    if "\r" in text:
        # XML readers turn carriage returns into line feeds anyway; plistlib writes line feeds from the start.
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if "&" in text:
        text = text.replace("&", "&amp;")
    if "<" in text:
        text = text.replace("<", "&lt;")
    if ">" in text:
        text = text.replace(">", "&gt;")
    return text


# Reading XML ---------------------------------------------------------------------------------------------------------

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_HEX_INTEGER = re.compile(r"[+-]?0[xX][0-9A-Fa-f]{1,16}", re.ASCII)
_REAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?", re.ASCII)
_DATE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):([0-9]{2})Z", re.ASCII)
_BLANKS = str.maketrans("", "", " \t\r\n")
_MISSING: Any = object()
#: Bytes given to the XML parser at a time.
_PIECE = 2**18


def _parse_xml(data: bytes) -> Any:
    builder = _Builder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text.append
    # Entities are how a small XML file grows without end, and an external one reads files: plists need neither.
    parser.StartDoctypeDeclHandler = _doctype
    parser.EntityDeclHandler = _entity
    parser.SkippedEntityHandler = _entity
    try:
        _feed(parser, data)
    except expat.ExpatError as error:
        raise Unreadable(f"not XML: {expat.ErrorString(error.code)}, line {error.lineno}") from None
    except Unreadable as error:
        raise Unreadable(f"{error}, line {parser.CurrentLineNumber}") from None
    except (ValueError, LookupError):
        # The XML declaration names an encoding that Python does not have, or that is not one of single bytes.
        raise Unreadable("not XML in an encoding that can be read here; UTF-8 is usual") from None
    return builder.root


def _feed(parser: expat.XMLParserType, data: bytes) -> None:
    # In pieces, because expat reads a whole tag with all its attributes before anyone is asked: 17 MiB of attributes
    # take seconds. Text and CDATA come out piece by piece; only tags and comments can keep the position still.
    last = -1
    for start in range(0, len(data) - _PIECE, _PIECE):
        parser.Parse(data[start : start + _PIECE], False)
        if parser.CurrentByteIndex <= last:
            raise Unreadable(f"a tag or comment of more than {_PIECE} bytes")
        last = parser.CurrentByteIndex
    rest = max(0, -(-len(data) // _PIECE) - 1) * _PIECE
    parser.Parse(data[rest:], True)


def _doctype(name: str, system: str | None, public: str | None, internal: bool) -> None:
    if internal:
        raise Unreadable("a document type with declarations of its own, which is refused")


def _entity(*_: Any) -> None:
    raise Unreadable("an entity other than those of XML itself, which is refused")


class _Builder:
    """Takes expat's calls and grows one value. Holds no reference to the parser: no garbage cycle per message."""

    __slots__ = ("_container", "_key", "_open", "_seen_plist", "_stack", "_values", "root", "text")

    def __init__(self) -> None:
        self.root: Any = _MISSING
        #: Character data since the last tag.
        self.text: list[str] = []
        self._container: dict[str, Any] | list[Any] | None = None
        self._key: str | None = None
        self._stack: list[dict[str, Any] | list[Any] | None] = []
        #: The leaf element that is open, such as "string".
        self._open: str | None = None
        self._values = 0
        self._seen_plist = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if self._open is not None:
            raise Unreadable(f"<{name[:40]}> inside <{self._open}>")
        self._no_stray_text()
        if name in _LEAVES:
            self._open = name
        elif name == "dict":
            self._push({})
        elif name == "array":
            self._push([])
        elif name == "plist" and not self._seen_plist:
            self._seen_plist = True
            return
        else:
            raise Unreadable(f"<{name[:40]}> is no element of a plist, or not in this place")
        if not self._seen_plist:
            raise Unreadable(f"<{name}> outside <plist>")

    def end(self, name: str) -> None:
        if self._open is None:
            self._no_stray_text()
            if name == "plist":
                if self.root is _MISSING:
                    raise Unreadable("a plist without a value")
                return
            if self._key is not None:
                raise Unreadable(f"key {self._key[:40]!r} without a value")
            self._container = self._stack.pop()
            return
        self._open = None
        text = "".join(self.text)
        self.text.clear()
        if name == "string":
            self._add(text)
        elif name == "key":
            if not isinstance(self._container, dict) or self._key is not None:
                raise Unreadable(f"<key> {text[:40]!r} where a value belongs")
            if text in self._container:
                raise Unreadable(f"key {text[:40]!r} twice in one dictionary")
            self._key = text
        else:
            self._add(_LEAVES[name](text))

    def _push(self, container: dict[str, Any] | list[Any]) -> None:
        outer = self._container
        self._add(container)
        self._stack.append(outer)
        if len(self._stack) > MAX_DEPTH:
            raise Unreadable(f"nested deeper than {MAX_DEPTH} levels")
        self._container = container

    def _add(self, value: Any) -> None:
        self._values += 1
        if self._values > MAX_VALUES:
            raise Unreadable(f"more than {MAX_VALUES} values")
        container = self._container
        if isinstance(container, dict):
            if self._key is None:
                raise Unreadable("a value without a key in a dictionary")
            container[self._key] = value
            self._key = None
        elif container is not None:
            container.append(value)
        elif self.root is _MISSING:
            self.root = value
        else:
            raise Unreadable("a second value beside the outermost one")

    def _no_stray_text(self) -> None:
        if self.text:
            stray = "".join(self.text).strip(" \t\r\n")
            self.text.clear()
            if stray:
                raise Unreadable("text between elements")


def _integer(text: str) -> int:
    text = text.strip(" \t\r\n")
    if _INTEGER.fullmatch(text):
        value = int(text)
    elif _HEX_INTEGER.fullmatch(text):
        value = int(text, 16)
    else:
        raise Unreadable(f"<integer> {text[:40]!r} is not a whole number of 64 bits")
    if not INT_MIN <= value < INT_MAX:
        raise Unreadable(f"<integer> {value} is not a whole number of 64 bits")
    return value


def _real(text: str) -> float:
    text = text.strip(" \t\r\n")
    value = float(text) if _REAL.fullmatch(text) else math.nan
    if not math.isfinite(value):
        raise Unreadable(f"<real> {text[:40]!r} is not a finite number")
    return value


def _date(text: str) -> datetime:
    match = _DATE.fullmatch(text.strip(" \t\r\n"))
    if match:
        year, month, day, hour, minute, second = map(int, match.groups())
        try:
            return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
        except ValueError:
            pass
    raise Unreadable(f"<date> {text[:40]!r} is not a time such as 2026-01-31T00:00:00Z")


def _data(text: str) -> bytes:
    try:
        return binascii.a2b_base64(text.translate(_BLANKS), strict_mode=True)
    except ValueError:  # binascii.Error, and text that is not ASCII
        raise Unreadable("<data> is not base64") from None


def _true(text: str) -> bool:
    return _boolean(text, True)


def _false(text: str) -> bool:
    return _boolean(text, False)


def _boolean(text: str, value: bool) -> bool:
    if text.strip(" \t\r\n"):
        raise Unreadable("text inside <true/> or <false/>")
    return value


_LEAVES: dict[str, Any] = {
    "string": None,
    "key": None,
    "data": _data,
    "integer": _integer,
    "true": _true,
    "false": _false,
    "real": _real,
    "date": _date,
}

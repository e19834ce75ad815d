"""In which encoding a property list comes to a device (swift-corelibs-foundation, CFPropertyList.c, encodingForXMLData)."""

from __future__ import annotations

import codecs
import re

from mdmsim.protocol.plist_limits import Unreadable

#: Byte order marks, the longer ones first; each counts only in data that is longer than it.
_MARKS = (
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
_ENCODING = re.compile(rb"[?>]|encoding=")
_NAME = re.compile(r"[A-Za-z0-9._:+-]{1,40}", re.ASCII)
#: Names that Python takes for an encoding and IANA does not.
_NOT_CHARSETS = frozenset({"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "utf-8-sig"})


def decoded(data: bytes) -> tuple[bytes, str | None]:
    """The data in UTF-8 without a byte order mark, and its text if it had to be decoded.

    A byte order mark decides; only without one is the declaration looked at (encodingForXMLData).
    """
    for mark, encoding in _MARKS:
        if len(data) > len(mark) and data.startswith(mark):
            return (data[3:], None) if encoding == "utf-8" else _converted(data[len(mark) :], encoding)
    if len(data) > 2 and 0 in data[:2]:
        # Looks like UTF-16 without its mark. Apple's reader skips two bytes all the same, which are then not a mark.
        return _converted(data[2:], "utf-16-be")
    name = _declared(data)
    return (data, None) if name is None else _converted(data, name)


def _declared(data: bytes) -> str | None:
    """The encoding that the XML declaration names, None for UTF-8.

    Only `encoding=` with a straight quote right behind it names one: with any other quote the data is taken as UTF-8.
    """
    if not data.startswith(b"<?xml"):
        return None
    found = _ENCODING.search(data, 5)
    if found is None or (found.start() > 5 and found.start() + 8 >= len(data)):
        raise Unreadable("an XML declaration that does not end")
    at = found.end()
    if found[0] != b"encoding=" or data[at : at + 1] not in (b"'", b'"'):
        return None
    end = data.find(data[at : at + 1], at + 1)
    if end < 0:
        return None
    name = data[at + 1 : end].decode("latin-1")
    if name.lower() == "utf-8":
        return None
    if _NAME.fullmatch(name):
        try:
            codec = codecs.lookup(name)
        except LookupError:
            pass
        else:
            if codec._is_text_encoding and codec.name not in _NOT_CHARSETS:
                return None if codec.name == "utf-8" else codec.name
    raise Unreadable(f"an XML declaration with the encoding {name[:40]!r}, which is unknown")


def _converted(data: bytes, encoding: str) -> tuple[bytes, str]:
    try:
        text = data.decode(encoding)
        return text.encode(), text
    except (UnicodeError, ValueError):
        raise Unreadable(f"bytes that are not text in {encoding.upper()}") from None

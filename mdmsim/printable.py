"""Text that may have come over the wire, made safe to print: on terminals, in log files and in test output.

An escape sequence in a profile's name or a server's answer could rewrite what a person reads, or set the terminal; a
bidirectional control could make a text look like another. Such characters are shown as escapes instead of taking effect.
"""

from __future__ import annotations

import re

# C0, DEL and C1 controls; bidirectional controls (Unicode UAX 9) and line separators; a byte order mark; halves of
# surrogate pairs, which no encoding takes. Joiners stay: names and emoji need them.
_UNSAFE = "\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff"
_ANYWHERE = re.compile(f"[{_UNSAFE}]")
_BUT_LINE_FEEDS = re.compile(f"(?!\n)[{_UNSAFE}]")


def printable(text: str) -> str:
    r"""One line of text: every control and bidirectional character as `\x1b` or `\u202e`, line feeds and tabs too."""
    return text if text.isascii() and text.isprintable() else _ANYWHERE.sub(_escape, text)


def printable_lines(text: str) -> str:
    """The same for text of several lines: line feeds stay."""
    return _BUT_LINE_FEEDS.sub(_escape, text)


def printable_json(line: bytes) -> bytes:
    """JSON in UTF-8 that says the same without such characters: outside of its strings JSON has none but blanks."""
    if line.isascii() and b"\x7f" not in line:
        return line
    return _BUT_LINE_FEEDS.sub(lambda match: f"\\u{ord(match[0]):04x}", line.decode()).encode()


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

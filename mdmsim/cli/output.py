"""What commands print: lines for people, one line of JSON for machines."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any, TextIO

from mdmsim.printable import printable


def is_plain(stream: TextIO) -> bool:
    """Whether there is no terminal that colours and moving cursors would please."""
    return not stream.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"


def line(text: str = "", *, stream: TextIO | None = None) -> None:
    """One line, at once. What came over the wire cannot begin another, or control the terminal."""
    stream = stream or sys.stdout
    text = printable(text)
    try:
        stream.write(f"{text}\n")
    except UnicodeEncodeError:
        encoding = stream.encoding or "ascii"
        stream.write(text.translate(_ASCII).encode(encoding, "replace").decode(encoding) + "\n")
    stream.flush()


def json_line(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON object or list on one line of standard output."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


def secret(value: str) -> str:
    """Enough of a secret to recognise it."""
    return f"{value[:4]}…" if len(value) > 8 else "…"


_ASCII = str.maketrans(
    {"✓": "ok", "✗": "FAILED", "·": "-", "–": "-", "…": "...", "→": "->", "’": "'", "“": '"', "”": '"'}
)

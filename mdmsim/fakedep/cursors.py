"""Cursors of fetch and sync: opaque to clients, valid at one server only, nothing kept for them here."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re

import msgspec

#: The longest cursor that a client may send. Apple, "Get a List of Devices".
MAX_LENGTH = 1000

_TEXT = re.compile(rb"([0-9]{1,19}):([0-9]{1,19}):([0-9]{1,19}):(true|false):([0-9a-f]{20})( *)")


class Cursor(msgspec.Struct, frozen=True):
    """Where a client is. `position`: the last device of a fetch that it has; `sequence`: the last change that it has.

    `done`: the fetch is over, so that the cursor is one for sync. `created_ms`: from when its 7 days count.
    """

    position: int
    sequence: int
    created_ms: int
    done: bool


class Cursors:
    """Writes cursors and reads them back. `secret`: what makes those of another fake foreign."""

    def __init__(self, secret: bytes, length: int = 0) -> None:
        self._secret = secret
        self._length = length

    def write(self, cursor: Cursor, server: str) -> str:
        """The cursor as text: base64 without padding of numbers between colons, as Apple's are (captured: sync)."""
        done = "true" if cursor.done else "false"
        head = f"{cursor.position}:{cursor.sequence}:{cursor.created_ms}:{done}"
        text = f"{head}:{self._tag(head, server)}"
        text = text.ljust(-(-self._length * 3 // 4))
        return base64.urlsafe_b64encode(text.encode("ascii")).rstrip(b"=").decode("ascii")

    def read(self, text: str, server: str) -> Cursor | None:
        """The cursor in a text that `write` made for that server; None for any other text."""
        if len(text) > MAX_LENGTH or not text.isascii():
            return None
        try:
            raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        except binascii.Error:
            return None
        match = _TEXT.fullmatch(raw)
        if match is None:
            return None
        position, sequence, created_ms, done, tag = match.groups()[:5]
        cursor = Cursor(int(position), int(sequence), int(created_ms), done == b"true")
        wanted = self._tag(f"{int(position)}:{int(sequence)}:{int(created_ms)}:{done.decode()}", server)
        return cursor if hmac.compare_digest(wanted.encode(), tag) else None

    def _tag(self, head: str, server: str) -> str:
        return hmac.new(self._secret, f"{server}:{head}".encode(), hashlib.sha256).hexdigest()[:20]

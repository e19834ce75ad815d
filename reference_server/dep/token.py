"""The server token that Apple's portal gives out: S/MIME around CMS around text around JSON, or the JSON itself."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import message_from_bytes
from email.errors import MessageError

import msgspec

from mdmsim.clock import from_utc
from mdmsim.http import Identity
from mdmsim.pki.envelope import decrypt
from mdmsim.protocol.errors import Malformed

#: Real ones have three thousand bytes.
MAX_TOKEN_FILE = 64 * 1024

_BEGIN, _END = b"-----BEGIN MESSAGE-----", b"-----END MESSAGE-----"


class DepToken(msgspec.Struct, frozen=True, kw_only=True):
    """The credentials of one MDM server at Apple. `access_token_expiry`: as written there, `2031-02-03T04:05:06Z`."""

    consumer_key: str
    consumer_secret: str
    access_token: str
    access_secret: str
    access_token_expiry: str

    def __repr__(self) -> str:
        return f"DepToken({self.consumer_key[:9]}...)"

    @property
    def expires_ms(self) -> int | None:
        """When Apple stops taking it; None if that cannot be read."""
        try:
            at = datetime.fromisoformat(self.access_token_expiry)
        except ValueError:
            return None
        return from_utc(at if at.tzinfo is not None else at.replace(tzinfo=UTC))


def open_token(content: bytes, identity: Identity) -> DepToken:
    """The token in a `.p7m` as downloaded (or its bare CMS), made for this identity's certificate.

    Raises Malformed, CannotDecrypt among it for a file that was made for another certificate.
    """
    if len(content) > MAX_TOKEN_FILE:
        raise Malformed("token file", f"{len(content)} bytes, more than {MAX_TOKEN_FILE}")
    return _read(decrypt(_unwrapped(content), identity))


def _unwrapped(content: bytes) -> bytes:
    if content[:1] == b"\x30":
        return content
    try:
        inside = message_from_bytes(content).get_payload(decode=True)
    except (MessageError, ValueError, LookupError):
        inside = None
    if not isinstance(inside, bytes) or inside[:1] != b"\x30":
        raise Malformed("token file", "not the S/MIME file that Apple's portal gives out")
    return inside


def _read(text: bytes) -> DepToken:
    start, end = text.find(_BEGIN), text.find(_END)
    if not 0 <= start < end:
        raise Malformed("token file", "the message inside has no begin or no end")
    # Mail programs may have cut the line; JSON has no use for line breaks.
    return read_plain_token(re.sub(rb"[\r\n]", b"", text[start + len(_BEGIN) : end]))


def read_plain_token(data: bytes) -> DepToken:
    """The token from its JSON. Raises Malformed, which does not quote what it read: these are secrets."""
    try:
        token = msgspec.json.decode(data, type=DepToken)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        what = str(error) if isinstance(error, msgspec.ValidationError) else "not JSON"
        raise Malformed("token", what) from None
    for name in ("consumer_key", "consumer_secret", "access_token", "access_secret"):
        if not getattr(token, name):
            raise Malformed("token", f"{name} is empty", key=name)
    return token

"""Content codings of answers: gzip, deflate and br, of which devices offer all three (captured: iOS 18.2.1).

`br` needs the brotli package. Where it is missing such an answer is refused with a message that says so: leaving br
out of Accept-Encoding instead would make a simulated device differ from a real one on the wire.
"""

from __future__ import annotations

import importlib
import zlib
from typing import Any

#: Pieces that a gzip stream may consist of; more than one is rare.
MAX_MEMBERS = 1000
_SLICE = 65536


def decode(body: bytes, coding: str, *, offered: str | None, limit: int) -> bytes:
    """The body without its coding, or as it is where none was offered: then nobody asked for it to be undone.

    `coding` is a Content-Encoding value, applied from left to right; `offered` the request's Accept-Encoding.
    Raises ValueError for broken data, for a coding outside the offer, and for more than `limit` bytes.
    """
    if offered is None:
        return body
    allowed = {item.partition(";")[0].strip().lower() for item in offered.split(",")}
    codings = [item.strip().lower() for item in coding.split(",")]
    for name in reversed(codings):
        if name in ("", "identity"):
            continue
        if name == "x-gzip":
            name = "gzip"  # RFC 9110 section 8.4.1.3: the same thing
        if name not in allowed and "*" not in allowed:
            raise ValueError(f"coding {name!r} was not offered ({offered})")
        if name == "gzip":
            body = _inflate(body, limit, 16 + zlib.MAX_WBITS)
        elif name == "deflate":
            body = _deflate(body, limit)
        elif name == "br":
            body = _brotli(body, limit)
        else:
            raise ValueError(f"coding {name!r} is not known here")
    return body


def _inflate(body: bytes, limit: int, window: int) -> bytes:
    whole, size, at = [], 0, 0
    for _ in range(MAX_MEMBERS):  # gzip allows several members in a row (RFC 1952 section 2.2)
        inflater = zlib.decompressobj(window)
        # In slices: what is left over after a member is copied, and shall not be all the rest each time.
        while not inflater.eof:
            piece = body[at : at + _SLICE]
            if not piece:
                raise ValueError("the compressed data stop in the middle")
            at += len(piece)
            try:
                whole.append(inflater.decompress(piece, limit + 1 - size))
            except zlib.error as error:
                raise ValueError(str(error)) from None
            size += len(whole[-1])
            if size > limit:
                raise ValueError(f"longer than {limit} bytes once unpacked")
        at -= len(inflater.unused_data)
        if window <= zlib.MAX_WBITS or at == len(body):
            return b"".join(whole)
    raise ValueError(f"more than {MAX_MEMBERS} gzip members")


def _deflate(body: bytes, limit: int) -> bytes:
    # RFC 9110 section 8.4.1.2: zlib's wrapping is right, and some servers send the bare stream all the same.
    try:
        return _inflate(body, limit, zlib.MAX_WBITS)
    except ValueError:
        return _inflate(body, limit, -zlib.MAX_WBITS)


def _brotli(body: bytes, limit: int) -> bytes:
    try:
        brotli: Any = importlib.import_module("brotli")
    except ImportError:
        raise ValueError('the server chose br, and this Python has no "brotli" package: pip install brotli') from None
    unpacker: Any = brotli.Decompressor()
    try:
        whole: bytes = unpacker.process(body, output_buffer_limit=limit + 1)
        while len(whole) <= limit and not unpacker.is_finished() and not unpacker.can_accept_more_data():
            whole += unpacker.process(b"", output_buffer_limit=limit + 1 - len(whole))
    except brotli.error as error:
        raise ValueError(str(error)) from None
    if len(whole) > limit:
        raise ValueError(f"longer than {limit} bytes once unpacked")
    if not unpacker.is_finished():
        raise ValueError("the compressed data stop in the middle")
    return whole

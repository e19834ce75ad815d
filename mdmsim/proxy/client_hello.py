"""The first thing that a TLS client says, read only as far as the name of the server that it wants.

Source: RFC 8446 sections 4.1.2 and 5.1 (the same bytes since TLS 1.0), RFC 6066 section 3 (server_name).
"""

from __future__ import annotations

_HANDSHAKE = 22
_CLIENT_HELLO = 1
_SERVER_NAME = 0
_HOST_NAME = 0

#: A ClientHello is longer than this in no client's; with today's key shares it has up to two thousand bytes.
LONGEST = 32768


class NotTls(Exception):
    """What came is no TLS ClientHello; the text says why."""


def server_name(data: bytes) -> tuple[bool, str | None]:
    """Whether the ClientHello is complete, and the name in it (None without one). Raises NotTls."""
    message = bytearray()
    at = 0
    while True:
        if len(data) > at and data[at] != _HANDSHAKE:
            raise NotTls(f"its first byte is {data[at]}, a TLS handshake's is {_HANDSHAKE}")
        if len(data) > at + 1 and data[at + 1] != 3:
            raise NotTls(f"version {data[at + 1]} is no TLS")
        if len(data) < at + 5:
            return _unfinished(data)
        length = int.from_bytes(data[at + 3 : at + 5], "big")
        if length == 0:
            raise NotTls("an empty handshake record")
        message += data[at + 5 : at + 5 + length]
        if message[0:1] and message[0] != _CLIENT_HELLO:
            raise NotTls(f"its first message is of type {message[0]}, a ClientHello's is {_CLIENT_HELLO}")
        if len(message) >= 4 and len(message) >= 4 + int.from_bytes(message[1:4], "big"):
            return True, _name(bytes(message[4 : 4 + int.from_bytes(message[1:4], "big")]))
        if len(data) < at + 5 + length:
            return _unfinished(data)
        at += 5 + length


def _unfinished(data: bytes) -> tuple[bool, None]:
    if len(data) > LONGEST:
        raise NotTls(f"a ClientHello of more than {LONGEST} bytes")
    return False, None


class _Fields:
    """Vectors with a length before them, one after the other."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self, count: int) -> bytes:
        if len(self._data) < count:
            raise NotTls("the ClientHello is cut short")
        taken, self._data = self._data[:count], self._data[count:]
        return taken

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def __bool__(self) -> bool:
        return bool(self._data)


def _name(hello: bytes) -> str | None:
    fields = _Fields(hello)
    fields.take(2 + 32)  # version and random
    fields.vector(1)  # session id
    fields.vector(2)  # cipher suites
    fields.vector(1)  # compression methods
    if not fields:
        return None
    extensions = _Fields(fields.vector(2))
    while extensions:
        kind, value = extensions.number(2), extensions.vector(2)
        if kind == _SERVER_NAME:
            names = _Fields(_Fields(value).vector(2))
            while names:
                form, name = names.number(1), names.vector(2)
                if form == _HOST_NAME:
                    return name.decode("latin-1")
    return None

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
#: Nor does any client cut it into so many records.
MOST_RECORDS = 64


class NotTls(Exception):
    """What came is no TLS ClientHello; the text says why."""


class ClientHello:
    """A ClientHello as it comes in, looked at once, byte by byte, in whatever pieces."""

    def __init__(self) -> None:
        #: The name in it; None without one, and until it is complete.
        self.name: str | None = None
        self._pending = bytearray()
        self._message = bytearray()
        self._records = 0
        # Bytes of the record that are still to come.
        self._left = 0

    def feed(self, data: bytes | bytearray) -> bool:
        """Take in more bytes; whether it is complete. Raises NotTls."""
        self._pending += data
        while self._left or self._begin_record():
            taken = self._pending[: self._left]
            del self._pending[: self._left]
            self._left -= len(taken)
            if self._take(taken):
                return True
            if self._left:
                break
        return False

    def _begin_record(self) -> bool:
        head = self._pending
        if head and head[0] != _HANDSHAKE:
            raise NotTls(f"its first byte is {head[0]}, a TLS handshake's is {_HANDSHAKE}")
        if len(head) > 1 and head[1] != 3:
            raise NotTls(f"version {head[1]} is no TLS")
        if len(head) < 5:
            return False
        self._left = int.from_bytes(head[3:5], "big")
        if self._left == 0:
            raise NotTls("an empty handshake record")
        self._records += 1
        if self._records > MOST_RECORDS:
            raise NotTls(f"a ClientHello in more than {MOST_RECORDS} records")
        del head[:5]
        return True

    def _take(self, data: bytes | bytearray) -> bool:
        message = self._message
        message += data
        if message and message[0] != _CLIENT_HELLO:
            raise NotTls(f"its first message is of type {message[0]}, a ClientHello's is {_CLIENT_HELLO}")
        if len(message) < 4:
            return False
        end = 4 + int.from_bytes(message[1:4], "big")
        if end > LONGEST:
            raise NotTls(f"a ClientHello of more than {LONGEST} bytes")
        if len(message) < end:
            return False
        self.name = _name(bytes(message[4:end]))
        return True


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

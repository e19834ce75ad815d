"""The TCP side of a provider's connection: bytes counted, a close that lets last words arrive, and a reset."""

from __future__ import annotations

import socket
import struct

import trio

#: How long a closed connection goes on taking in what the client sends, and how much of it: a socket closed with
#: unread bytes is reset, and the reset can overtake the GOAWAY that says why.
LINGER_SECONDS = 1.0
_LINGER_BYTES = 1 << 20


class Transport(trio.abc.Stream):
    """Wraps the stream under TLS; closing it closes that."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.received = 0
        self.sent = 0
        #: The first byte that the client sent: 22 begins a TLS handshake.
        self.first = b""

    @property
    def peer(self) -> str:
        """The other end's address, for people; empty where there is none."""
        if not isinstance(self.stream, trio.SocketStream):
            return ""
        try:
            address = self.stream.socket.getpeername()
        except OSError:
            return ""
        return f"{address[0]}:{address[1]}" if isinstance(address, tuple) else str(address)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await self.stream.send_all(data)
        self.sent += len(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        data = await self.stream.receive_some(max_bytes)
        self.received += len(data)
        if not self.first:
            self.first = bytes(data[:1])
        return data

    async def aclose(self) -> None:
        try:
            if isinstance(self.stream, trio.abc.HalfCloseableStream):
                await self.stream.send_eof()
                with trio.move_on_after(LINGER_SECONDS):
                    left = _LINGER_BYTES
                    while left > 0 and (data := await self.stream.receive_some(65536)):
                        left -= len(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            await trio.aclose_forcefully(self.stream)

    async def reset(self) -> None:
        """End the connection with a TCP reset where it is TCP; whatever was still to be sent is lost."""
        if isinstance(self.stream, trio.SocketStream):
            try:
                self.stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
        await trio.aclose_forcefully(self.stream)

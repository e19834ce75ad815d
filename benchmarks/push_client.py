"""A push provider that costs next to nothing: HTTP/2 frames written by hand, and answers counted by their headers."""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence
from pathlib import Path

import trio

PAYLOAD = b'{"mdm":"8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"}'

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"
_HEADERS, _SETTINGS, _PING, _GOAWAY = 1, 4, 6, 7
#: `:status: 200`, from HPACK's static table.
_ACCEPTED = 0x88


class Answers:
    """Counts the answers in what a server sends."""

    def __init__(self) -> None:
        self.accepted = self.refused = 0
        self.settings = 0
        self._rest = b""

    def feed(self, data: bytes) -> None:
        data = self._rest + data
        position, size = 0, len(data)
        while position + 9 <= size:
            length = data[position] << 16 | data[position + 1] << 8 | data[position + 2]
            if position + 9 + length > size:
                break
            kind, flags = data[position + 3], data[position + 4]
            if kind == _HEADERS:
                if data[position + 9] == _ACCEPTED:
                    self.accepted += 1
                else:
                    self.refused += 1
            elif kind == _SETTINGS and not flags & 1:
                self.settings += 1
            elif kind == _GOAWAY:
                raise RuntimeError(f"the server says goodbye: {data[position + 9 : position + 9 + length]!r}")
            position += 9 + length
        self._rest = data[position:]


def _text(value: bytes) -> bytes:
    return bytes((len(value),)) + value


def request(token: str) -> tuple[bytes, bytes]:
    """The header block and the DATA payload of a push, as NanoMDM sends it: nothing goes into HPACK's tables."""
    block = (
        b"\x83\x87"
        + b"\x04" + _text(b"/3/device/" + token.encode())
        + b"\x01" + _text(b"api.push.apple.com")
        + b"\x0f\x10" + _text(b"application/json")
    )  # fmt: skip
    return block, PAYLOAD


def frames(stream: int, block: bytes, payload: bytes) -> bytes:
    number = struct.pack(">I", stream)
    return b"".join(
        (
            struct.pack(">I", len(block))[1:], b"\x01\x04", number, block,
            struct.pack(">I", len(payload))[1:], b"\x00\x01", number, payload,
        )
    )  # fmt: skip


def tls_context(folder: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(folder / "ca.pem"))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(folder / "push.pem")
    context.set_alpn_protocols(["h2"])
    return context


async def push(port: int, context: ssl.SSLContext, tokens: Sequence[str], outstanding: int) -> None:
    """Push to each of these tokens over one connection, with so many requests on the way. Raises unless all are 200."""
    tcp = await trio.open_tcp_stream("127.0.0.1", port)
    tls = trio.SSLStream(tcp, context, server_hostname="localhost", https_compatible=True)
    async with tls:
        await tls.do_handshake()
        answers = Answers()
        await tls.send_all(_PREFACE)
        while not answers.settings:
            answers.feed(bytes(await tls.receive_some(65536)))
        await tls.send_all(b"\0\0\0\x04\x01\0\0\0\0")
        sent = 0
        while answers.accepted < len(tokens):
            if more := tokens[sent : answers.accepted + outstanding]:
                numbers = range(2 * sent + 1, 2 * (sent + len(more)) + 1, 2)
                await tls.send_all(
                    b"".join(frames(number, *request(token)) for number, token in zip(numbers, more, strict=True))
                )
                sent += len(more)
            data = await tls.receive_some(65536)
            if not data:
                raise RuntimeError(f"the server closed the connection after {answers.accepted} answers")
            answers.feed(bytes(data))
            if answers.refused:
                raise RuntimeError("a push was refused")


async def push_all(
    port: int, folder: Path, tokens: Sequence[str], pushes: int, connections: int, outstanding: int
) -> None:
    """`pushes` in all, over so many connections at once; `outstanding` in all."""
    context = tls_context(folder)
    async with trio.open_nursery() as nursery:
        for number in range(connections):
            share = [tokens[place % len(tokens)] for place in range(number, pushes, connections)]
            nursery.start_soon(push, port, context, share, max(1, outstanding // connections))

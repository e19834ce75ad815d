"""Apple's names without a proxy: one port for all of them, for machines whose hosts file leads them here.

The name that a TLS client asks for says which fake it wants; bytes are carried there as they are, as the CONNECT proxy
does, so that one address and port 443 are enough for all of Apple's hosts.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence

import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.http import ConnectFailed
from mdmsim.proxy.client_hello import ClientHello, NotTls
from mdmsim.proxy.hosts import refusal
from mdmsim.proxy.refusal_log import RefusalLog
from mdmsim.proxy.splice import Splices

_log = logging.getLogger(__name__)

#: Seconds for the ClientHello, and for the connection to the fake.
_PATIENCE = 30.0

#: A fatal alert in a record of its own: RFC 6066 section 3, unrecognized_name; RFC 8446 section 6.2.
_UNRECOGNIZED_NAME = b"\x15\x03\x03\x00\x02\x02\x70"
_INTERNAL_ERROR = b"\x15\x03\x03\x00\x02\x02\x50"

_PLAIN = (
    b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain\r\nconnection: close\r\n\r\n"
    b"This port speaks TLS, under Apple's names: use https.\n"
)


class DirectFront:
    """`routes`: which fake answers for each name. Clients that want another name, or none, get a TLS alert.

    `grace`: as ConnectProxy's. `counters` count connections: `spliced`, `refused`, `not-tls`, `unreachable`.
    """

    def __init__(self, routes: Mapping[str, tuple[str, int]], *, grace: float = 0.0) -> None:
        self._routes = {host.lower(): address for host, address in routes.items()}
        self._splices = Splices(grace)
        self._refusals = RefusalLog(_log)
        self.counters: Counter[str] = Counter()

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled, and for as long as connections are open after that, up to `grace`."""
        await self._splices.serve(self.handle, listeners, task_status)

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, to its end."""
        try:
            opened = None
            with trio.move_on_after(_PATIENCE):
                opened = await self._open(stream)
            if opened is not None:
                self.counters["spliced"] += 1
                await self._splices.carry(stream, *opened)
        except trio.BrokenResourceError:
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(self, stream: trio.SocketStream) -> tuple[trio.SocketStream, bytes] | None:
        """Read the ClientHello; the connection to the fake and what was read, or None if it was refused."""
        said = bytearray()
        hello, complete = ClientHello(), False
        while not complete:
            data = await stream.receive_some(16384)
            if not data:
                return None
            said += data
            try:
                complete = hello.feed(data)
            except NotTls as error:
                await self._refuse(stream, "not-tls", str(error), _PLAIN if said[:1].isalpha() else b"")
                return None
        name = hello.name
        address = self._routes.get((name or "").lower().rstrip("."))
        if address is None:
            text = refusal(name, "", self._routes) if name else "a client that names no host (SNI): use Apple's names"
            await self._refuse(stream, "refused", text, _UNRECOGNIZED_NAME)
            return None
        try:
            await refuse_apple_resolved(*address)
            return await trio.open_tcp_stream(*address), bytes(said)
        except ConnectFailed as refused:
            await self._refuse(stream, "unreachable", str(refused), _INTERNAL_ERROR)
            return None
        except OSError:
            text = f"the fake for {name} does not answer on {address[0]}:{address[1]}"
            await self._refuse(stream, "unreachable", text, _INTERNAL_ERROR)
            return None

    async def _refuse(self, stream: trio.SocketStream, counted: str, text: str, answer: bytes) -> None:
        self.counters[counted] += 1
        self._refusals.note(text)
        if answer:
            await stream.send_all(answer)
        await stream.send_eof()
        with trio.move_on_after(1):
            while await stream.receive_some(65536):
                continue

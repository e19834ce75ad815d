"""A CONNECT proxy that knows Apple's hosts only, and takes their connections to the fakes.

It does not end TLS: bytes are carried as they are, so that the client certificate of a push provider reaches the fake
APNs itself, whose server certificate carries Apple's names. What clients must trust is the authority that issued it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import trio

from mdmsim.proxy.hosts import PORTS, refusal
from mdmsim.proxy.splice import splice

_log = logging.getLogger(__name__)

#: The exact line that is sent: aioapns looks for `HTTP/1.1 200 Connect`, others for the code.
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_LONGEST_HEAD = 16384
#: Seconds for the request's head, and for the connection to the fake.
_PATIENCE = 30.0


class ConnectProxy:
    """`routes`: where the connections to each host go, as host name to address and port. All other hosts get 403.

    `counters` count requests: `spliced`, `refused`, `bad-request`, `unreachable`.
    """

    def __init__(self, routes: Mapping[str, tuple[str, int]], *, ports: Collection[int] = PORTS) -> None:
        self._routes = {host.lower(): address for host, address in routes.items()}
        self._ports = {str(port): port for port in ports}
        self.counters: Counter[str] = Counter()

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self.handle, list(listeners), task_status=task_status)

    async def handle(self, stream: trio.SocketStream) -> None:
        """One connection, to its end."""
        try:
            opened = None
            with trio.move_on_after(_PATIENCE):
                opened = await self._open(stream)
            if opened is not None:
                upstream, first = opened
                self.counters["spliced"] += 1
                await splice(stream, upstream, first)
        except trio.BrokenResourceError:
            # The client is gone: nobody is left to be told.
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(self, stream: trio.SocketStream) -> tuple[trio.SocketStream, bytes] | None:
        """Read the request; the connection to the fake and what came after the head, or None if it was refused."""
        head = bytearray()
        while b"\r\n\r\n" not in head:
            data = await stream.receive_some(4096)
            if not data:
                return None
            head += data
            if len(head) > _LONGEST_HEAD:
                await self._refuse(stream, 431, "bad-request", "the request's head is too long")
                return None
        lines, _, first = bytes(head).partition(b"\r\n\r\n")
        words = lines.partition(b"\r\n")[0].decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            await self._refuse(stream, 400, "bad-request", "this is a proxy for CONNECT over HTTP/1.1")
            return None
        if words[0] != "CONNECT":
            text = f"only CONNECT is done here, not {words[0][:20]}: use this proxy for https addresses (HTTPS_PROXY)"
            await self._refuse(stream, 405, "bad-request", text, "allow: CONNECT\r\n")
            return None
        host, colon, port = words[1].rpartition(":")
        if not colon:
            host, port = words[1], ""
        address = self._routes.get(host.lower().rstrip("."))
        # Compared as text: a number of thousands of digits cannot even be read.
        if address is None or port not in self._ports:
            await self._refuse(stream, 403, "refused", refusal(host, port, self._routes, self._ports.values()))
            return None
        try:
            upstream = await trio.open_tcp_stream(*address)
        except OSError:
            text = f"the fake for {host} does not answer on {address[0]}:{address[1]}"
            await self._refuse(stream, 502, "unreachable", text)
            return None
        try:
            await stream.send_all(ESTABLISHED)
        except BaseException:
            await trio.aclose_forcefully(upstream)
            raise
        return upstream, first

    async def _refuse(self, stream: trio.SocketStream, status: int, counted: str, text: str, extra: str = "") -> None:
        self.counters[counted] += 1
        _log.warning("%d %s", status, text)
        body = text + "\n"
        await stream.send_all(
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body.encode())}\r\n{extra}connection: close\r\n\r\n{body}".encode()
        )
        # Closing with bytes unread would reset the connection, and the client might never see the answer.
        await stream.send_eof()
        with trio.move_on_after(1):
            while await stream.receive_some(65536):
                continue


_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}

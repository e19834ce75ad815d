"""A CONNECT proxy that knows Apple's hosts only, and takes their connections to the fakes.

It does not end TLS: bytes are carried as they are, so that the client certificate of a push provider reaches the fake
APNs itself, whose server certificate carries Apple's names. What clients must trust is the authority that issued it.
"""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.http import ConnectFailed, has_content
from mdmsim.proxy.hosts import PORTS, refusal
from mdmsim.proxy.refusal_log import RefusalLog
from mdmsim.proxy.splice import Splices

_log = logging.getLogger(__name__)

#: The exact line that is sent: aioapns looks for `HTTP/1.1 200 Connect`, others for the code.
ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"

_LONGEST_HEAD = 16384
#: Seconds for the request's head, and again for the connection to the fake.
_PATIENCE = 30.0
#: RFC 9112 section 2.2: a line may end with LF alone.
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class ConnectProxy:
    """`routes`: where the connections to each host go, as host name to address and port. All other hosts get 403.

    `grace`: seconds that connections get at the end to finish what is under way, where the fakes end as well: more than
    these give it themselves. `counters` count requests: `spliced`, `refused`, `bad-request`, `timeout`, `unreachable`.
    """

    def __init__(
        self, routes: Mapping[str, tuple[str, int]], *, ports: Collection[int] = PORTS, grace: float = 0.0
    ) -> None:
        self._routes = {host.lower(): address for host, address in routes.items()}
        self._ports = {str(port): port for port in ports}
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
            opened = await self._open(stream)
            if opened is not None:
                upstream, first = opened
                self.counters["spliced"] += 1
                await self._splices.carry(stream, upstream, first)
        except trio.BrokenResourceError:
            # The client is gone: nobody is left to be told.
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def _open(self, stream: trio.SocketStream) -> tuple[trio.SocketStream, bytes] | None:
        """Read the request; the connection to the fake and what came after the head, or None if it was refused."""
        try:
            with trio.fail_after(_PATIENCE):
                lines, first = await _head(stream)
        except _NoHead as failed:
            if failed.status:
                await self._refuse(stream, failed.status, "bad-request", str(failed))
            return None
        except trio.TooSlowError:
            await self._refuse(stream, 408, "timeout", f"no request within {_PATIENCE:g} seconds")
            return None
        words = lines.partition(b"\n")[0].rstrip(b"\r").decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            await self._refuse(stream, 400, "bad-request", "this is a proxy for CONNECT over HTTP/1.1")
            return None
        if words[0] != "CONNECT":
            text = f"only CONNECT is done here, not {words[0][:20]}: use this proxy for https addresses (HTTPS_PROXY)"
            await self._refuse(stream, 405, "bad-request", text, "allow: CONNECT\r\n", method=words[0])
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
            with trio.fail_after(_PATIENCE):
                await refuse_apple_resolved(*address)
                upstream = await trio.open_tcp_stream(*address)
        except ConnectFailed as refused:
            await self._refuse(stream, 502, "unreachable", str(refused))
            return None
        except (OSError, trio.TooSlowError):
            text = f"the fake for {host} does not answer on {address[0]}:{address[1]}"
            await self._refuse(stream, 502, "unreachable", text)
            return None
        try:
            await stream.send_all(ESTABLISHED)
        except BaseException:
            await trio.aclose_forcefully(upstream)
            raise
        return upstream, first

    async def _refuse(
        self, stream: trio.SocketStream, status: int, counted: str, text: str, extra: str = "", *, method: str = ""
    ) -> None:
        self.counters[counted] += 1
        self._refusals.note(f"{status} {text}")
        body = text + "\n"
        head = (
            f"HTTP/1.1 {status} {_PHRASES[status]}\r\ncontent-type: text/plain; charset=utf-8\r\n"
            f"content-length: {len(body.encode())}\r\n{extra}connection: close\r\n\r\n"
        )
        await stream.send_all((head + (body if has_content(method, status) else "")).encode())
        # Closing with bytes unread would reset the connection, and the client might never see the answer.
        await stream.send_eof()
        with trio.move_on_after(1):
            while await stream.receive_some(65536):
                continue


class _NoHead(Exception):
    """What came is no head; `status` is the answer, 0 for none: there is nobody to answer."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text)
        self.status = status


async def _head(stream: trio.SocketStream) -> tuple[bytes, bytes]:
    """The lines of a request's head, and what came behind it. Raises _NoHead."""
    head, seen, taken = bytearray(), 0, 0
    while True:
        data = await stream.receive_some(4096)
        if not data:
            raise _NoHead(400, "the request's head has no end") if taken else _NoHead(0)
        taken += len(data)
        head += data
        if not seen:
            # RFC 9112 section 2.2: empty lines before a request mean nothing.
            del head[: len(head) - len(head.lstrip(b"\r\n"))]
        end = _END_OF_HEAD.search(head, max(0, seen - 3))
        if (taken if end is None else end.start()) > _LONGEST_HEAD:
            raise _NoHead(431, "the request's head is too long")
        if end is not None:
            return bytes(head[: end.start()]), bytes(head[end.end() :])
        seen = len(head)


_PHRASES = {
    400: "Bad Request",
    403: "Forbidden",
    405: "Method Not Allowed",
    408: "Request Timeout",
    431: "Request Header Fields Too Large",
    502: "Bad Gateway",
}

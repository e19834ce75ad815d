"""Two connections made one: bytes are carried both ways as they are, TLS and all."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable, Sequence

import trio

#: At the end, how long a client may go on when its server has said everything: as long as the server listens to it.
LINGER_SECONDS = 1.0

#: After so many seconds of silence, and so often at such intervals, TCP asks whether the other end is still there.
_KEEP_ALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPALIVE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}


class Splices:
    """All splices of one proxy. When the proxy ends, they get `grace` seconds to come to an end by themselves."""

    def __init__(self, grace: float = 0.0) -> None:
        self._grace = grace
        self._open: dict[_Splice, trio.CancelScope] = {}
        self._ending = False
        self._all_over = trio.Event()

    async def serve(
        self,
        handle: Callable[[trio.SocketStream], Awaitable[None]],
        listeners: Sequence[trio.SocketListener],
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]],
    ) -> None:
        """Serve until cancelled: then nothing is accepted any more, and what is spliced goes on for its grace."""
        async with trio.open_nursery() as handlers:
            try:
                await trio.serve_listeners(handle, list(listeners), handler_nursery=handlers, task_status=task_status)
            finally:
                await self._end()

    async def carry(self, client: trio.SocketStream, upstream: trio.SocketStream, first: bytes) -> None:
        """Carry bytes both ways until both ends have said everything, or one is gone; `first` is what came already.

        Both are closed then. Where one was reset, the other is reset as well.
        """
        with trio.CancelScope(shield=not self._ending) as scope:
            splice = _Splice(client, upstream, scope)
            self._open[splice] = scope
            try:
                await splice.run(first)
            finally:
                del self._open[splice]
                if not self._open:
                    self._all_over.set()

    async def _end(self) -> None:
        self._ending = True
        for splice in self._open:
            splice.hurry()
        with trio.move_on_after(self._grace, shield=True):
            while self._open:
                if self._all_over.is_set():
                    self._all_over = trio.Event()
                await self._all_over.wait()
        for scope in tuple(self._open.values()):
            scope.cancel()


class _Splice:
    def __init__(self, client: trio.SocketStream, upstream: trio.SocketStream, scope: trio.CancelScope) -> None:
        self._client = client
        self._upstream = upstream
        self._scope = scope
        self._over = trio.CancelScope()
        self._broken = False
        self._hurried = False
        self._heard_out = False

    def hurry(self) -> None:
        """Wait only a little for a client whose server has said everything."""
        self._hurried = True
        if self._heard_out:
            self._scope.deadline = trio.current_time() + LINGER_SECONDS

    async def run(self, first: bytes) -> None:
        streams = self._client, self._upstream
        for stream in streams:
            _keep_alive(stream)
        try:
            if await self._pass_on(first, self._upstream):
                with self._over:
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(self._carry, self._client, self._upstream)
                        nursery.start_soon(self._carry, self._upstream, self._client)
        finally:
            for stream in streams:
                if self._broken:
                    _reset_when_closed(stream)
                await trio.aclose_forcefully(stream)

    async def _carry(self, source: trio.SocketStream, target: trio.SocketStream) -> None:
        while True:
            try:
                data = await source.receive_some(65536)
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                # It was reset, and what it said before has been passed on.
                self._broken = True
                self._over.cancel()
                return
            if not data:
                break
            if not await self._pass_on(data, target):
                # What that end said before it went is still carried the other way.
                return
        if not self._broken:
            try:
                await target.send_eof()
            except (trio.BrokenResourceError, trio.ClosedResourceError):
                self._broken = True
        if source is self._upstream:
            self._heard_out = True
            if self._hurried:
                self.hurry()

    async def _pass_on(self, data: bytes | bytearray, target: trio.SocketStream) -> bool:
        try:
            await target.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._broken = True
            return False
        return True


def _keep_alive(stream: trio.SocketStream) -> None:
    """Have TCP find out when the other end has vanished: nobody else would, where nothing is said."""
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEP_ALIVE.items():
            if (option := getattr(socket, name, None)) is not None:
                stream.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:
        # No TCP, or gone already.
        pass


def _reset_when_closed(stream: trio.SocketStream) -> None:
    try:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except (OSError, trio.ClosedResourceError):
        pass

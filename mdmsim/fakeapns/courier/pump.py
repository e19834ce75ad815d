"""One courier connection on trio, the same for both ends: a reader, one writer, keep-alive, deadlines."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol

import trio

from mdmsim.fakeapns.courier.protocol import SILENCE, WRITE_DEADLINE
from mdmsim.fakeapns.courier.server_core import BACKLOG
from mdmsim.fakeapns.errors import NotDurable

#: Seconds that acknowledgements and news may wait for others to go with them.
SOON = 0.005


class Bell:
    """Wakes the writer. Rung any number of times before the writer looks, it wakes once."""

    def __init__(self) -> None:
        self._event = trio.Event()
        self._now = trio.Event()

    def ring(self) -> None:
        """There is something to write now."""
        self._event.set()
        self._now.set()

    def ring_softly(self) -> None:
        """There is something to write that nobody waits for: within `SOON`, with whatever comes until then."""
        self._event.set()

    def hush(self) -> None:
        """From now on `wait` waits for the next ring. Hush first, look for work then: no ring is missed."""
        if self._event.is_set():
            self._event = trio.Event()
            self._now = trio.Event()

    async def wait(self, seconds: float) -> bool:
        """Whether it rang within that time."""
        with trio.move_on_after(seconds):
            await self._event.wait()
        if not self._event.is_set():
            return False
        if not self._now.is_set():
            with trio.move_on_after(SOON):
                await self._now.wait()
        return True


class End(Protocol):
    """One end of a conversation, without I/O."""

    @property
    def keep_alive(self) -> float: ...

    @property
    def backlog(self) -> int: ...

    @property
    def unfinished(self) -> int | None: ...

    @property
    def closing(self) -> str | None: ...

    @property
    def promises(self) -> bool: ...

    def receive(self, data: bytes) -> None: ...

    def outgoing(self) -> bytes: ...

    def written(self) -> None: ...

    def ping(self) -> None: ...


async def pump(
    stream: trio.abc.Stream,
    end: End,
    bell: Bell,
    *,
    write_deadline: float = WRITE_DEADLINE,
    durable: Callable[[], Awaitable[None]] | None = None,
) -> str:
    """Carry bytes both ways until either end has had enough; return why. The stream is closed then.

    `durable` is awaited before something is written that makes promises; NotDurable ends the connection.
    """
    connection = _Connection(stream, end, bell, write_deadline, durable)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(connection.read, nursery.cancel_scope)
            nursery.start_soon(connection.write, nursery.cancel_scope)
    finally:
        await trio.aclose_forcefully(stream)
    return connection.why


class _Connection:
    def __init__(
        self,
        stream: trio.abc.Stream,
        end: End,
        bell: Bell,
        write_deadline: float,
        durable: Callable[[], Awaitable[None]] | None,
    ) -> None:
        self._stream = stream
        self._end = end
        self._bell = bell
        self._write_deadline = write_deadline
        self._durable = durable
        self._drained = trio.Event()
        self.why = "closed"

    async def read(self, whole: trio.CancelScope) -> None:
        end = self._end
        # The frame that is not complete yet, and when it was begun: one that drips is silence.
        frame: int | None = None
        begun = 0.0
        while end.closing is None:
            while end.backlog > BACKLOG:
                self._drained = trio.Event()
                await self._drained.wait()
            data = b""
            try:
                since = trio.current_time() if frame is None else begun
                with trio.move_on_at(since + end.keep_alive * SILENCE) as silence:
                    data = bytes(await self._stream.receive_some(65536))
            except trio.BrokenResourceError:
                self._finish(whole, "broken")
                return
            if silence.cancelled_caught:
                self._finish(whole, "silent for too long")
                return
            if not data:
                self._finish(whole, "closed by the other end")
                return
            end.receive(data)
            if end.unfinished is not None and end.unfinished != frame:
                begun = trio.current_time()
            frame = end.unfinished
        # The writer says goodbye, and ends it.
        self._bell.ring()

    async def write(self, whole: trio.CancelScope) -> None:
        end = self._end
        while True:
            self._bell.hush()
            promises = end.promises
            if data := end.outgoing():
                try:
                    if promises and self._durable is not None:
                        # A token that was told and forgotten would be unknown to providers after a crash.
                        await self._durable()
                    with trio.move_on_after(self._write_deadline) as deadline:
                        await self._stream.send_all(data)
                except trio.BrokenResourceError:
                    self._finish(whole, "broken")
                    return
                except NotDurable as error:
                    self._finish(whole, str(error))
                    return
                if deadline.cancelled_caught:
                    self._finish(whole, "too slow in reading")
                    return
                end.written()
                self._drained.set()
            elif (closing := end.closing) is not None:
                self._finish(whole, closing)
                return
            elif not await self._bell.wait(end.keep_alive):
                end.ping()

    def _finish(self, whole: trio.CancelScope, why: str) -> None:
        self.why = why
        whole.cancel()

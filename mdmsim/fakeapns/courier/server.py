"""The courier's server on trio: plain TCP on loopback, one connection per fleet process.

TLS would cost five times the memory per connection and protect nothing here: the fake holds no secrets of devices.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import trio

from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.courier.pump import Bell, pump
from mdmsim.fakeapns.courier.server_core import Conversation
from mdmsim.fakeapns.service import ApnsService

_log = logging.getLogger(__name__)


class CourierServer:
    """Accepts courier connections for a service."""

    def __init__(
        self,
        service: ApnsService,
        *,
        keep_alive: float = protocol.KEEP_ALIVE,
        write_deadline: float = protocol.WRITE_DEADLINE,
    ) -> None:
        self._service = service
        self._keep_alive = keep_alive
        self._write_deadline = write_deadline
        self._conversations: set[Conversation] = set()
        #: How many connections were ended by a defect of this program.
        self.defects = 0

    @property
    def connections(self) -> int:
        return len(self._conversations)

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self.handle, list(listeners), task_status=task_status)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end. A defect ends this connection and no other."""
        try:
            await self._converse(stream)
        except* Exception as defect:
            self.defects += 1
            _log.error("a courier connection failed", exc_info=defect)

    async def _converse(self, stream: trio.abc.Stream) -> None:
        bell = Bell()
        conversation = Conversation(self._service, bell.ring, keep_alive=self._keep_alive)
        if self._service.darkness.over("devices"):
            await trio.aclose_forcefully(stream)
            return
        self._conversations.add(conversation)
        why = "the fake APNs was stopped"
        whole = trio.CancelScope()
        unwatch = self._service.darkness.watch("devices", whole.cancel)
        try:
            with whole:
                why = await pump(
                    stream, conversation, bell, write_deadline=self._write_deadline, durable=self._service.durable
                )
            if whole.cancelled_caught:
                why = "blackout"
        except Exception:
            why = "a defect of the fake APNs: see its standard error"
            raise
        finally:
            unwatch()
            self._conversations.discard(conversation)
            conversation.close(why)

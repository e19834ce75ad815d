"""The courier's client on trio."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from types import TracebackType

import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.chance import Chance
from mdmsim.fakeapns.courier.backoff import Backoff
from mdmsim.fakeapns.courier.client_core import Answered, Broken, ClientCore, Greeted, Heard, Lost
from mdmsim.fakeapns.courier.interface import OnLost, OnPush
from mdmsim.fakeapns.courier.protocol import CONNECT_TIMEOUT, SILENCE, Environment
from mdmsim.fakeapns.courier.pump import Bell, pump
from mdmsim.fakeapns.errors import CourierError, CourierUnreachable
from mdmsim.http import ConnectFailed

#: Seconds that a courier which is being closed gets for what it has not written yet.
LAST_WORDS = 2.0


class CourierClient:
    """One connection to a fake APNs, for all devices of a process. Use it with `async with`.

    Entering raises CourierUnreachable if nothing answers. After that a broken connection is made again, after a
    jittered, growing wait; subscriptions and open requests survive it, pushes are neither lost nor doubled.
    `chance` is the jitter's. See `Courier` for the methods.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        on_push: OnPush,
        chance: Chance,
        on_lost: OnLost | None = None,
        name: str = "",
        manual: bool = False,
    ) -> None:
        self._host = host
        self._port = port
        self._core = ClientCore(name)
        self._backoff = Backoff(chance)
        self._bell = Bell()
        self._end = _End(self._core, on_push, on_lost, manual, self._bell)
        self._manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        #: How many connections were made so far; more than one means that it broke in between.
        self.connections = 0

    @property
    def subscriptions(self) -> int:
        return len(self._core.subscriptions)

    async def __aenter__(self) -> CourierClient:
        manager = trio.open_nursery()
        nursery = await manager.__aenter__()
        self._manager, self._nursery = manager, nursery
        try:
            await nursery.start(self._run)
        except BaseException as error:
            await self._leave(type(error), error, error.__traceback__)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if kind is None:
            # What was taken or told just now is news of this process that nobody else will bring.
            with trio.move_on_after(LAST_WORDS):
                await self._end.flush()
        self._nursery.cancel_scope.cancel()
        return await self._leave(kind, error, traceback)

    async def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        return (await self._ask([self._core.register(device, topic, channel, environment)]))[0].token

    async def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        device: str = "",
        channel: str | None = None,
        environment: Environment | None = None,
    ) -> list[tuple[str, bytes]]:
        answers = await self._ask(self._core.subscribe(pairs, device, channel, environment))
        return [pair for answer in answers for pair in answer.refused]

    async def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        await self._ask(self._core.unsubscribe(pairs))

    async def retire(self, topic: str, token: bytes) -> None:
        await self._ask([self._core.retire(topic, token)])

    def ack(self, topic: str, token: bytes) -> None:
        self._core.acknowledge(topic, token)
        self._bell.ring_softly()

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._core.acted(pairs)
        self._bell.ring_softly()

    def call(self, device: str, names: Iterable[str]) -> None:
        self._core.call(device, names)
        self._bell.ring_softly()

    # inside

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        manager, self._manager = self._manager, None
        if manager is None:
            return False
        try:
            return bool(await manager.__aexit__(kind, error, traceback))
        except BaseExceptionGroup as group:
            # One task's error inside groups of one is only noise to whoever catches CourierError or their own.
            if (only := _only(group)) is None:
                raise
            raise only from only.__cause__

    async def _ask(self, ids: list[int]) -> list[Answered]:
        if self._manager is None:
            raise CourierError('the courier is closed: use it inside "async with"')
        self._bell.ring()
        answers = []
        try:
            for number in ids:
                self._end.waiting[number] = trio.Event()
            for number in ids:
                await self._end.waiting[number].wait()
                answers.append(self._end.answers[number])
        finally:
            self._core.give_up(ids)
            for number in ids:
                self._end.waiting.pop(number, None)
                self._end.answers.pop(number, None)
        for answer in answers:
            if answer.refusal is not None:
                raise answer.refusal
        return answers

    async def _run(self, task_status: trio.TaskStatus[None]) -> None:
        while True:
            try:
                with trio.fail_after(CONNECT_TIMEOUT):
                    await refuse_apple_resolved(self._host, self._port)
                    stream = await trio.open_tcp_stream(self._host, self._port)
            except (OSError, trio.TooSlowError, ConnectFailed) as error:
                why = str(error) or "no answer in time"
            else:
                why = await self._talk(stream, task_status)
            if not self.connections:
                raise CourierUnreachable(
                    f"courier {self._host}:{self._port}: {why}. Is the fake APNs running, and is this its courier port?"
                )
            await trio.sleep(self._backoff.next())

    async def _talk(self, stream: trio.abc.Stream, task_status: trio.TaskStatus[None]) -> str:
        def greeted() -> None:
            self._backoff.reset()
            self.connections += 1
            if self.connections == 1:
                task_status.started()

        self._core.connected()
        self._end.begin(greeted)
        try:
            return await pump(stream, self._end, self._bell)
        finally:
            self._core.disconnected()


class _End:
    """The client as the pump sees it: dispatches what the core hears."""

    backlog = 0
    promises = False

    def __init__(self, core: ClientCore, on_push: OnPush, on_lost: OnLost | None, manual: bool, bell: Bell) -> None:
        self._core = core
        self._on_push = on_push
        self._on_lost = on_lost
        self._manual = manual
        self._bell = bell
        self._greeted: Callable[[], None] | None = None
        self.waiting: dict[int, trio.Event] = {}
        self.answers: dict[int, Answered] = {}
        self.closing: str | None = None
        self._flushed: trio.Event | None = None

    @property
    def keep_alive(self) -> float:
        # Until hello, silence is not patience but a program that speaks something else.
        return self._core.keep_alive if self._greeted is None else CONNECT_TIMEOUT / SILENCE

    @property
    def unfinished(self) -> int | None:
        return self._core.unfinished

    def begin(self, greeted: Callable[[], None]) -> None:
        """A new connection; `greeted` is called at the server's hello."""
        self._greeted = greeted
        self.closing = None

    def receive(self, data: bytes) -> None:
        for happening in self._core.receive(data):
            match happening:
                case Heard(topic=topic, token=token, payload=payload):
                    self._on_push(topic, token, payload)
                    if not self._manual:
                        self._core.acknowledge(topic, token)
                case Answered(id=number):
                    if (event := self.waiting.get(number)) is not None:
                        self.answers[number] = happening
                        event.set()
                case Lost(pairs=pairs):
                    for topic, token in pairs:
                        if self._on_lost is not None:
                            self._on_lost(topic, token)
                case Greeted():
                    if self._greeted is not None:
                        self._greeted()
                        self._greeted = None
                case Broken(error=error):
                    self.closing = str(error)
        self._bell.ring_softly()

    def outgoing(self) -> bytes:
        return self._core.outgoing()

    def written(self) -> None:
        if self._flushed is not None and not self._core.pending:
            self._flushed.set()

    async def flush(self) -> None:
        """Return once everything was written; at once without a connection."""
        while self._core.pending:
            self._flushed = trio.Event()
            self._bell.ring()
            await self._flushed.wait()

    def ping(self) -> None:
        self._core.ping()


def _only(group: BaseExceptionGroup[BaseException]) -> BaseException | None:
    """The one error inside nested groups, or None if there are several."""
    if len(group.exceptions) != 1:
        return None
    inner = group.exceptions[0]
    return _only(inner) if isinstance(inner, BaseExceptionGroup) else inner

"""The courier without sockets: for worlds where devices and fake APNs share a process."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType

from mdmsim.fakeapns.courier.interface import OnLost, OnPush
from mdmsim.fakeapns.courier.protocol import Environment
from mdmsim.fakeapns.errors import (
    TOO_MANY_TOKENS,
    UNKNOWN_TOKEN,
    CourierError,
    CourierRefused,
    TooManyTokens,
    UnknownToken,
)
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Session


class LocalCourier:
    """A courier directly on the service. Nothing waits: `on_push` is called inside the provider's request.

    `on_push` may use the courier; pushes that this causes are delivered after it returned. In a blackout of the devices'
    side it hears nothing and its requests wait, as those of couriers with a connection do.
    """

    def __init__(
        self,
        service: ApnsService,
        *,
        on_push: OnPush,
        on_lost: OnLost | None = None,
        name: str = "",
        manual: bool = False,
    ) -> None:
        self._service = service
        self._on_push = on_push
        self._on_lost = on_lost
        self._name = name
        self._manual = manual
        self._session: Session | None = None
        self._taking = False
        self._numbers: dict[tuple[str, bytes], int] = {}
        # What is subscribed, and whose it is: subscribed anew after a blackout.
        self._wanted: dict[tuple[str, bytes], str] = {}
        self._unwatch: Callable[[], None] | None = None

    async def __aenter__(self) -> LocalCourier:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begin; without effect while it is open. For worlds that do not use `async with`."""
        if self._unwatch is None:
            self._unwatch = self._service.darkness.watch("devices", self._break_off, self._resume)
            self._resume()

    def close(self, why: str = "closed") -> None:
        """End all subscriptions, as when the connection breaks; pushes not acknowledged stay pending."""
        if self._unwatch is not None:
            self._unwatch()
            self._unwatch = None
        self._wanted.clear()
        self._break_off(why)

    async def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        await self._reached()
        try:
            return self._service.register(device, topic, channel, environment)
        except TooManyTokens as error:
            raise CourierRefused(TOO_MANY_TOKENS, str(error)) from None

    async def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        device: str = "",
        channel: str | None = None,
        environment: Environment | None = None,
    ) -> list[tuple[str, bytes]]:
        wanted, session = tuple(pairs), await self._reached()
        count = len(wanted)
        refused = session.subscribe(wanted, (device,) * count, environment or "production", (channel or "",) * count)
        self._wanted.update((pair, device) for pair in wanted if pair not in refused)
        return refused

    async def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        gone, session = tuple(pairs), await self._reached()
        for pair in gone:
            self._wanted.pop(pair, None)
        session.unsubscribe(gone)

    async def retire(self, topic: str, token: bytes) -> None:
        await self._reached()
        self._wanted.pop((topic, token), None)
        try:
            self._service.retire(topic, token)
        except UnknownToken as error:
            raise CourierRefused(UNKNOWN_TOKEN, str(error)) from None

    def ack(self, topic: str, token: bytes) -> None:
        number = self._numbers.pop((topic, token), None)
        if self._session is not None and number is not None:
            self._session.acknowledge(number)

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        if self._session is not None:
            self._session.acted(pairs)

    def call(self, device: str, names: Iterable[str]) -> None:
        self._service.tokens.call(device, names)

    # what the session calls

    def wake(self) -> None:
        if self._taking:
            return
        self._taking = True
        try:
            while self._session is not None and (pushes := self._session.take(1)):
                for push in pushes:
                    self._numbers[push.topic, push.token] = push.number
                    self._on_push(push.topic, push.token, push.payload)
                    if not self._manual:
                        self.ack(push.topic, push.token)
        finally:
            self._taking = False

    def replaced(self, topic: str, token: bytes) -> None:
        self._wanted.pop((topic, token), None)
        self._numbers.pop((topic, token), None)
        if self._on_lost is not None:
            self._on_lost(topic, token)

    # inside

    def _break_off(self, why: str = "blackout") -> None:
        session, self._session = self._session, None
        self._numbers.clear()
        if session is not None:
            session.close(why)

    def _resume(self) -> None:
        if self._session is None and not self._service.darkness.over("devices"):
            self._session = session = self._service.open_session(self, self._name)
            if self._wanted:
                for pair in session.subscribe(tuple(self._wanted), tuple(self._wanted.values())):
                    # Retired meanwhile, as a courier learns when it connects again.
                    self.replaced(*pair)

    async def _reached(self) -> Session:
        """The session, once there is no blackout any more."""
        while self._unwatch is not None:
            if self._session is not None:
                return self._session
            if (until_ms := self._service.darkness.until_ms("devices")) is not None:
                await self._service.clock.sleep_until(until_ms)
            self._resume()
        raise CourierError('the courier is closed: use it inside "async with"')

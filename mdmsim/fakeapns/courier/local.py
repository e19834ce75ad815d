"""The courier without sockets: for worlds where devices and fake APNs share a process."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

from mdmsim.fakeapns.courier.interface import OnLost, OnPush
from mdmsim.fakeapns.courier.protocol import Environment
from mdmsim.fakeapns.errors import CourierError, CourierRefused, UnknownToken
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Session


class LocalCourier:
    """A courier directly on the service. Nothing waits: `on_push` is called inside the provider's request.

    `on_push` may use the courier; pushes that this causes are delivered after it returned.
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

    async def __aenter__(self) -> LocalCourier:
        self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Begin; without effect while it is open. For worlds that do not use `async with`."""
        if self._session is None:
            self._session = self._service.open_session(self, self._name)

    def close(self, why: str = "closed") -> None:
        """End all subscriptions, as when the connection breaks; pushes not acknowledged stay pending."""
        session, self._session = self._session, None
        self._numbers.clear()
        if session is not None:
            session.close(why)

    async def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        self._open_session()
        return self._service.register(device, topic, channel, environment)

    async def subscribe(self, pairs: Iterable[tuple[str, bytes]], device: str = "") -> list[tuple[str, bytes]]:
        wanted = tuple(pairs)
        return self._open_session().subscribe(wanted, (device,) * len(wanted))

    async def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._open_session().unsubscribe(pairs)

    async def retire(self, topic: str, token: bytes) -> None:
        self._open_session()
        try:
            self._service.retire(topic, token)
        except UnknownToken as error:
            raise CourierRefused("unknown-token", str(error)) from None

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
        self._numbers.pop((topic, token), None)
        if self._on_lost is not None:
            self._on_lost(topic, token)

    def _open_session(self) -> Session:
        if self._session is None:
            raise CourierError('the courier is closed: use it inside "async with"')
        return self._session

"""A device as a test needs one: a token, an ear, and a switch."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.embedded.pushes import HeardPush, ReceivedPush, verdicts
from mdmsim.fakeapns.provider import Environment
from mdmsim.fakeapns.service import ApnsService

#: Seconds that waiting lasts where the caller does not say.
PATIENCE = 10.0


class Apns(Protocol):
    """What a device needs of the fake that it belongs to."""

    @property
    def pushes(self) -> list[ReceivedPush]:
        """Every push request so far."""

    def call(self, job: Callable[[ApnsService], Awaitable[Any]]) -> Any:
        """Run it in the fake's loop."""

    def token(self, device: str, topic: str | None = None, *, environment: Environment = "production") -> str:
        """The device's token."""

    def retire(self, token: str) -> None:
        """Providers get 410 for it from now on."""


class SimulatedDevice:
    """A device as APNs knows one: a token for a topic, and an ear. Made by `FakeApns.device`."""

    def __init__(self, apns: Apns, name: str, topic: str, token: str, environment: Environment) -> None:
        self.name = name
        self.topic = topic
        self.environment = environment
        #: As providers write it: 64 hex digits.
        self.token = token
        self._apns = apns
        self._heard: list[HeardPush] = []
        self._waited = 0
        self._changed = threading.Condition()
        self._courier: LocalCourier | None = None

    def __repr__(self) -> str:
        return f"<device {self.name} {self.token[:8]}...>"

    @property
    def pushes(self) -> list[HeardPush]:
        """Everything that it has heard, oldest first. What was accepted is here before the provider has its 200."""
        with self._changed:
            return list(self._heard)

    def wait_for_push(self, timeout: float = PATIENCE) -> HeardPush:
        """The next push that no earlier call returned, heard already or still to come.

        Raises TimeoutError after `timeout` seconds; its text says what APNs did with pushes for this device.
        """
        with self._changed:
            if self._changed.wait_for(lambda: len(self._heard) > self._waited, timeout):
                self._waited += 1
                return self._heard[self._waited - 1]
        mine = [push for push in self._apns.pushes if push.token == self.token]
        others = len(self._apns.pushes) - len(mine)
        more = f", and {others} to other tokens" if others else ""
        raise TimeoutError(f"{self.name} heard no push within {timeout:g} s; {verdicts(mine)}{more}")

    def go_offline(self) -> None:
        """Listen no more: pushes are kept, the newest one, until it is online again."""

        async def job(service: ApnsService) -> None:
            if self._courier is not None:
                self._courier.close("offline")
                self._courier = None

        self._apns.call(job)

    def go_online(self) -> None:
        """Listen; what was kept is heard at once. Without effect on a device that listens."""

        async def job(service: ApnsService) -> None:
            if self._courier is None:
                self._courier = LocalCourier(service, on_push=self._hear, name=self.name)
                self._courier.open()
                await self._courier.subscribe([(self.topic, token_bytes(self.token))])

        self._apns.call(job)

    def retire(self) -> None:
        """It is erased or unenrolled: providers get 410 Unregistered."""
        self._apns.retire(self.token)

    def erase(self) -> str:
        """It is erased and set up again: its token is retired, and it has a new one, which is returned."""
        online = self._courier is not None
        self.go_offline()
        self.retire()
        self.token = self._apns.token(self.name, self.topic, environment=self.environment)
        if online:
            self.go_online()
        return self.token

    def _hear(self, topic: str, token: bytes, payload: bytes) -> None:
        with self._changed:
            self._heard.append(HeardPush(topic, token.hex(), payload))
            self._changed.notify_all()


def token_bytes(text: str) -> bytes:
    """A token as bytes. Raises ValueError for what is not hex."""
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ValueError(f'token "{text[:20]}": a token is written in hex') from None

"""The one small interface that all couriers have. Its three shells pass one contract suite.

`BlockingCourier` has the same methods without `await`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from mdmsim.fakeapns.courier.protocol import Environment

#: Called with topic, token and payload of every push. A plain function that returns at once; when it returns, the
#: push is acknowledged (unless the courier was made with `manual=True`). What it raises ends the courier.
OnPush = Callable[[str, bytes, bytes], None]

#: Called with topic and token when another connection took a subscription over, or the token was retired elsewhere.
OnLost = Callable[[str, bytes], None]


class Courier(Protocol):
    """How a process that runs devices hears pushes."""

    async def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        """The push token of that device for that topic, channel and environment: the same until it is retired."""

    async def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        device: str = "",
        channel: str | None = None,
        environment: Environment | None = None,
    ) -> list[tuple[str, bytes]]:
        """Listen for these pairs of topic and token, until unsubscribed; pending pushes come at once.

        Returns the pairs that are refused, because they are retired or cannot be tokens. `device`: whose they are,
        for people who look for it at the fake APNs, and of which `channel`. `environment`: of tokens that the fake
        does not know, because they were made elsewhere or it forgot them. None: as they were registered through this
        courier; else the channel `device`, and production.
        """

    async def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        """Listen no more. Pushes are kept for whoever subscribes next, as for a device that is switched off."""

    async def retire(self, topic: str, token: bytes) -> None:
        """The device is gone for good: providers get 410. Raises CourierRefused for an unknown token."""

    def ack(self, topic: str, token: bytes) -> None:
        """The last push of this pair is taken. Needed only with `manual=True`; a second time is without effect."""

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        """The devices of these pairs connected to their servers, because of the last push they heard. News, no more."""

    def call(self, device: str, names: Iterable[str]) -> None:
        """Other names of a device (UDID, serial number), for people who look for it by one of them."""

"""Who may enrol: static, one-time and callback challenges.

A one-time challenge is not burnt by an attempt that failed, nor by an answer that got lost on its way: devices start
over with the same profile, then with a new key. It is burnt when the server sees the identity in use.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from mdmsim.chance import Chance
from mdmsim.clock import HOUR, Clock

if TYPE_CHECKING:
    from mdmsim.pki.scep.server import Request


class Challenges(Protocol):
    """Judges challenges. Called in the order `allows`, then `issued` if a certificate came of it."""

    def allows(self, challenge: str | None, request: Request) -> bool:
        """Whether this request may have a certificate. Must not use the challenge up."""

    def issued(self, challenge: str | None, request: Request, certificate: bytes) -> None:
        """A certificate was made for it; whether its answer arrives is not known."""


class AnyChallenge:
    """Everyone may enrol: for fakes and tests."""

    def allows(self, challenge: str | None, request: Request) -> bool:
        return True

    def issued(self, challenge: str | None, request: Request, certificate: bytes) -> None:
        """Nothing to remember."""


class StaticChallenge:
    """One secret for all."""

    def __init__(self, secret: str) -> None:
        if not secret:
            raise ValueError("an empty challenge lets no one in: set one, or use AnyChallenge")
        self._secret = secret.encode()

    def allows(self, challenge: str | None, request: Request) -> bool:
        # In constant time: how long a refusal takes must not tell how much of the secret was right.
        return challenge is not None and hmac.compare_digest(challenge.encode(), self._secret)

    def issued(self, challenge: str | None, request: Request, certificate: bytes) -> None:
        """Nothing to remember."""


class CallbackChallenge:
    """Whatever a function says."""

    def __init__(self, judge: Callable[[str | None, Request], bool]) -> None:
        self._judge = judge

    def allows(self, challenge: str | None, request: Request) -> bool:
        return self._judge(challenge, request)

    def issued(self, challenge: str | None, request: Request, certificate: bytes) -> None:
        """Nothing to remember."""


@dataclass(slots=True)
class _Ticket:
    expires_ms: int
    issued: int = 0


class OneTimeChallenges:
    """A challenge per enrollment, kept in memory.

    Good for `lifetime_ms`, until `settle`, and for `most` certificates: whoever reads a profile on its way must not
    be able to mint identities without end.
    """

    def __init__(self, clock: Clock, chance: Chance, *, lifetime_ms: int = HOUR, most: int = 5) -> None:
        self._clock = clock
        self._chance = chance
        self._lifetime_ms = lifetime_ms
        self._most = most
        self._tickets: dict[str, _Ticket] = {}

    def new(self) -> str:
        """A fresh challenge, for one profile."""
        now = self._clock.now_ms()
        self._tickets = {key: each for key, each in self._tickets.items() if each.expires_ms > now}
        challenge = self._chance.hex(16)
        self._tickets[challenge] = _Ticket(now + self._lifetime_ms)
        return challenge

    def settle(self, challenge: str) -> None:
        """Burn it: its identity is in use. Unknown ones are none of our business."""
        self._tickets.pop(challenge, None)

    def allows(self, challenge: str | None, request: Request) -> bool:
        ticket = self._tickets.get(challenge or "")
        return ticket is not None and ticket.expires_ms > self._clock.now_ms() and ticket.issued < self._most

    def issued(self, challenge: str | None, request: Request, certificate: bytes) -> None:
        if (ticket := self._tickets.get(challenge or "")) is not None:
            ticket.issued += 1

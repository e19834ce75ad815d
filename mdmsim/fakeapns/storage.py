"""What the fake APNs remembers, behind a narrow interface: registered tokens and the one pending push of each.

The service keeps what it needs to answer in memory and tells its storage of every change; the storage's part is to
have it all again after a restart: of the process, on the file of a `SqliteStorage`, or of a service in the same
process, on the same `MemoryStorage`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec


class Registration(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One token: which device holds it, for which topic, channel and environment, since when, and until when.

    `generation` counts the tokens that this device had for this topic and channel, from 0. `environment` is Apple's
    word for one of its two services: `production` or `sandbox`.
    """

    topic: str
    token: bytes
    device: str = ""
    channel: str = "device"
    generation: int = 0
    registered_ms: int = 0
    retired_ms: int | None = None
    environment: str = "production"


class Push(msgspec.Struct, frozen=True, gc=False):
    """One accepted push. `number` grows with every push, across restarts too; `expires_ms` 0 means now or never.

    `repetition`: a fault delivers it a second time.
    """

    number: int
    topic: str
    token: bytes
    payload: bytes
    apns_id: str
    accepted_ms: int
    expires_ms: int
    repetition: bool = False


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """Everything there was at the last end. To be read once, before the storage is told anything new.

    `epoch` names the run of push numbers that this storage belongs to; numbers up to `number` may have been given out.
    Registrations come in the order in which they were first kept. `certificates` are push certificates, DER.
    """

    epoch: str
    registrations: Iterable[Registration] = ()
    pushes: Iterable[Push] = ()
    certificates: Iterable[bytes] = ()
    number: int = 0


class Storage(Protocol):
    """Where registrations, pending pushes and push certificates outlive the service."""

    @property
    def trouble(self) -> str | None:
        """Why what it was told last is not safe yet, for people; None while all is well."""

    def load(self, fresh_epoch: str) -> Stored:
        """What was kept; an empty storage takes `fresh_epoch` for its epoch from now on."""

    def keep_registration(self, registration: Registration) -> None:
        """Keep a registration; a later one for the same topic and token replaces it."""

    def keep_push(self, push: Push) -> None:
        """Keep a push as the pending one of its topic and token, in place of any older one."""

    def drop_push(self, push: Push) -> None:
        """Forget a push that was delivered, expired or orphaned; a newer one in its place stays."""

    def keep_certificate(self, der: bytes) -> None:
        """Keep a registered push certificate; again is no mistake."""

    def drop_certificate(self, der: bytes) -> None:
        """Forget a push certificate; one that is not kept is left alone."""

    async def durable(self) -> None:
        """Return once everything told so far would survive a crash. Called before a batch of 200s is sent.

        Raises NotDurable if that could not be done. What was told is remembered, and tried again.
        """


class NoStorage:
    """For a service that nobody will start again: its own memory is all there is."""

    trouble: str | None = None

    def load(self, fresh_epoch: str) -> Stored:
        return Stored(epoch=fresh_epoch)

    def keep_registration(self, registration: Registration) -> None:
        return

    def keep_push(self, push: Push) -> None:
        return

    def drop_push(self, push: Push) -> None:
        return

    def keep_certificate(self, der: bytes) -> None:
        return

    def drop_certificate(self, der: bytes) -> None:
        return

    async def durable(self) -> None:
        return


class MemoryStorage:
    """A storage that lives as long as its process, for whoever starts a service on it again."""

    trouble: str | None = None

    def __init__(self) -> None:
        self._epoch: str | None = None
        self._number = 0
        self._registrations: dict[tuple[str, bytes], Registration] = {}
        self._pushes: dict[tuple[str, bytes], Push] = {}
        self._certificates: dict[bytes, None] = {}

    def load(self, fresh_epoch: str) -> Stored:
        self._epoch = self._epoch or fresh_epoch
        return Stored(
            epoch=self._epoch,
            registrations=tuple(self._registrations.values()),
            pushes=tuple(self._pushes.values()),
            certificates=tuple(self._certificates),
            number=self._number,
        )

    def keep_registration(self, registration: Registration) -> None:
        self._registrations[registration.topic, registration.token] = registration

    def keep_push(self, push: Push) -> None:
        self._pushes[push.topic, push.token] = push
        self._number = max(self._number, push.number)

    def drop_push(self, push: Push) -> None:
        key = push.topic, push.token
        if (kept := self._pushes.get(key)) is not None and kept.number <= push.number:
            del self._pushes[key]

    def keep_certificate(self, der: bytes) -> None:
        self._certificates[der] = None

    def drop_certificate(self, der: bytes) -> None:
        self._certificates.pop(der, None)

    async def durable(self) -> None:
        return

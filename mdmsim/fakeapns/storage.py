"""What the fake APNs remembers, behind a narrow interface: registered tokens and the one pending push of each.

The service keeps what it needs to answer in memory and tells its storage of every change; the storage's part is to
have it all again after a restart: of the process, on the file of a `SqliteStorage`, or of a service in the same
process, on the same `MemoryStorage`.
"""

from __future__ import annotations

import struct
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


#: Number, accepted_ms, expires_ms, whether it is a repetition, bytes of the apns-id; that and the payload follow.
_HEAD = struct.Struct("<qqq?H")
_INTEGER = struct.Struct("<q")

#: The last moment that fits: `apns-expiration` knows later ones.
_FOREVER = 2**63 - 1


class Push(msgspec.Struct, frozen=True, gc=False):
    """One accepted push. Made by `Push.of`; all but topic and token is packed into one object.

    For a hundred thousand of them wait in memory: packed, one takes 190 bytes, and with an object for each field 350.
    """

    topic: str
    token: bytes
    packed: bytes

    @classmethod
    def of(
        cls,
        number: int,
        topic: str,
        token: bytes,
        payload: bytes,
        apns_id: str,
        accepted_ms: int,
        expires_ms: int,
        *,
        repetition: bool = False,
    ) -> Push:
        """A push with these fields. What expires after the year 292,277,026 expires then."""
        name = apns_id.encode()
        head = _HEAD.pack(number, accepted_ms, min(expires_ms, _FOREVER), repetition, len(name))
        return cls(topic, token, b"".join((head, name, payload)))

    def again(self, number: int) -> Push:
        """The same under another number: a fault delivers it a second time."""
        return Push.of(
            number,
            self.topic,
            self.token,
            self.payload,
            self.apns_id,
            self.accepted_ms,
            self.expires_ms,
            repetition=True,
        )

    @property
    def number(self) -> int:
        """Grows with every push, across restarts too."""
        number: int = _INTEGER.unpack_from(self.packed)[0]
        return number

    @property
    def accepted_ms(self) -> int:
        at_ms: int = _INTEGER.unpack_from(self.packed, 8)[0]
        return at_ms

    @property
    def expires_ms(self) -> int:
        """0 means now or never."""
        at_ms: int = _INTEGER.unpack_from(self.packed, 16)[0]
        return at_ms

    @property
    def repetition(self) -> bool:
        """Whether it is a fault's second delivery of another push."""
        return self.packed[24] != 0

    @property
    def apns_id(self) -> str:
        return self.packed[_HEAD.size : self._payload_at()].decode()

    @property
    def payload(self) -> bytes:
        return self.packed[self._payload_at() :]

    def _payload_at(self) -> int:
        return _HEAD.size + int.from_bytes(self.packed[25:27], "little")


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

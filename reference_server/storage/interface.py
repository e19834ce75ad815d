"""The storage as its users see it: one protocol per concern, each as narrow as the code that asks for it.

Every method is one durable transaction: when it has returned, a killed server has not lost it. `Refusal` raised by a
method leaves nothing behind. Methods are async for backends on a network; the SQLite backend never awaits, so that
nothing else runs in the middle of a transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from mdmsim.protocol.connect import Report
from reference_server.refusals import Refusals
from reference_server.storage.records import (
    ChallengeTerms,
    CommandRecord,
    CommandState,
    Connected,
    Device,
    EnrollmentStatus,
    IssuedIdentity,
    NewCommand,
    Opening,
    PushTarget,
    RefusalRule,
    RefuseAt,
    StoredResult,
    TokenNews,
)


class CheckInStore(Protocol):
    """What check-in messages change."""

    async def authenticate(self, opening: Opening, *, refusals: Refusals, now_ms: int) -> None:
        """Open the enrollment for the identity, pending until its TokenUpdate. Raises Refusal."""

    async def token_update(
        self,
        news: TokenNews,
        *,
        first_commands: Sequence[NewCommand],
        release: Callable[[], NewCommand] | None,
        refusals: Refusals,
        now_ms: int,
    ) -> bool:
        """Keep token and push magic; True if that finished an enrollment. Raises Refusal.

        Finishing one, in the same transaction: the identity becomes the enrollment's only one, what was queued before
        its Authenticate is superseded, `first_commands` are queued. `release` makes the DeviceConfigured that is queued
        for a device held in Setup Assistant once it has answered all commands marked `setup`; None: none is.
        """

    async def check_out(self, enrollment_id: str, identity: str, *, refusals: Refusals, now_ms: int) -> None:
        """End the enrollment at the device's own wish; a second time changes nothing. Raises Refusal."""


class ConnectStore(Protocol):
    """What a report changes, and what comes next."""

    async def connect(
        self,
        report: Report,
        body: bytes,
        *,
        identity: str,
        release: Callable[[], NewCommand] | None,
        refusals: Refusals,
        now_ms: int,
    ) -> Connected:
        """Keep the report and choose the next command of the session. Raises Refusal.

        `body` is kept as the result. Reports about unknown or closed commands are not errors. `release`: as in
        `token_update`; a DeviceConfigured that was acknowledged ends the device's waiting.
        """


class CommandStore(Protocol):
    """The queue as the administrator sees it."""

    async def queue(
        self, commands: Sequence[tuple[str, NewCommand]], *, push: bool, now_ms: int
    ) -> list[CommandRecord]:
        """Append commands (enrollment id, command) to their queues: all of them, or none.

        Raises ApiProblem for an enrollment that is unknown or has ended, or a CommandUUID used before there.
        """

    async def command(self, enrollment_id: str, command_uuid: str) -> CommandRecord | None:
        """One command; None if there is none."""

    async def results(self, enrollment_id: str, command_uuid: str) -> list[StoredResult]:
        """What the device reported about it, oldest first; the same report is kept once."""

    async def commands(
        self, enrollment_id: str, *, state: CommandState | None, after: int, limit: int
    ) -> list[CommandRecord]:
        """Commands with `seq` above `after`, in the order in which they were queued, without results."""

    async def cancel(self, enrollment_id: str, command_uuid: str | None, *, now_ms: int) -> int:
        """Close open commands unanswered: that one, or all. How many were closed."""


class DeviceStore(Protocol):
    """The enrollments as the administrator sees them."""

    async def device(self, enrollment_id: str) -> Device | None: ...

    async def devices(
        self, *, status: EnrollmentStatus | None, serial: str | None, after: str, limit: int
    ) -> list[Device]:
        """Enrollments with an id above `after`, by id."""

    async def unlock_token(self, enrollment_id: str) -> bytes | None:
        """What ClearPasscode needs, as the device told it last; None if it told none."""

    async def renewal_queued(self, enrollment_id: str, command_uuid: str) -> None:
        """This command renews the enrollment now; the one that did before is closed unanswered if it is still open."""

    async def remove(self, enrollment_id: str, *, now_ms: int) -> bool:
        """End the enrollment at the administrator's wish, with a tombstone for each identity; False if unknown."""


class PushStore(Protocol):
    """What the push ladder needs to know, and nothing else."""

    async def due(self, *, now_ms: int, limit: int) -> list[PushTarget]:
        """Enrollments whose push is due, oldest first; each is moved to its next rung in the same transaction."""

    async def next_due_ms(self) -> int | None:
        """When the next push is due; None if none is planned."""

    async def push_target(self, enrollment_id: str) -> PushTarget | None:
        """Where to push; None for an unknown or ended enrollment, or one that never sent a token."""

    async def pushed(
        self, target: PushTarget, *, status: int, reason: str | None, stop: bool, dead: bool, now_ms: int
    ) -> None:
        """Keep APNs' answer, if the token is still the one that was pushed to. `stop` ends this ladder, `dead` all
        pushing until a TokenUpdate."""


class RefusalStore(Protocol):
    """Rules that answer 401."""

    async def add_refusal(self, udid: str | None, serial: str | None, at: RefuseAt, *, now_ms: int) -> RefusalRule: ...

    async def refusals(self) -> list[RefusalRule]: ...

    async def remove_refusal(self, rule_id: int) -> bool:
        """False if there was no such rule."""


class ScepStore(Protocol):
    """Challenges and what was issued for them. Challenges are kept as SHA-256 in hex.

    What has an owner is good for the enrollment with that id only, and ends with it. For each owner the newest counts:
    what was given out before it and never shown is withdrawn.
    """

    async def add_challenge(
        self, challenge: str, terms: ChallengeTerms, *, devices: int | None, expires_ms: int, now_ms: int
    ) -> int | None:
        """A challenge good for that many enrolled devices; None: any number. Expired ones may be forgotten.

        Where as many are open as the terms' limit allows, nothing is kept, and the answer is when the first of them
        expires.
        """

    async def challenge_is_open(self, challenge: str, *, now_ms: int) -> bool:
        """Known, not expired, and not yet used up by enrollments that were finished."""

    async def is_renewable(self, identity: str) -> bool:
        """An enrollment's identity now, and not yet renewed too often: what a renewal without a challenge needs."""

    async def issued(self, identity: IssuedIdentity) -> bool:
        """Keep what was given out, with the owner of its challenge, or the enrollment of the identity that it renews.

        False, and nothing is kept: its challenge is not open, or that identity not renewable.
        """


class IdentityStore(Protocol):
    """What is known of an identity by its fingerprint alone."""

    async def is_removed(self, identity: str) -> bool:
        """Whether it has a tombstone."""


class HealthStore(Protocol):
    async def ping(self) -> None:
        """Raises if the storage cannot be written to."""


class Storage(
    CheckInStore,
    ConnectStore,
    CommandStore,
    DeviceStore,
    PushStore,
    RefusalStore,
    ScepStore,
    IdentityStore,
    HealthStore,
    Protocol,
):
    """The sum of the parts, for the one place that wires them."""

    def close(self) -> None: ...

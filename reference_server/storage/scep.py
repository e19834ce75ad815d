"""Challenges and what was issued for them in SQLite. What is issued for an enrollment has that enrollment as its owner."""

from __future__ import annotations

from mdmsim.clock import SECOND
from reference_server.binding import IdentityState
from reference_server.errors import Refusal
from reference_server.storage.database import Database
from reference_server.storage.records import ChallengeTerms, IssuedIdentity

#: Certificates per device that a one-time challenge is good for, and renewals of one identity that may be asked for:
#: attempts fail, but whoever reads a profile on its way must not be able to mint identities without end.
ATTEMPTS = 10

_OPEN = """
SELECT owner, user FROM challenges WHERE challenge = ? AND expires_ms > ?
    AND (devices IS NULL OR (enrolled < devices AND
        (SELECT COUNT(*) FROM issued WHERE issued.challenge = challenges.challenge) < devices * ?))
"""
_OUTSTANDING = """
SELECT COUNT(*), MIN(expires_ms) FROM challenges WHERE limited = 1 AND expires_ms > ? AND enrolled < devices
"""
_RENEWABLE = """
SELECT identities.enrollment, user FROM identities JOIN enrollments ON id = identities.enrollment
    JOIN details ON details.enrollment = id
WHERE identities.identity = ? AND state = 'bound' AND status = 'enrolled'
    AND (SELECT COUNT(*) FROM issued WHERE renewal_of = identities.identity) < ?
"""
_INSERT_CHALLENGE = """
INSERT INTO challenges (challenge, devices, owner, user, limited, expires_ms) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (challenge) DO UPDATE SET devices = excluded.devices, owner = excluded.owner, user = excluded.user,
        expires_ms = excluded.expires_ms
"""
_INSERT_ISSUED = """
INSERT INTO issued (identity, serial, subject, challenge, renewal_of, user, transaction_id, at_ms, not_after_ms)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""


class ScepTables(Database):
    """`ScepStore` over SQLite."""

    async def add_challenge(
        self, challenge: str, terms: ChallengeTerms, *, devices: int | None, expires_ms: int, now_ms: int
    ) -> int | None:
        with self.transaction:
            self._forget_expired(now_ms)
            if terms.limit is not None:
                outstanding, first_ms = self.execute(_OUTSTANDING, (now_ms,)).fetchone()
                if outstanding >= terms.limit:
                    return int(first_ms)
            if terms.owner is not None:
                self.withdraw(terms.owner)
            self.execute(
                _INSERT_CHALLENGE,
                (challenge, devices, terms.owner, terms.user, terms.limit is not None, expires_ms),
            )
        return None

    def _forget_expired(self, now_ms: int) -> None:
        # A certificate that has expired (its last second counts) is refused whatever it was issued for.
        self.execute("DELETE FROM issued WHERE not_after_ms < ?", (now_ms - SECOND,))
        # A challenge that certificates were issued for stays: whether it is used up must be known when they are shown.
        self.execute(
            "DELETE FROM challenges WHERE expires_ms <= ?"
            " AND NOT EXISTS (SELECT 1 FROM issued WHERE issued.challenge = challenges.challenge)",
            (now_ms,),
        )

    async def challenge_is_open(self, challenge: str, *, now_ms: int) -> bool:
        return self._open_challenge(challenge, now_ms) is not None

    async def is_renewable(self, identity: str) -> bool:
        return self._renewable(identity) is not None

    async def issued(self, identity: IssuedIdentity) -> bool:
        with self.transaction:
            self._forget_expired(identity.at_ms)
            found: tuple[str | None, str | None] | None = (None, None)
            if identity.renewal_of is not None:
                found = self._renewable(identity.renewal_of)
            elif identity.challenge is not None:
                found = self._open_challenge(identity.challenge, identity.at_ms)
            if found is None:
                return False
            owner, user = found
            self.execute(
                _INSERT_ISSUED,
                (
                    identity.identity,
                    identity.serial,
                    identity.subject,
                    identity.challenge,
                    identity.renewal_of,
                    user,
                    identity.transaction_id,
                    identity.at_ms,
                    identity.not_after_ms,
                ),
            )
            if owner is not None:
                self._withdraw_identities(owner)
                self.execute(
                    "INSERT INTO identities (identity, enrollment, state, opened_ms) VALUES (?, ?, ?, ?)",
                    (identity.identity, owner, IdentityState.ISSUED, identity.at_ms),
                )
        return True

    def withdraw(self, owner: str) -> None:
        """Nothing that was given out for this enrollment and not shown yet is good any more."""
        self.execute("DELETE FROM challenges WHERE owner = ?", (owner,))
        self._withdraw_identities(owner)

    def _withdraw_identities(self, owner: str) -> None:
        self.execute(
            "UPDATE identities SET state = ? WHERE enrollment = ? AND state = ?",
            (IdentityState.WITHDRAWN, owner, IdentityState.ISSUED),
        )

    def check_challenge(self, identity: str) -> None:
        """Raise a 403 Refusal for an identity whose one-time challenge has enrolled all the devices that it was for."""
        row = self.execute(
            "SELECT 1 FROM issued JOIN challenges USING (challenge)"
            " WHERE identity = ? AND settled = 0 AND devices IS NOT NULL AND enrolled >= devices",
            (identity,),
        ).fetchone()
        if row is not None:
            raise Refusal(403, "the one-time challenge of this identity was used up by another enrollment")

    def settle_challenge(self, identity: str) -> None:
        """Count the enrollment that was finished with this identity; once for each identity."""
        # Only now: an attempt that failed half-way must not burn the challenge for the next one.
        self.execute(
            "UPDATE challenges SET enrolled = enrolled + 1 WHERE challenge ="
            " (SELECT challenge FROM issued WHERE identity = ? AND settled = 0)",
            (identity,),
        )
        self.execute("UPDATE issued SET settled = 1 WHERE identity = ?", (identity,))

    def _open_challenge(self, challenge: str, now_ms: int) -> tuple[str | None, str | None] | None:
        """Owner and user of a challenge, None for anybody's; no tuple for one that is not open."""
        row: tuple[str | None, str | None] | None = self.execute(_OPEN, (challenge, now_ms, ATTEMPTS)).fetchone()
        return row

    def _renewable(self, identity: str) -> tuple[str, str | None] | None:
        """The enrollment whose identity it is now, and its user; None if there is none, or it was renewed too often."""
        row: tuple[str, str | None] | None = self.execute(_RENEWABLE, (identity, ATTEMPTS)).fetchone()
        return row

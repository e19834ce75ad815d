"""Which identity may speak for which enrollment: the rules alone, without storage.

An identity (a certificate, by its SHA-256) is opened for an enrollment at Authenticate and becomes its one identity
at the first TokenUpdate. Until then the old one goes on working, because a device whose profile fails to install
rolls back to it. Source: Apple, MDM Protocol Reference, "Identifying Devices" and "Updating Expired Profiles".
"""

from __future__ import annotations

from enum import StrEnum

from reference_server.errors import Refusal


class IdentityState(StrEnum):
    """What became of an identity that was issued for an enrollment, or shown at an Authenticate."""

    ISSUED = "issued"  # given out for its enrollment, and not shown yet
    WITHDRAWN = "withdrawn"  # taken back before it was shown: another was issued, or the enrollment has ended
    PENDING = "pending"
    BOUND = "bound"
    ABANDONED = "abandoned"  # opened, but another one was opened before its first TokenUpdate
    SUPERSEDED = "superseded"
    CHECKED_OUT = "checked-out"
    REMOVED = "removed"


def refuse_tombstone(state: str | None) -> None:
    """Raise the 401 that makes a device unenrol, if its identity was removed by the administrator."""
    if state == IdentityState.REMOVED:
        raise Refusal(401, "the administrator removed the enrollment of this identity")


def check_authenticate(*, owner: str | None, state: str | None, enrollment_id: str) -> None:
    """Whether an identity may open this enrollment. `owner`, `state`: what is known of the identity, None for nothing."""
    refuse_tombstone(state)
    if owner is not None and owner != enrollment_id:
        raise Refusal(403, "the identity is bound to another enrollment")
    if state == IdentityState.WITHDRAWN:
        raise Refusal(403, "the identity was withdrawn: a later one was issued, or the enrollment it was for has ended")


def not_bound(*, owner: str | None, state: str | None, enrollment_id: str) -> Refusal:
    """Why an identity that is not the enrollment's own is refused. Raises the 401 of a tombstone itself."""
    refuse_tombstone(state)
    if owner is not None and owner != enrollment_id:
        return Refusal(403, "the identity is bound to another enrollment")
    if owner is None or state == IdentityState.ISSUED:
        return Refusal(403, "the identity is not bound to this enrollment: no Authenticate was seen from it")
    if state == IdentityState.PENDING:
        return Refusal(403, "the identity is not bound to this enrollment yet: its TokenUpdate is missing")
    return Refusal(403, f"the identity is not bound to this enrollment any more ({state})")

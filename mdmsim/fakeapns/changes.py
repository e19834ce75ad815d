"""What a storage was told and has not written yet: per registration, push and certificate only the last word.

A push that was kept and dropped in between costs no write of its own, and changes that could not be written wait
under the newer ones without growing beyond one entry for each thing.
"""

from __future__ import annotations

from collections.abc import Mapping

from mdmsim.fakeapns.storage import Push, Registration

Pair = tuple[str, bytes]


class Changes:
    """The last word on everything that changed. Keys are topic and token; certificates are keyed by their DER.

    For a pair, `pushes` holds the push to keep, or the number up to which pushes are to be forgotten. `certificates`
    says whether one is to be kept. `number`, where it is not None, is what `Stored.number` is to become.
    """

    __slots__ = ("certificates", "number", "pushes", "registrations")

    def __init__(self) -> None:
        self.registrations: dict[Pair, Registration] = {}
        self.pushes: dict[Pair, Push | int] = {}
        self.certificates: dict[bytes, bool] = {}
        self.number: int | None = None

    def __bool__(self) -> bool:
        return bool(self.pushes or self.registrations or self.certificates)

    def keep_push(self, push: Push) -> None:
        self.pushes[push.topic, push.token] = push

    def drop_push(self, push: Push) -> None:
        pair = push.topic, push.token
        self.pushes[pair] = _later(self.pushes.get(pair, 0), push.number)

    def kept_pushes(self) -> list[Push]:
        return [word for word in self.pushes.values() if isinstance(word, Push)]

    def dropped_pushes(self) -> Mapping[Pair, int]:
        """Pairs, and the number up to which their pushes are to be forgotten."""
        return {pair: word for pair, word in self.pushes.items() if not isinstance(word, Push)}

    def put_under(self, older: Changes) -> None:
        """Take in changes that were told before these and could not be written."""
        self.registrations = {**older.registrations, **self.registrations}
        self.certificates = {**older.certificates, **self.certificates}
        pushes = dict(older.pushes)
        for pair, word in self.pushes.items():
            pushes[pair] = word if isinstance(word, Push) else _later(pushes.get(pair, 0), word)
        self.pushes = pushes
        self.number = self.number if self.number is not None else older.number


def _later(known: Push | int, dropped: int) -> Push | int:
    """What holds for a pair after pushes up to the number `dropped` were forgotten."""
    if isinstance(known, Push):
        return known if known.number > dropped else dropped
    return max(known, dropped)

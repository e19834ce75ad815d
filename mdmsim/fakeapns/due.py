"""Due but missing: for every device that should have been pushed to, whether that happened, and what became of it.

A due-list comes from whoever knows that something waits for a device: a server's command queue, a test, a file
(`due_list`). What was never pushed stands first. What the fake cannot know, because its journal is bounded or because
it was started later, is said to be unknown.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from mdmsim.clock import iso
from mdmsim.fakeapns.journal import Transaction
from mdmsim.fakeapns.moments import moment_ms
from mdmsim.fakeapns.remembered import remembered
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.session import Slot

Verdict = Literal["never-pushed", "refused", "not-delivered", "not-acted", "unknown", "acted"]

#: In the order in which a report has them, and what each says.
VERDICTS: dict[Verdict, str] = {
    "never-pushed": "no push came",
    "refused": "pushes came, and all were refused",
    "not-delivered": "a push was accepted, and the device does not have it",
    "not-acted": "the device has a push, and did not connect to its server because of it",
    "unknown": "the fake APNs cannot know: it began later, or has forgotten",
    "acted": "the device was pushed to and connected",
}
#: Those that somebody must look at because nothing reached the push service.
MISSING: tuple[Verdict, ...] = ("never-pushed",)


#: How many things are looked at in one go: about a millisecond.
PORTION = 2_000


class DueEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something is due for a device since a moment: one of `device`, `udid`, `serial` and `token` says for which.

    `token` is hex; `topic` narrows it down. `channel`: which of a device's tokens counts. `since`: ISO 8601 (UTC unless
    it says otherwise), or seconds or milliseconds since 1970. `what` is for people: the command that waits, for example.
    """

    since: str | float
    device: str = ""
    udid: str = ""
    serial: str = ""
    token: str = ""
    topic: str = ""
    channel: str = "device"
    what: str = ""


class DuePush(msgspec.Struct, frozen=True, kw_only=True):
    """One moment of an entry: when, and how long after it was due (ms). `number`: the transaction, null when forgotten."""

    at_ms: int
    late_ms: int
    number: int | None = None


class DueAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one entry.

    `entry` counts from 1, in the order given. `first`: the first push since then, whatever the answer; `accepted`,
    `delivered` (the device has it), `acted`: the first that got so far. `stored`: whether one was kept for lack of a
    listener. `pushes` and `refused` count requests since then. `status`, `reason`: of the last refusal. `why`: for
    people. `complete`: whether everything since then is still remembered.
    """

    entry: int
    name: str
    device: str
    since_ms: int
    what: str
    verdict: Verdict
    why: str
    pushes: int = 0
    refused: int = 0
    status: int | None = None
    reason: str = ""
    first: DuePush | None = None
    accepted: DuePush | None = None
    stored: bool = False
    delivered: DuePush | None = None
    acted: DuePush | None = None
    tokens: list[str] = []
    complete: bool = True


class DueReport(msgspec.Struct, frozen=True, kw_only=True):
    """Answers, what was never pushed first; within a verdict what is due longest. `counts` by verdict, of all entries."""

    at_ms: int
    counts: dict[str, int]
    answers: list[DueAnswer]


class DueMistake(ValueError):
    """An entry that cannot be judged. `entry` counts from 1."""

    def __init__(self, entry: int, text: str) -> None:
        super().__init__(text)
        self.entry = entry


def due_report(service: ApnsService, due: Iterable[DueEntry] | Callable[[], Iterable[DueEntry]]) -> DueReport:
    """Judge a due-list, or what a function returns when it is asked. Raises DueMistake before anything is judged."""
    checked = check_due(due() if callable(due) else due)
    judge = Judge(service)
    for _ in judge.look():
        pass
    return arranged([judge.answer(*one) for one in checked], service.clock.now_ms())


def check_due(entries: Iterable[DueEntry]) -> list[tuple[int, DueEntry, int]]:
    """Number, entry and moment (ms) of each. Raises DueMistake."""
    return [(number, entry, _checked(number, entry)) for number, entry in enumerate(entries, 1)]


def arranged(
    answers: list[DueAnswer], at_ms: int, *, verdict: Verdict | None = None, limit: int | None = None
) -> DueReport:
    """Answers in the order that a report has them. `counts` are of all; `verdict` and `limit` say which are told."""
    rank = {verdict: place for place, verdict in enumerate(VERDICTS)}
    answers = sorted(answers, key=lambda answer: (rank[answer.verdict], answer.since_ms, answer.entry))
    counts = dict.fromkeys(VERDICTS, 0)
    for answer in answers:
        counts[answer.verdict] += 1
    told = [answer for answer in answers if verdict in (None, answer.verdict)][:limit]
    return DueReport(at_ms=at_ms, counts={str(name): count for name, count in counts.items()}, answers=told)


def _checked(number: int, entry: DueEntry) -> int:
    given = [name for name in ("device", "udid", "serial", "token") if getattr(entry, name)]
    if len(given) != 1:
        said = f"{' and '.join(given)} are given" if given else "none is given"
        raise DueMistake(number, f"one of device, udid, serial and token says who it is for; {said}")
    if entry.token:
        try:
            bytes.fromhex(entry.token)
        except ValueError:
            raise DueMistake(number, f'token "{entry.token[:20]}": a token is written in hex') from None
    try:
        return moment_ms(entry.since)
    except ValueError as error:
        raise DueMistake(number, f"since: {error}") from None


class Judge:
    """Answers entries as things stand now. Made anew for each list: `look` first, to its end, then `answer`."""

    def __init__(self, service: ApnsService) -> None:
        self._service = service
        self._now_ms = service.clock.now_ms()
        self._by_token: dict[str, list[Transaction]] = {}
        self._by_device: dict[str, list[Slot]] = {}
        # From when on everything is remembered: of the oldest millisecond, one request may be gone already.
        journal = service.journal
        oldest = next(iter(journal), None)
        forgetful = oldest is not None and journal.total > len(journal)
        self._known_from_ms = oldest.at_ms + 1 if forgetful and oldest is not None else service.started_ms

    def look(self) -> Iterator[None]:
        """Look at all requests and tokens once; at every step, others may have their turn."""
        for number, transaction in enumerate(list(self._service.journal), 1):
            self._by_token.setdefault(token_of(transaction), []).append(transaction)
            if number % PORTION == 0:
                yield
        for number, slot in enumerate(self._service.slots(), 1):
            if slot.registration.device:
                self._by_device.setdefault(slot.registration.device, []).append(slot)
            if number % PORTION == 0:
                yield

    def answer(self, number: int, entry: DueEntry, since_ms: int) -> DueAnswer:
        """What is known of one entry that was checked."""
        device, slots, tokens = self._meant(entry)
        seen = [
            transaction
            for token in tokens
            for transaction in self._by_token.get(token, ())
            # A refused push may name a topic that the token does not have, which is then why.
            if transaction.at_ms >= since_ms and (not entry.topic or transaction.topic in ("", entry.topic))
        ]
        seen.sort(key=lambda transaction: transaction.number)
        accepted = [transaction for transaction in seen if transaction.status == 200]
        refused = [transaction for transaction in seen if transaction.status not in (0, 200)]
        complete = since_ms >= self._known_from_ms
        moments = {
            "accepted": _moment(((t.at_ms, t) for t in accepted), since_ms),
            "delivered": _moment(((t.acknowledged_ms, t) for t in accepted), since_ms),
            "acted": _moment(((t.acted_ms, t) for t in accepted), since_ms),
        }
        doubt = "" if complete else self._remembered(slots, accepted, since_ms, moments)
        verdict, why = self._judged(entry, slots, seen, moments, since_ms, doubt)
        return DueAnswer(
            entry=number,
            name=entry.device or entry.udid or entry.serial or entry.token,
            device=device,
            since_ms=since_ms,
            what=entry.what,
            verdict=verdict,
            why=why,
            pushes=len(seen),
            refused=len(refused),
            status=refused[-1].status if refused else None,
            reason=refused[-1].reason if refused else "",
            first=_moment(((t.at_ms, t) for t in seen), since_ms),
            stored=any(t.stored_ms is not None for t in accepted),
            tokens=tokens,
            complete=complete,
            **moments,
        )

    def _meant(self, entry: DueEntry) -> tuple[str, list[Slot], list[str]]:
        """Device, slots and tokens (hex) that an entry is about."""
        if entry.token:
            token = bytes.fromhex(entry.token)
            topics = [entry.topic] if entry.topic else self._service.tokens.topics(token)
            slots = [slot for topic in topics if (slot := self._service.slot(topic, token)) is not None]
            device = next((slot.registration.device for slot in slots), "")
            return device, slots, [token.hex()]
        device = self._service.tokens.device_called(entry.device or entry.udid or entry.serial)
        slots = [
            slot
            for slot in self._by_device.get(device, ())
            if entry.topic in ("", slot.registration.topic) and slot.registration.channel == entry.channel
        ]
        tokens = list(dict.fromkeys(slot.registration.token.hex() for slot in slots))
        return (device if slots else ""), slots, tokens

    def _remembered(
        self, slots: list[Slot], accepted: list[Transaction], since_ms: int, moments: dict[str, DuePush | None]
    ) -> str:
        """Add what the tokens remember of what the journal forgot; what is in doubt, for people."""
        doubts: list[str] = []
        for slot in slots:
            mine = [one for one in accepted if one.token == slot.registration.token]
            told = remembered(slot, since_ms, {one.delivered_ms for one in mine}, known=bool(mine))
            for name in ("accepted", "delivered", "acted"):
                at_ms: int | None = getattr(told, f"{name}_ms")
                if at_ms is not None and moments[name] is None:
                    moments[name] = DuePush(at_ms=at_ms, late_ms=at_ms - since_ms)
            if told.doubt:
                doubts.append(told.doubt)
        return "; ".join(doubts)

    def _judged(
        self,
        entry: DueEntry,
        slots: list[Slot],
        seen: list[Transaction],
        moments: dict[str, DuePush | None],
        since_ms: int,
        doubt: str,
    ) -> tuple[Verdict, str]:
        complete = since_ms >= self._known_from_ms
        refused = [transaction for transaction in seen if transaction.status not in (0, 200)]
        if moments["acted"] is not None:
            return "acted", ""
        if doubt:
            return "unknown", doubt
        if moments["delivered"] is not None:
            return "not-acted", "the device has the push and did not say that it connected because of it"
        if moments["accepted"] is not None:
            return "not-delivered", self._undelivered([t for t in seen if t.status == 200], slots)
        if since_ms > self._now_ms:
            return "unknown", "due in the future"
        if refused:
            last = refused[-1]
            why = f"{last.status} {last.reason}" + (f": {last.why}" if last.why else "")
            if since_ms < self._service.started_ms:
                return "unknown", f"{why}; what came before {iso(self._service.started_ms)} is not known here"
            return "refused", why if complete else f"{why}; what came before {iso(self._known_from_ms)} is forgotten"
        if seen:
            fault = f"a fault ended every request before it was answered: {seen[-1].fault}"
            return ("never-pushed" if complete else "unknown"), fault
        if not complete:
            began = self._service.started_ms
            if self._known_from_ms <= began:
                return "unknown", f"the fake APNs was started at {iso(began)}, after that was due"
            return "unknown", (
                f"requests before {iso(self._known_from_ms)} are forgotten (journal_size)"
                + ("; none since then was accepted" if slots and since_ms >= began else "")
            )
        return "never-pushed", self._nothing(entry, slots, since_ms)

    def _nothing(self, entry: DueEntry, slots: list[Slot], since_ms: int) -> str:
        if not slots:
            if entry.token:
                return "no push came; that token is not registered" + (" for that topic" if entry.topic else "")
            return "no token is registered for a device of that name"
        if all(slot.registration.retired_ms is not None for slot in slots):
            return "no push came; the device's token was retired"
        if (acted_ms := max(slot.acted_ms for slot in slots)) >= since_ms:
            return f"no push came; the device connected at {iso(acted_ms)} because of an earlier one"
        if any(slot.kept is not None for slot in slots):
            return "no push came; an earlier one still waits for the device"
        return "no push came"

    def _undelivered(self, accepted: list[Transaction], slots: list[Slot]) -> str:
        """Why the last accepted push is not with its device."""
        if not accepted:
            kept = next((slot for slot in slots if slot.kept is not None), None)
            if kept is None or kept.kept is None:
                return "it is on its way"
            if kept.kept.expires_ms <= self._now_ms:
                return f"it expired at {iso(kept.kept.expires_ms)}"
            return "it is kept" + (": nobody listens for that token" if kept.session is None else "")
        last = accepted[-1]
        slot = self._service.slot(last.topic, last.token)
        if slot is None:
            return last.why or "it was accepted and dropped"
        if last.ended == "lost":
            return f"a fault lost it: {last.fault}" if last.fault == "push.lost" else last.why or "it was dropped"
        if slot.registration.retired_ms is not None:
            return f"the token was retired at {iso(slot.registration.retired_ms)}"
        if last.ended == "expired" or (last.expires_ms and last.expires_ms <= self._now_ms):
            return (
                f"it expired at {iso(last.expires_ms)}"
                if last.expires_ms
                else "it was now or never (apns-expiration 0), and nobody listened"
            )
        if last.ended == "superseded":
            return "a newer push took its place"
        if slot.held is not None:
            return "a fault keeps it back"
        if slot.session is None:
            return "it is kept: nobody listens for that token" + (
                "; the connection that had it ended before the device took it" if last.delivered_ms is not None else ""
            )
        if last.delivered_ms is not None:
            return f"{slot.session.name} has it and did not acknowledge it"
        return f"it waits for {slot.session.name} to read"


def token_of(transaction: Transaction) -> str:
    """The token (hex) that a request was for, also where it was refused before anybody looked at it."""
    return transaction.token.hex() or transaction.path.rpartition("/")[2].lower()


def _moment(found: Iterator[tuple[int | None, Transaction]], since_ms: int) -> DuePush | None:
    """The earliest."""
    times = [(at_ms, t.number) for at_ms, t in found if at_ms is not None]
    if not times:
        return None
    at_ms, number = min(times)
    return DuePush(at_ms=at_ms, late_ms=at_ms - since_ms, number=number)

"""What the fake APNs remembers of the last requests: each with its verdict, why, and what became of the push.

A bounded ring for people and tools to look into; it decides nothing. Readers in the same process are told of every
step (`watch`).
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from mdmsim.http import Headers

if TYPE_CHECKING:
    from mdmsim.fakeapns.checks import Judgement

Step = Literal["accepted", "refused", "stored", "delivered", "acknowledged", "acted", "expired", "superseded", "lost"]

#: Upper bounds of the latency histograms' buckets, in seconds; a last one without bound comes after them.
BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 600.0, 3600.0)


class Transaction:
    """One request of a provider, and what became of it. Times are world time in milliseconds; None: not so far.

    `status` and `reason` as answered; `why` says in words what was found; `fault`: the name of an injected fault.
    `push`: the push's number, 0 where nothing was taken in. `payload` is as it came, with the push magic: whoever shows it
    masks it.
    """

    __slots__ = (
        "acknowledged_ms",
        "acted_ms",
        "again",
        "apns_id",
        "at_ms",
        "delivered_ms",
        "device",
        "ended",
        "ended_ms",
        "environment",
        "expires_ms",
        "fault",
        "headers",
        "method",
        "number",
        "path",
        "payload",
        "provider",
        "push",
        "reason",
        "status",
        "stored_ms",
        "token",
        "topic",
        "why",
    )

    def __init__(
        self,
        number: int,
        at_ms: int,
        provider: int,
        environment: str,
        method: str,
        path: str,
        headers: Headers,
        payload: bytes,
        apns_id: str,
        topic: str,
        token: bytes,
        device: str,
        status: int,
        reason: str,
        why: str,
        fault: str,
        push: int,
        expires_ms: int,
    ) -> None:
        self.number = number
        self.at_ms = at_ms
        self.provider = provider
        self.environment = environment
        self.method = method
        self.path = path
        self.headers = headers
        self.payload = payload
        self.apns_id = apns_id
        self.topic = topic
        self.token = token
        self.device = device
        self.status = status
        self.reason = reason
        self.why = why
        self.fault = fault
        self.push = push
        self.expires_ms = expires_ms
        #: Kept because nobody listened. Handed to the device's connection; taken by the device's process; done by the device (it connected).
        self.stored_ms: int | None = None
        self.delivered_ms: int | None = None
        self.acknowledged_ms: int | None = None
        self.acted_ms: int | None = None
        #: How it ended without delivery: expired, superseded (a newer push took its place), lost (a fault); and when.
        self.ended = ""
        #: Further numbers of the same push, under which faults delivered it.
        self.again: tuple[int, ...] = ()
        self.ended_ms: int | None = None


class Histogram:
    """Counts of durations by bucket; `total_ms` is their sum."""

    __slots__ = ("count", "counts", "total_ms")

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS) + 1)
        self.count = 0
        self.total_ms = 0

    def add(self, ms: int) -> None:
        self.counts[bisect_left(BUCKETS, ms / 1000)] += 1
        self.count += 1
        self.total_ms += ms


class Counts:
    """How many pushes went which way since the service started."""

    __slots__ = (
        "accepted",
        "acknowledged",
        "acted",
        "acting",
        "delivered",
        "delivery",
        "expired",
        "faults",
        "reasons",
        "refused",
        "superseded",
    )

    def __init__(self) -> None:
        self.accepted = self.refused = self.delivered = self.acknowledged = self.acted = 0
        self.expired = self.superseded = 0
        #: Refusals by reason; injected faults by name.
        self.reasons: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        #: From accepted to delivered, and from accepted to acted upon.
        self.delivery = Histogram()
        self.acting = Histogram()


class Journal:
    """The last `size` transactions, newest last."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._ring: deque[Transaction] = deque()
        self._by_push: dict[int, Transaction] = {}
        self._count = 0
        self._watchers: list[Callable[[Step, Transaction, int], None]] = []

    def __len__(self) -> int:
        return len(self._ring)

    def __iter__(self) -> Iterator[Transaction]:
        """Oldest first."""
        return iter(self._ring)

    def newest_first(self) -> Iterator[Transaction]:
        return reversed(self._ring)

    @property
    def total(self) -> int:
        """How many there were since the start; those before `total - len` are forgotten."""
        return self._count

    def watch(self, watcher: Callable[[Step, Transaction, int], None]) -> Callable[[], None]:
        """Call `watcher(step, transaction, at_ms)` at every step from now on; returns what ends that."""
        self._watchers.append(watcher)
        return lambda: self._watchers.remove(watcher) if watcher in self._watchers else None

    @property
    def watched(self) -> bool:
        """Whether anybody is told of every step."""
        return bool(self._watchers)

    def add(self, transaction: Transaction) -> None:
        """Take in a judged request."""
        ring = self._ring
        if len(ring) >= self._size:
            forgotten = ring.popleft()
            self._by_push.pop(forgotten.push, None)
            for number in forgotten.again:
                self._by_push.pop(number, None)
        ring.append(transaction)
        if transaction.push:
            self._by_push[transaction.push] = transaction
        if self._watchers:
            self._tell("accepted" if transaction.status == 200 else "refused", transaction, transaction.at_ms)

    def note(
        self,
        judgement: Judgement,
        apns_id: str,
        device: str,
        status: int,
        reason: str,
        why: str,
        fault: str,
        push: int,
        expires_ms: int,
    ) -> None:
        """Take in a request that was just judged. `push` and `expires_ms`: of the push taken in, 0 without one."""
        provider = judgement.provider
        self._count += 1
        self.add(
            Transaction(
                self._count,
                judgement.now_ms,
                provider.number,
                provider.environment,
                judgement.method,
                judgement.path,
                tuple(judgement.headers.items()),
                judgement.payload,
                apns_id,
                judgement.topic,
                judgement.token,
                device,
                status,
                reason,
                why,
                fault,
                push,
                expires_ms,
            )
        )

    def also(self, push: int, number: int) -> None:
        """A push comes (again) under another number: what becomes of that is told of the same transaction."""
        if (transaction := self._by_push.get(push)) is not None:
            transaction.again = (*transaction.again, number)
            self._by_push[number] = transaction

    def met(self, push: int, fault: str) -> None:
        """A fault happened to a push after it was accepted."""
        if (transaction := self._by_push.get(push)) is not None and not transaction.fault:
            transaction.fault = fault

    def amend(self, apns_id: str, status: int, reason: str, why: str) -> bool:
        """The newest request of that id was answered otherwise than it was judged; whether it is still remembered."""
        for transaction in reversed(self._ring):
            if transaction.apns_id == apns_id:
                transaction.status, transaction.reason, transaction.why = status, reason, why
                return True
        return False

    def step(self, push: int, step: Step, at_ms: int) -> Transaction | None:
        """Note what became of a push; the transaction, or None if it is forgotten. Only the first of each step counts."""
        transaction = self._by_push.get(push)
        if transaction is None:
            return None
        if step == "delivered":
            if transaction.delivered_ms is None:
                transaction.delivered_ms = at_ms
        elif step == "stored":
            if transaction.stored_ms is None:
                transaction.stored_ms = at_ms
        elif step == "acknowledged":
            if transaction.acknowledged_ms is None:
                transaction.acknowledged_ms = at_ms
        elif step == "acted":
            if transaction.acted_ms is None:
                transaction.acted_ms = at_ms
        elif step in ("expired", "superseded", "lost") and not transaction.ended:
            transaction.ended, transaction.ended_ms = step, at_ms
        if self._watchers:
            self._tell(step, transaction, at_ms)
        return transaction

    def _tell(self, step: Step, transaction: Transaction, at_ms: int) -> None:
        for watcher in tuple(self._watchers):
            watcher(step, transaction, at_ms)

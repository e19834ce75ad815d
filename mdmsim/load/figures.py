"""What a load test measured, as plain data: Locust's statistics, and each process's account of its devices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


class Account(msgspec.Struct, kw_only=True):
    """One process's devices so far; it is sent to the master with Locust's own reports.

    `devices`: that had a user; `enrolled`: of these, enrolled now; `away`: enrolled and without network on purpose.
    `unenrolled`: gave up their enrollment. `made`: enrolled in this run. `asked`, `answered`: commands that were
    queued for these devices, and answered finally (NotNow is no answer); `not_asked`: that the server did not take.
    `not_sent`: exchanges that this machine's own limits (open files, ports, memory) kept from being begun.
    `behind`: devices with commands that are not answered, some by name in `names`. `seconds`: CPU of the process.
    """

    devices: int = 0
    enrolled: int = 0
    away: int = 0
    unenrolled: int = 0
    made: int = 0
    asked: int = 0
    answered: int = 0
    not_asked: int = 0
    asked_devices: int = 0
    behind: int = 0
    names: list[str] = []
    pushes: int = 0
    exchanges: int = 0
    not_sent: int = 0
    seconds: float = 0.0


def together(accounts: Iterable[Account]) -> Account:
    """The sum of several processes' accounts."""
    whole = Account()
    for account in accounts:
        for name in Account.__struct_fields__:
            setattr(whole, name, getattr(whole, name) + getattr(account, name))
    return whole


@dataclass(frozen=True, slots=True)
class Entry:
    """One kind of request. Times in milliseconds; `times`: how often each (rounded) time was seen."""

    name: str
    requests: int = 0
    failures: int = 0
    mean: float = 0.0
    shortest: float = 0.0
    longest: float = 0.0
    times: Mapping[int, int] = field(default_factory=dict)

    def percentile(self, share: float) -> float:
        """The time within which that share (0 to 1) of the requests was done. Never above the longest."""
        wanted, seen = share * sum(self.times.values()), 0
        for time in sorted(self.times):
            seen += self.times[time]
            if seen >= wanted:
                return float(min(time, self.longest))
        return 0.0


@dataclass(frozen=True, slots=True)
class Figures:
    """A whole run. `seconds`: how long it took. `lost`: workers that went missing; `gone`: what they had last told.

    `errors`: request, reason, count; the most frequent first.
    """

    entries: tuple[Entry, ...]
    total: Entry
    account: Account
    wanted: int
    seconds: float
    gone: Account = field(default_factory=Account)
    workers: int = 0
    lost: int = 0
    errors: tuple[tuple[str, str, int], ...] = ()

    def entry(self, name: str) -> Entry | None:
        """The requests of that name; None where there was none."""
        return next((entry for entry in self.entries if entry.name == name), None)

    @property
    def not_enrolled(self) -> int:
        """Devices that were wanted and are not, or no longer, enrolled."""
        return max(0, self.wanted - self.account.enrolled)

    @property
    def lost_devices(self) -> int:
        """Devices that nobody drives any more because their worker is gone."""
        return max(0, self.wanted - self.account.devices) if self.lost else 0

    @property
    def not_sent(self) -> int:
        """Exchanges that the generator could not begin."""
        return self.account.not_sent + self.gone.not_sent

    @property
    def load(self) -> float:
        """Share of its core that a generator process used, over the run and all processes; 1.0 is all there is."""
        return (
            (self.account.seconds + self.gone.seconds) / (self.seconds * max(1, self.workers)) if self.seconds else 0.0
        )

    @property
    def missed(self) -> int:
        """Devices that did not get all that was meant for them: an enrollment, and every command."""
        return self.not_enrolled + self.account.behind

    def of_run(self, metric: str) -> float:
        """A count of devices or workers, by its name in criteria."""
        account = self.account
        values: dict[str, Any] = {
            "missed": self.missed,
            "not-enrolled": self.not_enrolled,
            "enrolled": account.enrolled,
            "answered": account.answered,
            "unenrolled": account.unenrolled,
            "lost-workers": self.lost,
        }
        return float(values[metric])

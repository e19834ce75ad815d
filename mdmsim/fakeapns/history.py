"""The last quarter of an hour in steps of five seconds, for plots: a page that is opened late sees the past, too.

Nothing is counted here: the service's own counts are looked at now and then, and the differences are kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec
import trio

from mdmsim.fakeapns.journal import BUCKETS, Histogram
from mdmsim.fakeapns.service import ApnsService

EVERY_SECONDS = 5
KEPT_SECONDS = 15 * 60


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """What happened between the sample before and `at_ms`, `seconds` later.

    `p50_ms`, `p95_ms`, `p99_ms`: from accepted to delivered, estimated from a histogram; null where nothing was delivered.
    """

    at_ms: int
    seconds: float
    accepted: int
    refused: int
    delivered: int
    acted: int
    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class History:
    """Samples of one service. `run` takes one in every five seconds; without it there are only those of `sample`."""

    def __init__(self, service: ApnsService) -> None:
        self._service = service
        self._samples: deque[Sample] = deque(maxlen=KEPT_SECONDS // EVERY_SECONDS)
        self._at_ms = service.clock.now_ms()
        self._before = self._counts()

    @property
    def samples(self) -> list[Sample]:
        """Oldest first."""
        return list(self._samples)

    def sample(self) -> Sample:
        """Look at the counts now, and keep what is new since the last time."""
        now_ms, now = self._service.clock.now_ms(), self._counts()
        new = [later - earlier for later, earlier in zip(now, self._before, strict=True)]
        buckets = new[4:]
        taken = Sample(
            at_ms=now_ms,
            seconds=(now_ms - self._at_ms) / 1000,
            accepted=new[0],
            refused=new[1],
            delivered=new[2],
            acted=new[3],
            p50_ms=quantile_ms(buckets, 0.50),
            p95_ms=quantile_ms(buckets, 0.95),
            p99_ms=quantile_ms(buckets, 0.99),
        )
        self._at_ms, self._before = now_ms, now
        self._samples.append(taken)
        return taken

    async def run(self) -> None:
        """Sample until cancelled. Seconds of the process: a service's clock may be one that a test moves by hand."""
        while True:
            await trio.sleep(EVERY_SECONDS)
            self.sample()

    def _counts(self) -> list[int]:
        counts = self._service.counts
        return [counts.accepted, counts.refused, counts.delivered, counts.acted, *counts.delivery.counts]


def quantile_ms(buckets: Sequence[int], share: float) -> float | None:
    """The duration (ms) that `share` of all those counted did not exceed; None where none was counted.

    `buckets`: counts as in `Histogram`. Between the bounds of a bucket, durations are taken to lie evenly; what lies
    beyond the last bound is told as that bound.
    """
    total = sum(buckets)
    if not total:
        return None
    wanted, seen = share * total, 0
    for place, count in enumerate(buckets):
        if seen + count >= wanted and count:
            if place >= len(BUCKETS):
                break
            low = BUCKETS[place - 1] if place else 0.0
            return round((low + (BUCKETS[place] - low) * (wanted - seen) / count) * 1000, 3)
        seen += count
    return BUCKETS[-1] * 1000


def quantiles_ms(histogram: Histogram) -> tuple[float | None, float | None, float | None]:
    """Half, 95 and 99 percent of everything that was counted; see `quantile_ms`."""
    p50, p95, p99 = (quantile_ms(histogram.counts, share) for share in (0.50, 0.95, 0.99))
    return p50, p95, p99

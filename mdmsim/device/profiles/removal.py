"""When an installed profile removes itself: RemovalDate and DurationUntilRemoval (mdm/profiles/TopLevel.yaml)."""

from __future__ import annotations

from mdmsim.clock import DAY
from mdmsim.protocol.profile import Profile

#: A duration that ends after the last year of any calendar (infinity, too, and what is no number) is no limit.
LONGEST_MS = 9999 * 365 * DAY


def removal_ms(profile: Profile, now_ms: int) -> int | None:
    """The world time (ms) at which a profile that is installed at `now_ms` goes by itself; None if it never does.

    Of the two keys the earlier date counts (TopLevel.yaml, DurationUntilRemoval).
    """
    times = []
    if profile.removal_date is not None:
        times.append(round(profile.removal_date.timestamp() * 1000))
    duration = profile.duration_until_removal
    if duration is not None and abs(duration) * 1000 < LONGEST_MS:
        times.append(now_ms + round(duration * 1000))
    return min(times, default=None)

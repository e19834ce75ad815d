"""Durations and times in the words of a person."""

from __future__ import annotations

from mdmsim.clock import DAY, HOUR, MINUTE, SECOND


def duration(ms: int) -> str:
    """How long something took: `48 s`, `0.3 s`, `2 min 5 s`, `30 days`."""
    if ms < 100:
        return f"{ms} ms"
    if ms < 10 * SECOND:
        return f"{ms / SECOND:.1f} s"
    if ms < 2 * MINUTE:
        return f"{round(ms / SECOND)} s"
    if ms < 2 * HOUR:
        minutes, seconds = divmod(round(ms / SECOND), 60)
        return f"{minutes} min {seconds} s" if seconds else f"{minutes} min"
    if ms < 2 * DAY:
        hours, minutes = divmod(round(ms / MINUTE), 60)
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(round(ms / HOUR), 24)
    return f"{days} days {hours} h" if hours and days < 10 else f"{days} days"


def later(ms: int) -> str:
    """A gap in a diagram: `3 days later`, `30 seconds later`. Rounded to one unit, two where that says more."""
    for unit, name in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second")):
        if ms >= unit:
            whole = round(ms / unit, 1 if ms < 10 * unit and ms % unit else 0)
            number = f"{whole:g}"
            return f"{number} {name}{'' if number == '1' else 's'} later"
    return f"{ms} ms later"


def since(ms: int) -> str:
    """Time since the start of a case, for a narrow column: `0.120`, `1:02.5`, `2:04:10`, `3d 04:10`."""
    if ms < MINUTE:
        return f"{ms / SECOND:.3f}"
    minutes, rest = divmod(ms, MINUTE)
    if ms < HOUR:
        return f"{minutes}:{rest // SECOND:02d}.{rest % SECOND // 100}"
    hours, minutes = divmod(minutes, 60)
    if ms < DAY:
        return f"{hours}:{minutes:02d}:{rest // SECOND:02d}"
    days, hours = divmod(hours, 24)
    return f"{days}d {hours:02d}:{minutes:02d}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """`1 command`, `3 commands`."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"

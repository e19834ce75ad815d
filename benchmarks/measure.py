"""How the benchmarks measure: CPU time of this process or of a server's, rounds in turn with their floor, medians."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Figure:
    """One measured value. `ratio`: value over floor. `goal` says what `met` means, in words and numbers.

    `excess`: the factor by which the goal is missed; at most 1 where it is met. `against_floor`: the goal is a ratio to
    something measured in the same run, so the machine's speed has no part in it.
    """

    name: str
    value: float
    unit: str
    floor: float | None = None
    ratio: float | None = None
    goal: str | None = None
    met: bool | None = None
    excess: float | None = None
    against_floor: bool = False


def at_most_ratio(name: str, value: float, unit: str, floor: float, limit: float) -> Figure:
    """A figure that must not exceed its floor by more than that factor."""
    ratio = value / floor
    return Figure(name, value, unit, floor, ratio, f"ratio <= {limit}", ratio <= limit, ratio / limit, True)


def at_least_ratio(name: str, value: float, unit: str, floor: float, limit: float) -> Figure:
    """A rate that must reach that part of the rate it is compared with."""
    ratio = value / floor
    return Figure(name, value, unit, floor, ratio, f"ratio >= {limit}", ratio >= limit, _short_of(ratio, limit), True)


def at_least(name: str, value: float, unit: str, limit: float, *, floor: float | None = None) -> Figure:
    ratio = value / floor if floor else None
    return Figure(name, value, unit, floor, ratio, f">= {limit} {unit}", value >= limit, _short_of(value, limit))


def at_most(name: str, value: float, unit: str, limit: float, *, floor: float | None = None) -> Figure:
    ratio = value / floor if floor else None
    return Figure(name, value, unit, floor, ratio, f"<= {limit} {unit}", value <= limit, value / limit)


def _short_of(value: float, limit: float) -> float:
    """The factor by which a value falls short of a lower limit."""
    return limit / value if value > 0 else float("inf")


def beside(name: str, value: float, unit: str) -> Figure:
    """A figure without a goal, to compare with."""
    return Figure(name, value, unit)


def own_cpu() -> float:
    """CPU seconds of this process so far, user and system."""
    return time.process_time()


def cpu_of(pid: int) -> float:
    """CPU seconds of another process so far, user and system, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def in_turn(rounds: int, *measures: Callable[[], float]) -> list[float]:
    """The median of each measure, taken in turn round by round, so that a machine that drifts drifts for all."""
    taken: list[list[float]] = [[] for _ in measures]
    for _ in range(rounds):
        for values, measure in zip(taken, measures, strict=True):
            values.append(measure())
    return [statistics.median(values) for values in taken]


def rss_of(pid: int) -> float:
    """Resident memory of another process now, in MB."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def child(arguments: Sequence[str], stdin: int | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `python ARGUMENTS` and yield it with its first line; it is ended with the block."""
    process = subprocess.Popen([sys.executable, *arguments], stdin=stdin, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise RuntimeError(f"{' '.join(arguments)} ended before it was ready")
        yield process, line
    finally:
        process.terminate()
        process.wait()

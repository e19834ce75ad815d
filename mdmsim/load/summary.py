"""The end of a load test in words: did every device get it, and how late; then percentiles, cost and verdict."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mdmsim.load.criteria import Verdict
from mdmsim.load.errors import FAILED, INTERRUPTED, NOT_CARRIED_OUT, PASSED
from mdmsim.load.figures import Entry, Figures

#: Failures listed; the rest is counted.
LISTED = 8

#: Share of a core from which on a generator's own waiting is in the times that it measures.
SATURATED = 0.9

QUEUED = "command:queued-to-answered"
ENROLLED = "device:enrolled"


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU seconds that another process took during the run."""

    name: str
    seconds: float


def exit_code(figures: Figures, verdicts: Sequence[Verdict], *, cut_short: bool) -> int:
    """0 passed; 1 a criterion was not met; 130 cut short.

    3: workers were lost, this machine kept exchanges from being sent, or nothing was measured.
    """
    if figures.lost or figures.not_sent or not figures.total.requests:
        return NOT_CARRIED_OUT
    if cut_short:
        return INTERRUPTED
    return PASSED if all(verdict.met for verdict in verdicts) else FAILED


def tell(
    figures: Figures,
    verdicts: Sequence[Verdict],
    *,
    code: int,
    shape: str,
    costs: Sequence[Cost],
    seed: str | None,
    store: str,
) -> Iterator[str]:
    """The lines."""
    yield ""
    yield from _answer(figures)
    yield ""
    yield from _table(figures)
    yield from _failures(figures)
    yield from _cost(figures, costs)
    yield ""
    for verdict in verdicts:
        yield f"  {'✓' if verdict.met else '✗'} fail if {verdict.criterion:<40} {verdict.seen}"
    words = {PASSED: "✓ passed", FAILED: "✗ failed", NOT_CARRIED_OUT: "✗ not carried out", INTERRUPTED: "✗ cut short"}
    end = f"  {words[code]} in {figures.seconds:.0f} s"
    details = [shape, f"devices: {store}", f"seed {seed}" if seed is not None else ""]
    yield "      ".join((end, *(detail for detail in details if detail)))


def _answer(figures: Figures) -> Iterator[str]:
    account, wanted = figures.account, figures.wanted
    if not figures.total.requests:
        yield "  ✗ nothing was measured: no device sent anything"
        return
    if figures.lost:
        yield from _lost(figures)
    if figures.not_sent:
        yield (
            f"  ✗ {figures.not_sent} exchanges were never sent: this machine had no open file, port or memory left. "
            "What follows says little of the server."
        )
        yield "    Raise the limit (ulimit -n), or spread the devices over processes (-- --processes N)."
    if account.asked:
        yield from _commands(figures)
    wanted -= figures.lost_devices
    if account.enrolled < wanted:
        gone = f", {account.unenrolled} of them turned away by the server" if account.unenrolled else ""
        yield f"  ✗ {wanted - account.enrolled} of {_devices(wanted)} are not enrolled{gone}"
    elif account.made:
        entry = figures.entry(ENROLLED)
        late = f": half within {_time(entry.percentile(0.5))}, the last after {_time(entry.longest)}" if entry else ""
        before = account.enrolled - account.made
        known = f", {before} were before" if before > 0 else ""
        yield f"  ✓ {_every(figures)} enrolled: {_devices(wanted)}, {account.made} of them now{known}{late}"
    elif wanted:
        yield f"  ✓ {_every(figures)} was enrolled before: {_devices(wanted)}"


def _every(figures: Figures) -> str:
    return "every other device" if figures.lost_devices else "every device"


def _lost(figures: Figures) -> Iterator[str]:
    if not figures.lost_devices:
        yield f"  ✗ {figures.lost} of {figures.workers} workers were lost; the others took their devices over"
        return
    told = figures.gone.asked
    did = f"; when last heard of, they had answered {figures.gone.answered} of {told} commands" if told else ""
    yield (
        f"  ✗ {figures.lost_devices} of {_devices(figures.wanted)} were lost with their worker "
        f"({figures.lost} of {figures.workers} workers){did}"
    )


def _commands(figures: Figures) -> Iterator[str]:
    account, entry = figures.account, figures.entry(QUEUED)
    how_late = ""
    if entry is not None and entry.requests:
        how_late = (
            f": half within {_time(entry.percentile(0.5))}, 99% within {_time(entry.percentile(0.99))}, "
            f"the last after {_time(entry.longest)}"
        )
    open_ = account.asked - account.answered
    if not open_ and not account.behind:
        yield f"  ✓ {_every(figures)} got it: {account.asked_devices} devices answered {account.answered} commands{how_late}"
        return
    got = account.asked_devices - account.behind
    who = ", ".join(account.names[:5]) + (", ..." if account.behind > 5 else "")
    yield f"  ✗ {got} of {_devices(account.asked_devices)} got it, {account.behind} did not ({who}){how_late}"
    if account.not_asked:
        yield f"    {account.not_asked} commands were not taken by the server's API"
    unanswered = open_ - account.not_asked
    if unanswered:
        yield f"    {unanswered} commands were queued and not answered"


def _table(figures: Figures) -> Iterator[str]:
    width = max([len(entry.name) for entry in figures.entries], default=10)
    yield f"  {'':<{width}} {'count':>8} {'failed':>7} {'per s':>8} {'50%':>8} {'95%':>8} {'99%':>8} {'max':>8}"
    for entry in figures.entries:
        yield (
            f"  {entry.name:<{width}} {entry.requests:>8} {entry.failures:>7} {entry.requests / figures.seconds:>8.1f} "
            + " ".join(f"{_time(value):>8}" for value in _times(entry))
        )


def _times(entry: Entry) -> tuple[float, ...]:
    return (entry.percentile(0.5), entry.percentile(0.95), entry.percentile(0.99), entry.longest)


def _failures(figures: Figures) -> Iterator[str]:
    if not figures.errors:
        return
    yield ""
    for name, reason, count in figures.errors[:LISTED]:
        yield f"  {count:>6} x {name}: {reason}"
    if len(figures.errors) > LISTED:
        yield f"  and {len(figures.errors) - LISTED} other kinds of failure"


def _cost(figures: Figures, costs: Sequence[Cost]) -> Iterator[str]:
    seconds = figures.account.seconds + figures.gone.seconds
    exchanges = figures.account.exchanges + figures.gone.exchanges
    if not exchanges:
        return
    workers = f" in {figures.workers} workers" if figures.workers else ""
    words = [
        f"simulator {seconds:.1f} s{workers}, {seconds / exchanges * 1000:.2f} ms per exchange, "
        f"{seconds / figures.seconds:.0%} of a core"
    ]
    if figures.load >= SATURATED:
        yield ""
        yield (
            f"  ! the generator was saturated: each process used {figures.load:.0%} of a core, and times include its own "
            "waiting. Use more processes (-- --processes N), or fewer devices."
        )
    words += [f"{cost.name} {cost.seconds:.1f} s ({cost.seconds / figures.seconds:.0%})" for cost in costs]
    yield ""
    yield f"  CPU: {'; '.join(words)}"


def _devices(count: int) -> str:
    return "1 device" if count == 1 else f"{count} devices"


def _time(ms: float) -> str:
    if ms < 1:
        return "<1 ms"
    if ms < 10:
        return f"{ms:.1f} ms"
    if ms < 1000:
        return f"{ms:.0f} ms"
    return f"{ms / 1000:.1f} s" if ms < 120_000 else f"{ms / 60_000:.1f} min"

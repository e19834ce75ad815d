"""Playing scenarios from a command: the terminal watches, the report is written, the verdict is the exit code."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mdmsim import __version__
from mdmsim.cli.exits import FAILED, NOT_CARRIED_OUT, PASSED
from mdmsim.cli.output import json_line
from mdmsim.cli.running import Interruption
from mdmsim.clock import Clock, WallClock
from mdmsim.report import Case, Grade, Run, Terminal, passed, write_report
from mdmsim.scenario.load import load
from mdmsim.scenario.model import Case as Planned
from mdmsim.scenario.runner import DEFAULT_SEED, cases_of, run_cases


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked for; see `mdmsim run --help`. `command` plays it all again, `next_step` is said when all passed."""

    paths: tuple[Path, ...]
    command: str
    live: bool = False
    seed: int | None = None
    target: Path | None = None
    report: Path | None = None
    as_json: bool = False
    next_step: str | None = None
    story_order: tuple[str, ...] | None = None
    """Only the scenarios that are for the demo, in the order of these stories."""


def play(wishes: Wishes) -> int:
    """Play, tell, report; the exit code. Raises what `mdmsim.cli.failures` knows."""
    clock = WallClock()
    began = clock.now_ms()
    terminal = Terminal(sys.stderr if wishes.as_json else sys.stdout)
    cases = _chosen(cases_of(load(wishes.paths)), wishes.story_order)
    terminal.note(_plan(cases, wishes))
    try:
        with Interruption() as interruption:
            results = _run(wishes, cases, terminal, interruption)
        _finish(wishes, results, terminal, began, clock)
    finally:
        terminal.close()
    return exit_code(results)


def exit_code(results: Sequence[Case]) -> int:
    """3 where a case could not be carried out or nothing was judged at all: then there is no verdict to give."""
    if passed(results):
        return PASSED
    judged = {case.grade for case in results} - {Grade.NOT_APPLICABLE}
    return NOT_CARRIED_OUT if not judged or Grade.ERROR in judged else FAILED


def _chosen(cases: list[Planned], order: tuple[str, ...] | None) -> list[Planned]:
    if order is None:
        return cases
    place = {story: number for number, story in enumerate(order)}
    shown = [case for case in cases if case.scenario.text.demo]
    return sorted(shown, key=lambda case: place.get(case.scenario.story, len(place)))


def _plan(cases: Sequence[Planned], wishes: Wishes) -> str:
    """What is going to happen, said at once."""
    stories = len({case.scenario.story for case in cases})
    many = f"{len(cases)} case{'' if len(cases) == 1 else 's'} of {stories} stor{'y' if stories == 1 else 'ies'}"
    if wishes.target is not None:
        return f"{many} against the server of {wishes.target}"
    inside = sum(1 for case in cases if case.scenario.in_process_only) if wishes.live else len(cases)
    if not inside:
        return f"{many}, live: real processes on this machine"
    virtual = "in process, in virtual time: a month takes a second"
    return f"{many}, {virtual}" if inside == len(cases) else f"{many}: {len(cases) - inside} live, {inside} {virtual}"


def _run(wishes: Wishes, cases: Sequence[Planned], terminal: Terminal, interruption: Interruption) -> list[Case]:
    observers = (interruption, terminal)
    if wishes.target is not None:
        from mdmsim.cli.against import run_against

        return run_against(wishes.target, cases, seed=wishes.seed, observers=observers)
    return run_cases(cases, seed=wishes.seed, live=wishes.live, observers=observers, on_ready=terminal.ready)


def _finish(wishes: Wishes, results: list[Case], terminal: Terminal, began: int, clock: Clock) -> None:
    run = Run(
        version=__version__,
        seed=wishes.seed if wishes.seed is not None else DEFAULT_SEED,
        target=str(wishes.target) if wishes.target is not None else "reference server",
        # World time, so that in process the same seed writes the same report; live it is everybody's.
        started_ms=began if wishes.live else min((case.started_ms for case in results), default=began),
        ended_ms=clock.now_ms() if wishes.live else max((case.ended_ms for case in results), default=began),
        mode="live" if wishes.live else "in-process",
        command=wishes.command,
    )
    report = write_report(wishes.report, run, results).html if wishes.report is not None else None
    if wishes.as_json:
        json_line(as_json(run, results))
    # People want to know how long they waited.
    waited = replace(run, started_ms=began, ended_ms=clock.now_ms())
    terminal.finish(waited, results, report=report, next_step=wishes.next_step if passed(results) else None)


def as_json(run: Run, results: Sequence[Case]) -> dict[str, Any]:
    """As `mdmsim run --json` prints it (docs/command-line.md)."""
    counts = Counter(case.grade for case in results)
    return {
        "seed": run.seed,
        "target": run.target,
        "mode": run.mode,
        "command": run.command,
        "counts": {grade.value: counts[grade] for grade in Grade},
        "cases": [
            {
                "id": case.id,
                "title": case.title,
                "platform": case.platform,
                "grade": case.grade.value,
                "expected": case.expected,
                "observed": case.observed,
                "where": case.where,
                "replay": case.replay,
            }
            for case in results
        ],
    }

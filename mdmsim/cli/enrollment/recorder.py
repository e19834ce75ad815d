"""The report of an enrollment: one case for each device, with its exchanges."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from mdmsim import __version__
from mdmsim.cli.enrollment.rollout import Newcomer, Outcome
from mdmsim.cli.exits import NOT_CARRIED_OUT
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.report import Collector, Run, write_report

SOURCE = "scenario"


class Recorder:
    """Collects what happens, device by device, and writes the report."""

    def __init__(self, events: Events, clock: Clock, seed: int | str) -> None:
        self._events = events
        self._clock = clock
        self._seed = seed
        self._began = clock.now_ms()
        self._collector = Collector()
        events.subscribe(self._collector)

    def expect(self, newcomers: Sequence[Newcomer]) -> None:
        """Open a case for each device, so that whatever its transport says goes there."""
        for newcomer in newcomers:
            self._events.emit(
                "case.started",
                source=SOURCE,
                case=_case(newcomer),
                story="enroll",
                title=f"{newcomer.device_id} enrols",
                platform=newcomer.persona.platform,
                devices={newcomer.device_id: newcomer.description},
            )

    def finished(self, outcome: Outcome) -> None:
        """Close a device's case."""
        obstacle = outcome.obstacle
        if obstacle is None:
            grade, expected, observed = "passed", None, None
        else:
            grade = "error" if obstacle.code == NOT_CARRIED_OUT else "failed"
            expected = "the device is enrolled"
            observed = " ".join(part for part in (obstacle.what, obstacle.seen) if part)
        self._events.emit(
            "case.finished",
            source=SOURCE,
            case=_case(outcome.newcomer),
            grade=grade,
            expected=expected,
            observed=observed,
        )

    def write(self, directory: Path, target: str) -> Path:
        """Write the report; where a browser finds it. Raises ReportError."""
        now = self._clock.now_ms()
        run = Run(
            version=__version__,
            seed=self._seed,
            target=target,
            started_ms=self._began,
            ended_ms=now,
            mode="live",
            command=shlex.join(["mdmsim", *sys.argv[1:]]),
        )
        return write_report(directory, run, self._collector.close(now)).html


def _case(newcomer: Newcomer) -> str:
    return f"enroll/{newcomer.device_id}[{newcomer.persona.platform}]"

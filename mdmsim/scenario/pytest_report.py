"""The report of a pytest run: written at once, or put together from what several worker processes saw."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

from mdmsim import __version__
from mdmsim.events import Event, from_json_line, to_json_line
from mdmsim.report.collector import Collector
from mdmsim.report.model import Case, Run
from mdmsim.report.write import ReportError, write_report
from mdmsim.scenario.runner import DEFAULT_SEED

_DIARIES = ".mdmsim-events-*.jsonl"


class Diary:
    """An observer in a worker process: every event as a line of a file that the main process reads at the end.

    A directory that cannot be written to keeps it silent: the main process meets the same and says so, once.
    """

    def __init__(self, directory: Path, worker: str) -> None:
        self._file: BinaryIO | None = None
        try:
            directory.mkdir(parents=True, exist_ok=True)
            self._file = directory.joinpath(_DIARIES.replace("*", worker)).open("wb")
        except OSError:
            return

    def __call__(self, event: Event) -> None:
        if self._file is not None:
            self._file.write(to_json_line(event))

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def finish(
    directory: Path, results: Sequence[Case], *, seed: int | str | None, live: bool, command: str
) -> tuple[bool, str | None]:
    """Write the report; whether that went well, and the line that says where it is or why not."""
    cases = [*results, *_from_diaries(directory)]
    if not cases:
        return True, None
    run = Run(
        version=__version__,
        seed=DEFAULT_SEED if seed is None else seed,
        target="reference server",
        started_ms=min(case.started_ms for case in cases),
        ended_ms=max(case.ended_ms for case in cases),
        mode="live" if live else "in-process",
        command=command,
    )
    try:
        paths = write_report(directory, run, cases)
    except ReportError as error:
        return False, str(error)
    return True, f"mdmsim report: {paths.html}"


def _from_diaries(directory: Path) -> list[Case]:
    """The cases that worker processes wrote down, by id; the diaries are removed."""
    cases: list[Case] = []
    for diary in sorted(directory.glob(_DIARIES)) if directory.is_dir() else ():
        collector = Collector()
        last_ms = 0
        with diary.open("rb") as lines:
            for line in lines:
                event = from_json_line(line)
                last_ms = event.at_ms
                collector(event)
        cases.extend(collector.close(last_ms))
        diary.unlink()
    return sorted(cases, key=lambda case: case.id)

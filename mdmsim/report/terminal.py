"""The run as people watch it: what each device does as it does it, a verdict per story, failures at once."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from mdmsim.events import Event
from mdmsim.printable import printable
from mdmsim.report.activity import Activity, not_simulated_in
from mdmsim.report.collector import Collector
from mdmsim.report.document import learned
from mdmsim.report.html import case_link, verdict
from mdmsim.report.model import Case, Grade, Run, counts, passed
from mdmsim.report.words import duration

#: Columns: story, device, description.
STORY, DEVICE, DESCRIPTION = 21, 11, 26
#: The live line is redrawn at most this often, in seconds.
REDRAW = 0.05

#: The longest expectation or observation in a failure, in characters.
LONGEST = 300

_BRACKETS = re.compile(r" \([^)]*\)")

_STYLES = {
    Grade.PASSED: "green",
    Grade.TOLERATED: "yellow",
    Grade.FAILED: "bold red",
    Grade.ERROR: "bold red",
    Grade.NOT_APPLICABLE: "dim",
}
#: For terminals whose encoding knows none of these.
_ASCII = str.maketrans(
    {"✓": "ok", "✗": "FAILED", "⚠": "ERROR", "–": "-", "·": "-", "…": "...", "→": "->", "×": "x", "•": "*"}
)


class Terminal:
    """An observer of events that tells them on a terminal, or as plain lines where there is none.

    `stream`: None for standard output. `plain`: no colour, no moving cursor; None decides by the stream and by
    NO_COLOR. `every_case`: a line for each device of each case, not only for each kind of device of a story.
    """

    def __init__(self, stream: TextIO | None = None, *, plain: bool | None = None, every_case: bool = False) -> None:
        self._stream = stream if stream is not None else sys.stdout
        if plain is None:
            plain = not self._stream.isatty() or bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._plain = plain
        self._every_case = every_case
        self._console = Console(
            file=self._stream,
            no_color=plain,
            force_terminal=not plain,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=True,
        )
        self._live: Live | None = None
        self._drawn = 0.0
        self._collector = Collector()
        self._activities: dict[str, dict[str, Activity]] = {}  # case -> device -> what it did
        self._story: str | None = None  # the story whose lines are being written
        self._named = False  # whether its name was written
        self._told: set[tuple[str, str]] = set()  # story and kind of device that have a line
        self._ended: set[str] = set()
        self._prepared = False  # something was written before the first story

    # Preparation -----------------------------------------------------------------------------------------------------

    def ready(self, name: str, url: str, seconds: float) -> None:
        """A part of the world answers: its name, where, and after how many seconds."""
        self._write(Text(f"  {name:<18} {url:<27} ready in {seconds:.1f} s"))
        self._prepared = True

    def note(self, text: str) -> None:
        """One line about what is going on."""
        self._write(Text(f"  {text}"))
        self._prepared = True

    # The stream ------------------------------------------------------------------------------------------------------

    def __call__(self, event: Event) -> None:
        case = self._collector.take(event)
        if case is None or case.id in self._ended:
            return
        if event.kind == "case.started":
            self._start(case)
        elif event.kind == "case.finished":
            self._finish(case)
        elif event.device is not None:
            activity = self._activities.setdefault(case.id, {}).setdefault(event.device, Activity())
            if activity.take(event):
                self._redraw(case)

    def finish(
        self, run: Run, cases: Sequence[Case], *, report: Path | None = None, next_step: str | None = None
    ) -> None:
        """The last lines: verdict, where the report is, the seed, what to do next."""
        self._verdict()
        self._hide()
        numbers = counts(list(cases))
        good = passed(cases)
        line = Text("  ")
        said = verdict({grade.value: number for grade, number in numbers.items()})
        line.append(f"{'✓' if good else '✗'} {said}", style="bold green" if good else "bold red")
        line.append(f" in {duration(run.duration_ms)}")
        if report is not None:
            line.append(f"      report: {report}")
        line.append(f"      seed {run.seed}")
        self._write(Text(""))
        self._write(line)
        if names := not_simulated_in(cases):
            self._write(Text(f"  not simulated: {', '.join(names)} (mdmsim schema coverage lists what is)"))
        if cases and all(case.grade is Grade.NOT_APPLICABLE for case in cases):
            for why in dict.fromkeys(case.observed for case in cases if case.observed):
                self._write(Text(f"  not applicable: {why}"))
        elif next_step is None and not good:
            bad = next((case for case in cases if not case.ok), None)
            next_step = (bad.replay if bad else None) or run.command
        if next_step:
            self._write(Text(f"  next: {next_step}"))
        self.close()

    def close(self) -> None:
        """Take down the live line. May be called again."""
        self._hide()
        self._stream.flush()

    # Cases -----------------------------------------------------------------------------------------------------------

    def _start(self, case: Case) -> None:
        if case.story != self._story:
            self._verdict()
            if self._prepared:
                self._write(Text(""))
                self._prepared = False
            self._story, self._named = case.story, False
        self._redraw(case)

    def _finish(self, case: Case) -> None:
        self._ended.add(case.id)
        activities = self._activities.pop(case.id, {})
        extras = len(activities.keys() - case.devices.keys())
        for name, activity in activities.items():
            description = case.devices.get(name, "")
            if case.ok and not self._every_case and (name not in case.devices or self._is_told(case, description)):
                continue
            if str(activity):
                self._line(f"{name:<{DEVICE}}{_short(description):<{DESCRIPTION}} {activity}")
        # A story that takes a device for each request of another: dozens of lines alike would hide the others.
        if extras and case.ok and not self._every_case and not self._is_told(case, case.title):
            self._line(f"{extras} device{'' if extras == 1 else 's in turn'}: {case.title}")
        if not case.ok:
            self._failure(case)

    def _is_told(self, case: Case, what: str) -> bool:
        """Whether this story has a line of that kind; from now on it has."""
        kind = (case.story, what)
        told = kind in self._told
        self._told.add(kind)
        return told

    def _verdict(self) -> None:
        """Close the story whose lines are being written."""
        if self._story is None:
            return
        cases = [case for case in self._collector.cases if case.story == self._story and case.id in self._ended]
        if cases:
            applicable = [case for case in cases if case.grade is not Grade.NOT_APPLICABLE]
            good = sum(1 for case in applicable if case.ok)
            grade = Grade.PASSED if good == len(applicable) else Grade.FAILED
            left = len(cases) - len(applicable)
            text = f"{grade.mark} {good} of {len(applicable)}" + (f", {left} not applicable" if left else "")
            self._line(text, style=_STYLES[grade])
        self._story = None

    def _failure(self, case: Case) -> None:
        """Six lines: which, expected, seen, where, the exchange that proves it, how to replay."""
        redactor, exchanges = learned(case)
        rows = [("expected", case.expected), ("seen", case.observed)]
        step = case.failed_step
        proof = exchanges[case.proof] if case.proof is not None else None
        device = (proof["device"] if proof else None) or next(iter(case.devices), None)
        rows.append(
            (
                "where",
                ", ".join(part for part in (device, f'step "{step.title}"' if step else None, case.where) if part),
            )
        )
        if proof is not None and case.proof is not None:
            came = proof["status"] if proof["status"] is not None else proof["error_class"] or "no answer"
            link = f"report.html{case_link(case.id, case.proof)}"
            rows.append(("exchange", f"{proof['label']} → {came} ({case.proof + 1} of {len(exchanges)}) {link}"))
        rows.append(("replay", case.replay))
        head = Text("  ")
        head.append(f"{case.grade.mark} {case.id}", style=_STYLES[case.grade])
        head.append(f"  {redactor.text(case.title)}")
        self._write(head)
        for name, value in rows:
            if value:
                line = Text("    ")
                line.append(f"{name:<10}", style="dim")
                line.append(_one_line(redactor.text(value)))
                self._write(line)

    # Lines -----------------------------------------------------------------------------------------------------------

    def _line(self, text: str, *, style: str = "") -> None:
        """A line of the present story; its name stands before the first."""
        line = Text("  ")
        line.append(f"{'' if self._named else self._story or '':<{STORY}}", style="bold")
        line.append(text, style=style)
        self._named = True
        self._write(line)

    def _write(self, line: Text) -> None:
        line.rstrip()
        if self._plain:
            self._stream.write(self._sayable(line.plain) + "\n")
            self._stream.flush()
        else:
            plain = self._sayable(line.plain)
            self._console.print(line if plain == line.plain else Text(plain))

    def _sayable(self, text: str) -> str:
        text = printable(text)
        try:
            text.encode(getattr(self._stream, "encoding", None) or "utf-8")
        except (UnicodeEncodeError, LookupError):
            return text.translate(_ASCII).encode("ascii", "replace").decode("ascii")
        return text

    def _redraw(self, case: Case) -> None:
        """The live line: the case under way and what its devices do."""
        if self._plain:
            return
        now = self._console.get_time()
        if self._live is not None and now - self._drawn < REDRAW:
            return
        self._drawn = now
        text = Text("  ", overflow="ellipsis", no_wrap=True)
        text.append(f"{'' if self._named else case.story:<{STORY}}", style="bold")
        text.append(f"{case.title} [{case.platform}]  ", style="dim")
        doings = [f"{name}  {activity}" for name, activity in self._activities.get(case.id, {}).items()]
        text.append("   ".join(doings))
        if (plain := self._sayable(text.plain)) != text.plain:
            text = Text(plain, overflow="ellipsis", no_wrap=True)
        if self._live is None:
            # No refreshing by a thread of its own: virtual time must not jump while a thread is in flight.
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(text, refresh=True)

    def _hide(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _short(description: str) -> str:
    """`MacBook Air (13-inch, M3, 2024), macOS 15.1` without what stands in brackets: a column has room for the rest."""
    return _BRACKETS.sub("", description)


def _one_line(value: str) -> str:
    """A text on one line, cut where the report tells more; called on clean text only."""
    line = " ".join(value.split())
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"

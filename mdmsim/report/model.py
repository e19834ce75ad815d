"""A run and its cases: what the stream of events amounts to, for every reader of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from mdmsim.events import Event


class Grade(StrEnum):
    """A verdict. Only `passed`, `tolerated` and `not-applicable` let a run pass; a crash is an `error`."""

    PASSED = "passed"
    TOLERATED = "tolerated"
    FAILED = "failed"
    NOT_APPLICABLE = "not-applicable"
    ERROR = "error"

    @property
    def ok(self) -> bool:
        return self in (Grade.PASSED, Grade.TOLERATED, Grade.NOT_APPLICABLE)

    @property
    def mark(self) -> str:
        """The shape that stands before the word, so that a grade is never told by colour alone."""
        return MARKS[self]

    @property
    def words(self) -> str:
        """The grade as people read it: `not applicable`."""
        return self.value.replace("-", " ")


MARKS: dict[Grade, str] = {
    Grade.PASSED: "✓",
    Grade.TOLERATED: "!",
    Grade.FAILED: "✗",
    Grade.NOT_APPLICABLE: "–",
    Grade.ERROR: "⚠",
}

#: Worst first: the order in which grades are counted out to people.
ORDER: tuple[Grade, ...] = (Grade.FAILED, Grade.ERROR, Grade.TOLERATED, Grade.PASSED, Grade.NOT_APPLICABLE)


@dataclass(slots=True, kw_only=True)
class Run:
    """One run. `command` replays it whole; times are world milliseconds, so virtual ones in process."""

    version: str
    seed: int | str
    target: str
    started_ms: int
    ended_ms: int
    mode: Literal["live", "in-process"]
    command: str

    @property
    def duration_ms(self) -> int:
        return max(0, self.ended_ms - self.started_ms)


@dataclass(slots=True)
class StepResult:
    """One step of a case. `where` is `file:line`; `at_ms` is when it ended."""

    title: str
    grade: Grade
    expected: str | None = None
    observed: str | None = None
    where: str | None = None
    at_ms: int = 0


@dataclass(slots=True)
class Case:
    """One scenario or check on one platform.

    `id`: a stable name such as `lock/pin[macos]`. `exchanges`: positions in `events` of the HTTP exchanges.
    `proof`: which of these exchanges (counted from 0) shows the verdict. `devices`: name to description.
    """

    id: str
    story: str
    title: str
    platform: str
    grade: Grade = Grade.ERROR
    level: str | None = None
    requirement: str | None = None
    source: str | None = None
    expected: str | None = None
    observed: str | None = None
    where: str | None = None
    steps: list[StepResult] = field(default_factory=list)
    exchanges: list[int] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    replay: str | None = None
    started_ms: int = 0
    ended_ms: int = 0
    devices: dict[str, str] = field(default_factory=dict)
    proof: int | None = None

    @property
    def duration_ms(self) -> int:
        return max(0, self.ended_ms - self.started_ms)

    @property
    def ok(self) -> bool:
        return self.grade.ok

    @property
    def failed_step(self) -> StepResult | None:
        """The first step that did not pass."""
        return next((step for step in self.steps if not step.grade.ok), None)


def text(data: Mapping[str, Any], key: str) -> str | None:
    """A value of an event's data as text; None where it is absent, None or empty."""
    value = data.get(key)
    return None if value is None or value == "" else str(value)


def grade_of(value: object) -> Grade:
    """The grade of that name; anything else is an error of whoever emitted it, so it is graded as one."""
    try:
        return Grade(str(value))
    except ValueError:
        return Grade.ERROR


def passed(cases: Collection[Case]) -> bool:
    """Whether a run is good: every case lets it pass, and at least one of them judged something."""
    return all(case.ok for case in cases) and any(case.grade is not Grade.NOT_APPLICABLE for case in cases)


def counts(cases: list[Case]) -> dict[Grade, int]:
    """How many cases have each grade, worst first; grades that no case has are left out."""
    numbers = {grade: sum(1 for case in cases if case.grade is grade) for grade in ORDER}
    return {grade: number for grade, number in numbers.items() if number}

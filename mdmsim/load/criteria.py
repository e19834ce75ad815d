"""Pass criteria: when a load test has failed, as expressions such as `p99(connect:Idle)>500ms`.

    METRIC[(REQUEST)] OPERATOR NUMBER[UNIT]

An expression says what must not be. Times are in milliseconds unless the unit says `s` or `min`. What was never
measured cannot pass a criterion about times: that is told, and counts as failed.
"""

from __future__ import annotations

import difflib
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass

from mdmsim.load.errors import LoadError
from mdmsim.load.figures import Figures

_EXPRESSION = re.compile(
    r"\s*(?P<metric>[a-z][a-z0-9.-]*)\s*(\(\s*(?P<name>[^()]+?)\s*\))?\s*"
    r"(?P<op>>=|<=|==|!=|>|<)\s*(?P<number>\d+(\.\d+)?)\s*(?P<unit>[a-z%]*)\s*\Z"
)
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?)\Z")

_OPERATORS: dict[str, Callable[[float, float], bool]] = {
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
}

#: Units of times, in milliseconds.
_TIMES = {"": 1.0, "ms": 1.0, "s": 1000.0, "min": 60_000.0}

#: Counts of one request or of all; and what is measured in milliseconds of one request.
COUNTS = ("failures", "requests", "rps", "failure-rate")
TIMES = ("mean", "max", "min")
#: Counts of devices and workers.
OF_THE_RUN = ("missed", "not-enrolled", "enrolled", "answered", "unenrolled", "lost-workers")

EXAMPLE = '"failures>0", "failure-rate>1%", "p99(connect:Idle)>500ms", "missed>0"'


@dataclass(frozen=True, slots=True)
class Verdict:
    """A criterion, judged. `seen`: the value, for people."""

    criterion: str
    met: bool
    seen: str


@dataclass(frozen=True, slots=True)
class Criterion:
    """One expression. `limit`: in milliseconds, percent, or a count."""

    text: str
    metric: str
    name: str | None
    operator: str
    limit: float

    def judge(self, figures: Figures) -> Verdict:
        """Whether the run is free of what the expression describes."""
        value = self._value(figures)
        if value is None:
            return Verdict(self.text, False, "never measured")
        return Verdict(self.text, not _OPERATORS[self.operator](value, self.limit), self._told(value))

    def _value(self, figures: Figures) -> float | None:
        if self.metric in OF_THE_RUN:
            return figures.of_run(self.metric)
        entry = figures.entry(self.name) if self.name is not None else figures.total
        match self.metric:
            case "failures":
                return float(entry.failures) if entry is not None else 0.0
            case "requests":
                return float(entry.requests) if entry is not None else 0.0
            case "rps":
                return entry.requests / figures.seconds if entry is not None and figures.seconds else 0.0
            case "failure-rate":
                return 100.0 * entry.failures / entry.requests if entry is not None and entry.requests else 0.0
        if entry is None or not entry.requests:
            return None
        if self.metric in TIMES:
            return {"mean": entry.mean, "max": entry.longest, "min": entry.shortest}[self.metric]
        return entry.percentile(float(self.metric[1:]) / 100)

    def _told(self, value: float) -> str:
        if self.metric in (*OF_THE_RUN, "failures", "requests"):
            return f"{value:.0f}"
        if self.metric == "rps":
            return f"{value:.1f} per second"
        return f"{value:.2f} %" if self.metric == "failure-rate" else f"{value:.0f} ms"


def parse(text: str) -> Criterion:
    """The criterion in an expression. Raises LoadError."""
    found = _EXPRESSION.match(text)
    if found is None:
        raise LoadError(f'--fail-if "{text}": not understood. Write e.g. {EXAMPLE}.')
    metric, name, unit = found["metric"], found["name"], found["unit"]
    number = float(found["number"])
    percentile = _PERCENTILE.match(metric) is not None
    known = (*COUNTS, *TIMES, *OF_THE_RUN, "p50", "p95", "p99", "p99.9")
    if metric not in known and not percentile:
        near = difflib.get_close_matches(metric, known, n=1)
        hint = f'Did you mean "{near[0]}"?' if near else f"There are {', '.join(known)}."
        raise LoadError(f'--fail-if "{text}": no metric "{metric}". {hint}')
    if metric in OF_THE_RUN and name is not None:
        raise LoadError(
            f'--fail-if "{text}": {metric} counts for the whole run. Write "{metric}{found["op"]}{number:g}".'
        )
    timed = percentile or metric in TIMES
    if timed and name is None:
        raise LoadError(f'--fail-if "{text}": of which request? Write e.g. "{metric}(connect:Idle)>500ms".')
    if timed and unit not in _TIMES:
        raise LoadError(f'--fail-if "{text}": no unit of time "{unit}". Write ms, s or min.')
    if not timed and unit not in (("", "%") if metric == "failure-rate" else ("",)):
        raise LoadError(f'--fail-if "{text}": {metric} has no unit "{unit}". Leave it out.')
    limit = number * _TIMES[unit] if timed else number
    return Criterion(text.strip(), metric, name, found["op"], limit)

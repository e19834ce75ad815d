"""Events in; terminal, JUnit, JSON and one self-contained HTML page out."""

from mdmsim.report.collector import Collector
from mdmsim.report.model import Case, Grade, Run, StepResult, passed
from mdmsim.report.terminal import Terminal
from mdmsim.report.write import ReportError, ReportPaths, write_report

__all__ = [
    "Case",
    "Collector",
    "Grade",
    "ReportError",
    "ReportPaths",
    "Run",
    "StepResult",
    "Terminal",
    "passed",
    "write_report",
]

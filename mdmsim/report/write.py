"""Writes the files of a report."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mdmsim.report.document import build
from mdmsim.report.har import render_har
from mdmsim.report.html import render_html
from mdmsim.report.json_report import render_json
from mdmsim.report.junit import render_junit
from mdmsim.report.model import Case, Run


class ReportError(Exception):
    """The report cannot be written. The message says what, where and what to do."""


@dataclass(frozen=True, slots=True)
class ReportPaths:
    """Where the report is."""

    html: Path
    json: Path
    junit: Path
    har: Path


def write_report(directory: Path | str, run: Run, cases: Sequence[Case]) -> ReportPaths:
    """Write `report.html`, `report.json`, `junit.xml` and `transcript.har` into a directory, which is made if it is missing.

    Each file is replaced at once: a reader sees the old one or the new one, whole. Raises ReportError.
    """
    folder = Path(directory)
    paths = ReportPaths(folder / "report.html", folder / "report.json", folder / "junit.xml", folder / "transcript.har")
    document = build(run, cases)
    texts = {
        paths.html: render_html(document),
        paths.json: render_json(document),
        paths.junit: render_junit(document),
        paths.har: render_har(document),
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise ReportError(
            f"the report cannot be written to {folder}: it, or a part of its path, is a file. Name a directory."
        ) from None
    except OSError as error:
        raise ReportError(
            f"the report directory {folder} cannot be made: {_reason(error)}. Name another one."
        ) from None
    for path, content in texts.items():
        _replace(path, content)
    return paths


def _replace(path: Path, content: str) -> None:
    # Beside its target, because only within one file system is a replacement atomic.
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        draft.write_text(content, encoding="utf-8", errors="replace", newline="\n")
        draft.replace(path)
    except OSError as error:
        try:
            draft.unlink(missing_ok=True)
        except OSError:
            pass  # The first error is the one that tells what is wrong.
        raise ReportError(
            f"the report cannot be written to {path}: {_reason(error)}. Make room or give permission there, or name another directory."
        ) from None


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()

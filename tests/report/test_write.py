"""Files on disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mdmsim.report import Case, ReportError, Run, write_report


def test_four_files_are_written_and_nothing_else(tmp_path: Path, demo: tuple[Run, list[Case]]) -> None:
    paths = write_report(tmp_path / "deep" / "report", *demo)
    assert {paths.html.name, paths.json.name, paths.junit.name, paths.har.name} == {
        path.name for path in (tmp_path / "deep" / "report").iterdir()
    }


def test_a_report_replaces_the_last_one(tmp_path: Path, demo: tuple[Run, list[Case]]) -> None:
    run, cases = demo
    write_report(tmp_path, run, cases)
    paths = write_report(tmp_path, run, cases[:1])
    assert "lock/pin" not in paths.json.read_text(encoding="utf-8")


def test_a_file_in_the_way_is_told_with_what_to_do(tmp_path: Path, demo: tuple[Run, list[Case]]) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ReportError, match=r"taken: it, or a part of its path, is a file\. Name a directory\."):
        write_report(tmp_path / "taken", *demo)


def test_a_directory_below_a_file_is_told(tmp_path: Path, demo: tuple[Run, list[Case]]) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(ReportError, match="is a file"):
        write_report(tmp_path / "taken" / "below", *demo)


def test_a_target_that_cannot_be_replaced_is_told_and_leaves_no_draft(
    tmp_path: Path, demo: tuple[Run, list[Case]]
) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(ReportError, match=r"report\.html: is a directory"):
        write_report(tmp_path, *demo)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_no_permission_is_told(tmp_path: Path, demo: tuple[Run, list[Case]], monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(Path, "write_text", refused)  # by hand, because root may write anywhere
    with pytest.raises(ReportError, match=r"report\.html: permission denied\. Make room or give permission there"):
        write_report(tmp_path, *demo)


def test_a_surrogate_does_not_stop_the_report(tmp_path: Path, demo: tuple[Run, list[Case]]) -> None:
    odd = Case(id="a/b[ios]", story="a", title="half \ud800 a pair", platform="ios")
    assert write_report(tmp_path, demo[0], [odd]).html.exists()

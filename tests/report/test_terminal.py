"""What a person sees while it runs."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest

from mdmsim.events import Event
from mdmsim.report import Case, Run, Terminal
from tests.report.synthetic import demo_events, secrets_of


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def told(*, stream: io.StringIO | None = None, failing: bool = True, **options: Any) -> str:
    stream = stream if stream is not None else io.StringIO()
    terminal = Terminal(stream, **options)
    events, _ = demo_events(failing=failing)
    for event in events:
        terminal(event)
    terminal.close()
    return stream.getvalue()


def test_each_kind_of_device_has_a_line_in_its_story() -> None:
    assert told().splitlines()[:3] == [
        "  enrollment           iphone-01  iPhone 15, iOS 18.1        Authenticate · TokenUpdate · pushed · 3 commands answered",
        "                       mac-01     MacBook Air, macOS 15.1    Authenticate · TokenUpdate · pushed · 3 commands answered",
        "                       tv-01      Apple TV 4K, tvOS 18.1     Authenticate · TokenUpdate · pushed · 3 commands answered",
    ]


def test_every_case_on_request() -> None:
    assert len(told(every_case=True, failing=False).splitlines()) > len(told(failing=False).splitlines())


def test_a_story_ends_with_its_verdict() -> None:
    assert "                       ✓ 10 of 10" in told().splitlines()


def test_not_applicable_is_not_counted_as_passed(demo: tuple[Run, list[Case]]) -> None:
    assert "                       ✗ 4 of 5, 1 not applicable" in told().splitlines()


def test_a_failure_is_six_lines() -> None:
    lines = told().splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("  ✗ lock/pin"))
    assert lines[start : start + 6] == [
        "  ✗ lock/pin[macos-silicon]  Mac with PIN: gone until someone types it",
        "    expected  no request of mac-04 until the PIN is typed",
        "    seen      connect:Idle of mac-04 4.0 s after the lock",
        '    where     mac-04, step "the Mac stays silent until the PIN is typed", scenarios/story.yaml:22',
        "    exchange  connect:Idle → 200 (10 of 10) report.html#/lock/pin[macos-silicon]?x=10",
        "    replay    mdmsim run scenarios/lock.yaml --case 'lock/pin[macos-silicon]' --seed 2026",
    ]


def test_without_a_terminal_there_is_no_escape_sequence() -> None:
    assert "\x1b" not in told()


def test_no_color_means_plain_on_a_terminal_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in told(stream=Screen())


def test_on_a_terminal_the_lines_are_the_same_but_for_colour_and_the_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    shown = told(stream=Screen())
    assert "\x1b" in shown
    bare = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).replace("\r", "\n")
    # The verdict of the last story comes with the end of the run.
    for line in told().splitlines():
        assert line.strip() in bare


def test_a_stream_that_knows_no_check_marks_gets_words() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal = Terminal(stream)
    events, _ = demo_events()
    for event in events:
        terminal(event)
    terminal.close()
    assert b"ok 10 of 10" in raw.getvalue()


def test_the_last_lines_say_verdict_report_seed_and_what_next(demo: tuple[Run, list[Case]]) -> None:
    stream = io.StringIO()
    passed = [case for case in demo[1] if case.ok]
    Terminal(stream).finish(demo[0], passed, report=Path("mdmsim-report/report.html"), next_step="mdmsim enroll URL")
    assert stream.getvalue().splitlines()[-2:] == [
        "  ✓ 1 tolerated, 26 passed, 1 not applicable in 48 s      report: mdmsim-report/report.html      seed 2026",
        "  next: mdmsim enroll URL",
    ]


def test_after_a_failure_the_next_step_is_its_replay(demo: tuple[Run, list[Case]]) -> None:
    stream = io.StringIO()
    Terminal(stream).finish(*demo)
    assert (
        stream.getvalue().splitlines()[-1]
        == "  next: mdmsim run scenarios/lock.yaml --case 'lock/pin[macos-silicon]' --seed 2026"
    )


def test_a_run_without_cases_is_no_success(demo: tuple[Run, list[Case]]) -> None:
    stream = io.StringIO()
    Terminal(stream).finish(demo[0], [])
    assert "✗ no case ran" in stream.getvalue()


def test_parts_of_the_world_are_told_when_they_answer() -> None:
    stream = io.StringIO()
    Terminal(stream).ready("reference server", "https://127.0.0.1:41873", 0.61)
    assert stream.getvalue() == "  reference server   https://127.0.0.1:41873     ready in 0.6 s\n"


def test_no_secret_is_told() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream)
    events, maker = demo_events()
    magic = maker.phone("ios").magic
    for event in events:
        if event.kind == "case.finished" and event.data["case"] == "lock/pin[macos-silicon]":
            used = [each for each in maker._phones.values() if each.name == "mac-04"]
            event.data["observed"] = f"a push with {used[0].magic}"
            event.data["grade"] = "failed"
        terminal(event)
    terminal.close()
    assert magic and [secret for secret in secrets_of(maker) if secret in stream.getvalue()] == []


def test_text_with_markup_is_shown_as_it_is() -> None:
    stream = Screen()
    terminal = Terminal(stream, plain=False)
    terminal(
        Event(
            kind="case.started",
            at_ms=0,
            source="scenario",
            data={"case": "a/b[ios]", "title": "[bold]x[/nope]", "platform": "ios"},
        )
    )
    terminal(Event(kind="case.finished", at_ms=1, source="scenario", data={"case": "a/b[ios]", "grade": "failed"}))
    terminal.close()
    assert "[bold]x[/nope]" in stream.getvalue()


def _case_of(devices: dict[str, str], acting: list[str]) -> list[Event]:
    events = [
        Event(
            kind="case.started",
            at_ms=1,
            source="scenario",
            seq=1,
            data={"case": "drill/all[macos]", "title": "Each in turn", "platform": "macos", "devices": devices},
        )
    ]
    for number, name in enumerate(acting):
        events.append(Event(kind="device.enrolled", at_ms=2, source="device", device=name, seq=number + 2, data={}))
        locked = {"by": "command", "pin": True, "message": ""}
        events.append(Event(kind="device.locked", at_ms=2, source="device", device=name, seq=number + 50, data=locked))
    finished = {"case": "drill/all[macos]", "grade": "passed"}
    return [*events, Event(kind="case.finished", at_ms=3, source="scenario", seq=99, data=finished)]


def _lines_of(events: list[Event]) -> list[str]:
    stream = io.StringIO()
    terminal = Terminal(stream)
    for event in events:
        terminal(event)
    terminal.close()
    return stream.getvalue().splitlines()


def test_devices_that_a_case_takes_one_after_the_other_share_a_line() -> None:
    lines = _lines_of(_case_of({}, ["mac-02", "mac-03"]))
    assert lines[0] == "  drill                2 devices in turn: Each in turn"


def test_what_stands_in_brackets_is_left_out_of_the_column() -> None:
    lines = _lines_of(_case_of({"mac-01": "MacBook Air (13-inch, M3, 2024), macOS 15.1"}, ["mac-01"]))
    assert lines[0].startswith("  drill                mac-01     MacBook Air, macOS 15.1    ")

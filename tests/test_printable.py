"""What came over the wire is shown, wherever it is printed, and has no effect there."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.cli.entry import run
from mdmsim.cli.output import line
from mdmsim.cli.progress import Bar
from mdmsim.clock import ManualClock
from mdmsim.device.flows.server import UnexpectedStatus
from mdmsim.events import Event, from_json_line, to_json_line
from mdmsim.http import Response
from mdmsim.printable import printable, printable_json, printable_lines
from mdmsim.report import Case, Grade, Terminal
from mdmsim.scenario.failure import failure_text
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.startup import complain
from mdmsim.target.adapter import AdapterError
from reference_server.logs import Log

#: A name that clears the screen (C0), colours (C1), turns the reading direction, and begins a line of its own.
HOSTILE = "Wi\x1b[2J\x9b31mFi\u202egnp.exe\u2066 [red]x[/nope]\nmac-01  enrolled"
SHOWN = "Wi\\x1b[2J\\x9b31mFi\\u202egnp.exe\\u2066 [red]x[/nope]\\x0amac-01  enrolled"


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (HOSTILE, SHOWN),
        ("plain · ünïcode ✓ 日本", "plain · ünïcode ✓ 日本"),
        ("\U0001f468\u200d\U0001f469 \u0645\u200c\u06cc", "\U0001f468\u200d\U0001f469 \u0645\u200c\u06cc"),
        ("\0\t\r\x7f\x80\x9f", "\\x00\\x09\\x0d\\x7f\\x80\\x9f"),
        ("\u200e\u200f\u061c\u2028\u2029\ufeff\ud800", "\\u200e\\u200f\\u061c\\u2028\\u2029\\ufeff\\ud800"),
    ],
)
def test_controls_are_shown_as_escapes_and_nothing_else_is_changed(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert printable_lines(f"{text}\n") == f"{shown.replace(chr(92) + 'x0a', chr(10))}\n"


@given(st.text())
def test_json_says_the_same_without_controls(text: str) -> None:
    line = json.dumps({"name": text}, ensure_ascii=False).encode("utf-8", "surrogatepass")
    try:
        line.decode()
    except UnicodeDecodeError:
        return
    safe = printable_json(line)
    assert json.loads(safe) == {"name": text}
    assert printable(safe.decode()) == safe.decode()


def test_lines_of_commands_are_harmless() -> None:
    stream = io.StringIO()
    line(f"  {HOSTILE}", stream=stream)
    assert stream.getvalue() == f"  {SHOWN}\n"


def test_lines_beside_a_progress_bar_are_harmless(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    stream = Screen()
    with Bar("[red]connecting", 1, stream=stream) as bar:
        bar.say(HOSTILE)
    assert SHOWN in stream.getvalue()
    assert "[red]connecting" in stream.getvalue()


def test_error_messages_of_commands_are_harmless(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(arguments: object) -> int:
        raise AdapterError(f"POST /x answered 500: {HOSTILE}")

    monkeypatch.setattr("mdmsim.cli.entry._run", fail)
    assert run([]) == 3
    assert complain(HOSTILE, 2) == 2
    said = capsys.readouterr().err
    assert said.count("Wi\\x1b[2J\\x9b31mFi\\u202egnp.exe\\u2066 [red]x[/nope]") == 2
    assert printable_lines(said) == said


@pytest.mark.parametrize("plain", [True, False])
def test_the_run_on_a_terminal_is_harmless(plain: bool) -> None:
    stream = Screen()
    terminal = Terminal(stream, plain=plain)
    data = {"case": "a/b[ios]", "title": HOSTILE, "platform": "ios", "devices": {"iphone-01": HOSTILE}}
    finished = {"case": "a/b[ios]", "grade": "failed", "expected": HOSTILE, "observed": HOSTILE}
    terminal(Event(kind="case.started", at_ms=0, source="scenario", data=data))
    terminal(Event(kind="device.locked", at_ms=0, source="device", device="iphone-01", data={}))
    terminal(Event(kind="case.finished", at_ms=1, source="scenario", data=finished))
    terminal.note(HOSTILE)
    terminal.close()
    said = stream.getvalue()
    assert not {"\x9b", "\u202e", "\u2066"} & set(said)
    assert "\x1b[2JFi" not in said and "Wi\\x1b[2J\\x9b31mFi" in said
    assert SHOWN in said


def test_failures_in_pytest_are_harmless() -> None:
    case = Case(id="a/b[ios]", story="a", title=HOSTILE, platform="ios", grade=Grade.FAILED, observed=HOSTILE)
    for text in (
        failure_text(case),
        str(StepFailed("x", HOSTILE)),
        str(NotApplicable(HOSTILE)),
        str(AdapterError(HOSTILE)),
    ):
        assert "\\x1b[2J\\x9b31mFi\\u202egnp.exe" in text
        assert printable_lines(text) == text


def test_the_first_line_of_a_servers_answer_is_harmless() -> None:
    refusal = UnexpectedStatus(Response(500, body=HOSTILE.encode()), during="connect:Idle", url="https://x")
    assert str(refusal) == f"connect:Idle answered 500, expected 2xx: {SHOWN.partition(chr(92) + 'x0a')[0]}"


def test_lines_of_events_and_logs_are_harmless_and_say_the_same() -> None:
    event = Event(kind="device.locked", at_ms=1, source="device", device="x", data={"message": HOSTILE})
    lines: list[bytes] = [to_json_line(event)]
    assert from_json_line(lines[0]) == event
    Log(ManualClock(), lines.append).write("info", "x", why=HOSTILE)
    assert json.loads(lines[1])["why"] == HOSTILE
    for said in lines:
        assert printable_lines(said.decode()) == said.decode()

"""What `docs/writing-a-scenario.md` shows works as it is shown."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from mdmsim.scenario import blocking
from mdmsim.scenario.failure import failure_text
from mdmsim.scenario.load import load_text
from mdmsim.scenario.reference import renewed
from mdmsim.scenario.runner import run_in_process
from tests.scenario.stories import KEYS

PAGE = Path(__file__).parents[2] / "docs" / "writing-a-scenario.md"
TEXT = PAGE.read_text(encoding="utf-8")

BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
STORIES = [text for language, text in BLOCKS if language == "yaml"]
PYTHON = [text for language, text in BLOCKS if language == "python"]


def test_the_reference_is_up_to_date() -> None:
    assert renewed(TEXT) == TEXT, "run: python -m mdmsim.scenario.reference docs/writing-a-scenario.md"


@pytest.mark.parametrize("story", STORIES, ids=lambda text: text[:40])
def test_every_story_of_the_page_passes(story: str) -> None:
    for scenario in load_text(story.encode(), "page.yaml"):
        for case in scenario.cases:
            result = run_in_process(case, keys=KEYS)
            assert result.ok, failure_text(result)


def test_the_failure_on_the_page_is_what_such_a_failure_looks_like() -> None:
    story = STORIES[0].replace("  - lock: {device: tablet}\n", "")
    (case,) = load_text(story.encode(), "scenarios/wifi.yaml")[0].cases
    told = failure_text(run_in_process(case, keys=KEYS)).splitlines()
    shown = next(text for _, text in BLOCKS if text.startswith("✗")).splitlines()
    assert [line for line in told if "where" not in line] == [line for line in shown if "where" not in line]


def test_the_python_without_pytest_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(blocking, "_KEYS", KEYS)
    (plain,) = [text for text in PYTHON if "open_world" in text]
    exec(compile(textwrap.dedent(plain), str(PAGE), "exec"), {})  # noqa: S102 - the page's own example
    assert "SecurityInfo" in capsys.readouterr().out

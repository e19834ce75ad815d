"""Small stories for tests, and the few keys that all of them share."""

from __future__ import annotations

from mdmsim.pki.keys import SharedKeys
from mdmsim.report.model import Case as CaseResult
from mdmsim.scenario.load import load_text
from mdmsim.scenario.model import Case
from mdmsim.scenario.runner import run_in_process

KEYS = SharedKeys(4)

HEAD = """\
scenario: test/story
title: A story for a test
platforms: [ios]
devices:
  phone: {passcode: "246810"}
steps:
"""


def case(steps: str, *, head: str = HEAD) -> Case:
    """The first case of a story with these steps, indented as under `steps:`."""
    return load_text((head + steps).encode(), "story.yaml")[0].cases[0]


def play(steps: str, *, head: str = HEAD, seed: int | str | None = None) -> CaseResult:
    """What became of that case, played in process."""
    return run_in_process(case(steps, head=head), seed=seed, keys=KEYS)

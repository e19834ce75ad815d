"""Small stories for tests, and the few keys that all of them share."""

from __future__ import annotations

from mdmsim.events import KINDS, VALUES, Event, EventLog
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
    """What became of that case, played in process. Every event on the way holds what its kind declares."""
    log = EventLog()
    result = run_in_process(case(steps, head=head), seed=seed, keys=KEYS, observers=(log,))
    assert {problem for event in log.events if (problem := undeclared(event))} == set()
    return result


def undeclared(event: Event) -> str | None:
    """What an event's data holds or lacks against the declaration of its kind."""
    kind = KINDS[event.kind]
    lacking, unknown = set(kind.keys) - event.data.keys(), event.data.keys() - set(kind.all_keys)
    if lacking or unknown:
        return f"{event.kind} lacks {lacking}, has unknown {unknown}"
    wrong = {key: value for key, value in event.data.items() if value not in VALUES.get((event.kind, key), (value,))}
    return f"{event.kind} has {wrong}" if wrong else None

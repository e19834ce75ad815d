"""`expect_command` compares what the server has on record with what the device answered: a server may get it wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from mdmsim.report.model import Case, Grade
from mdmsim.target.adapter import CommandStatus
from mdmsim.target.reference import ReferenceAdapter
from tests.scenario.stories import play

ANSWERED = """\
  - enroll: {device: phone}
  - queue: {to: phone, command: ProfileList}
  - expect_command: {command: ProfileList}
"""
PUT_OFF = """\
  - enroll: {device: phone}
  - lock: {device: phone}
  - queue: {to: phone, command: SecurityInfo}
  - expect_command: {command: SecurityInfo, status: NotNow}
"""
REFUSED = """\
  - enroll: {device: phone}
  - query: {to: phone, command: RemoveProfile, keys: {Identifier: a.b}, status: Error, error: [12075]}
"""


def with_record(monkeypatch: pytest.MonkeyPatch, steps: str, **record: Any) -> Case:
    """What becomes of a story where the server's record of every command says this instead."""
    honest = ReferenceAdapter.command

    async def command(self: ReferenceAdapter, device: str, command_uuid: str) -> CommandStatus:
        return replace(await honest(self, device, command_uuid), **record)

    monkeypatch.setattr(ReferenceAdapter, "command", command)
    return play(steps)


@pytest.mark.parametrize(
    ("steps", "record", "expected", "seen"),
    [
        (ANSWERED, {"status": "Error"}, "has on record that ProfileList of iphone-01 was answered Acknowledged", "Error"),
        (ANSWERED, {"status": None}, "has on record that ProfileList of iphone-01 was answered Acknowledged", "None"),
        (PUT_OFF, {"not_now": 0, "status": None}, "has on record that SecurityInfo of iphone-01 was answered NotNow", "None"),
        (REFUSED, {"error_chain": ()}, "an error chain with 12075", "no error chain"),
        (REFUSED, {"status": "Acknowledged"}, "has on record that RemoveProfile of iphone-01 was answered Error", "Acknowledged"),
        (
            ANSWERED.replace("  - expect_command: {", "  - expect_command: {response: {ProfileList: {length: 1}}, "),
            {"response": {}},
            "holds {ProfileList: {length: 1}}",
            "there is no ProfileList",
        ),
    ],
)  # fmt: skip
def test_a_record_that_differs_fails_the_case(
    monkeypatch: pytest.MonkeyPatch, steps: str, record: dict[str, Any], expected: str, seen: str
) -> None:
    result = with_record(monkeypatch, steps, **record)
    assert result.grade is Grade.FAILED
    assert expected in str(result.expected)
    assert seen in str(result.observed)


@pytest.mark.parametrize("steps", [ANSWERED, PUT_OFF, REFUSED])
def test_a_record_that_agrees_passes(monkeypatch: pytest.MonkeyPatch, steps: str) -> None:
    assert with_record(monkeypatch, steps).grade is Grade.PASSED

"""`for_each_request`: the requests come from a recording, each gets its fault, and what follows is judged each time."""

from __future__ import annotations

from mdmsim.report.model import Case, Grade
from mdmsim.scenario.failure import failure_text
from tests.scenario.stories import play

LIFE = """\
        - enroll: {device: phone}
        - queue: {to: phone, command: ProfileList}
        - expect_command: {command: ProfileList}
"""


def told(requests: str, then: str, *, answer: str = "401", during: str = LIFE) -> Case:
    return play(
        f"""\
  - for_each_request:
      device: phone
      requests: {requests}
      answer: {answer}
      during:
{during}\
      then:
{then}"""
    )


GONE = "        - expect_device: {device: phone, enrolled: false, profiles: []}\n"


def titles(case: Case) -> list[str]:
    return [step.title for step in case.steps]


def test_every_recorded_request_gets_its_turn() -> None:
    result = told('["checkin:*", "connect:*"]', GONE)
    assert result.ok, failure_text(result)
    assert titles(result)[:-1] == [
        "401 at request 1 of 4: checkin:Authenticate",
        "401 at request 2 of 4: checkin:TokenUpdate",
        "401 at request 3 of 4: connect:Idle",
        "401 at request 4 of 4: connect:Acknowledged",
    ]


def test_each_turn_is_played_by_a_fresh_device() -> None:
    result = told('["connect:*"]', GONE)
    hit = [event.device for event in result.events if event.kind == "fault.injected"]
    assert hit == ["iphone-02", "iphone-03"]


def test_several_answers_are_all_tried() -> None:
    result = told('["connect:*"]', "        - expect_device: {device: phone, enrolled: true}\n", answer="[403, 500]")
    assert result.ok, failure_text(result)
    assert [title.split()[0] for title in titles(result)[:-1]] == ["403", "403", "500", "500"]


def test_what_is_wrong_after_one_request_fails_the_case_there() -> None:
    result = told('["checkin:*"]', "        - expect_device: {device: phone, enrolled: true, within: 1s}\n")
    assert result.grade is Grade.FAILED
    first = next(step.title for step in result.steps if not step.grade.ok)
    assert first == "401 at request 1 of 2: checkin:Authenticate"
    assert result.where == "story.yaml:16"


def test_a_clean_run_that_is_not_clean_fails_the_case() -> None:
    during = LIFE + "        - expect_command: {command: ProfileList, status: Error, within: 1s}\n"
    result = told('["connect:*"]', GONE, during=during)
    assert result.grade is Grade.FAILED
    assert "ProfileList of iphone-01 is answered Error" in str(result.expected)


def test_a_recording_without_such_requests_fails_the_case() -> None:
    result = told('["connect:NotNow"]', GONE)
    assert result.observed == "the recording holds none"


#: Cuts one answer of the device that is recorded, so that it sends more requests than the fresh ones after it.
DISTURBED = """\
  - fault: {{device: phone, name: response.cut, label: "connect:Idle"}}
  - for_each_request:
      device: phone
      requests: {requests}
      answer: 500
      before: [{{enroll: {{device: phone}}}}]
      during:
        - queue: {{to: phone, command: ProfileList}}
        - expect_command: {{command: ProfileList, within: 2m}}
      then: [{{wait: {{for: 1s}}}}]
"""


def test_a_fault_that_hit_another_request_than_the_recorded_one_fails_the_case() -> None:
    result = play(DISTURBED.format(requests='["connect:*"]'))
    assert (result.grade, result.expected, result.observed) == (
        Grade.FAILED,
        "request 2 is connect:Idle again",
        "this time it was connect:Acknowledged",
    )


def test_a_fault_that_hit_no_request_fails_the_case() -> None:
    result = play(DISTURBED.format(requests='["connect:Idle"]'))
    assert (result.grade, result.expected, result.observed) == (
        Grade.FAILED,
        "request 2 is connect:Idle again",
        "this time the device did not send it",
    )


def test_the_world_after_it_is_played_by_the_last_fresh_device() -> None:
    result = play(
        """\
  - for_each_request:
      device: phone
      requests: ["checkin:Authenticate"]
      answer: 401
      during: [{enroll: {device: phone}}]
      then: [{expect_device: {device: phone, enrolled: false}}]
  - enroll: {device: phone}
"""
    )
    assert result.ok, failure_text(result)
    assert [e.device for e in result.events if e.kind == "device.enrolled"] == ["iphone-01", "iphone-02"]

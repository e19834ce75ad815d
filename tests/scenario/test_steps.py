"""Steps go as told, and what they demand before they can act is told. Expectations: test_expectations.py."""

from __future__ import annotations

import pytest

from mdmsim.report.model import Grade
from mdmsim.scenario.failure import failure_text
from tests.scenario.stories import HEAD, play

E = "  - enroll: {device: phone}\n"

WRONG = {
    "remove_profile": ("  - remove_profile: {device: phone}\n", "has the profile of an enrollment", "it has not"),
    "deliver_push": ("  - deliver_push: {device: phone}\n", "has had a push token", "it never told"),
    "queue": ("  - queue: {to: phone, command: ProfileList}\n", "the server does what its administrator asks", "404"),
}  # fmt: skip


@pytest.mark.parametrize("steps, expected, seen", WRONG.values(), ids=WRONG)
def test_a_step_that_does_not_go_as_told_fails_the_case(steps: str, expected: str, seen: str) -> None:
    result = play(steps)
    assert result.grade is Grade.FAILED, failure_text(result)
    assert expected in str(result.expected)
    assert seen in str(result.observed)


RIGHT = {
    "a lost answer is sent again": E
    + """\
  - fault: {device: phone, name: response.cut, label: "connect:Acknowledged"}
  - queue: {to: phone, command: ProfileList}
  - expect_event: {device: phone, kind: device.retry-scheduled}
  - expect_command: {command: ProfileList, within: 2m}
  - expect_request: {device: phone, label: "connect:Acknowledged", since: start, times: 2}
""",
    "a fault that never ends, until it is healed": E
    + """\
  - fault: {device: phone, name: connection.refused, times: null, as: outage}
  - queue: {to: phone, command: ProfileList}
  - wait: {for: 10m}
  - expect_server: {device: phone, record: {open_commands: 1}}
  - heal: {fault: outage}
  - expect_command: {command: ProfileList, within: 1h}
""",
    "a network that returns is used at once": E
    + """\
  - network: {device: phone, state: down}
  - queue: {to: phone, command: ProfileList}
  - expect_no_request: {device: phone, for: 1h}
  - network: {device: phone, state: up}
  - expect_command: {command: ProfileList, within: 5s}
""",
    "a server that goes down keeps its queue": E
    + """\
  - queue: {to: phone, command: ProfileList, push: false}
  - server: {do: stop}
  - deliver_push: {device: phone}
  - expect_event: {device: phone, kind: device.retry-scheduled}
  - server: {do: start}
  - expect_command: {command: ProfileList, within: 2m}
""",
    "a device that crashes goes on": E
    + """\
  - fault: {device: phone, name: stall, label: "connect:Acknowledged", answer: 20}
  - queue: {to: phone, command: ProfileList}
  - expect_event: {device: phone, kind: fault.injected}
  - kill_device: {device: phone}
  - expect_command: {command: ProfileList, within: 2m}
""",
    "a push with another magic wakes nobody": E
    + """\
  - deliver_push: {device: phone, magic: wrong}
  - expect_event: {device: phone, kind: device.push-ignored}
  - expect_no_request: {device: phone, for: 1h}
""",
    "an unknown command": E
    + """\
  - query: {to: phone, command: MakeCoffee, invented: true, status: Error, error: [12021]}
""",
    "steps for other platforms are left out": E
    + """\
  - only_on: {platforms: [ipados], steps: [{expect_device: {device: phone, enrolled: false}}]}
  - only_on: {platforms: [iphone], steps: [{expect_device: {device: phone, enrolled: true}}]}
""",
    "an expectation after a repetition counts from its beginning": E
    + """\
  - repeat: {times: 3, steps: [{push: {to: phone}}, {wait: {for: 1m}}]}
  - expect_request: {device: phone, label: "connect:Idle", times: 3}
""",
    "a person changes the passcode": E
    + """\
  - set_passcode: {device: phone, passcode: ""}
  - query: {to: phone, command: SecurityInfo, response: {SecurityInfo: {PasscodePresent: false}}}
  - set_passcode: {device: phone, passcode: "1234"}
  - query: {to: phone, command: SecurityInfo, response: {SecurityInfo: {PasscodePresent: true}}}
""",
}


@pytest.mark.parametrize("steps", RIGHT.values(), ids=RIGHT)
def test_a_story_goes_as_told(steps: str) -> None:
    result = play(steps, head=HEAD.replace("platforms: [ios]", "needs: [virtual-time]\nplatforms: [ios, ipados]"))
    assert result.ok, failure_text(result)


def test_healing_what_is_not_broken_is_the_authors_mistake() -> None:
    result = play("  - heal: {fault: outage}\n")
    assert (result.grade, result.observed) == (
        Grade.ERROR,
        'step "heal" names the fault "outage". Planned are: none.',
    )

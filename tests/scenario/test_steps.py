"""Steps notice when things are not as told: each expectation is seen to fail, and to say what it saw."""

from __future__ import annotations

import pytest

from mdmsim.report.model import Grade
from mdmsim.scenario.failure import failure_text
from tests.scenario.stories import HEAD, play

E = "  - enroll: {device: phone}\n"

WRONG = {
    "enroll": ("  - enroll: {device: phone, outcome: failed}\n", "iphone-01 ends up failed", "enrolled"),
    "enroll-codes": (
        "  - enroll: {device: phone, profile: {topic: nonsense}, outcome: failed, error: [12000]}\n",
        "an error chain with 12000",
        "12022",
    ),
    "expect_command": (
        E + "  - queue: {to: phone, command: ProfileList}\n  - expect_command: {command: ProfileList, served: 3}\n",
        "served 3 times",
        "served 1 times",
    ),
    "expect_command-response": (
        E + "  - query: {to: phone, command: ProfileList, response: {ProfileList: {length: 5}}}\n",
        "holds {ProfileList: {length: 5}}",
        "ProfileList has 1 entries",
    ),
    "expect_command-none": (
        E + "  - network: {device: phone, state: down}\n  - queue: {to: phone, command: ProfileList}\n"
        "  - expect_command: {command: ProfileList, within: 5s}\n",
        "is answered Acknowledged within 5s",
        "no new answer; on the server it is queued, served 0 times",
    ),
    "expect_event": (
        E + "  - expect_event: {device: phone, kind: device.unenrolled, within: 5s}\n",
        "device.unenrolled for iphone-01 within 5s",
        "no device.unenrolled",
    ),
    "expect_event-data": (
        E + "  - expect_event: {device: phone, kind: device.token-updated, data: {first: false}, within: 5s}\n",
        "device.token-updated {first: false}",
        "first: true",
    ),
    "expect_no_event": (
        E + "  - expect_no_event: {device: phone, kind: device.enrolled, for: 1s}\n",
        "no device.enrolled for 1s",
        "iphone-01: device.enrolled",
    ),
    "expect_request": (
        E + '  - expect_request: {device: phone, label: "checkin:TokenUpdate", times: 2, within: 1s}\n',
        "checkin:TokenUpdate, 2 times",
        "1 of them; it sent scep:GetCACaps → 200",
    ),
    "expect_request-at-most": (
        E + '  - expect_request: {device: phone, label: "checkin:*", at_most: 1}\n',
        "checkin:*, 1 at most",
        "2 of them",
    ),
    "expect_no_request": (E + "  - expect_no_request: {device: phone, for: 1s}\n", "no request for 1s", "scep:GetCACaps → 200"),
    "expect_device": (
        E + "  - expect_device: {device: phone, enrolled: false, locked: false, within: 1s}\n",
        "shows {enrolled: false, locked: false}",
        "{enrolled: true}",
    ),
    "expect_server": (
        E + "  - expect_server: {device: phone, status: removed, within: 1s}\n",
        "has status removed",
        "status enrolled",
    ),
    "expect_server-record": (
        E + "  - expect_server: {device: phone, record: {token_updates: 2}, within: 1s}\n",
        "token_updates: 2",
        "token_updates is 1",
    ),
    "expect_pushed-never": (
        E
        + "  - apns_fault: {name: blackout, seconds: 1h, side: providers}\n"
        + "  - queue: {to: phone, command: ProfileList}\n"
        + "  - expect_pushed: {device: phone, within: 1s}\n",
        "APNs accepted a push for everything",
        "ProfileList for iphone-01: no push came",
    ),
    "expect_pushed-late": (
        E
        + "  - apns_fault: {name: push.refused, reason: ServiceUnavailable}\n"
        + "  - queue: {to: phone, command: ProfileList}\n"
        + "  - expect_pushed: {device: phone, late: 1s, within: 1h}\n",
        "at most 1s late",
        "s late",
    ),
    "expect_pushed-nothing": (E + "  - expect_pushed: {device: phone, within: 1s}\n", "a push for everything", "nothing"),
    "expect_pending_pushes": (
        E + "  - expect_pending_pushes: {device: phone, count: 1, within: 1s}\n",
        "APNs keeps 1 pushes for iphone-01",
        "0",
    ),
    "push": (E + "  - push: {to: phone, status: 410}\n", "APNs answers 410", "it answered 200"),
    "unlock": (
        '  - lock: {device: phone}\n  - unlock: {device: phone, passcode: "000000"}\n',
        "iphone-01 opens",
        "refused: that is not the passcode",
    ),
    "remove_profile": ("  - remove_profile: {device: phone}\n", "has the profile of an enrollment", "it has not"),
    "deliver_push": ("  - deliver_push: {device: phone}\n", "has had a push token", "it never told"),
    "install_profile": (
        "  - install_profile: {to: phone, identifier: a.b, by: user, error: [4001]}\n",
        "an error chain with 4001",
        "no error chain",
    ),
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

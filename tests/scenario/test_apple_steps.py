"""Steps about DEP, Setup Assistant, backups and secrets go as told. Expectations: test_expectations.py."""

from __future__ import annotations

import pytest

from mdmsim.protocol import plist
from mdmsim.report.model import Grade
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.failure import failure_text
from reference_server import app
from reference_server.enrollment.profile import Profiles
from tests.scenario.stories import HEAD, case, play

HELD = """\
  - order_device: {device: phone}
  - sync_dep: {}
  - walk_setup: {device: phone, outcome: held}
"""
E = "  - enroll: {device: phone}\n"
TWO = HEAD.replace("steps:\n", '  other: {passcode: "135790"}\nsteps:\n')

WRONG = {
    "walk_setup-behind": ("  - walk_setup: {device: phone}\n", "iphone-01 shows Setup Assistant", "Setup Assistant done"),
    "order_device-enrolled": (E + "  - order_device: {device: phone}\n", "iphone-01 is new", "enrolled already"),
    "order_device-twice": (
        "  - order_device: {device: phone}\n  - order_device: {device: phone}\n",
        "iphone-01 can be bought",
        "ordered already",
    ),
    "sync_dep-without": ("  - sync_dep: {}\n", "the server has an account at Apple", "it has none"),
    "reassign-unknown": (
        "  - connect_dep: {}\n  - reassign: {device: phone, to: server}\n",
        "can be assigned to server",
        "no organisation owns it",
    ),
    "assign_profile": (
        "  - order_device: {device: phone}\n"
        "  - assign_profile: {device: phone, keys: {is_mdm_removable: false, is_supervised: false}}\n",
        "the server does what its administrator asks",
        "is_mdm_removable may be false only",
    ),
    "remove_profile-removed": (
        HELD + "  - remove_profile: {device: phone}\n",
        "is removed",
        "cannot be removed by the user",
    ),
    "clear_passcode-token": (
        E + "  - clear_passcode: {to: phone, token_of: other}\n",
        "has told an unlock token",
        "it told []",
    ),
}  # fmt: skip


@pytest.mark.parametrize("steps, expected, seen", WRONG.values(), ids=WRONG)
def test_a_step_that_does_not_go_as_told_fails_the_case(steps: str, expected: str, seen: str) -> None:
    result = play(steps, head=TWO)
    assert result.grade is Grade.FAILED, failure_text(result)
    assert expected in str(result.expected)
    assert seen in str(result.observed)


RIGHT = {
    "a device given back to nobody is not served": HELD
    + """\
  - expect_event: {device: phone, kind: device.configured, since: start}
  - reassign: {device: phone, to: nobody}
  - erase: {device: phone}
  - walk_setup: {device: phone}
  - expect_device: {device: phone, enrolled: false, supervised: false}
""",
    "a backup of one device goes onto another": E
    + """\
  - backup: {device: phone, as: monday}
  - erase: {device: other}
  - walk_setup: {device: other, restore: monday, backup_of: phone}
  - expect_device: {device: other, enrolled: false}
""",
    "a person sets a passcode on the way": HELD.replace("outcome", 'passcode: "864200", outcome')
    + """\
  - expect_device: {device: phone, has_passcode: true}
""",
    "a token from a note": E
    + """\
  - remember: {device: phone, as: early}
  - clear_passcode: {to: phone, token_from: early, as: mine}
  - expect_command: {command: mine}
  - query: {to: phone, command: SecurityInfo, response: {SecurityInfo: {PasscodePresent: false}}}
""",
    "a renewal with other rights": E
    + """\
  - renew_enrollment: {to: phone, profile: {check_out_when_removed: false}, as: renewal}
  - expect_command: {command: renewal}
  - query: {to: phone, command: ProfileList}
  - remove_profile: {device: phone}
  - expect_no_request: {device: phone, label: "checkin:CheckOut", for: 1s}
""",
    "requests of Setup Assistant can go wrong": HELD.replace("held", "stopped, why: ConnectFailed").replace(
        "  - walk", '  - fault: {device: phone, name: connection.refused, label: "dep:activation"}\n  - walk'
    )
    + """\
  - walk_setup: {device: phone, outcome: held}
""",
}


@pytest.mark.parametrize("steps", RIGHT.values(), ids=RIGHT)
def test_a_story_goes_as_told(steps: str) -> None:
    result = play(steps, head=TWO)
    assert result.ok, failure_text(result)


def test_an_enrollment_that_is_not_simulated_is_not_judged_in_setup_assistant(monkeypatch: pytest.MonkeyPatch) -> None:
    class UserEnrollment(Profiles):
        """A server that hands out User Enrollment profiles to devices in Setup Assistant."""

        def _signed(self, content: bytes) -> bytes:
            values = plist.loads(content)
            for payload in values["PayloadContent"]:
                if payload["PayloadType"] == "com.apple.mdm":
                    payload["EnrollmentMode"] = "BYOD"
            return super()._signed(plist.dumps(values))

    monkeypatch.setattr(app, "Profiles", UserEnrollment)
    result = play(HELD, head=TWO)
    assert result.grade is Grade.NOT_APPLICABLE, failure_text(result)
    assert result.observed == "User Enrollment (EnrollmentMode BYOD) is not simulated (iphone-01)."


MISTAKES = {
    "nothing compared": ("  - expect_told: {device: phone}\n", "it compares nothing"),
    "two tokens": (
        "  - clear_passcode: {to: phone, token_of: other, token_from: before}\n",
        '"token_of" and "token_from" exclude each other',
    ),
    "a code for success": (
        "  - walk_setup: {device: phone, code: com.apple.unrecognized.device}\n",
        '"code" and "why" go with "outcome: stopped"',
    ),
    "a backup of nobody": (
        "  - walk_setup: {device: phone, backup_of: other}\n",
        '"backup_of" goes with "restore"',
    ),
    "an unknown fact": ("  - expect_told: {device: phone, new: [colour]}\n", "colour"),
}


@pytest.mark.parametrize("steps, says", MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_is_told_with_its_line(steps: str, says: str) -> None:
    with pytest.raises(ScenarioError) as told:
        case(steps, head=TWO)
    assert says in str(told.value)
    assert "story.yaml:8" in str(told.value)


@pytest.mark.parametrize(
    ("steps", "says"),
    [
        ("  - erase: {device: phone}\n  - walk_setup: {device: phone, restore: monday}\n", "Backups so far: none."),
        (
            "  - backup: {device: other}\n  - erase: {device: phone}\n"
            "  - walk_setup: {device: phone, restore: backup}\n",
            'the backup "backup" is not of iphone-01',
        ),
        (E + "  - expect_told: {device: phone, same: [udid]}\n", 'nothing was remembered as "before"'),
    ],
    ids=["no backup", "another's backup", "nothing remembered"],
)
def test_what_no_earlier_step_made_is_the_authors_mistake(steps: str, says: str) -> None:
    result = play(steps, head=TWO)
    assert result.grade is Grade.ERROR
    assert says in str(result.observed)


def test_a_server_setting_of_a_story_reaches_the_server() -> None:
    head = TWO.replace("platforms:", "server: {login: basic, users: {anna: s3cret}}\nplatforms:")
    result = play(HELD.replace("outcome: held", "outcome: stopped, why: nobody is there"), head=head)
    assert result.ok, failure_text(result)


def test_an_assignment_that_apple_leaves_out_is_tried_again() -> None:
    story = """\
  - order_device: {device: phone}
  - dep_fault: {name: assign.omitted, device: phone, times: null, as: omitted}
  - sync_dep: {}
  - walk_setup: {device: phone}
  - expect_device: {device: phone, enrolled: false}
  - heal: {fault: omitted}
  - wait: {for: 2h}
  - sync_dep: {}
  - erase: {device: phone}
  - walk_setup: {device: phone, outcome: held}
  - expect_device: {device: phone, enrolled: true}
"""
    result = play(story, head=f"needs: [virtual-time]\n{HEAD}")
    assert result.ok, failure_text(result)

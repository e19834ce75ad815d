"""A scenario file becomes typed scenarios, or one message with file, line, key, what was found and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.load import load, load_text
from mdmsim.scenario.steps.enrolling import Enroll
from tests.scenario.stories import HEAD

STORIES = Path(__file__).parents[2] / "scenarios"

WHOLE = HEAD + "  - enroll: {device: phone}\n"


def error(text: str) -> str:
    with pytest.raises(ScenarioError) as caught:
        load_text(text.encode(), "scenarios/rollout.yaml")
    return str(caught.value)


def test_a_story_has_a_case_per_platform() -> None:
    (scenario,) = load_text(
        WHOLE.replace("[ios]", "[ios, mac-intel, tvos]").replace('{passcode: "246810"}', "{}").encode(), "f.yaml"
    )
    assert [case.id for case in scenario.cases] == ["test/story[ios]", "test/story[mac-intel]", "test/story[tvos]"]


def test_without_platforms_the_first_kind_is_the_platform() -> None:
    text = WHOLE.replace("platforms: [ios]\n", "").replace('{passcode: "246810"}', "{kind: ipad}")
    (scenario,) = load_text(text.encode(), "f.yaml")
    assert [case.id for case in scenario.cases] == ["test/story[ipad]"]


def test_steps_are_typed_and_know_their_lines() -> None:
    (scenario,) = load_text(WHOLE.encode(), "f.yaml")
    (step,) = scenario.text.steps
    assert (step.arguments, step.where) == (Enroll(device="phone"), "f.yaml:7")


def test_a_file_may_hold_a_list_of_scenarios() -> None:
    listed = "".join(
        f"  {line}" if number else f"- {line}" for number, line in enumerate(WHOLE.splitlines(keepends=True))
    )
    found = load_text((listed + listed.replace("test/story", "test/other")).encode(), "f.yaml")
    assert [scenario.id for scenario in found] == ["test/story", "test/other"]


def test_a_file_may_hold_several_documents() -> None:
    found = load_text((WHOLE + "---\n" + WHOLE.replace("test/story", "test/other")).encode(), "f.yaml")
    assert [(scenario.id, scenario.line) for scenario in found] == [("test/story", 1), ("test/other", 9)]


TABLE = [
    ("  - push: {}", 7, 'step "push" needs "to". Name a device or a group from "devices", e.g. "to: ipads".'),
    ("  - push:", 7, 'step "push" needs "to". Name a device or a group from "devices", e.g. "to: ipads".'),
    ("  - push: phone", 7, 'step "push" takes a mapping with "to", not "phone". Write "to: ipads" under it.'),
    ("  - pusch: {to: phone}", 7, 'there is no step "pusch". Did you mean "push"?'),
    ("  - enroll", 7, 'a step is a mapping of its name, not "enroll". Write "enroll: {...}".'),
    ("  - enroll: {device: phone}\n    push: {to: phone}", 8, 'a step has one key, its name; here stand "enroll" and "push".'),
    ("  - push: {to: fone}", 7, 'step "push" names the device "fone", which "devices" has not. Did you mean "phone"?'),
    ("  - push: {to: xyz}", 7, "It has: phone."),
    ("  - push:\n      to: phone\n      statu: 200", 9, 'step "push" has no "statu". Did you mean "status"?'),
    ("  - push: {to: [phone]}", 7, '"to" of step "push" takes text, not a list.'),
    ("  - push: {to: 5}", 7, '"to" of step "push" takes text, not the number 5. Put it in quotes: "5".'),
    ("  - push: {to: phone, status: ok}", 7, '"status" of step "push" takes a whole number, not "ok".'),
    ("  - push: {to: phone, status: true}", 7, "takes a whole number, not true (true or false)"),
    ("  - wait: {for: 30}", 7, '"for" of step "wait" takes a duration such as 30s, 5m or 30d, not the number 30. Add the unit: 30s?'),
    ("  - wait: {for: 30 seconds}", 7, '"for" of step "wait" is "30 seconds": write a whole number and a unit'),
    ("  - wait: {for: 30d}", 7, 'step "wait" lasts 30d: nobody waits for that live. Add "needs: [virtual-time]" to the scenario.'),
    ("  - network: {device: phone, state: dwon}", 7, '"state" of step "network" cannot be "dwon". Did you mean "down"?'),
    ("  - queue: {to: phone, command: DeviceLok}", 7, 'Apple has no command "DeviceLok". Did you mean "DeviceLock"?'),
    ("  - expect_command: {command: DeviceLock}", 7, 'looks at the command "DeviceLock", which no earlier step queued. Queued so far: nothing.'),
    ("  - enroll: {device: phone, error: [12022]}", 7, '"error" goes with "outcome: failed"'),
    ("  - enroll: {device: phone, profile: {topik: x}}", 7, '"profile" of step "enroll" has no "topik". Did you mean "topic"?'),
    ("  - expect_event: {device: phone, kind: device.enroled}", 7, 'no events of the kind "device.enroled". Did you mean "device.enrolled"?'),
    ('  - expect_request: {device: phone, label: "checkin:Authentcate"}', 7, 'no request is called "checkin:Authentcate". Did you mean "checkin:Authenticate"?'),
    ("  - expect_request: {device: phone, label: '*', times: 0}", 7, "it must be 1 or more"),
    ("  - fault: {device: phone, name: answer.status}", 7, '"answer.status" needs "answer", a status from 100 to 599'),
    ("  - fault: {device: phone, name: answer.stats}", 7, 'Did you mean "answer.status"?'),
    ("  - server: {do: remove}", 7, '"do: remove" needs "device"'),
    ("  - repeat: {times: 2, steps: [{pusch: {}}]}", 7, 'there is no step "pusch"'),
    ("  - repeat:\n      times: 2\n      steps:\n        - push: {to: nobody}", 10, 'names the device "nobody"'),
    ("  - only_on: {platforms: [windows], steps: [{lock: {device: phone}}]}", 7, '"platforms" has "windows".'),
    ("  - expect_device: {device: phone}", 7, 'step "expect_device": it compares nothing. Say what must be seen'),
    ("  - expect_device: {device: phone, within: 1m}", 7, "it compares nothing"),
    ("  - expect_server: {device: phone}", 7, 'it compares nothing. Give "status", "record" or both'),
    ("  - expect_server: {device: phone, record: {}}", 7, "it compares nothing"),
    ("  - expect_server: {device: phone, status: enrolled, record: {}}", 7, '"record" of step "expect_server" is empty'),
    ("  - expect_event:\n      device: phone\n      kind: device.locked\n      data: {}", 10, '"data" of step "expect_event" is empty'),
    ("  - expect_no_event: {device: phone, kind: device.locked, for: 1s, data: {}}", 7, "it compares nothing"),
    ("  - query: {to: phone, command: ProfileList, response: {}}", 7, '"response" of step "query" is empty: it compares nothing. Say what to compare, or leave it out.'),
    ("  - query: {to: phone, command: ProfileList, status: Error, error: []}", 7, '"error" of step "query" is empty'),
    ("  - expect_dep: {device: phone}", 7, 'it compares nothing. Give "status", "record" or both'),
    ("  - expect_no_event: {device: phone, kind: courier.connected, for: 1s}", 7, '"courier.connected" is about no device'),
    ("  - expect_event: {device: phone, kind: server.dep-round}", 7, '"server.dep-round" is about no device'),
    ("  - expect_event:\n      device: phone\n      kind: device.unenrolled\n      data:\n        reson: refused", 11, 'device.unenrolled has no "reson". Did you mean "reason"?'),
    ("  - expect_no_event:\n      device: phone\n      kind: device.unenrolled\n      for: 1s\n      data: {reson: refused}", 11, 'Did you mean "reason"?'),
    ("  - expect_no_event:\n      device: phone\n      kind: device.enrollment-failed\n      for: 1s\n      data:\n        error_chain:\n          lacks:\n            ErrorCod: 12", 14, 'has no "ErrorCod". Did you mean "ErrorCode"?'),
    ("  - expect_event: {device: phone, kind: device.unenrolled, data: {any: true}}", 7, '"data" takes keys of device.unenrolled: reason, url, status.'),
    ("  - query:\n      to: phone\n      command: ProfileList\n      response:\n        ProfileList:\n          lacks: {PayloadIdentifer: a.b}", 12, 'an answer to ProfileList has no "PayloadIdentifer". Did you mean "PayloadIdentifier"?'),
    ("  - query: {to: phone, command: SecurityInfo, response: {SecurityInfo: {PasscodePresnt: {absent: true}}}}", 7, 'Did you mean "PasscodePresent"?'),
    ("  - query: {to: phone, command: ProfileList, response: {ProfileList: {contains: {PayloadContent: {lacks: {PayloadTyp: x}}}}}}", 7, 'Did you mean "PayloadType"?'),
    ("  - queue: {to: phone, command: ProfileList, as: list}\n  - expect_command: {command: list, response: {ProfileList: {lacks: {Identifier: a.b}}}}", 8, 'an answer to ProfileList has no "Identifier"'),
    ("  - expect_no_event:\n      device: phone\n      kind: device.unenrolled\n      for: 1s\n      data:\n        reason: refusd", 12, '"reason" of device.unenrolled is never "refusd". Did you mean "refused"?'),
    ("  - expect_event: {device: phone, kind: device.power, data: {state: true}}", 7, '"state" of device.power is never true. Allowed: on, off, restarting.'),
    ("  - repeat: {times: 2, steps: []}", 7, '"steps" is empty'),
    ("  - only_on: {platforms: [ios], steps: []}", 7, '"steps" is empty'),
    ("  - only_on: {platforms: [], steps: [{lock: {device: phone}}]}", 7, '"platforms" is empty: its steps would never be played'),
    ("  - only_on: {platforms: [macos], steps: [{lock: {device: phone}}]}", 7, 'step "only_on" is for macos, which is never played: "platforms" has ios.'),
    ("  - for_each_request: {device: phone, requests: ['*'], answer: 401, during: [{lock: {device: phone}}], then: []}", 7, '"then" is empty'),
    ("  - install_profile: {to: phone, identifier: a.b, removal_date: tomorrow}", 7, '"removal_date" is "tomorrow". Write a date'),
    ("  - enter_pin: {device: phone, pin: 123456}", 7, "pin 123456 is a number. Put it in quotes"),
    ("  - queue: {to: phone, command: DeviceLock, keys: {PIN: 123456}}", 7, "PIN 123456 is a number. Put it in quotes"),
]  # fmt: skip


@pytest.mark.parametrize(("steps", "line", "says"), TABLE)
def test_a_wrong_step_is_told_with_file_line_and_what_is_allowed(steps: str, line: int, says: str) -> None:
    message = error(HEAD + steps + "\n")
    assert message.startswith(f"scenarios/rollout.yaml:{line}: ")
    assert says in message


HEADS = [
    ("scenario: test/story", "scenario: Test Story", 1, "is not lower-case words"),
    ("title: A story for a test\n", "", 1, 'scenario "test/story" needs "title". Say in one sentence what happens'),
    ("title:", "titel:", 2, 'has no "titel". Did you mean "title"?'),
    ("[ios]", "[iso]", 1, '"platforms" has "iso". Did you mean "ios"?'),
    ("[ios]", "[ios, ios]", 1, '"platforms" names one of them twice'),
    ("[ios]", "ios", 3, "takes a list, not \"ios\". E.g. [ios, macos, tvos]."),
    ("platforms: [ios]\n", "", 1, '"phone" has no "kind", and there are no "platforms"'),
    ('  phone: {passcode: "246810"}\n', "  phone: {kind: iphne}\n", 5, 'Did you mean "iphone"?'),
    ('  phone: {passcode: "246810"}\n', '  phone: {os: "99.9"}\n', 5, 'device "phone": no release "99.9"'),
    ('  phone: {passcode: "246810"}\n', "  phone: {os: 18.1}\n", 5, 'Put it in quotes: "18.1"'),
    ('  phone: {passcode: "246810"}\n', "  phone: {count: 0}\n", 5, "it must be 1 or more"),
    ('  phone: {passcode: "246810"}\n', "  Phone!: {}\n", 1, "is not a lower-case word"),
    ("platforms: [ios]\n", "platforms: [ios]\nneeds: [magic]\n", 4, '"needs" of scenario "test/story" cannot be "magic"'),
    ("platforms: [ios]\n", "platforms: [ios]\nneeds: [live, virtual-time]\n", 1, "cannot be both live and virtual-time"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "line", "says"), HEADS)
def test_a_wrong_head_is_told_with_file_line_and_what_is_allowed(old: str, new: str, line: int, says: str) -> None:
    message = error(WHOLE.replace(old, new))
    assert message.startswith(f"scenarios/rollout.yaml:{line}: ")
    assert says in message


def test_a_platform_on_which_no_step_is_played_is_refused() -> None:
    only_here = WHOLE.replace(
        "- enroll: {device: phone}", "- only_on: {platforms: [ios], steps: [{enroll: {device: phone}}]}"
    )
    message = error(only_here.replace("[ios]\n", "[ios, macos]\n"))
    assert message == ('scenarios/rollout.yaml:7: no step is played on macos. Leave macos out of "platforms".')


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_says_how_to_begin(text: str) -> None:
    assert 'A scenario begins with "scenario: story/name"' in error(text)


@pytest.mark.parametrize("text", ["hello", "[1]", "5"])
def test_a_file_of_something_else_says_what_a_scenario_is(text: str) -> None:
    assert 'a scenario is a mapping that begins with "scenario: ..."' in error(text)


def test_an_id_is_given_once_only(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(WHOLE)
    with pytest.raises(ScenarioError, match=r'b\.yaml:1: "test/story" is taken by .*a\.yaml:1'):
        load([tmp_path])


def test_a_file_named_twice_is_read_once(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(WHOLE)
    assert len(load([tmp_path, tmp_path / "a.yaml"])) == 1


@pytest.mark.parametrize(
    ("name", "says"), [("missing", "no such file or folder"), (".", r"no \*\.yaml in this folder")]
)
def test_a_path_without_scenarios_is_told(tmp_path: Path, name: str, says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        load([tmp_path / name])


def test_the_stories_play_on_the_platforms_that_have_them() -> None:
    stories: dict[str, set[str]] = {}
    for scenario in load([STORIES]):
        stories.setdefault(scenario.story, set()).update(case.platform for case in scenario.cases)
    everywhere = {
        "enrollment",
        "automated-enrollment",
        "replacement",
        "restore",
        "401-unenroll",
        "wipe",
        "push",
        "removal",
    }
    assert set(stories) == everywhere | {"lock", "profiles"}
    for story in everywhere:
        assert {"ios", "ipados", "macos", "tvos"} <= stories[story]
    assert {"ios", "ipados", "mac-intel", "mac-silicon", "tvos"} <= stories["lock"]

"""Cases play in worlds of their own; verdicts name what, where and how to play it again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from mdmsim.clock import VirtualClock
from mdmsim.device.device import Device
from mdmsim.device.flow import Flow
from mdmsim.events import Event, EventLog
from mdmsim.http import Trust
from mdmsim.report.model import Grade
from mdmsim.scenario.failure import failure_text
from mdmsim.scenario.run import Run
from mdmsim.scenario.runner import run_cases, run_in_process, seed_of
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import World
from tests.scenario.stories import HEAD, KEYS, case, play

LIFE = """\
  - enroll: {device: phone}
  - queue: {to: phone, command: DeviceInformation, keys: {Queries: [SerialNumber]}}
  - expect_command: {command: DeviceInformation}
  - lock: {device: phone}
  - queue: {to: phone, command: SecurityInfo}
  - expect_command: {command: SecurityInfo, status: NotNow}
  - unlock: {device: phone}
  - expect_command: {command: SecurityInfo, served: 2, not_now: 1}
  - wait: {for: 1m}
"""

#: What may differ between two runs with one seed: keys, and what is made with them.
_KEY_MATERIAL = ("identity", "fingerprint", "request_headers", "request_body", "response_body", "response_headers")


def transcript(seed: int) -> list[Any]:
    log = EventLog()
    result = run_in_process(case(LIFE), seed=seed, keys=KEYS, observers=(log,))
    assert result.ok, failure_text(result)
    return [
        (e.at_ms, e.source, e.device, e.kind, {k: v for k, v in e.data.items() if k not in _KEY_MATERIAL})
        for e in log.events
    ]


def test_a_story_that_goes_as_told_passes() -> None:
    assert play(LIFE).grade is Grade.PASSED


def test_the_same_seed_gives_the_same_transcript() -> None:
    assert transcript(7) == transcript(7)


def test_another_seed_gives_another_device() -> None:
    def serial(seed: int) -> str:
        result = run_in_process(case(LIFE), seed=seed, keys=KEYS)
        return next(
            str(step.observed) for step in result.steps if "SerialNumber" in str(step.observed) or step.observed
        )

    first, second = transcript(1), transcript(2)
    assert first != second
    assert serial(1) == serial(1)


def test_a_failed_case_says_what_where_and_how_to_play_it_again() -> None:
    result = play(
        "  - enroll: {device: phone}\n"
        "  - queue: {to: phone, command: DeviceLock}\n"
        "  - expect_command: {command: DeviceLock, status: Error}\n",
        seed=41,
    )
    assert (result.grade, result.where) == (Grade.FAILED, "story.yaml:9")
    lines = failure_text(result).splitlines()
    assert lines[0] == "✗ test/story[ios]  A story for a test"
    assert lines[1:3] == [
        "  expected  DeviceLock of iphone-01 is answered Error",
        "  seen      Acknowledged",
    ]
    assert lines[3] == '  where     iphone-01, step "DeviceLock is answered Error", story.yaml:9'
    assert lines[4].startswith("  exchange  connect:Acknowledged → 200 (PUT https://")
    assert lines[5:] == ["  replay    mdmsim run story.yaml --seed 41"]


def test_a_failure_points_at_the_exchange_that_shows_it_not_the_last_one() -> None:
    result = play(
        "  - enroll: {device: phone}\n"
        "  - server: {do: remove, device: phone}\n"
        "  - deliver_push: {device: phone}\n"
        "  - expect_event: {device: phone, kind: device.unenrolled}\n"
        '  - expect_no_request: {device: phone, label: "connect:*", for: 1s}\n'
    )
    assert "exchange  connect:Idle → 401" in failure_text(result)


def test_steps_after_a_failed_one_are_not_played() -> None:
    result = play("  - expect_device: {device: phone, enrolled: true, within: 1s}\n  - enroll: {device: phone}\n")
    assert [step.grade for step in result.steps] == [Grade.FAILED]


def test_a_secret_in_a_failure_is_masked() -> None:
    result = play(
        "  - enroll: {device: phone}\n"
        '  - queue: {to: phone, command: DeviceLock, keys: {PIN: "975310"}}\n'
        "  - expect_server: {device: phone, status: none-such}\n".replace("none-such", "removed")
    )
    assert not result.ok
    assert "975310" not in failure_text(result)


def test_the_seed_asked_for_wins_over_the_scenarios_own() -> None:
    own = case(LIFE, head=HEAD.replace("platforms:", "seed: 5\nplatforms:"))
    assert (seed_of(own, None), seed_of(own, 9)) == (5, 9)


def test_a_case_that_needs_a_live_world_is_not_applicable_in_process() -> None:
    result = play(LIFE, head=HEAD.replace("platforms:", "needs: [live]\nplatforms:"))
    assert (result.grade, result.observed) == (
        Grade.NOT_APPLICABLE,
        "this case needs real processes and sockets: run it with --live",
    )


NOT_SIMULATED = """
  - enroll: {device: phone}
  - queue: {to: phone, command: InstallApplication, keys: {iTunesStoreID: 1}}
  - %s
"""


@pytest.mark.parametrize(
    "step",
    [
        "expect_command: {command: InstallApplication}",
        "expect_command: {command: InstallApplication, status: Error, error: [12021]}",
        "query: {to: phone, command: InstalledApplicationList, response: {InstalledApplicationList: [{Identifier: org.example.app}]}}",
    ],
)
def test_what_follows_a_command_that_is_not_simulated_is_not_judged(step: str) -> None:
    result = play(NOT_SIMULATED % step)
    assert result.grade is Grade.NOT_APPLICABLE
    assert result.observed is not None
    assert result.observed.startswith("InstallApplication is not simulated (iphone-01; see mdmsim schema coverage).")


ACME = """
  - enroll: {device: phone}
  - install_profile: {to: phone, identifier: test.acme, payloads: [{type: com.apple.security.acme}]}
  - expect_command: {command: InstallProfile}
"""


def test_what_follows_a_payload_that_is_not_simulated_is_not_judged() -> None:
    result = play(ACME + "  - query: {to: phone, command: CertificateList, response: {CertificateList: {length: 9}}}\n")
    assert result.grade is Grade.NOT_APPLICABLE
    assert result.observed is not None
    assert result.observed.startswith("com.apple.security.acme (test.acme.1) is not simulated (iphone-01; see ")


def test_a_profile_of_which_a_part_is_not_simulated_is_acknowledged_all_the_same() -> None:
    assert play(ACME).grade is Grade.PASSED


def test_what_a_server_sends_by_itself_does_not_excuse_its_faults() -> None:
    head = HEAD.replace("steps:", "server: {first_commands: [InstallApplication]}\nsteps:")
    told = """
  - enroll: {device: phone}
  - wait: {for: 1m}
  - expect_request: {device: phone, label: "checkin:CheckOut"}
"""
    result = play(told, head=head)
    assert result.grade is Grade.FAILED
    answered = [e.data for e in result.events if e.kind == "device.command-answered"]
    assert [(data["request_type"], data["simulated"]) for data in answered] == [("InstallApplication", False)]


def test_a_command_that_nobody_has_is_refused_by_the_device_and_judged() -> None:
    told = """
  - enroll: {device: phone}
  - query: {to: phone, command: MakeCoffee, invented: true}
"""
    assert play(told).grade is Grade.FAILED


def test_a_step_that_breaks_is_an_error_and_no_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(run: Run, name: str) -> list[str]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Run, "ids", broken)
    result = play(LIFE)
    assert (result.grade, result.observed) == (Grade.ERROR, "ZeroDivisionError: a bug")


def test_a_world_that_does_not_come_up_is_an_error_of_the_case() -> None:
    head = HEAD.replace("platforms:", "server: {scep_challenge: static}\nplatforms:")  # and no challenge given
    result = play(LIFE, head=head)
    assert result.grade is Grade.ERROR
    assert "scep_static_challenge" in str(result.observed)


def test_a_scenario_may_change_the_server_and_the_devices() -> None:
    head = HEAD.replace(
        "platforms:", "server: {first_commands: [SecurityInfo]}\nbehaviour: {boot: 5m}\nplatforms:"
    ).replace('{passcode: "246810"}', "{supervised: true, passcode: false}")
    result = play(
        "  - enroll: {device: phone}\n"
        "  - expect_event: {device: phone, kind: device.report-delivered, data: {request_type: SecurityInfo}}\n"
        "  - queue: {to: phone, command: RestartDevice}\n"
        "  - expect_command: {command: RestartDevice}\n"
        "  - expect_no_event: {device: phone, kind: device.power, data: {state: 'on'}, for: 4m}\n"
        "  - expect_device: {device: phone, power: 'on', within: 2m}\n",
        head=head,
    )
    assert result.ok, failure_text(result)


def test_observers_see_every_event_of_every_case() -> None:
    seen: list[Event] = []
    results = run_cases([case(LIFE), case(LIFE)], keys=KEYS, observers=(seen.append,))
    assert [result.ok for result in results] == [True, True]
    assert [event.kind for event in seen if event.kind.startswith("case.")] == ["case.started", "case.finished"] * 2


def test_a_group_of_devices_plays_together() -> None:
    head = HEAD.replace('phone: {passcode: "246810"}', "ipads: {kind: ipad, count: 3}")
    result = play(
        "  - enroll: {device: ipads}\n"
        "  - queue: {to: ipads, command: ProfileList}\n"
        "  - expect_command: {command: ProfileList}\n"
        "  - push: {to: ipads}\n",
        head=head,
    )
    assert result.ok, failure_text(result)
    assert list(result.devices) == ["ipad-01", "ipad-02", "ipad-03"]


def test_an_administrators_api_that_does_not_answer_is_an_error_of_the_run() -> None:
    result = play("  - server: {do: stop}\n  - enroll: {device: phone}\n")
    assert (result.grade, result.expected) == (Grade.ERROR, "an administrator's API that answers")
    assert "the server cannot be reached" in str(result.observed)


def test_an_api_key_that_the_server_does_not_take_is_an_error_of_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mdmsim.scenario.runner.reference_adapter", _with_wrong_key)
    result = play("  - enroll: {device: phone}\n")
    assert result.grade is Grade.ERROR
    assert "the server does not take this API key" in str(result.observed)


def _with_wrong_key(world: World) -> ReferenceAdapter:
    facts = world.server
    return ReferenceAdapter(world.outbound, facts.url, "wrong", Trust(anchors=facts.anchors))


def test_a_world_that_breaks_after_the_verdict_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    @asynccontextmanager
    async def breaks(clock: VirtualClock, **wishes: Any) -> AsyncIterator[World]:
        async with in_process_world(clock, **wishes) as world:
            yield world
        raise RuntimeError("a background task of the server died")

    monkeypatch.setattr("mdmsim.scenario.runner.in_process_world", breaks)
    result = play(LIFE)
    assert (result.grade, result.expected, result.observed) == (
        Grade.ERROR,
        "a world that runs to the end of the case",
        "RuntimeError: a background task of the server died",
    )


def test_a_bug_of_a_simulated_device_is_an_error_whatever_the_story_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(device: Device, channel: str) -> Flow[None]:
        raise ZeroDivisionError("a bug")
        yield

    monkeypatch.setattr("mdmsim.device.flows.wake.drain_queue", broken)
    result = play(
        "  - enroll: {device: phone}\n  - push: {to: phone}\n  - expect_event: {device: phone, kind: device.failed}\n"
    )
    assert (result.grade, result.expected) == (Grade.ERROR, "simulated devices without a bug")
    assert str(result.observed).startswith("iphone-01: ZeroDivisionError: a bug")

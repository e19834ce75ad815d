"""Cases against real processes on loopback: one world for all, every case with devices of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mdmsim.events import Event
from mdmsim.report.model import Grade
from mdmsim.scenario.blocking import open_world
from mdmsim.scenario.failure import failure_text
from mdmsim.scenario.live import LiveSession
from mdmsim.scenario.runner import IN_PROCESS, run_cases
from tests.scenario.stories import HEAD, KEYS, case

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def session() -> Iterator[LiveSession]:
    opened = LiveSession(seed=3, keys=KEYS)
    yield opened
    opened.close()


LIFE = """\
  - enroll: {device: phone}
  - query: {to: phone, command: DeviceInformation, keys: {Queries: [SerialNumber]}}
"""


def test_every_case_has_devices_of_its_own(session: LiveSession) -> None:
    first, second = session.run(case(LIFE)), session.run(case(LIFE))
    assert first.ok, failure_text(first)
    assert second.ok, failure_text(second)
    assert not set(first.devices) & set(second.devices)


def test_the_replay_of_a_live_case_is_live(session: LiveSession) -> None:
    assert session.run(case(LIFE)).replay == "mdmsim run story.yaml --seed 3 --live"


def test_a_server_killed_and_started_again_has_kept_its_queue(session: LiveSession) -> None:
    result = session.run(
        case(
            "  - enroll: {device: phone}\n"
            "  - queue: {to: phone, command: ProfileList, push: false}\n"
            "  - server: {do: stop}\n"
            "  - server: {do: start}\n"
            "  - push: {to: phone}\n"
            "  - expect_command: {command: ProfileList}\n",
            head=HEAD.replace("platforms:", "needs: [live]\nplatforms:"),
        )
    )
    assert result.ok, failure_text(result)


def test_a_case_that_leaves_the_server_down_does_not_harm_the_next(session: LiveSession) -> None:
    assert session.run(case("  - server: {do: stop}\n")).ok
    after = session.run(case(LIFE))
    assert after.ok, failure_text(after)


def test_a_fault_ends_with_its_case(session: LiveSession) -> None:
    assert session.run(case("  - fault: {device: phone, name: connection.refused, times: null}\n")).ok
    after = session.run(case(LIFE))
    assert after.ok, failure_text(after)


def test_a_failed_live_case_is_told_like_any_other(session: LiveSession) -> None:
    result = session.run(case("  - enroll: {device: phone, outcome: failed}\n"))
    assert result.grade is Grade.FAILED
    assert "replay    mdmsim run story.yaml --seed 3 --live" in failure_text(result)


def test_cases_that_need_virtual_time_run_in_process_among_live_ones() -> None:
    month = HEAD.replace("platforms:", "needs: [virtual-time]\nplatforms:").replace("test/story", "test/month")
    servers: list[str] = []
    seen: list[Event] = []
    results = run_cases(
        [case(LIFE), case(LIFE + "  - wait: {for: 30d}\n", head=month), case(LIFE)],
        live=True,
        seed=4,
        keys=KEYS,
        observers=(seen.append,),
        on_ready=lambda name, url, seconds: servers.append(name),
    )
    assert [result.ok for result in results] == [True, True, True]
    assert [str(result.replay).endswith("--live") for result in results] == [True, False, True]
    assert [result.title.endswith(IN_PROCESS) for result in results] == [False, True, False]
    assert sorted(servers) == ["fake APNs", "fake DEP", "reference server"]
    assert [e.data["case"] for e in seen if e.kind == "case.finished"] == [
        "test/story[ios]",
        "test/month[ios]",
        "test/story[ios]",
    ]


def test_python_tests_can_use_a_live_world() -> None:
    with open_world(live=True, keys=KEYS) as world:
        phone = world.device()
        phone.enroll()
        assert world.server.queue(phone, "ProfileList").expect().state == "acknowledged"

"""What a story needs is derived from its steps: where that is missing the case is not applicable, and nothing is sent."""

from __future__ import annotations

import msgspec
import pytest

from mdmsim.clock import VirtualClock
from mdmsim.events import EventLog
from mdmsim.report.collector import Collector
from mdmsim.report.model import Case as CaseResult
from mdmsim.report.model import Grade
from mdmsim.scenario.needs import needs_of
from mdmsim.scenario.registry import steps
from mdmsim.scenario.runner import reference_adapter, run_case
from mdmsim.target.file import Target
from mdmsim.target.nanomdm import NanoMDMAdapter
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.target.world import abilities_of
from mdmsim.transport.determinism import run_virtual
from mdmsim.world.abilities import IN_PROCESS_WORLD, LIVE_WORLD, Ability
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS
from tests.scenario.stories import HEAD, KEYS, case

TARGET = Target(file="t.yaml", adapter="reference", url="http://127.0.0.1:1", api_key="k")
WITH_COURIER = msgspec.structs.replace(TARGET, courier=("127.0.0.1", 5223))

#: Every kind of place that a story is played in, and what it can do there.
PLACES: dict[str, frozenset[Ability]] = {
    "in process": IN_PROCESS_WORLD | ReferenceAdapter.abilities,
    "live": LIVE_WORLD | ReferenceAdapter.abilities,
    "reference": abilities_of(TARGET) | ReferenceAdapter.abilities,
    "reference, courier": abilities_of(WITH_COURIER) | ReferenceAdapter.abilities,
    "nanomdm": abilities_of(TARGET) | NanoMDMAdapter.abilities,
    "nanomdm, courier": abilities_of(WITH_COURIER) | NanoMDMAdapter.abilities,
}

EVERYWHERE = set(PLACES)
OURS = {"in process", "live"}
REFERENCE = OURS | {"reference", "reference, courier"}
COURIER = OURS | {"reference, courier", "nanomdm, courier"}

Q = "queue: {to: phone, command: ProfileList}"

#: For each step where it can be played. Several rows where its arguments decide; `;` parts a step from one before it.
STEPS: list[tuple[str, set[str]]] = [
    ("apns_fault: {name: push.lost}", OURS),
    ("assign_profile: {device: phone}", REFERENCE),
    ("backup: {device: phone}", EVERYWHERE),
    ("clear_passcode: {to: phone}", COURIER),
    ("connect_dep: {}", OURS),
    ("deliver_push: {device: phone}", EVERYWHERE),
    ("dep_fault: {name: assign.omitted}", OURS),
    ("disconnect_dep: {}", REFERENCE),
    ("enroll: {device: phone}", EVERYWHERE),
    ("enroll: {device: phone, profile: {sign: true}}", EVERYWHERE),
    ("enroll: {device: phone, profile: {sign: false}}", REFERENCE),
    ("enter_pin: {device: phone, pin: '123456'}", EVERYWHERE),
    ("erase: {device: phone}", EVERYWHERE),
    (f"{Q};expect_command: {{command: ProfileList}}", REFERENCE & COURIER),
    ("queue: {to: phone, command: ProfileList, push: false};expect_command: {command: ProfileList}", REFERENCE),
    ("expect_dep: {device: phone, status: assigned}", OURS),
    ("expect_dep: {device: phone, record: {gone: false}}", REFERENCE),
    ("expect_device: {device: phone, enrolled: true}", EVERYWHERE),
    ("expect_event: {device: phone, kind: device.enrolled}", EVERYWHERE),
    ("expect_event: {device: phone, kind: exchange}", EVERYWHERE),
    ("expect_event: {device: phone, kind: device.push-heard}", COURIER),
    ("expect_event: {device: phone, kind: device.activated}", OURS),
    ("expect_event: {device: phone, kind: device.remote-management}", OURS),
    ("expect_event: {device: phone, kind: push.delivered}", OURS),
    ("expect_event: {device: phone, kind: token.retired}", OURS),
    ("expect_event: {device: phone, kind: server.checkin}", OURS),
    ("expect_event: {device: phone, kind: dep.assigned}", OURS),
    ("expect_no_event: {device: phone, kind: push.refused, for: 1s}", OURS),
    ("expect_no_event: {device: phone, kind: device.unenrolled, for: 1s}", EVERYWHERE),
    ("expect_pending_pushes: {device: phone, count: 0}", OURS),
    ("expect_pushed: {device: phone}", OURS),
    ("expect_request: {device: phone, label: 'connect:Idle'}", EVERYWHERE),
    ("expect_request: {device: phone, label: 'dep:activation'}", OURS),
    ("expect_no_request: {device: phone, label: 'dep:*', for: 1s}", OURS),
    ("expect_no_request: {device: phone, for: 1s}", EVERYWHERE),
    ("expect_server: {device: phone, status: enrolled}", REFERENCE),
    ("expect_told: {device: phone, same: [udid]}", EVERYWHERE),
    ("fault: {device: phone, name: stall}", EVERYWHERE),
    (
        "for_each_request: {device: phone, requests: ['*'], answer: 500, during: [{wait: {for: 1s}}],"
        " then: [{expect_server: {device: phone, status: enrolled}}]}",
        REFERENCE,
    ),
    ("heal: {fault: stall}", EVERYWHERE),
    ("install_profile: {to: phone, identifier: a.b, by: user}", EVERYWHERE),
    ("install_profile: {to: phone, identifier: a.b}", COURIER),
    ("install_profile: {to: phone, identifier: a.b, push: false}", EVERYWHERE),
    ("kill_device: {device: phone}", EVERYWHERE),
    ("lock: {device: phone}", EVERYWHERE),
    ("network: {device: phone, state: down}", EVERYWHERE),
    ("wait: {for: 1s};only_on: {platforms: [ios], steps: [{expect_pushed: {device: phone}}]}", OURS),
    ("wait: {for: 1s};only_on: {platforms: [macos], steps: [{expect_pushed: {device: phone}}]}", EVERYWHERE),
    ("new_push_token: {device: phone}", EVERYWHERE),
    ("order_device: {device: phone}", OURS),
    ("pair: {device: phone}", EVERYWHERE),
    ("power_nap: {device: phone, state: awake}", EVERYWHERE),
    ("press_power: {device: phone}", EVERYWHERE),
    ("push: {to: phone}", COURIER),
    ("deliver_push: {device: phone};push: {to: phone}", EVERYWHERE),
    ("query: {to: phone, command: ProfileList}", REFERENCE & COURIER),
    (Q, COURIER),
    (f"{Q};deliver_push: {{device: phone}}", EVERYWHERE),
    ("reassign: {device: phone, to: nobody}", OURS),
    ("remember: {device: phone}", EVERYWHERE),
    ("remove_profile: {device: phone}", EVERYWHERE),
    ("renew_enrollment: {to: phone}", COURIER),
    ("renew_enrollment: {to: phone, profile: {access_rights: 1}}", REFERENCE & COURIER),
    ("repeat: {times: 2, steps: [{expect_server: {device: phone, status: enrolled}}]}", REFERENCE),
    ("server: {do: stop}", OURS),
    ("server: {do: start}", OURS),
    ("server: {do: remove, device: phone}", REFERENCE),
    ("server: {do: refuse, device: phone}", REFERENCE),
    ("server: {do: allow, device: phone}", REFERENCE),
    ("set_passcode: {device: phone, passcode: ''}", EVERYWHERE),
    ("sync_dep: {}", REFERENCE),
    ("update_os: {device: phone}", EVERYWHERE),
    ("unlock: {device: phone}", EVERYWHERE),
    ("wait: {for: 1s}", EVERYWHERE),
    ("new_push_token: {device: phone}", EVERYWHERE),
    ("update_os: {device: phone}", EVERYWHERE),
    ("walk_setup: {device: phone}", EVERYWHERE),
]  # fmt: skip

TWO_PLATFORMS = HEAD.replace("[ios]", "[ios, macos]")


def told(text: str) -> str:
    return "".join(f"  - {step}\n" for step in text.split(";"))


@pytest.mark.parametrize(("text", "where"), STEPS, ids=[text[:60] for text, _ in STEPS])
def test_a_step_is_played_where_everything_that_it_needs_is_there(text: str, where: set[str]) -> None:
    needs = {ability for ability, _ in needs_of(case(told(text), head=TWO_PLATFORMS))}
    assert {place for place, abilities in PLACES.items() if needs <= abilities} == where


def test_every_step_of_the_vocabulary_is_in_the_table() -> None:
    assert set(steps()) - {text.split(";")[-1].partition(":")[0] for text, _ in STEPS} == set()


@pytest.mark.parametrize(
    ("line", "where"),
    [
        ("needs: [live]", EVERYWHERE - {"in process"}),
        ("needs: [virtual-time]", {"in process"}),
        ("server: {scep_challenge: none}", {"in process"}),
        ("behaviour: {boot: 1s}", {"in process"}),
    ],
)
def test_what_a_scenario_says_of_itself_counts_like_a_step(line: str, where: set[str]) -> None:
    needs = {ability for ability, _ in needs_of(case("  - lock: {device: phone}\n", head=f"{line}\n{HEAD}"))}
    assert {place for place, abilities in PLACES.items() if needs <= abilities} == where


def play_at(place: str, steps: str) -> tuple[CaseResult, EventLog]:
    """Play a case in process, in a world and with an adapter that can do no more than that place."""
    log, collector = EventLog(), Collector()

    async def main(clock: VirtualClock) -> None:
        async with in_process_world(clock, seed=1, keys=KEYS) as world:
            world.abilities, adapter = PLACES[place], reference_adapter(world)
            adapter.abilities = frozenset()
            world.events.subscribe(collector)
            world.events.subscribe(log)
            await run_case(case(steps), world, adapter, replay="mdmsim run")

    run_virtual(main, seed=1, start_ms=START_MS)
    return collector.close(START_MS)[0], log


def test_a_story_about_pushes_fails_no_server_whose_apns_is_not_seen() -> None:
    result, log = play_at(
        "reference, courier",
        "  - enroll: {device: phone}\n  - push: {to: phone}\n  - expect_event: {device: phone, kind: push.delivered}\n",
    )
    assert result.grade is Grade.NOT_APPLICABLE
    assert result.observed == (
        'step "expect_event" (story.yaml:9) needs sight of the APNs that the server pushes to: there is none here'
    )
    assert [event for event in log.events if event.kind == "exchange"] == []


def test_a_story_that_needs_no_such_sight_is_played_there() -> None:
    result, _ = play_at("reference, courier", "  - enroll: {device: phone}\n  - push: {to: phone}\n")
    assert result.grade is Grade.PASSED

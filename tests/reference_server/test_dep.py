"""Rounds with Apple: tokens, the list by fetch and sync, profiles, assignments; and what faults of Apple's lead to."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
import trio
import trio.testing

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, MINUTE, SECOND, VirtualClock
from mdmsim.fakedep.errors import DepError as AppleError
from mdmsim.fakedep.settings import DepSettings
from mdmsim.http import ConnectFailed, Request, TimedOut, Trust
from reference_server.dep.client import DepClient
from reference_server.dep.job import JOB
from reference_server.dep.rounds import Rounds
from reference_server.dep.token import DepToken
from tests.reference_server.apple import AppleServer
from tests.reference_server.kit import settings

pytestmark = pytest.mark.anyio

START_MS = 1_767_225_600_000


@pytest.fixture
def anyio_backend() -> str:
    """One backend: nothing here depends on it but the job, which `test_push` tries on both in the same form."""
    return "trio"


@pytest.fixture
def apple() -> Iterator[AppleServer]:
    server = AppleServer()
    yield server
    server.app.close()


async def _connected(*serials: str, **more: Any) -> AppleServer:
    server = AppleServer(**more)
    await server.connect_dep(*serials)
    return server


# ---- the list and the profile


async def test_the_first_round_finds_the_devices_and_gives_them_the_profile(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    assert await apple.synced() == {
        "added": 2,
        "modified": 0,
        "deleted": 0,
        "defined": ["default"],
        "assigned": {"SUCCESS": 2},
    }
    assert {apple.at_apple(serial).profile_status for serial in ("A", "B")} == {"assigned"}


async def test_the_profile_sends_devices_to_this_server_with_its_roots(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    configuration = apple.dep.cloud_configuration("A")
    assert configuration is not None
    assert configuration.profile["url"] == "https://mdm.example.com/enroll/automated"
    assert [len(c) > 100 for c in configuration.profile["anchor_certs"]] == [True]
    flags = ("is_supervised", "is_mandatory", "is_mdm_removable", "await_device_configured")
    assert [configuration.profile[flag] for flag in flags] == [True, True, False, True]
    assert "configuration_web_url" not in configuration.profile


async def test_a_web_login_is_announced_in_the_profile() -> None:
    server = await _connected("A", automated_login="web", users={"a": "b"})
    await server.synced()
    definition = (await server.api("GET", "/dep/abm/profiles/default")).json()["definition"]
    assert definition["configuration_web_url"] == "https://mdm.example.com/enroll/web"


async def test_what_nothing_changed_at_is_not_defined_or_assigned_again(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    await apple.synced()
    before = len(apple.calls)
    assert (await apple.synced())["defined"] == []
    assert apple.paths(since=before) == ["/devices/sync"]


async def test_a_second_identical_sync_writes_no_device(apple: AppleServer) -> None:
    await apple.connect_dep(*(f"S{n}" for n in range(20)))
    await apple.synced()
    await apple.synced()
    written: list[str] = []
    apple.app._storage.connection.set_trace_callback(lambda sql: written.append(sql) if "dep_devices" in sql else None)
    await apple.synced()
    assert [sql for sql in written if sql.lstrip().startswith(("INSERT", "UPDATE"))] == []


async def test_new_devices_come_by_sync_with_the_cursor_that_was_kept(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.order("B")
    before = len(apple.calls)
    assert (await apple.synced())["added"] == 1
    assert "/server/devices" not in apple.paths(since=before)
    assert apple.at_apple("B").profile_status == "assigned"


async def test_a_list_longer_than_a_page_is_read_to_its_end() -> None:
    server = await _connected(*(f"S{n:03}" for n in range(25)), dep_page=10)
    assert (await server.synced())["added"] == 25
    assert server.paths().count("/server/devices") == 3


async def test_pages_are_no_longer_than_apple_allows() -> None:
    server = await _connected("A", dep=DepSettings(maximum_limit=7, default_limit=5))
    await server.synced()
    pages = [call for call in server.calls if call.url.endswith(("/server/devices", "/devices/sync"))]
    assert {json.loads(call.body)["limit"] for call in pages} == {7}


async def test_thousands_of_devices_are_assigned_in_batches() -> None:
    server = await _connected()
    server.order(*(f"S{n:05}" for n in range(2500)))
    assert (await server.synced())["assigned"] == {"SUCCESS": 2500}
    sizes = [len(json.loads(call.body)["devices"]) for call in server.calls if call.url.endswith("/profile/devices")]
    assert sizes == [1000, 1000, 500]


async def test_a_device_that_apple_took_away_is_gone_and_comes_back(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    await apple.synced()
    apple.dep.portal.unassign(["A"])
    assert (await apple.synced())["deleted"] == 1
    assert list(await apple.known()) == ["B"]
    assert (await apple.known(query="gone=true"))["A"]["gone"] is True
    apple.dep.portal.assign(["A"], "MDM")
    assert (await apple.synced())["assigned"] == {"SUCCESS": 1}
    assert apple.at_apple("A").profile_status == "assigned"


async def test_taken_away_and_given_back_between_two_rounds_it_is_assigned_again(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.dep.portal.unassign(["A"])
    apple.dep.portal.assign(["A"], "MDM")
    assert apple.at_apple("A").profile_status == "empty"
    await apple.synced()
    assert apple.at_apple("A").profile_status == "assigned"


@pytest.mark.parametrize("fault", ["sync.duplicated", "sync.reordered"])
async def test_the_latest_of_several_operations_counts(apple: AppleServer, fault: str) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.fault(fault, times=5)
    for action in (apple.dep.portal.unassign, lambda s: apple.dep.portal.assign(s, "MDM")):
        apple.manual.advance(2 * SECOND)
        action(["A"])
    await apple.synced()
    assert list(await apple.known()) == ["A"]


async def test_a_device_that_sync_leaves_out_is_found_by_the_full_list(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.fault("sync.omitted", times=None, match=lambda facts: facts["serial"] == "B")
    apple.order("B")
    await apple.synced()
    assert list(await apple.known()) == ["A"]
    assert (await apple.synced(full=True))["added"] == 1
    assert sorted(await apple.known()) == ["A", "B"]


async def test_the_full_list_is_read_again_after_a_while() -> None:
    server = await _connected("A", dep_full_fetch_s=86_400)
    await server.synced()
    server.fault("sync.omitted", times=None, match=lambda facts: facts["serial"] == "B")
    server.order("B")
    await server.synced()
    server.manual.advance(DAY + SECOND)
    await server.synced()
    assert sorted(await server.known()) == ["A", "B"]


async def test_what_the_full_list_does_not_name_is_gone(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    await apple.synced()
    apple.fault("sync.omitted", times=None, match=lambda facts: facts["operation"] == "deleted")
    apple.dep.portal.unassign(["A"])
    await apple.synced()
    assert sorted(await apple.known()) == ["A", "B"]
    assert (await apple.synced(full=True))["deleted"] == 1
    assert list(await apple.known()) == ["B"]


async def test_keys_that_are_missing_or_unknown_do_no_harm(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    apple.fault("record.sparse", times=None, match=lambda facts: facts["serial"] == "A")
    apple.fault("record.extended", times=None, answer={"colour_of_next_year": "octarine"})
    await apple.synced()
    known = await apple.known()
    assert sorted(known) == ["A", "B"]
    assert known["B"]["record"]["colour_of_next_year"] == "octarine"


# ---- profiles


async def test_a_changed_profile_is_a_new_one_and_devices_are_assigned_anew(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    await apple.synced()
    old = apple.at_apple("A").profile_uuid
    changed = await apple.api("PUT", "/dep/abm/profiles/default", {"keys": {"is_mdm_removable": True}})
    assert changed.status == 200, changed.body
    assert changed.json()["uuid"] != old
    assert (await apple.synced())["assigned"] == {"SUCCESS": 2}
    assert {apple.at_apple(serial).profile_uuid for serial in "AB"} == {changed.json()["uuid"]}


async def test_a_profile_that_is_set_as_it_was_stays(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    first = (await apple.api("PUT", "/dep/abm/profiles/default", {"keys": {"department": "IT"}})).json()
    again = (await apple.api("PUT", "/dep/abm/profiles/default", {"keys": {"department": "IT"}})).json()
    assert first["uuid"] == again["uuid"]
    assert apple.paths().count("/profile") == 1


async def test_a_profile_that_apple_refuses_changes_nothing(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    before = (await apple.api("GET", "/dep/abm/profiles/default")).json()
    refused = await apple.api("PUT", "/dep/abm/profiles/default", {"keys": {"support_phone_number": "1" * 60}})
    assert (refused.status, refused.json()["error"]) == (400, "bad-dep-profile")
    assert "SUPPORT_PHONE_INVALID" in refused.json()["what"]
    assert (await apple.api("GET", "/dep/abm/profiles/default")).json() == before


async def test_some_devices_can_have_another_profile(apple: AppleServer) -> None:
    await apple.connect_dep("A", "B")
    await apple.synced()
    kiosk = (await apple.api("PUT", "/dep/abm/profiles/kiosk", {"keys": {"profile_name": "Kiosk"}})).json()
    answer = await apple.api("POST", "/dep/abm/assign", {"profile": "kiosk", "devices": ["B"]})
    assert (answer.status, answer.json()["assigned"]) == (200, {"SUCCESS": 1})
    assert apple.at_apple("B").profile_uuid == kiosk["uuid"] != apple.at_apple("A").profile_uuid
    await apple.synced()
    assert apple.at_apple("B").profile_uuid == kiosk["uuid"], "the next round leaves it"


def test_other_settings_at_the_next_start_are_a_new_profile_at_once(tmp_path: Path) -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock, database=str(tmp_path / "x.sqlite"))
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + MINUTE)
        old = server.at_apple("A").profile_uuid
        server.settings = settings(**server.changes, dep_profile={"department": "Ops"})
        server.start()
        async with server.running():
            await clock.sleep_until(START_MS + 2 * MINUTE)
            assert old != server.at_apple("A").profile_uuid is not None

    _virtual(scenario)


async def test_a_profile_that_somebody_removed_is_given_again(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.dep.register.remove_profile(apple.at_apple("A"))
    assert apple.at_apple("A").profile_status == "removed"
    await apple.synced()
    assert apple.at_apple("A").profile_status == "assigned"


# ---- assignments that fail


@pytest.mark.parametrize("word", ["FAILED", "THROTTLED"])
async def test_an_assignment_that_is_refused_is_tried_again_an_hour_later(apple: AppleServer, word: str) -> None:
    await apple.connect_dep("A", "B")
    apple.fault("assign.refused", answer=word, match=lambda facts: facts["serial"] == "A")
    assert (await apple.synced())["assigned"] == {"SUCCESS": 1, word: 1}
    assert (await apple.known())["A"]["result"] == word
    apple.manual.advance(30 * MINUTE)
    assert (await apple.synced())["assigned"] == {}
    apple.manual.advance(31 * MINUTE)
    assert (await apple.synced())["assigned"] == {"SUCCESS": 1}
    assert (await apple.known())["A"]["result"] is None


async def test_a_throttled_device_is_left_alone_as_long_as_apple_says(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    apple.fault("assign.refused", answer={"status": "THROTTLED", "retry_after_seconds": 7200})
    await apple.synced()
    apple.manual.advance(HOUR + MINUTE)
    assert (await apple.synced())["assigned"] == {}
    apple.manual.advance(HOUR)
    assert (await apple.synced())["assigned"] == {"SUCCESS": 1}


async def test_a_device_out_of_reach_waits_until_apple_names_it_again(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    apple.fault("assign.refused", answer="NOT_ACCESSIBLE")
    await apple.synced()
    apple.manual.advance(DAY)
    assert (await apple.synced())["assigned"] == {}
    apple.dep.portal.set_asset_tag("A", "desk 7")
    assert (await apple.synced())["assigned"] == {"SUCCESS": 1}


async def test_what_devices_have_counts_more_than_what_the_assignment_said(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    apple.fault("assign.ignored")
    await apple.synced()
    assert (await apple.known())["A"]["profile_status"] == "empty"
    apple.manual.advance(HOUR + SECOND)
    await apple.synced()
    assert apple.at_apple("A").profile_status == "assigned"


# ---- cursors


@pytest.mark.parametrize("fault", ["cursor.expired", "cursor.invalid", "cursor.exhausted"])
async def test_a_cursor_that_apple_does_not_take_leads_to_the_full_list(apple: AppleServer, fault: str) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.order("B")
    apple.fault(fault)
    before = len(apple.calls)
    await apple.synced()
    lists = [c for c in apple.calls[before:] if c.url.endswith("/server/devices")]
    assert [json.loads(call.body).get("cursor") for call in lists] == [None]
    assert sorted(await apple.known()) == ["A", "B"]


async def test_a_cursor_of_eight_days_ago_leads_to_the_full_list() -> None:
    server = await _connected("A", dep_full_fetch_s=90 * 86_400)
    await server.synced()
    server.manual.advance(8 * DAY)
    server.order("B")
    await server.synced()
    assert sorted(await server.known()) == ["A", "B"]
    assert any("EXPIRED_CURSOR" in (line.get("why") or "") for line in server.log)


async def test_a_cursor_that_does_not_move_ends_the_round(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.fault("cursor.stuck", times=None)
    before = len(apple.calls)
    await apple.synced()
    assert apple.paths(since=before).count("/devices/sync") == 1


async def test_a_list_without_a_cursor_ends_the_round(apple: AppleServer, monkeypatch: pytest.MonkeyPatch) -> None:
    real = DepClient.fetch

    async def without_cursor(self: DepClient, cursor: str | None, limit: int) -> Any:
        return msgspec.structs.replace(await real(self, cursor, limit), cursor="")

    monkeypatch.setattr(DepClient, "fetch", without_cursor)
    await apple.connect_dep("A")
    with anyio.fail_after(30):
        assert (await apple.synced())["added"] == 1
    assert "/devices/sync" not in apple.paths()


async def test_apple_that_takes_no_cursor_at_all_is_not_asked_for_ever(apple: AppleServer) -> None:
    await apple.connect_dep(*(f"S{n}" for n in range(5)))
    apple.fault("cursor.invalid", times=None)
    answer = await apple.sync()
    assert (answer.status, answer.json()["error"]) == (502, "dep-failed")
    assert len(apple.calls) < 12


async def test_a_round_that_was_cut_goes_on_at_the_same_page() -> None:
    server = await _connected(*(f"S{n:02}" for n in range(30)), dep_page=10)
    server.fault("answer.cut", match=lambda facts: facts["endpoint"] == "/server/devices", after=1)
    assert (await server.sync()).status == 502
    asked = [json.loads(c.body).get("cursor") for c in server.calls if c.url.endswith("/server/devices")]
    before = len(server.calls)
    await server.synced()
    again = [json.loads(c.body).get("cursor") for c in server.calls[before:] if c.url.endswith("/server/devices")]
    assert again[0] == asked[-1] is not None
    assert len(await server.known()) == 30


async def test_a_server_killed_between_two_pages_goes_on_after_its_restart(tmp_path: Path) -> None:
    server = await _connected(*(f"S{n:02}" for n in range(30)), dep_page=10, database=str(tmp_path / "x.sqlite"))
    server.down = lambda r: ConnectFailed("down") if r.url.endswith("/server/devices") and b"cursor" in r.body else None
    assert (await server.sync()).status == 502
    assert len(await server.known()) == 10
    server.app.close()
    server.down = lambda request: None
    server.start()
    before = len(server.calls)
    assert (await server.synced())["added"] == 20
    assert server.paths(since=before).count("/server/devices") == 2


# ---- sessions


@pytest.mark.parametrize("end", ["expire_sessions", "forget_sessions"])
async def test_a_session_that_ended_is_opened_anew_and_the_call_repeated(apple: AppleServer, end: str) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    getattr(apple.dep, end)()
    before = len(apple.calls)
    await apple.synced()
    assert apple.paths(since=before) == ["/devices/sync", "/session", "/devices/sync"]


async def test_a_renewed_session_token_is_used() -> None:
    server = await _connected("A", dep=DepSettings(rotate_session_after_ms=0, session_grace_ms=0))
    await server.synced()
    assert server.paths().count("/session") == 1


async def test_calls_at_the_same_time_open_one_session(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    apple.dep.expire_sessions()
    client = DepClient(
        DepToken(**apple.dep.portal.plain_token("MDM")),
        url="https://mdmenrollment.apple.com",
        outbound=apple.apns,
        clock=apple.clock,
        chance=Chance("client"),
        trust=Trust(),
        timeout_s=10,
    )
    before = len(apple.calls)
    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(client.account)
    assert apple.paths(since=before).count("/session") == 1


async def test_nonces_are_never_used_twice_over_a_restart(tmp_path: Path) -> None:
    server = await _connected("A", database=str(tmp_path / "x.sqlite"))
    await server.synced()
    server.app.close()
    server.start()
    await server.synced()
    headers = [call.header("Authorization") or "" for call in server.calls if call.url.endswith("/session")]
    nonces = [header.partition('oauth_nonce="')[2].partition('"')[0] for header in headers]
    assert len(nonces) == len(set(nonces)) == 2


async def test_every_call_names_its_agent_and_version(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    assert {call.header("X-Server-Protocol-Version") for call in apple.calls} == {"10"}
    assert all(call.header("User-Agent") for call in apple.calls)


async def test_a_clock_that_is_an_hour_off_is_a_trouble_that_is_told() -> None:
    server = await _connected("A")
    server.dep.clock = server.dep.core.clock = server.dep._login._core.clock = type(server.manual)(
        server.manual.now_ms() + HOUR
    )
    answer = await server.sync()
    assert (answer.status, "oauth_problem_advice" in answer.json()["what"]) == (502, True)


# ---- failures and back-off


@pytest.mark.parametrize("status", [500, 503, 429])
async def test_a_failing_apple_is_tried_again_later_and_later(apple: AppleServer, status: int) -> None:
    await apple.connect_dep("A")
    apple.fault("request.refused", times=None, answer=AppleError(status, "SORRY"))
    waits = []
    for _ in range(4):
        assert (await apple.sync()).status == 502
        waits.append(((await apple.account())["next_ms"] - apple.manual.now_ms()) // SECOND)
    assert waits == [30, 120, 600, 1800]


async def test_retry_after_is_honoured_when_it_is_longer(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    apple.fault("request.refused", answer=AppleError(503, "BUSY", retry_after_s=5000))
    await apple.sync()
    assert (await apple.account())["next_ms"] == apple.manual.now_ms() + 5000 * SECOND


async def test_a_trouble_is_shown_until_it_is_over(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    apple.dep.portal.new_terms()
    answer = await apple.sync()
    assert "accept" in answer.json()["hint"]
    assert (await apple.account())["trouble"] == {
        "reason": "403 T_C_NOT_SIGNED",
        "since_ms": apple.manual.now_ms(),
        "failures": 1,
    }
    apple.dep.portal.accept_terms()
    await apple.synced()
    assert (await apple.account())["trouble"] is None


@pytest.mark.parametrize("fault", ["answer.cut", "answer.stalled"])
async def test_the_wire_may_fail_at_any_call(fault: str) -> None:
    for occasion in range(7):
        server = await _connected("A")
        server.fault(fault, after=occasion)
        assert (await server.sync()).status == 502, occasion
        await server.synced()
        assert server.at_apple("A").profile_status == "assigned", occasion
        server.app.close()


async def test_answers_that_are_not_json_are_a_failure_and_no_crash(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    real = apple.way.handle

    async def garbled(request: Request) -> Any:
        answer = await real(request)
        return type(answer)(answer.status, answer.headers, answer.body[:-3], answer.url)

    apple.way.handle = garbled  # type: ignore[method-assign]
    answer = await apple.sync()
    assert (answer.status, "JSON" in answer.json()["what"]) == (502, True)


# ---- the background job


def _virtual(scenario: Any) -> None:
    """Run a scenario in virtual time, with a server on it."""
    mock = trio.testing.MockClock(autojump_threshold=0)
    clock = VirtualClock(mock, START_MS)

    async def main() -> None:
        await scenario(clock)

    trio.run(main, clock=mock)


def test_the_job_asks_at_its_interval_and_no_more_often() -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock)
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + 3 * HOUR + MINUTE)
            # A session lasts five minutes, so each round is refused once; the fake counts what it answered.
            assert server.seen.count("dep.sync") == 7
            assert server.at_apple("A").profile_status == "assigned"

    _virtual(scenario)


def test_the_job_survives_a_night_without_network() -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock)
        server.down = lambda request: TimedOut("nothing") if clock.now_ms() < START_MS + 8 * HOUR else None
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + 8 * HOUR + 31 * MINUTE)
            assert server.at_apple("A").profile_status == "assigned"
            assert len([c for c in server.calls if c.url.endswith("/session")]) < 22
            assert (await server.request("GET", "/readyz")).status == 200

    _virtual(scenario)


def test_the_job_waits_as_planned_over_a_restart(tmp_path: Path) -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock, database=str(tmp_path / "x.sqlite"))
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + MINUTE)
        server.start()
        before = len(server.calls)
        async with server.running():
            await clock.sleep_until(START_MS + 29 * MINUTE)
            assert len(server.calls) == before
            await clock.sleep_until(START_MS + 31 * MINUTE)
            assert server.paths(since=before)[-1] == "/devices/sync"

    _virtual(scenario)


def test_a_job_that_dies_is_started_again_and_reddens_readiness_meanwhile() -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock)
        storage = server.app._storage
        real, broken = storage.dep_place, True

        async def dep_place(name: str) -> Any:
            if broken:
                raise RuntimeError("the disk is gone")
            return await real(name)

        storage.dep_place = dep_place  # type: ignore[method-assign]
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + 20 * SECOND)
            answer = await server.request("GET", "/readyz")
            assert (answer.status, JOB in answer.json()["troubles"]) == (503, True)
            broken = False
            await clock.sleep_until(START_MS + 10 * MINUTE)
            assert (await server.request("GET", "/readyz")).status == 200
            assert server.at_apple("A").profile_status == "assigned"

    _virtual(scenario)


def test_a_round_that_outlasts_its_interval_is_not_followed_by_one_for_each_that_it_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began: list[int] = []
    real = Rounds.run

    async def scenario(clock: VirtualClock) -> None:
        async def slow(self: Rounds, name: str) -> Any:
            began.append(clock.now_ms())
            await clock.sleep_until(clock.now_ms() + 20 * MINUTE)
            return await real(self, name)

        monkeypatch.setattr(Rounds, "run", slow)
        server = AppleServer(clock=clock)
        async with server.running():
            await server.connect_dep("A")
            await clock.sleep_until(START_MS + 19 * MINUTE)
        assert len(began) == 1

    _virtual(scenario)


def test_one_chain_of_cursors_is_in_flight_however_many_ask() -> None:
    async def scenario(clock: VirtualClock) -> None:
        server = AppleServer(clock=clock)
        server.fault("answer.slow", times=None, answer=20)
        flying, most = 0, 0
        real = server.way.handle

        async def watched(request: Request) -> Any:
            nonlocal flying, most
            if request.url.endswith(("/server/devices", "/devices/sync")):
                flying += 1
                most = max(most, flying)
                try:
                    return await real(request)
                finally:
                    flying -= 1
            return await real(request)

        server.way.handle = watched  # type: ignore[method-assign]
        async with server.running():
            await server.connect_dep("A")
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(server.synced)
        assert most == 1

    _virtual(scenario)


# ---- accounts and tokens


async def test_a_device_known_to_two_accounts_is_seen_by_each_as_it_is(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.connect_dep(name="school", portal_name="Other")
    await apple.synced()
    apple.dep.portal.assign(["A"], "Other")
    await apple.synced("school")
    await apple.synced()
    assert (list(await apple.known()), list(await apple.known("school"))) == ([], ["A"])


async def test_a_renewed_token_is_used_from_then_on(tmp_path: Path) -> None:
    server = await _connected("A", database=str(tmp_path / "x.sqlite"))
    await server.synced()
    assert (await server.upload()).status == 200
    server.app.close()
    server.start()
    before = len(server.calls)
    await server.synced()
    assert "/session" in server.paths(since=before)


async def test_a_token_of_another_server_is_taken_by_force_only(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    pem = (await apple.api("GET", "/dep/abm/certificate")).json()["pem"]
    apple.dep.portal.add_server("Second", certificate=pem.encode())
    refused = await apple.upload(portal_name="Second")
    assert (refused.status, refused.json()["error"]) == (409, "other-server")
    assert list(await apple.known()) == ["A"]
    assert (await apple.upload(portal_name="Second", force=True)).status == 200
    assert await apple.known() == {}


async def test_a_token_for_another_certificate_is_refused(apple: AppleServer) -> None:
    await apple.connect_dep()
    await apple.api("POST", "/dep", {"name": "other"})
    pem = (await apple.api("GET", "/dep/other/certificate")).json()["pem"]
    apple.dep.portal.upload_certificate("MDM", pem.encode())
    refused = await apple.upload()
    assert (refused.status, refused.json()["error"]) == (400, "bad-token")


async def test_a_plain_token_is_taken(apple: AppleServer) -> None:
    await apple.connect_dep()
    plain = apple.dep.portal.plain_token("MDM")
    answer = await apple.api("POST", "/dep/abm/token", {"plain": plain})
    assert answer.status == 200, answer.body
    apple.order("A")
    await apple.synced()


async def test_a_wrong_token_is_a_trouble(apple: AppleServer) -> None:
    await apple.connect_dep()
    plain = apple.dep.portal.plain_token("MDM") | {"access_secret": "AS_wrong"}
    await apple.api("POST", "/dep/abm/token", {"plain": plain})
    assert (await apple.sync()).status == 502
    assert (await apple.account())["trouble"]["reason"].startswith("401")


async def test_no_secret_is_in_any_answer_or_log_line(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    token = apple.dep.portal.plain_token("MDM")
    await apple.api("POST", "/dep/abm/token", {"plain": token})
    await apple.synced()
    told = json.dumps(
        [
            await apple.account(),
            (await apple.api("GET", "/dep")).json(),
            (await apple.api("GET", "/dep/abm/profiles")).json(),
            await apple.known(),
            apple.log,
            [event.data for event in apple.seen.events if event.source == "server"],
        ]
    )
    for name in ("consumer_secret", "access_token", "access_secret"):
        assert token[name] not in told


async def test_an_account_is_forgotten(apple: AppleServer) -> None:
    await apple.connect_dep("A")
    await apple.synced()
    assert (await apple.api("DELETE", "/dep/abm")).status == 204
    assert (await apple.api("GET", "/dep")).json() == {"accounts": []}
    assert (await apple.api("GET", "/dep/abm/devices")).status == 404
    assert apple.at_apple("A").server is not None, "nothing changes at Apple"

"""A client that follows cursors sees every device exactly as it is, whatever happens in between and whatever goes wrong."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mdmsim.clock import DAY, HOUR
from mdmsim.fakedep.cursors import Cursor, Cursors
from mdmsim.fakedep.records import record
from tests.fakedep.support import NAME, Bench

_NUMBERS = st.integers(0, 2**60)


@settings(max_examples=100, deadline=None)
@given(_NUMBERS, _NUMBERS, _NUMBERS, st.booleans(), st.integers(0, 1000))
def test_a_cursor_is_read_back_at_its_server_only(a: int, b: int, c: int, done: bool, length: int) -> None:
    cursors, cursor = Cursors(b"secret", length), Cursor(a, b, c, done)
    text = cursors.write(cursor, "SERVER")
    assert length <= len(text) <= max(length, 128) + 2
    assert cursors.read(text, "SERVER") == cursor
    assert cursors.read(text, "OTHER") is None
    assert Cursors(b"another", length).read(text, "SERVER") is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300), st.integers(0, 90))
def test_any_other_text_is_no_cursor(text: str, at: int) -> None:
    cursors = Cursors(b"secret")
    good = cursors.write(Cursor(1, 2, 1_767_225_600_000, True), "SERVER")
    assert cursors.read(text, "SERVER") is None
    position = at % len(good)
    altered = good[:position] + text[:3] + good[position + 1 :]
    if altered != good:
        found = cursors.read(altered, "SERVER")
        # The last character may hold bits that decode to nothing.
        assert found is None or position == len(good) - 1


class Mirror:
    """An MDM server that keeps what it is told, as DEP's documentation says: full fetch first, then sync."""

    def __init__(self, bench: Bench, limit: int) -> None:
        self.client = bench.client
        self.limit = limit
        self.known: dict[str, dict[str, Any]] = {}
        self.cursor: str | None = None
        self.fetching = True
        self.full_fetches = 0
        self._fetched: dict[str, dict[str, Any]] = {}

    def step(self) -> bool:
        """One page; whether there is more. Errors of cursors start a full fetch, an ended session a new one."""
        path = "/server/devices" if self.fetching else "/devices/sync"
        body: dict[str, Any] = {"limit": self.limit}
        if self.cursor is not None:
            body["cursor"] = self.cursor
        status, page = self.client.call("POST", path, body)
        if status in (401, 403):
            self.client.login()
            return True
        if status >= 429:
            return True
        if status == 400:
            assert page in ("EXPIRED_CURSOR", "INVALID_CURSOR", "EXHAUSTED_CURSOR"), page
            assert self.cursor is not None, "a request without a cursor is never refused for its cursor"
            self.cursor, self.fetching, self._fetched = None, True, {}
            return True
        if self.fetching and self.cursor is None:
            self.full_fetches += 1
            self._fetched = {}
        stuck = page["cursor"] == self.cursor and page["more_to_follow"]
        self.cursor = page["cursor"]
        for found in page["devices"]:
            self._take(found)
        if self.fetching and not page["more_to_follow"]:
            self.known, self.fetching = self._fetched, False
            return True
        return bool(page["more_to_follow"]) and not stuck

    def _take(self, found: dict[str, Any]) -> None:
        serial = found["serial_number"]
        if self.fetching:
            self._fetched[serial] = found
        elif found["op_type"] == "deleted":
            self.known.pop(serial, None)
        else:
            self.known[serial] = {key: value for key, value in found.items() if not key.startswith("op_")}

    def follow(self) -> None:
        for _ in range(500):
            if not self.step():
                return
        raise AssertionError("the cursor never comes to an end")


class CursorMachine(RuleBasedStateMachine):
    """People use the portal, devices activate, time passes, things go wrong; a mirror follows page by page."""

    @initialize(limit=st.integers(1, 4), rotate=st.sampled_from([None, 0, HOUR]))
    def start(self, limit: int, rotate: int | None) -> None:
        self.bench = Bench(rotate_session_after_ms=rotate)
        self.bench.portal.add_server("other")
        self.uuid = self.bench.client.define()
        self.mirror = Mirror(self.bench, limit)
        self.next = 6
        self.bench.order(*(f"S{number}" for number in range(6)))

    def _some(self, pick: int, mine: bool) -> list[str]:
        uuid = self.bench.service.register.server(NAME).uuid
        found = [each.serial_number for each in self.bench.service.devices() if (each.server == uuid) == mine]
        return [found[pick % len(found)]] if found else []

    @rule(count=st.integers(1, 5), here=st.booleans())
    def order(self, count: int, here: bool) -> None:
        serials = [f"S{self.next + number}" for number in range(count)]
        self.next += count
        self.bench.portal.order(serials, server=NAME if here else None)

    @rule(pick=st.integers(0, 50))
    def move_here(self, pick: int) -> None:
        self.bench.portal.assign(self._some(pick, mine=False), NAME)

    @rule(pick=st.integers(0, 50))
    def move_away(self, pick: int) -> None:
        self.bench.portal.assign(self._some(pick, mine=True), "other")

    @rule(pick=st.integers(0, 50))
    def away_and_back(self, pick: int) -> None:
        serials = self._some(pick, mine=True)
        self.bench.portal.unassign(serials)
        self.bench.portal.assign(serials, NAME)

    @rule(pick=st.integers(0, 50))
    def release(self, pick: int) -> None:
        self.bench.portal.release(self._some(pick, mine=True))

    @rule(pick=st.integers(0, 50))
    def assign_and_activate(self, pick: int) -> None:
        for serial in self._some(pick, mine=True):
            self.bench.service.register.assign_profile(
                self.bench.service.device(serial), self.bench.service.register.server(NAME).profiles[self.uuid]
            )
            self.bench.service.cloud_configuration(serial)

    @rule(hours=st.sampled_from([1, 24, 24 * 6, 24 * 8]))
    def time_passes(self, hours: int) -> None:
        self.bench.clock.advance(hours * HOUR)

    @rule(
        name=st.sampled_from(
            [
                "cursor.expired",
                "cursor.invalid",
                "cursor.exhausted",
                "session.expired",
                "session.forgotten",
                "request.refused",
                "sync.duplicated",
                "cursor.stuck",
            ]
        )
    )
    def something_goes_wrong_once(self, name: str) -> None:
        # A stuck cursor is a page that comes again: harmless, where the client does not run in circles.
        self.bench.fault(name, times=1)

    @rule(pages=st.integers(1, 3))
    def some_pages(self, pages: int) -> None:
        for _ in range(pages):
            self.mirror.step()

    @rule(pages=st.integers(1, 3), pick=st.integers(0, 50))
    def a_page_of_a_new_fetch_and_then_a_device_leaves(self, pages: int, pick: int) -> None:
        self.mirror.cursor, self.mirror.fetching = None, True
        for _ in range(pages):
            self.mirror.step()
        self.bench.portal.unassign(self._some(pick, mine=True))

    @rule()
    def all_pages(self) -> None:
        self.bench.service.faults.planned.clear()
        self.mirror.follow()
        assert self.mirror.known == self._truth()

    @invariant()
    def a_fresh_client_sees_the_truth_at_once(self) -> None:
        if not hasattr(self, "bench"):
            return
        planned = list(self.bench.service.faults.planned)
        self.bench.service.faults.planned.clear()
        records, _ = self.bench.client.fetch_all(limit=3)
        self.bench.service.faults.planned.extend(planned)
        assert {each["serial_number"]: each for each in records} == self._truth()
        assert len(records) == len(self._truth())

    def _truth(self) -> dict[str, dict[str, Any]]:
        uuid = self.bench.service.register.server(NAME).uuid
        return {each.serial_number: record(each, 10) for each in self.bench.service.devices() if each.server == uuid}


TestCursors = CursorMachine.TestCase
TestCursors.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)


def test_a_client_that_is_told_its_cursor_is_too_old_fetches_once_and_is_right_again(bench: Bench) -> None:
    bench.order("S1", "S2")
    mirror = Mirror(bench, 1)
    mirror.follow()
    bench.order("S3")
    bench.clock.advance(8 * DAY)
    mirror.follow()
    assert (sorted(mirror.known), mirror.full_fetches) == (["S1", "S2", "S3"], 2)


@pytest.mark.parametrize("name", ["cursor.expired", "cursor.invalid", "cursor.exhausted"])
def test_a_cursor_fault_never_meets_a_request_without_a_cursor(bench: Bench, name: str) -> None:
    """Some servers answer such a refusal with a fetch at once and without a pause."""
    bench.fault(name)
    assert bench.client.call("POST", "/server/devices", {})[0] == 200

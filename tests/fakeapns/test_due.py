"""Due but missing: what became of what should have been pushed."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakeapns.due import VERDICTS, DueAnswer, DueEntry, DueMistake, due_report
from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys
from tests.fakeapns.support import OTHER_TOPIC, TOPIC, Bench, Device


def due(bench: Bench, since_ms: int, **entry: str) -> DueAnswer:
    (answer,) = due_report(bench.service, [DueEntry(since=since_ms, **(entry or {"device": "mac-1"}))]).answers
    return answer


def listening(bench: Bench, token: bytes) -> Device:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    return device


@pytest.fixture
def token(bench: Bench) -> bytes:
    bench.service.tokens.call("mac-1", ["UDID-1", "SERIAL1"])
    return bench.service.register("mac-1", TOPIC)


def since(bench: Bench) -> int:
    """A moment just before now."""
    at_ms = bench.clock.now_ms()
    bench.clock.advance(1000)
    return at_ms


def test_without_a_push_it_was_never_pushed(bench: Bench, token: bytes) -> None:
    bench.push(token)
    bench.clock.advance(1)
    answer = due(bench, since(bench))
    assert (answer.verdict, answer.first, answer.pushes) == ("never-pushed", None, 0)
    assert answer.why == "no push came; an earlier one still waits for the device"


def test_a_device_that_nobody_knows_was_never_pushed(bench: Bench) -> None:
    assert due(bench, since(bench), serial="NOBODY").why == "no token is registered for a device of that name"
    assert due(bench, since(bench), token="ab" * 32).why == "no push came; that token is not registered"


def test_a_push_that_woke_the_device_is_told_with_how_late_everything_was(bench: Bench, token: bytes) -> None:
    device, start = listening(bench, token), since(bench)
    bench.push(token)
    bench.clock.advance(200)
    device.hear()
    bench.clock.advance(300)
    device.session.acted([(TOPIC, token)])
    answer = due(bench, start)
    moments = (answer.first, answer.accepted, answer.delivered, answer.acted)
    assert answer.verdict == "acted"
    assert [moment.late_ms for moment in moments if moment is not None] == [1000, 1000, 1200, 1500]


@pytest.mark.parametrize("name", [{"udid": "UDID-1"}, {"serial": "SERIAL1"}, {"device": "mac-1"}])
def test_a_device_is_found_by_all_its_names(bench: Bench, token: bytes, name: dict[str, str]) -> None:
    start = since(bench)
    bench.push(token)
    answer = due(bench, start, **name)
    assert (answer.device, answer.verdict) == ("mac-1", "not-delivered")


def test_refused_pushes_say_why(bench: Bench, token: bytes) -> None:
    start = since(bench)
    bench.push(token, apns_priority="7")
    answer = due(bench, start)
    assert (answer.verdict, answer.status, answer.reason, answer.refused) == ("refused", 400, "BadPriority", 1)
    assert answer.why.startswith("400 BadPriority: ")


def test_a_push_that_was_accepted_after_a_refusal_counts(bench: Bench, token: bytes) -> None:
    device, start = listening(bench, token), since(bench)
    plan_fault(bench.service, FaultSpec(name="push.refused", reason="TooManyRequests", times=1))
    bench.push(token)
    bench.push(token)
    device.hear()
    answer = due(bench, start)
    assert (answer.verdict, answer.pushes, answer.refused, answer.reason) == ("not-acted", 2, 1, "TooManyRequests")


def _deaf(bench: Bench, token: bytes) -> None:
    bench.push(token)


def _delayed(bench: Bench, token: bytes) -> None:
    listening(bench, token)
    plan_fault(bench.service, FaultSpec(name="push.delayed", seconds=60))
    bench.push(token)


def _lost(bench: Bench, token: bytes) -> None:
    plan_fault(bench.service, FaultSpec(name="push.lost"))
    bench.push(token)


def _now_or_never(bench: Bench, token: bytes) -> None:
    bench.push(token, apns_expiration="0")


def _expired(bench: Bench, token: bytes) -> None:
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // 1000 + 10))
    bench.clock.advance(60_000)


def _retired(bench: Bench, token: bytes) -> None:
    bench.push(token)
    bench.service.retire(TOPIC, token)


def _waiting(bench: Bench, token: bytes) -> None:
    listening(bench, token)
    bench.push(token)


def _unacknowledged(bench: Bench, token: bytes) -> None:
    device = listening(bench, token)
    bench.push(token)
    device.take()


def _cut(bench: Bench, token: bytes) -> None:
    _unacknowledged(bench, token)
    bench.service.sessions()[0].close("cut")


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (_deaf, "it is kept: nobody listens for that token"),
        (_delayed, "a fault keeps it back"),
        (_lost, "a fault lost it: push.lost"),
        (_now_or_never, "it was now or never (apns-expiration 0), and nobody listened"),
        (_expired, "it expired at 2026-01-01T00:00:11.000Z"),
        (_retired, "the token was retired at 2026-01-01T00:00:01.000Z"),
        (_waiting, "it waits for courier-1 to read"),
        (_unacknowledged, "courier-1 has it and did not acknowledge it"),
        (
            _cut,
            "it is kept: nobody listens for that token; the connection that had it ended before the device took it",
        ),
    ],
)
def test_an_accepted_push_that_the_device_does_not_have_says_why(
    bench: Bench, token: bytes, happens: Callable[[Bench, bytes], None], why: str
) -> None:
    start = since(bench)
    happens(bench, token)
    answer = due(bench, start)
    assert (answer.verdict, answer.why) == ("not-delivered", why)
    assert answer.accepted is not None


def test_the_topic_narrows_it_down(bench: Bench, token: bytes) -> None:
    start = since(bench)
    bench.push(token)
    assert due(bench, start, device="mac-1", topic=OTHER_TOPIC).verdict == "never-pushed"
    assert due(bench, start, token=token.hex(), topic=TOPIC).verdict == "not-delivered"


def test_a_push_to_the_users_channel_is_none_for_the_device(bench: Bench, token: bytes) -> None:
    user = bench.service.register("mac-1", TOPIC, "user")
    start = since(bench)
    bench.push(user)
    assert due(bench, start).verdict == "never-pushed"
    assert due(bench, start, device="mac-1", channel="user").verdict == "not-delivered"


def test_what_was_before_the_start_is_unknown(bench: Bench, token: bytes) -> None:
    answer = due(bench, bench.clock.now_ms() - 1)
    assert (answer.verdict, answer.complete) == ("unknown", False)
    assert "started at 2026-01-01T00:00:00.000Z" in answer.why


def test_what_the_journal_forgot_is_unknown(bench: Bench) -> None:
    bench.build(journal_size=2)
    token, other = bench.service.register("mac-1", TOPIC), bench.service.register("mac-2", TOPIC)
    start = since(bench)
    bench.push(token, apns_priority="7")
    bench.clock.advance(1000)
    for _ in range(3):
        bench.push(other)
    answer = due(bench, start)
    assert (answer.verdict, answer.complete) == ("unknown", False)
    assert "are forgotten (journal_size); none since then was accepted" in answer.why
    bench.clock.advance(1000)
    assert due(bench, bench.clock.now_ms()).verdict == "never-pushed"


def test_what_the_journal_forgot_the_token_may_remember(bench: Bench) -> None:
    bench.build(journal_size=1)
    token, other = bench.service.register("mac-1", TOPIC), bench.service.register("mac-2", TOPIC)
    device, start = listening(bench, token), since(bench)
    bench.push(token)
    for _ in range(2):
        bench.push(other)
    assert due(bench, start).verdict == "not-delivered"
    device.hear()
    bench.clock.advance(500)
    assert due(bench, start).verdict == "not-acted"
    device.session.acted([(TOPIC, token)])
    answer = due(bench, start)
    assert (answer.verdict, answer.acted.late_ms if answer.acted else None) == ("acted", 1500)


def test_of_the_oldest_millisecond_that_is_remembered_something_may_be_forgotten(bench: Bench) -> None:
    bench.build(journal_size=2)
    token, other = bench.service.register("mac-1", TOPIC), bench.service.register("mac-2", TOPIC)
    bench.clock.advance(1000)
    bench.push(token, apns_priority="7")
    for _ in range(2):
        bench.push(other)
    assert due(bench, bench.clock.now_ms()).verdict == "unknown"


def test_an_old_push_that_was_acted_upon_is_not_taken_for_a_forgotten_one(bench: Bench) -> None:
    bench.build(journal_size=1)
    token = bench.service.register("mac-1", TOPIC)
    device = listening(bench, token)
    bench.push(token)
    bench.clock.advance(1)
    device.hear()
    start = since(bench)
    device.session.acted([(TOPIC, token)])
    bench.clock.advance(1)
    bench.push(token)
    for _ in range(2):
        bench.push("zz")
    answer = due(bench, start)
    assert answer.verdict == "unknown"
    assert "whether a push since then made it is forgotten" in answer.why


def test_a_push_that_is_on_its_way_is_not_taken_for_the_one_that_was_acted_upon(bench: Bench) -> None:
    bench.build(journal_size=1)
    token = bench.service.register("mac-1", TOPIC)
    device = listening(bench, token)
    bench.push(token)
    device.hear()
    bench.clock.advance(1)
    start = since(bench)
    bench.push(token)
    bench.clock.advance(1)
    device.take()
    bench.clock.advance(1)
    device.session.acted([(TOPIC, token)])
    for _ in range(2):
        bench.push("zz")
    assert due(bench, start).verdict == "unknown"


@cache
def _identity() -> Identity:
    keys = SharedKeys(1, FreshKeys())
    return Authority.create("due", keys=keys, clock=ManualClock(), chance=Chance("due"), kind="ec").issue_push(TOPIC)


class Twins(RuleBasedStateMachine):
    """Two services to which the same happens; one remembers everything, the other only the last two requests."""

    def __init__(self) -> None:
        super().__init__()
        self.sides: list[tuple[Bench, Device, bytes]] = []
        for size in (1000, 2):
            bench = Bench(_identity())
            bench.build(journal_size=size)
            token = bench.service.register("mac-1", TOPIC)
            bench.clock.advance(1000)
            self.sides.append((bench, listening(bench, token), token))
        self.since = [self.sides[0][0].clock.now_ms()]

    def both(self, act: Callable[[Bench, Device, bytes], object]) -> None:
        for bench, device, token in self.sides:
            act(bench, device, token)
            # Steps of the same millisecond cannot be told apart by their times.
            bench.clock.advance(10)

    @rule(headers=st.sampled_from([{}, {}, {"apns_priority": "7"}, {"apns_expiration": "0"}]))
    def push(self, headers: dict[str, str]) -> None:
        self.both(lambda bench, device, token: bench.push(token, **headers))

    @rule()
    def forget(self) -> None:
        for _ in range(2):
            self.both(lambda bench, device, token: bench.push("zz"))

    @rule()
    def hear(self) -> None:
        self.both(lambda bench, device, token: device.hear())

    @rule()
    def act(self) -> None:
        self.both(lambda bench, device, token: device.session.acted([(TOPIC, token)]))

    @rule(what=st.sampled_from(["take", "subscribe", "unsubscribe"]))
    def do_something_else(self, what: str) -> None:
        pairs = {"subscribe", "unsubscribe"}
        self.both(
            lambda bench, device, token: getattr(device.session, what)(*([[(TOPIC, token)]] if what in pairs else []))
        )

    @rule()
    def fall_due(self) -> None:
        self.since.append(self.sides[0][0].clock.now_ms())

    @invariant()
    def who_forgot_says_the_same_or_that_it_does_not_know(self) -> None:
        for start in self.since:
            whole, forgetful = (due(bench, start).verdict for bench, _, _ in self.sides)
            assert whole != "unknown"
            assert forgetful in (whole, "unknown"), (start, whole, forgetful)


TestTwins = Twins.TestCase
TestTwins.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_push_that_was_kept_over_a_restart_is_remembered(bench: Bench, token: bytes) -> None:
    start = since(bench)
    bench.push(token)
    bench.clock.advance(1000)
    bench.build()
    answer = due(bench, start)
    assert (answer.verdict, answer.why) == ("not-delivered", "it is kept: nobody listens for that token")


def test_what_was_never_pushed_stands_first_and_what_is_done_last(bench: Bench) -> None:
    names = ("done", "heard", "kept", "refused", "never")
    tokens = {name: bench.service.register(name, TOPIC) for name in names}
    device, start = bench.device(), since(bench)
    device.session.subscribe([(TOPIC, tokens["done"]), (TOPIC, tokens["heard"])])
    for name in ("done", "heard", "kept"):
        bench.push(tokens[name])
    bench.push(tokens["refused"], apns_priority="7")
    device.hear()
    device.session.acted([(TOPIC, tokens["done"])])
    entries = [*(DueEntry(since=start, device=name) for name in names), DueEntry(since=start - 1, device="early")]
    report = due_report(bench.service, lambda: entries)
    assert [answer.name for answer in report.answers] == ["never", "refused", "kept", "heard", "early", "done"]
    assert report.counts == dict.fromkeys(VERDICTS, 1)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (DueEntry(since=0), "none is given"),
        (DueEntry(since=0, udid="a", serial="b"), "udid and serial are given"),
        (DueEntry(since=0, token="zz"), "in hex"),
        (DueEntry(since="yesterday", device="a"), "2026-01-31T12:00:00Z"),
        (DueEntry(since=-1, device="a"), "since"),
    ],
)
def test_an_entry_that_cannot_be_judged_is_named(bench: Bench, entry: DueEntry, words: str) -> None:
    with pytest.raises(DueMistake, match=words) as caught:
        due_report(bench.service, [DueEntry(since=0, device="x"), entry])
    assert caught.value.entry == 2

"""What can be read afterwards about a push: verdict, why, and what became of it."""

from __future__ import annotations

import pytest

from mdmsim.clock import SECOND, iso
from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from mdmsim.fakeapns.journal import BUCKETS, Histogram, Transaction
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench


@pytest.fixture
def token(bench: Bench) -> bytes:
    return bench.service.register("mac-1", TOPIC)


def newest(bench: Bench) -> Transaction:
    return next(bench.service.journal.newest_first())


def test_a_refused_request_is_kept_with_its_reason_and_why(bench: Bench, token: bytes) -> None:
    bench.push(token, apns_priority="7")
    seen = newest(bench)
    assert (seen.status, seen.reason, seen.device) == (400, "BadPriority", "")
    assert "'7'" in seen.why


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"token": "zz"}, "not hex"),
        ({"token": b"t" * 14}, "14 bytes"),
        ({"token": b"t" * 32}, "no device ever"),
        ({"method": "GET"}, "GET"),
        ({"path": "/2/device/x"}, "/2/device/x"),
        ({"apns_expiration": "tomorrow"}, "tomorrow"),
        ({"apns_id": "x"}, "UUID"),
        ({"apns_collapse_id": "x" * 65}, "65 bytes"),
        ({"apns_push_type": "mail"}, "mail"),
        ({"apns_topic": "com.apple.mgmt.other"}, "certificate is for"),
        ({"payload": b"x" * 5000}, "4096"),
    ],
)
def test_every_refusal_says_what_was_found(bench: Bench, token: bytes, change: dict[str, object], word: str) -> None:
    bench.push(**{"token": token, **change})  # type: ignore[arg-type]
    assert word in newest(bench).why


def test_the_life_of_a_push_is_told_with_times(bench: Bench, token: bytes) -> None:
    bench.push(token)
    start = bench.clock.now_ms()
    bench.clock.advance(SECOND)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    (push,) = device.take()
    bench.clock.advance(SECOND)
    device.session.acknowledge(push.number)
    bench.clock.advance(SECOND)
    device.session.acted([(TOPIC, token)])
    seen = newest(bench)
    assert (seen.at_ms, seen.delivered_ms, seen.acknowledged_ms, seen.acted_ms) == (
        start,
        start + SECOND,
        start + 2 * SECOND,
        start + 3 * SECOND,
    )


def test_a_push_that_a_newer_one_replaced_is_superseded(bench: Bench, token: bytes) -> None:
    bench.push(token)
    bench.push(token)
    older, newer = bench.service.journal
    assert (older.ended, newer.ended, bench.service.counts.superseded) == ("superseded", "", 1)


def test_a_push_that_expired_says_so(bench: Bench, token: bytes) -> None:
    bench.push(token, apns_expiration="0")
    assert newest(bench).ended == "expired"


def test_a_push_that_a_fault_lost_says_which(bench: Bench, token: bytes) -> None:
    plan_fault(bench.service, FaultSpec(name="push.lost"))
    bench.push(token)
    assert (newest(bench).ended, newest(bench).fault) == ("lost", "push.lost")


def test_acting_counts_once_a_push(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.hear()
    device.session.acted([(TOPIC, token)])
    device.session.acted([(TOPIC, token)])
    assert bench.service.counts.acted == 1


def test_a_device_cannot_act_for_another_connection(bench: Bench, token: bytes) -> None:
    device, stranger = bench.device(), bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.hear()
    stranger.session.acted([(TOPIC, token)])
    assert bench.service.counts.acted == 0


def test_the_journal_forgets_the_oldest_and_knows_how_many_there_were(bench: Bench) -> None:
    token = bench.build(journal_size=3).register("mac-1", TOPIC)
    for number in range(5):
        bench.push(token, payload=b"%d" % number)
    journal = bench.service.journal
    assert ([one.payload for one in journal], journal.total) == ([b"2", b"3", b"4"], 5)


def test_what_becomes_of_a_forgotten_push_is_no_mistake(bench: Bench) -> None:
    token = bench.build(journal_size=1).register("mac-1", TOPIC)
    bench.push(token)
    bench.push("zz")
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [PAYLOAD]


def test_watchers_are_told_every_step_until_they_have_enough(bench: Bench, token: bytes) -> None:
    steps: list[str] = []
    stop = bench.service.journal.watch(lambda step, transaction, at_ms: steps.append(step))
    bench.push(token)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    device.hear()
    stop()
    bench.push("zz")
    assert steps == ["accepted", "stored", "delivered", "acknowledged"]


def test_a_histogram_puts_each_duration_under_the_first_bound_that_holds_it() -> None:
    times = Histogram()
    for ms in (0, 1, 2, 5_000_000):
        times.add(ms)
    assert (times.counts[0], times.counts[1], times.counts[-1], times.count) == (2, 1, 1, 4)
    assert len(times.counts) == len(BUCKETS) + 1


# superseded, and what only looks like it


def test_a_push_that_may_not_be_stored_takes_no_stored_ones_place(bench: Bench, token: bytes) -> None:
    bench.push(token, payload=b"kept")
    bench.push(token, apns_expiration="0")
    kept, now_or_never = bench.service.journal
    assert (kept.ended, now_or_never.ended) == ("", "expired")
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [b"kept"]


def test_a_stored_push_is_superseded_when_the_device_has_a_newer_one_that_was_not_stored(
    bench: Bench, token: bytes
) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    bench.push(token, apns_expiration="0")
    device.hear()
    assert [one.ended for one in bench.service.journal] == ["superseded", ""]


def test_a_push_whose_time_was_over_is_not_superseded_but_expired(bench: Bench, token: bytes) -> None:
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 1))
    bench.clock.advance(2 * SECOND)
    bench.push(token)
    assert next(iter(bench.service.journal)).ended == "expired"
    assert (bench.service.counts.superseded, bench.service.counts.expired) == (0, 1)


def test_a_now_or_never_push_whose_connection_broke_is_lost_and_not_expired(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration="0")
    device.take()
    device.session.close("broken")
    assert (newest(bench).ended, bench.service.counts.expired) == ("lost", 0)


def test_a_push_that_could_not_be_made_durable_is_told_as_it_was_answered(bench: Bench, token: bytes) -> None:
    answer = bench.service.not_durable(bench.push(token))
    seen, counts = newest(bench), bench.service.counts
    assert (answer.status, seen.status, seen.reason) == (500, 500, "InternalServerError")
    assert (counts.accepted, counts.refused) == (0, 1)


def test_an_expiration_beyond_all_time_can_be_told(bench: Bench, token: bytes) -> None:
    assert bench.push(token, apns_expiration="9" * 18).status == 200
    assert iso(newest(bench).expires_ms).startswith("9999-12-31")

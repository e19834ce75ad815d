"""What the faults do to pushes, and to whom: the service's half. What they do on the wire is the front's tests' matter."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance
from mdmsim.clock import SECOND
from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.fault_spec import FaultSpec, end_fault, plan_fault
from mdmsim.http import Identity
from tests.fakeapns.support import TOPIC, Bench, Device, reason


def plan(bench: Bench, name: str, **wishes: Any) -> None:
    plan_fault(bench.service, FaultSpec(name=name, **wishes))


def listening(bench: Bench, *names: str) -> tuple[Device, list[bytes]]:
    device = bench.device()
    tokens = [bench.service.register(name, TOPIC) for name in names]
    device.session.subscribe([(TOPIC, token) for token in tokens])
    return device, tokens


def later(bench: Bench, seconds: float) -> None:
    bench.clock.advance(round(seconds * SECOND))
    bench.service.timers.fire()


# delayed


def test_a_delayed_push_comes_when_its_time_has_come(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5)
    bench.push(token)
    later(bench, 4.9)
    assert device.hear() == []
    later(bench, 0.1)
    assert len(device.hear()) == 1


def test_a_device_that_connects_meanwhile_does_not_hear_it_sooner(bench: Bench) -> None:
    plan(bench, "push.delayed", seconds=5)
    bench.push(bench.service.register("mac-1", TOPIC))
    device, _ = listening(bench, "mac-1")
    assert device.hear() == []
    later(bench, 5)
    assert len(device.hear()) == 1


def test_a_newer_push_takes_the_place_of_a_delayed_one(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5, times=1)
    bench.push(token, payload=b"old")
    bench.push(token, payload=b"new")
    heard = device.hear()
    later(bench, 10)
    assert heard + device.hear() == [b"new"]


def test_a_delayed_push_survives_a_restart(bench: Bench) -> None:
    plan(bench, "push.delayed", seconds=5)
    bench.push(bench.service.register("mac-1", TOPIC), payload=b"kept")
    bench.build()
    device, _ = listening(bench, "mac-1")
    assert device.hear() == [b"kept"]


def test_a_delayed_push_that_expires_meanwhile_never_comes(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5)
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 3))
    later(bench, 5)
    assert device.hear() == []
    assert bench.service.counts.expired == 1


def test_a_delayed_push_for_a_device_that_is_retired_is_gone(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5)
    bench.push(token)
    bench.service.retire(TOPIC, token)
    later(bench, 5)
    assert device.hear() == []


# reordered


def test_a_reordered_push_is_overtaken_by_the_next(bench: Bench) -> None:
    device, (one, other) = listening(bench, "mac-1", "mac-2")
    plan(bench, "push.reordered", times=1)
    bench.push(one, payload=b"first")
    bench.push(other, payload=b"second")
    assert device.hear() == [b"second", b"first"]


def test_on_one_device_the_older_push_comes_after_the_newer(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.reordered", times=1)
    bench.push(token, payload=b"older")
    bench.push(token, payload=b"newer")
    assert device.hear() == [b"newer", b"older"]


def test_a_reordered_push_that_nothing_overtakes_comes_all_the_same(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.reordered", seconds=2)
    bench.push(token)
    assert device.hear() == []
    later(bench, 2)
    assert len(device.hear()) == 1


# lost, repeated


def test_a_lost_push_is_answered_200_and_never_heard(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.lost")
    assert bench.push(token).status == 200
    assert device.hear() == []


def test_a_repeated_push_is_heard_twice_and_not_three_times(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.repeated")
    bench.push(token)
    assert len(device.hear()) == 2


# certificates


@pytest.mark.parametrize("name", ["certificate.expired", "certificate.revoked"])
def test_a_certificate_can_be_made_to_count_as_bad(bench: Bench, name: str) -> None:
    _, (token,) = listening(bench, "mac-1")
    plan(bench, name)
    assert reason(bench.push(token)) == (403, "BadCertificate")


def test_a_push_that_is_refused_anyway_is_no_occasion(bench: Bench) -> None:
    plan(bench, "push.refused", reason="TooManyRequests", times=1)
    bench.push("zz")
    assert bench.push(bench.service.register("mac-1", TOPIC)).status == 429


# what the front is to do


@pytest.mark.parametrize("name", ["connection.reset", "stream.refused", "goaway"])
def test_what_happens_before_a_request_is_looked_at_leaves_nothing_behind(bench: Bench, name: str) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, name)
    answer = bench.push(token)
    assert answer.wire is not None
    assert (answer.wire.name, device.hear(), bench.service.counts.accepted) == (name, [], 0)


@pytest.mark.parametrize("name", ["answer.cut", "answer.stalled", "answer.slow", "streams.limited"])
def test_what_happens_to_the_answer_leaves_the_push_accepted(bench: Bench, name: str) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, name, **({"seconds": 1} if name == "answer.slow" else {}))
    answer = bench.push(token)
    assert answer.wire is not None
    assert (answer.wire.name, len(device.hear())) == (name, 1)


def test_a_goaway_may_count_the_request(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "goaway", processed=True, reason="Shutdown", code=0)
    answer = bench.push(token)
    assert answer.wire is not None
    assert (answer.wire.reason, len(device.hear())) == ("Shutdown", 1)


def test_a_connection_may_be_met_by_an_alert(bench: Bench) -> None:
    plan(bench, "tls.refused", reason="certificate_expired", times=1)
    first, second = bench.service.greet(), bench.service.greet()
    assert first is not None
    assert (first.name, first.reason, second) == ("tls.refused", "certificate_expired", None)


# blackout


def test_a_blackout_without_a_rule_begins_at_once_and_ends_by_itself(bench: Bench) -> None:
    cut: list[str] = []
    bench.service.on_blackout(lambda: cut.append("providers"))
    bench.service.darkness.watch("devices", lambda: cut.append("devices"))
    plan(bench, "blackout", seconds=30)
    assert cut == ["providers", "devices"]
    assert bench.service.greet() is not None
    bench.clock.advance(30 * SECOND)
    assert bench.service.greet() is None


def test_a_blackout_may_be_of_one_side_only(bench: Bench) -> None:
    plan(bench, "blackout", seconds=30, side="devices")
    assert bench.service.greet() is None
    assert bench.service.darkness.over("devices")


def test_a_blackout_may_wait_for_the_third_push(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    plan(bench, "blackout", seconds=30, after=2)
    answers = [bench.push(token) for _ in range(3)]
    assert [answer.wire is not None for answer in answers] == [False, False, True]
    assert bench.service.darkness.over("providers")


def test_a_blackout_can_be_ended(bench: Bench) -> None:
    plan(bench, "blackout", seconds=30)
    bench.service.darkness.end()
    assert bench.service.greet() is None


# seeds


def test_the_same_seed_draws_the_same_faults(bench: Bench) -> None:
    def verdicts() -> list[int]:
        bench.build()
        token = bench.service.register("mac-1", TOPIC)
        plan(bench, "push.refused", reason="TooManyRequests", rate=0.5)
        return [bench.push(token).status for _ in range(40)]

    first = verdicts()
    assert set(first) == {200, 429}
    assert verdicts() == first


def test_a_plan_made_in_code_may_carry_the_refusal_itself(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    bench.service.faults.add("push.refused", why="a test", answer=ApnsError.of("ServiceUnavailable"))
    assert reason(bench.push(token)) == (503, "ServiceUnavailable")


# several blackouts


def test_ending_one_blackout_leaves_the_other(bench: Bench) -> None:
    providers = plan_fault(bench.service, FaultSpec(name="blackout", seconds=600, side="providers"))
    devices = plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, side="devices"))
    end_fault(bench.service, devices)
    assert (bench.service.darkness.over("providers"), bench.service.darkness.over("devices")) == (True, False)
    end_fault(bench.service, providers)
    assert not bench.service.darkness.over("providers")


def test_a_blackout_of_the_devices_lets_the_push_that_begins_it_through(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    plan(bench, "blackout", seconds=60, side="devices", after=1)
    answers = [bench.push(token) for _ in range(2)]
    assert [(answer.status, answer.wire) for answer in answers] == [(200, None)] * 2
    assert bench.service.darkness.over("devices")


def test_a_blackout_that_begins_at_once_is_counted_once(bench: Bench) -> None:
    fault = plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, times=3))
    assert (fault.injected, bench.service.counts.faults["blackout"]) == (1, 1)


# what is told of detained pushes


def fates(bench: Bench) -> list[tuple[str, str, bool]]:
    """Of every request: how it ended, which fault it met, whether a device has it."""
    return [(one.ended, one.fault, one.delivered_ms is not None) for one in bench.service.journal]


def test_a_reordered_push_is_told_as_delivered_and_never_as_superseded(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.reordered", times=1)
    bench.push(token)
    bench.push(token)
    device.hear()
    assert fates(bench) == [("", "push.reordered", True), ("", "", True)]


def test_a_reordered_push_keeps_its_place_before_a_third(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.reordered", times=1)
    bench.push(token, payload=b"1")
    bench.push(token, payload=b"2")
    (second,) = device.take()
    bench.push(token, payload=b"3")
    device.session.acknowledge(second.number)
    numbers, heard = [second.number], [second.payload]
    while pushes := device.take():
        for push in pushes:
            numbers.append(push.number)
            heard.append(push.payload)
            device.session.acknowledge(push.number)
    assert (sorted(heard), numbers) == ([b"1", b"2", b"3"], sorted(numbers))


def test_that_a_device_acted_is_told_although_it_heard_the_push_twice(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    plan(bench, "push.repeated")
    bench.push(token)
    device.hear()
    device.session.acted([(TOPIC, token)])
    (seen,) = bench.service.journal
    assert (seen.acted_ms, seen.fault) == (bench.clock.now_ms(), "push.repeated")


def test_a_delayed_push_that_was_now_or_never_and_is_replaced_is_superseded(bench: Bench) -> None:
    listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5, times=1)
    token = bench.service.register("mac-1", TOPIC)
    bench.push(token, apns_expiration="0")
    bench.push(token, apns_expiration="0")
    assert fates(bench)[0] == ("superseded", "push.delayed", False)


@pytest.mark.parametrize("there", [True, False])
def test_a_delayed_push_expires_once_and_is_not_told_as_stored(bench: Bench, there: bool) -> None:
    token = bench.service.register("mac-1", TOPIC)
    if there:
        listening(bench, "mac-1")
    plan(bench, "push.delayed", seconds=5)
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND + 2))
    bench.clock.advance(3 * SECOND)
    bench.service.deliveries.sweep(bench.service.slots())
    later(bench, 10)
    (seen,) = bench.service.journal
    assert (seen.ended, seen.stored_ms, bench.service.counts.expired) == ("expired", None, 1)


def test_delays_of_pushes_that_were_replaced_are_forgotten(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    plan(bench, "push.delayed", seconds=86400)
    for _ in range(500):
        bench.push(token)
    assert len(bench.service.timers) == 1
    assert len(bench.service.timers._heap) < 200


def test_a_stream_that_was_refused_does_not_count_against_the_rate(bench: Bench) -> None:
    token = bench.build(max_pushes_per_minute=1).register("mac-1", TOPIC)
    plan(bench, "stream.refused", times=1)
    assert [bench.push(token).status for _ in range(3)] == [503, 200, 429]


def test_a_delayed_push_survives_that_an_older_one_is_overtaken(bench: Bench) -> None:
    device, (token,) = listening(bench, "mac-1")
    bench.push(token, payload=b"0")
    plan(bench, "push.reordered", times=1)
    bench.push(token, payload=b"1")
    plan(bench, "push.delayed", seconds=4, times=1)
    bench.push(token, payload=b"2")
    device.hear()
    later(bench, 4)
    assert b"2" in device.hear()


# nothing is lost by what only delays


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("push"), st.integers(0, 1)),
            st.tuples(st.just("hear"), st.just(0)),
            st.tuples(st.just("wait"), st.integers(1, 9)),
            st.tuples(st.just("break"), st.just(0)),
        ),
        max_size=30,
    ),
    seed=st.integers(0, 3),
)
def test_whatever_is_delayed_repeated_and_reordered_the_newest_push_is_heard(
    provider: Identity, steps: list[tuple[str, int]], seed: int
) -> None:
    bench = Bench(provider)
    bench.service.faults.chance = Chance(seed)
    for name in ("push.delayed", "push.repeated", "push.reordered"):
        plan(bench, name, rate=0.4, **({"seconds": 4} if name != "push.repeated" else {}))
    device, tokens = listening(bench, "mac-1", "mac-2")
    newest: dict[bytes, bytes] = {}
    heard: list[bytes] = []
    for number, (step, value) in enumerate(steps):
        if step == "push":
            newest[tokens[value]] = b"%d" % number
            assert bench.push(tokens[value], payload=b"%d" % number).status == 200
        elif step == "hear":
            heard += device.hear()
        elif step == "wait":
            later(bench, value)
        else:
            device.session.close("broken")
            device, _ = listening(bench, "mac-1", "mac-2")
    later(bench, 60)
    heard += device.hear()
    assert set(newest.values()) <= set(heard)

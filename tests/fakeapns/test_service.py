from __future__ import annotations

import pytest

from mdmsim.clock import DAY, HOUR, SECOND
from mdmsim.events import Event
from mdmsim.fakeapns.errors import ApnsError, TooManyTokens, UnknownToken
from mdmsim.fakeapns.storage import Registration
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, reason


@pytest.fixture
def token(bench: Bench) -> bytes:
    return bench.service.register("mac-1", TOPIC)


# tokens


def test_a_token_stays_the_same_until_it_is_retired(bench: Bench, token: bytes) -> None:
    assert bench.service.register("mac-1", TOPIC) == token


def test_a_device_that_comes_back_after_retirement_gets_a_new_token(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    assert bench.service.register("mac-1", TOPIC) != token


def test_every_device_topic_and_channel_has_its_own_token(bench: Bench, token: bytes) -> None:
    register = bench.service.register
    others = {register("mac-2", TOPIC), register("mac-1", OTHER_TOPIC), register("mac-1", TOPIC, "501")}
    assert len(others | {token}) == 4


def test_tokens_do_not_depend_on_the_order_of_registration(bench: Bench, token: bytes) -> None:
    second = bench.service.register("mac-2", TOPIC)
    bench.storage = type(bench.storage)()
    bench.build()
    assert (bench.service.register("mac-2", TOPIC), bench.service.register("mac-1", TOPIC)) == (second, token)


def test_a_token_that_was_adopted_for_something_else_is_not_drawn_again(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    bench.service.adopt(TOPIC, token, device="another", environment="sandbox")
    fresh = bench.service.register("mac-1", TOPIC)
    registration = bench.service.registration(TOPIC, token)
    assert fresh != token
    assert registration is not None
    assert registration.environment == "sandbox"


def test_there_is_an_end_to_tokens(bench: Bench) -> None:
    service = bench.build(max_tokens=2)
    tokens = [service.register(f"mac-{number}", TOPIC) for number in range(2)]
    with pytest.raises(TooManyTokens):
        service.register("mac-2", TOPIC)
    device = bench.device()
    assert device.session.subscribe([(TOPIC, tokens[0]), (TOPIC, b"x" * 32)]) == [(TOPIC, b"x" * 32)]
    assert service.register("mac-0", TOPIC) == tokens[0]


def test_a_token_has_32_bytes(token: bytes) -> None:
    assert len(token) == 32


def test_a_device_may_bring_its_own_token(bench: Bench) -> None:
    bench.service.adopt(TOPIC, b"t" * 32, device="mac-9")
    assert bench.push(b"t" * 32).status == 200


def test_a_token_that_no_device_could_have_is_not_adopted(bench: Bench) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        bench.service.adopt(TOPIC, b"t" * 31)


def test_adopting_a_retired_token_makes_it_active_again(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    bench.service.adopt(TOPIC, token)
    assert bench.push(token).status == 200
    assert bench.service.register("mac-1", TOPIC) == token


def test_a_retired_token_that_comes_back_is_what_it_is_told_to_be(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    bench.service.adopt(TOPIC, token, device="mac-1", environment="sandbox")
    assert bench.service.register("mac-1", TOPIC, environment="sandbox") == token


def test_retiring_again_keeps_the_first_time(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    first = bench.service.registration(TOPIC, token)
    bench.clock.advance(HOUR)
    bench.service.retire(TOPIC, token)
    assert bench.service.registration(TOPIC, token) == first


def test_retiring_an_unknown_token_is_an_error(bench: Bench) -> None:
    with pytest.raises(UnknownToken):
        bench.service.retire(TOPIC, b"x" * 32)


# delivery


def test_a_push_to_a_listening_device_wakes_it(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    assert device.woken == 1
    assert device.hear() == [PAYLOAD]


def test_a_push_to_an_offline_device_comes_when_it_subscribes(bench: Bench, token: bytes) -> None:
    bench.push(token)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [PAYLOAD]


def test_of_two_pushes_to_an_offline_device_the_newer_one_comes(bench: Bench, token: bytes) -> None:
    bench.push(token, payload=b"old")
    bench.push(token, payload=b"new")
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [b"new"]


def test_a_delivered_push_does_not_come_again(bench: Bench, token: bytes) -> None:
    bench.push(token)
    for expected in ([PAYLOAD], []):
        device = bench.device()
        device.session.subscribe([(TOPIC, token)])
        assert device.hear() == expected
        device.session.close("gone")


def test_a_push_that_was_not_acknowledged_comes_again_on_the_next_connection(bench: Bench, token: bytes) -> None:
    first = bench.device()
    first.session.subscribe([(TOPIC, token)])
    bench.push(token)
    assert len(first.take()) == 1
    first.session.close("broken")
    second = bench.device()
    second.session.subscribe([(TOPIC, token)])
    assert second.hear() == [PAYLOAD]


def test_a_push_waits_for_the_acknowledgement_of_the_one_before(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, payload=b"1")
    (first,) = device.take()
    bench.push(token, payload=b"2")
    bench.push(token, payload=b"3")
    assert device.take() == []
    device.session.acknowledge(first.number)
    assert device.hear() == [b"3"]


def test_acknowledging_a_push_does_not_let_go_of_a_newer_one(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, payload=b"1")
    (first,) = device.take()
    bench.push(token, payload=b"2")
    device.session.acknowledge(first.number)
    assert [push.payload for push in bench.service.pending()] == [b"2"]


def test_a_pair_that_was_let_go_and_taken_back_has_one_push_on_its_way(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.session.unsubscribe([(TOPIC, token)])
    device.session.subscribe([(TOPIC, token)])
    assert len(device.session.take(1)) == 1
    bench.push(token)
    assert device.take() == []


def test_a_push_that_expires_before_the_connection_writes_is_not_written(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    bench.clock.advance(DAY)
    assert device.take() == []
    assert bench.log.count("push.expired") == 1


def test_a_connection_that_does_not_write_costs_one_push_per_token(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    for number in range(50):
        bench.push(token, payload=b"%d" % number)
    assert device.hear() == [b"49"]


def test_pushes_come_in_the_order_in_which_they_were_accepted(bench: Bench) -> None:
    tokens = [bench.service.register(f"mac-{number}", TOPIC) for number in range(5)]
    device = bench.device()
    device.session.subscribe([(TOPIC, token) for token in reversed(tokens)])
    for number, token in enumerate(tokens):
        bench.push(token, payload=b"%d" % number)
    assert device.hear() == [b"0", b"1", b"2", b"3", b"4"]


# expiry


def test_a_kept_push_is_gone_at_its_second(bench: Bench, token: bytes) -> None:
    at_s = bench.clock.now_ms() // SECOND + 10
    bench.push(token, apns_expiration=str(at_s))
    bench.clock.advance(10 * SECOND - 1)
    assert len(bench.service.pending()) == 1
    bench.clock.advance(1)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert (bench.service.pending(), device.hear()) == ([], [])


@pytest.mark.parametrize("expiration", ["0", "1", "-5"])
def test_now_or_never_is_dropped_when_nobody_listens(bench: Bench, token: bytes, expiration: str) -> None:
    assert bench.push(token, apns_expiration=expiration).status == 200
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == []


@pytest.mark.parametrize("listens", [True, False])
def test_an_expiration_of_this_second_is_now_or_never(bench: Bench, token: bytes, listens: bool) -> None:
    # Apple, "Sending notification requests to APNs": the date at which the notification is no longer valid.
    device = bench.device()
    if listens:
        device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration=str(bench.clock.now_ms() // SECOND))
    assert bench.clock.now_ms() % SECOND == 0
    assert (device.hear(), bench.log.of("push.stored")) == ([PAYLOAD] if listens else [], [])


def test_now_or_never_reaches_a_device_that_listens(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration="0")
    bench.clock.advance(SECOND)
    assert device.hear() == [PAYLOAD]


def test_now_or_never_is_not_kept_when_its_connection_dies(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token, apns_expiration="0")
    device.take()
    device.session.close("broken")
    assert bench.service.pending() == []


def test_a_kept_push_survives_a_later_one_that_was_now_or_never(bench: Bench, token: bytes) -> None:
    bench.push(token, payload=b"kept")
    bench.push(token, payload=b"never", apns_expiration="0")
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [b"kept"]


def test_without_an_expiration_a_push_is_kept_for_a_day(bench: Bench, token: bytes) -> None:
    bench.push(token)
    assert bench.service.pending()[0].expires_ms == bench.clock.now_ms() + DAY


def test_without_an_expiration_it_can_be_now_or_never_instead(bench: Bench) -> None:
    token = bench.build(default_storage_ms=0).register("mac-1", TOPIC)
    bench.push(token)
    assert bench.service.pending() == []


def test_a_broken_connection_does_not_prolong_a_push(bench: Bench, token: bytes) -> None:
    bench.push(token)
    expires_ms = bench.service.pending()[0].expires_ms
    for _ in range(3):
        bench.clock.advance(HOUR)
        device = bench.device()
        device.session.subscribe([(TOPIC, token)])
        device.take()
        device.session.close("broken")
    assert bench.service.pending()[0].expires_ms == expires_ms


# sessions


def test_the_newest_subscription_wins_and_the_older_one_is_told(bench: Bench, token: bytes) -> None:
    old, new = bench.device(), bench.device()
    old.session.subscribe([(TOPIC, token)])
    new.session.subscribe([(TOPIC, token)])
    bench.push(token)
    assert (old.lost, old.hear(), new.hear()) == ([(TOPIC, token)], [], [PAYLOAD])


def test_a_push_on_its_way_to_the_older_connection_goes_to_the_newer_one(bench: Bench, token: bytes) -> None:
    old, new = bench.device(), bench.device()
    old.session.subscribe([(TOPIC, token)])
    bench.push(token)
    (push,) = old.take()
    new.session.subscribe([(TOPIC, token)])
    assert old.session.acknowledge(push.number) is False
    assert new.hear() == [PAYLOAD]


def test_subscribing_twice_on_one_connection_changes_nothing(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.take()
    device.session.subscribe([(TOPIC, token)])
    assert (device.take(), device.lost) == ([], [])


def test_after_unsubscribing_pushes_are_kept(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    device.session.unsubscribe([(TOPIC, token)])
    bench.push(token)
    assert (device.hear(), len(bench.service.pending())) == ([], 1)


def test_a_pair_that_was_let_go_and_taken_back_is_delivered_once(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.session.unsubscribe([(TOPIC, token)])
    device.session.subscribe([(TOPIC, token)])
    assert device.hear() == [PAYLOAD]


def test_nothing_is_delivered_to_a_retired_token(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    bench.service.retire(TOPIC, token)
    assert (device.hear(), bench.service.pending()) == ([], [])


def test_a_push_that_was_kept_for_a_retired_token_is_gone_for_good(bench: Bench, token: bytes) -> None:
    bench.push(token)
    bench.service.retire(TOPIC, token)
    assert bench.storage.load("").pushes == ()
    # Not even the same token, in use again, hears it; nor does it after a restart.
    bench.service.adopt(TOPIC, token)
    for service in (bench.service, bench.build()):
        device = bench.device(service)
        device.session.subscribe([(TOPIC, token)])
        assert device.hear() == []


def test_a_retired_token_cannot_be_subscribed(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    assert bench.device().session.subscribe([(TOPIC, token)]) == [(TOPIC, token)]


def test_an_unknown_token_is_registered_by_its_first_subscription(bench: Bench) -> None:
    assert bench.device().session.subscribe([(TOPIC, b"n" * 32)]) == []
    assert bench.push(b"n" * 32).status == 200


def test_a_service_can_insist_on_registration(bench: Bench) -> None:
    bench.build(auto_register=False)
    assert bench.device().session.subscribe([(TOPIC, b"n" * 32)]) == [(TOPIC, b"n" * 32)]


def test_what_cannot_be_a_token_is_refused_and_the_rest_subscribed(bench: Bench, token: bytes) -> None:
    device = bench.device()
    assert device.session.subscribe([(TOPIC, b"short"), (TOPIC, token)]) == [(TOPIC, b"short")]
    assert device.session.subscriptions == 1


def test_a_closed_session_does_nothing_any_more(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.close("gone")
    device.session.close("again")
    assert device.session.subscribe([(TOPIC, token)]) == [(TOPIC, token)]
    assert bench.log.count("courier.disconnected") == 1


# restart


def test_a_restart_loses_neither_tokens_nor_pending_pushes(bench: Bench, token: bytes) -> None:
    bench.push(token)
    epoch = bench.service.epoch
    bench.build()
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    assert (device.hear(), bench.service.epoch) == ([PAYLOAD], epoch)


def test_a_push_in_flight_at_a_restart_is_delivered_again(bench: Bench, token: bytes) -> None:
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    device.take()
    bench.build()
    again = bench.device()
    again.session.subscribe([(TOPIC, token)])
    assert again.hear() == [PAYLOAD]


def test_push_numbers_grow_across_a_restart(bench: Bench, token: bytes) -> None:
    numbers = []
    for _ in range(3):
        device = bench.device()
        device.session.subscribe([(TOPIC, token)])
        bench.push(token, apns_expiration="0")
        numbers += [push.number for push in device.take()]
        bench.clock.advance(1)
        bench.build()
    assert numbers == sorted(set(numbers))


def test_a_restart_remembers_generations(bench: Bench, token: bytes) -> None:
    bench.service.retire(TOPIC, token)
    second = bench.service.register("mac-1", TOPIC)
    bench.build()
    assert bench.service.register("mac-1", TOPIC) == second


# events and faults


def kinds(events: list[Event]) -> list[str]:
    return [event.kind for event in events]


def test_the_life_of_a_push_is_told_in_order(bench: Bench, token: bytes) -> None:
    bench.push(token)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    device.hear()
    told = [event for event in bench.log.events if event.kind.startswith("push.")]
    assert kinds(told) == ["push.accepted", "push.stored", "push.delivered", "push.acknowledged"]
    assert len({event.data["apns_id"] for event in told}) == 1
    assert {event.device for event in told} == {"mac-1"}


def test_a_refusal_is_told_with_its_reason(bench: Bench) -> None:
    bench.push("zz")
    (event,) = bench.log.of("push.refused")
    assert (event.data["status"], event.data["reason"]) == (400, "BadDeviceToken")


def test_an_expired_push_is_told(bench: Bench, token: bytes) -> None:
    bench.push(token)
    bench.clock.advance(DAY)
    bench.device().session.subscribe([(TOPIC, token)])
    assert bench.log.count("push.expired") == 1


def test_a_planned_refusal_is_answered_and_counted(bench: Bench, token: bytes) -> None:
    fault = bench.service.faults.add(
        "push.refused", why="Apple is busy", answer=ApnsError.of("ServiceUnavailable"), times=1
    )
    assert [reason(bench.push(token)) for _ in range(2)] == [(503, "ServiceUnavailable"), (200, None)]
    assert (fault.injected, bench.log.count("fault.injected")) == (1, 1)


def test_a_lost_push_is_answered_200_and_forgotten(bench: Bench, token: bytes) -> None:
    bench.service.faults.add("push.lost", why="APNs may drop a notification")
    assert bench.push(token).status == 200
    assert bench.service.pending() == []


def test_a_repeated_push_comes_twice_and_no_more(bench: Bench, token: bytes) -> None:
    bench.service.faults.add("push.repeated", why="APNs may deliver twice")
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    assert device.hear() == [PAYLOAD, PAYLOAD]


def test_one_seed_gives_the_same_answers(bench: Bench, token: bytes) -> None:
    first = [bench.push(token) for _ in range(3)]
    bench.storage = type(bench.storage)()
    bench.build().register("mac-1", TOPIC)
    assert [bench.push(token) for _ in range(3)] == first


def test_which_token_of_a_device_is_the_newest_does_not_depend_on_the_order_of_loading(bench: Bench) -> None:
    tokens = bench.service.tokens
    older, newer = (
        Registration(topic=TOPIC, token=bytes([number]) * 32, device="mac-1", registered_ms=number) for number in (1, 2)
    )
    tokens.install(newer)
    tokens.install(older)
    found = tokens.of_device("mac-1", TOPIC, "device", "production")
    assert found is not None
    assert found.registration == newer

"""Events into cases."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.events import Event
from mdmsim.report import Collector, Grade


def event(kind: str, at_ms: int = 0, *, device: str | None = None, source: str = "scenario", **data: Any) -> Event:
    return Event(kind=kind, at_ms=at_ms, source=source, device=device, data=data)


def start(case: str = "lock/pin[macos]", at_ms: int = 0, **data: Any) -> Event:
    return event("case.started", at_ms, case=case, title="a title", platform="macos", **data)


def finish(case: str = "lock/pin[macos]", at_ms: int = 100, grade: str = "passed", **data: Any) -> Event:
    return event("case.finished", at_ms, case=case, grade=grade, **data)


def step(number: int, at_ms: int, grade: str = "passed", **data: Any) -> list[Event]:
    return [
        event("step.started", at_ms, step=number, title=f"step {number}", where=f"lock.yaml:{number}"),
        event("step.finished", at_ms + 1, step=number, grade=grade, **data),
    ]


def exchange(at_ms: int, label: str = "connect:Idle", **data: Any) -> Event:
    return event("exchange", at_ms, device="mac-01", source="device", label=label, **data)


def collected(*events: Event) -> Collector:
    collector = Collector()
    for each in events:
        collector(each)
    return collector


def test_a_case_is_what_happens_between_its_start_and_its_finish() -> None:
    noise = event("device.locked", 5, device="mac-01", source="device")
    collector = collected(noise, start(at_ms=10), exchange(20), finish(at_ms=30))
    (case,) = collector.cases
    assert [each.kind for each in case.events] == ["exchange"]
    assert (case.id, case.story, case.grade, case.duration_ms) == ("lock/pin[macos]", "lock", Grade.PASSED, 20)


def test_steps_keep_title_place_and_grade() -> None:
    (case,) = collected(
        start(), *step(1, 5), *step(2, 7, "failed", expected="a", observed="b"), finish(grade="failed")
    ).cases
    assert [(each.title, each.grade, each.where) for each in case.steps] == [
        ("step 1", Grade.PASSED, "lock.yaml:1"),
        ("step 2", Grade.FAILED, "lock.yaml:2"),
    ]


def test_a_failed_case_says_what_its_first_failed_step_says() -> None:
    (case,) = collected(
        start(), *step(1, 5, "failed", expected="silence", observed="Idle"), finish(grade="failed")
    ).cases
    assert (case.expected, case.observed, case.where) == ("silence", "Idle", "lock.yaml:1")


def test_what_the_case_says_itself_comes_first() -> None:
    events = [
        start(),
        *step(1, 5, "failed", expected="a", observed="b"),
        finish(grade="failed", expected="c", observed="d", where="x.yaml:9"),
    ]
    (case,) = collected(*events).cases
    assert (case.expected, case.observed, case.where) == ("c", "d", "x.yaml:9")


def test_the_proof_is_the_last_exchange_before_the_failed_step_ended() -> None:
    (case,) = collected(
        start(), exchange(2), exchange(3), *step(1, 5, "failed"), exchange(8), finish(grade="failed")
    ).cases
    assert case.proof == 1


def test_a_named_proof_is_taken() -> None:
    (case,) = collected(
        start(), exchange(2), exchange(3), *step(1, 5, "failed", exchange=0), finish(grade="failed")
    ).cases
    assert case.proof == 0


def test_a_proof_that_does_not_exist_is_none() -> None:
    (case,) = collected(start(), exchange(2), finish(grade="failed", exchange=7)).cases
    assert case.proof is None


def test_a_passed_case_needs_no_proof() -> None:
    (case,) = collected(start(), exchange(2), finish()).cases
    assert case.proof is None


def test_an_unknown_grade_is_an_error() -> None:
    (case,) = collected(start(), finish(grade="splendid")).cases
    assert case.grade is Grade.ERROR


def test_an_event_belongs_to_the_case_that_knows_its_device() -> None:
    collector = collected(
        start("a/one[ios]", devices={"phone": "iPhone"}),
        start("b/two[macos]", devices={"mac": "MacBook"}),
        event("device.locked", 5, device="phone", source="device"),
        event("device.locked", 6, device="mac", source="device"),
        event("server.scep", 7, source="server"),
    )
    assert [[each.device for each in case.events] for case in collector.cases] == [["phone"], ["mac", None]]


def test_a_late_event_of_another_process_reaches_the_case_it_happened_in() -> None:
    late = event("push.acknowledged", 40, source="apns")
    (case,) = collected(start(at_ms=10), exchange(50), finish(at_ms=60), late).cases
    assert [each.kind for each in case.events] == ["push.acknowledged", "exchange"]
    assert case.exchanges == [1]


def test_what_comes_after_a_case_is_not_its_own() -> None:
    (case,) = collected(start(), finish(at_ms=60), event("push.expired", 70, source="apns")).cases
    assert case.events == []


def test_a_case_run_twice_keeps_both_verdicts() -> None:
    cases = collected(start(), finish(), start(at_ms=200), finish(at_ms=300, grade="failed")).cases
    assert [(case.id, case.grade.value) for case in cases] == [
        ("lock/pin[macos]", "passed"),
        ("lock/pin[macos] (2)", "failed"),
    ]


def test_a_case_told_to_start_twice_is_one_case() -> None:
    (case,) = collected(start(), start(at_ms=5), finish(grade="error")).cases
    assert (case.grade, case.started_ms) == (Grade.ERROR, 0)


def test_an_event_of_a_world_with_an_earlier_clock_is_not_late() -> None:
    (case,) = collected(start(at_ms=1000), finish(at_ms=2000), event("token.registered", 3, source="apns")).cases
    assert case.events == []


def test_a_case_that_never_ended_is_an_error() -> None:
    collector = collected(start(at_ms=10), exchange(20))
    (case,) = collector.close(500)
    assert (case.grade, case.observed, case.duration_ms) == (Grade.ERROR, "the run ended before the case did", 490)


def test_after_the_end_nothing_changes() -> None:
    collector = collected(start(), finish())
    collector.close(500)
    collector(start("late/one[ios]"))
    assert len(collector.cases) == 1


def test_an_exchange_stands_before_what_the_server_did_because_of_it_in_the_same_millisecond() -> None:
    answered = event("server.checkin", 5, source="server")
    pushed = event("push.accepted", 5, source="apns")
    (case,) = collected(start(), answered, pushed, exchange(5, started_ms=5, ended_ms=5), finish()).cases
    assert [each.kind for each in case.events] == ["exchange", "server.checkin", "push.accepted"]


def test_an_exchange_stands_where_it_began() -> None:
    queued = event("server.command-queued", 15, source="server")
    (case,) = collected(start(), queued, exchange(30, started_ms=10, ended_ms=30), finish()).cases
    assert [each.kind for each in case.events] == ["exchange", "server.command-queued"]


KINDS = ["case.started", "case.finished", "step.started", "step.finished", "exchange", "device.locked", "push.accepted"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(KINDS),
            st.integers(0, 50),
            st.sampled_from(["a/x[ios]", "b/y[macos]", None]),
            st.sampled_from(["passed", "failed", "nonsense", None, 7]),
            st.sampled_from([None, "d1", "d2"]),
        ),
        max_size=40,
    )
)
@settings(max_examples=120, deadline=None)
def test_any_order_of_events_gives_cases_whose_parts_fit(stream: list[tuple[Any, ...]]) -> None:
    collector = Collector()
    for kind, at_ms, case, grade, device in stream:
        data = {"step": 1, "grade": grade, "exchange": grade} | ({"case": case} if case else {})
        collector(event(kind, at_ms, device=device, **data))
    cases = collector.close(60)
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        assert [index for index, each in enumerate(case.events) if each.kind == "exchange"] == case.exchanges
        assert case.proof is None or 0 <= case.proof < len(case.exchanges)
        assert case.duration_ms >= 0

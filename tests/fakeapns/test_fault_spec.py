"""Faults as people ask for them: checked before they are planned, with a message that helps."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.fakeapns.fault_names import CATALOGUE, FAULTS
from mdmsim.fakeapns.fault_spec import FaultSpec, check_fault, parse_fault, plan_fault
from tests.fakeapns.support import TOPIC, Bench, reason


def test_a_line_names_the_fault_and_its_values() -> None:
    spec = parse_fault("push.refused, reason=TooManyRequests, rate=0.05, after=3")
    assert (spec.name, spec.reason, spec.rate, spec.after) == ("push.refused", "TooManyRequests", 0.05, 3)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("push.loost", "Did you mean push.lost"),
        ("telegram", "Allowed: push.refused"),
        ("push.lost,rate", "KEY=VALUE"),
        ("push.lost,rate=5", "rate"),
        ("push.lost,colour=red", "colour"),
        ("push.lost,seconds=5", "takes no seconds"),
        ("push.delayed", "needs seconds"),
        ("blackout", "needs seconds"),
        ("push.refused", "needs a reason"),
        ("push.refused,reason=Nonsense", "not one of Apple's"),
        ("tls.refused,reason=Nonsense", "no TLS alert"),
        ("goaway,code=99", "code"),
        ("push.lost,times=0", "times"),
        ("push.refused,reason=Unregistered,status=200", "status"),
    ],
)
def test_a_mistake_is_said_with_what_is_allowed(line: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_fault(line)


def test_every_fault_says_what_it_does_and_why_it_is_fair() -> None:
    assert all(fault.what and fault.why for fault in CATALOGUE.values())
    assert list(FAULTS) == list(CATALOGUE)


#: The least that each name needs beside itself.
_NEEDS: dict[str, dict[str, Any]] = {
    "push.refused": {"reason": "TooManyRequests"},
    "push.delayed": {"seconds": 1},
    "answer.slow": {"seconds": 1},
    "blackout": {"seconds": 1},
}


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_name_can_be_planned_and_what_it_takes_is_a_field(bench: Bench, name: str) -> None:
    fault = plan_fault(bench.service, FaultSpec(name=name, **_NEEDS.get(name, {})))
    assert (fault.name, fault.why) == (name, CATALOGUE[name].why)
    assert set(CATALOGUE[name].takes) <= set(FaultSpec.__struct_fields__)


@pytest.mark.parametrize("aim", ["topic", "token", "device", "environment"])
def test_a_fault_may_be_aimed(bench: Bench, aim: str) -> None:
    hit, missed = (bench.service.register(name, TOPIC) for name in ("mac-1", "mac-2"))
    values = {"topic": "com.apple.mgmt.other", "token": hit.hex().upper(), "device": "mac-1", "environment": "sandbox"}
    plan_fault(bench.service, FaultSpec(name="push.refused", reason="TooManyRequests", **{aim: values[aim]}))
    expected = 429 if aim in ("token", "device") else 200
    assert [bench.push(token).status for token in (hit, missed)] == [expected, 200]


def test_a_status_that_apple_does_not_have_can_be_asked_for(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    plan_fault(bench.service, FaultSpec(name="push.refused", reason="Teapot", status=418))
    assert reason(bench.push(token)) == (418, "Teapot")


def test_what_happened_is_counted_by_name(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    plan_fault(bench.service, FaultSpec(name="push.lost", every=2))
    for _ in range(4):
        bench.push(token)
    assert bench.service.counts.faults == {"push.lost": 2}


@given(st.text())
def test_any_text_is_a_fault_or_a_value_error(text: str) -> None:
    try:
        parse_fault(text)
    except ValueError:
        return


@given(st.dictionaries(st.sampled_from(FaultSpec.__struct_fields__), st.one_of(st.text(), st.integers(), st.floats())))
def test_any_object_is_checked_before_it_is_planned(fields: dict[str, Any]) -> None:
    try:
        check_fault(msgspec.convert({"name": "push.lost", **fields}, FaultSpec))
    except (ValueError, msgspec.ValidationError):
        return

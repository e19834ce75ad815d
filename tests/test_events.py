"""Events: numbered, in order, once each; and their documentation is complete."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.clock import ManualClock
from mdmsim.events import KINDS, Event, EventLog, Events, from_json_line, to_json_line

ROOT = Path(__file__).parent.parent


def test_an_event_of_an_unlisted_kind_cannot_be_emitted() -> None:
    with pytest.raises(KeyError):
        Events(ManualClock()).emit("device.exploded", source="device")


def test_a_number_seen_before_is_dropped() -> None:
    events, log = Events(ManualClock()), EventLog()
    events.subscribe(log)
    first = Event(kind="device.locked", at_ms=1, source="device", device="d", seq=1)
    second = Event(kind="device.unlocked", at_ms=2, source="device", device="d", seq=2)
    other = Event(kind="device.locked", at_ms=2, source="device", device="e", seq=1)
    events.publish([first, second])
    events.publish([first, second, other])
    assert log.events == [first, second, other]


def test_unsubscribing_ends_it() -> None:
    events, log = Events(ManualClock()), EventLog()
    stop = events.subscribe(log)
    stop()
    events.emit("device.locked", source="device", device="d")
    assert log.events == []


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text() | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(min_size=1).filter(lambda k: k != "base64"), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), VALUES, max_size=4))
@settings(max_examples=60, deadline=None)
def test_a_line_of_json_holds_an_event_exactly(data: dict[str, object]) -> None:
    event = Event(kind="device.locked", at_ms=5, source="device", device="d", seq=3, data=data)
    assert from_json_line(to_json_line(event)) == event


@given(st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_a_line_that_is_no_event_is_a_value_error(line: bytes) -> None:
    try:
        from_json_line(line)
    except ValueError:
        return
    pytest.fail("it was taken for an event")


def test_every_kind_is_documented() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    assert {kind for kind in KINDS if f"`{kind}`" not in text} == set()

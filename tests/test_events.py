"""Events: numbered, in order, once each; and their documentation is complete."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
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


def rows() -> dict[str, tuple[str, str]]:
    """The tables of docs/events.md: keys and meaning by kind."""
    text = (ROOT / "docs" / "events.md").read_text()
    return {
        kind: (keys, about) for kind, keys, about in re.findall(r"^\| `([a-z.-]+)` \| (.*?) ?\| (.*) \|$", text, re.M)
    }


def test_the_page_says_of_every_kind_what_the_declaration_says() -> None:
    declared = {
        name: (", ".join([*(f"`{key}`" for key in kind.keys), *(f"(`{key}`)" for key in kind.optional)]), kind.about)
        for name, kind in KINDS.items()
    }
    assert rows() == declared


def emitted() -> Iterator[tuple[str, str, set[str]]]:
    """Place, kind and keys of every event that the source emits with its kind and keys written out."""
    for folder in ("mdmsim", "reference_server"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text())):
                if not isinstance(call, ast.Call) or not call.args or not isinstance(call.args[0], ast.Constant):
                    continue
                name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                if name in ("emit", "_emit", "_tell") and call.args[0].value in KINDS:
                    keys = {word.arg for word in call.keywords if word.arg is not None} - {"source", "device"}
                    yield f"{path.relative_to(ROOT)}:{call.lineno}", str(call.args[0].value), keys


def test_what_is_emitted_is_declared() -> None:
    wrong = {where: keys - set(KINDS[kind].all_keys) for where, kind, keys in emitted()}
    assert {where: keys for where, keys in wrong.items() if keys} == {}


def test_every_declared_kind_is_emitted_somewhere() -> None:
    assert set(KINDS) - {kind for _, kind, _ in emitted()} == set()


def test_a_kind_that_is_about_a_device_has_the_key_that_says_so() -> None:
    strange = {
        name
        for name, kind in KINDS.items()
        if kind.subject not in (None, "device") and kind.subject not in kind.all_keys
    }
    assert strange == set()

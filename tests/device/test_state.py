"""The state as bytes: what was written is read, and anything else is one typed error."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.device.state import VERSION, UnreadableState, copied, decode, encode
from tests.device.bench import Bench, managed_profile


def lived_in() -> Bench:
    bench = Bench("mac-silicon")
    bench.enroll()
    bench.ask("InstallProfile", Payload=managed_profile())
    return bench


def test_what_was_written_is_read() -> None:
    state = lived_in().device.state
    assert encode(decode(encode(state))) == encode(state)


def test_a_copy_shares_nothing() -> None:
    state = lived_in().device.state
    other = copied(state)
    other.channel().wakes["connect"] = 5
    other.profiles.clear()
    assert state.profiles
    assert "connect" not in state.channel().wakes


def test_a_sleeping_device_is_a_few_kilobytes() -> None:
    assert len(encode(lived_in().device.state)) < 6_000


def test_a_state_of_a_later_version_is_refused() -> None:
    state = copied(lived_in().device.state)
    state.v = VERSION + 1
    with pytest.raises(UnreadableState, match="versions up to"):
        decode(encode(state))


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_mangled_bytes_are_refused_or_read(data: st.DataObject) -> None:
    whole = encode(Bench("iphone").device.state)
    place = data.draw(st.integers(0, len(whole) - 1))
    try:
        decode(whole[:place] + data.draw(st.binary(max_size=3)) + whole[place + 1 :])
    except UnreadableState:
        return

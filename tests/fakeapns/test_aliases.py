from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.fakeapns import aliases
from mdmsim.fakeapns.aliases import Aliases


def test_old_names_of_a_device_go_when_new_ones_are_told() -> None:
    names = Aliases()
    names.call("mac-1", ["UDID-1", "SERIAL-1"])
    names.call("mac-1", ["UDID-1", "SERIAL-2"])
    assert (names.names("mac-1"), names.device("SERIAL-1"), names.device("SERIAL-2")) == (
        ("UDID-1", "SERIAL-2"),
        None,
        "mac-1",
    )


def test_a_name_belongs_to_the_device_that_was_told_to_have_it_last() -> None:
    names = Aliases()
    names.call("mac-1", ["UDID-1", "SERIAL-1"])
    names.call("mac-2", ["SERIAL-1"])
    names.call("mac-1", ["UDID-1"])
    assert (names.device("SERIAL-1"), names.names("mac-1")) == ("mac-2", ("UDID-1",))


def test_when_all_room_is_taken_the_names_told_longest_ago_go() -> None:
    names = Aliases(limit=1000)
    for number in range(100):
        names.call(f"mac-{number}", [f"UDID-{number}"])
        names.call("mac-0", ["UDID-0"])
    kept = [number for number in range(100) if names.names(f"mac-{number}")]
    assert kept == [0, *range(94, 100)]
    assert names.device("UDID-1") is None


def test_what_does_not_fit_into_a_connections_room_is_not_noted() -> None:
    names = Aliases()
    grown = names.call("mac-1", ["UDID-1"], room=1000)
    assert names.call("mac-2", ["UDID-2"], room=grown - 1) == 0
    assert (names.names("mac-2"), names.call("mac-1", ["UDID-9"], room=0), names.names("mac-1")) == (
        (),
        0,
        ("UDID-9",),
    )


_few = st.sampled_from(["a", "b", "c", "\U0001f34e"])


@given(told=st.lists(st.tuples(_few, st.lists(_few, max_size=4)), max_size=30))
@settings(deadline=None)
def test_whatever_is_told_both_ways_agree_and_nothing_is_counted_that_is_gone(
    told: list[tuple[str, list[str]]],
) -> None:
    names = Aliases(limit=300)
    for device, called in told:
        names.call(device, called)
        for name in "abc\U0001f34e":
            if (owner := names.device(name)) is not None:
                assert name in names.names(owner)
        assert all(names.device(name) == device for device in "abc\U0001f34e" for name in names.names(device))
        taken = sum(aliases._size(one, names.names(one)) for one in "abc\U0001f34e" if names.names(one))
        assert names._size == taken <= 300

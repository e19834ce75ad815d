"""Chance: the same seed gives the same choices, and streams do not disturb each other."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.chance import Chance


@given(st.integers() | st.text(), st.text())
@settings(max_examples=50, deadline=None)
def test_the_same_seed_and_name_give_the_same_choices(seed: int | str, name: str) -> None:
    left, right = Chance(seed).stream(name), Chance(seed).stream(name)
    assert (left.bytes(40), left.uuid(), left.random(), left.randint(1, 9)) == (
        right.bytes(40),
        right.uuid(),
        right.random(),
        right.randint(1, 9),
    )


def test_a_stream_does_not_depend_on_what_was_drawn_beside_it() -> None:
    busy, idle = Chance(1), Chance(1)
    busy.bytes(100)
    busy.stream("other").random()
    assert busy.stream("mine").bytes(8) == idle.stream("mine").bytes(8)


def test_bytes_and_numbers_of_one_stream_are_independent() -> None:
    left, right = Chance(1), Chance(1)
    left.random()
    assert left.bytes(8) == right.bytes(8)


def test_the_machines_chance_cannot_be_repeated() -> None:
    assert Chance.of_machine().bytes(16) != Chance.of_machine().bytes(16)


def test_uuids_are_of_version_four() -> None:
    assert {Chance(seed).uuid().version for seed in range(20)} == {4}

"""Hypothesis strategies that damage a legal message: one byte changed, bytes removed or doubled, the end cut off."""

from __future__ import annotations

from hypothesis import strategies as st


def mangled(legal: bytes) -> st.SearchStrategy[bytes]:
    position = st.integers(0, len(legal) - 1)

    def change(at: int, value: int) -> bytes:
        return legal[:at] + bytes((value,)) + legal[at + 1 :]

    def remove(at: int, count: int) -> bytes:
        return legal[:at] + legal[at + count :]

    def double(at: int, count: int) -> bytes:
        return legal[: at + count] + legal[at:]

    return st.one_of(
        st.builds(change, position, st.integers(0, 255)),
        # Lengths and tags stand near the beginning: damage there reaches furthest.
        st.builds(change, st.integers(0, min(200, len(legal) - 1)), st.integers(0, 255)),
        st.builds(remove, position, st.integers(1, 40)),
        st.builds(double, position, st.integers(1, 40)),
        st.builds(lambda at: legal[:at], position),
        st.builds(lambda tail: legal + tail, st.binary(min_size=1, max_size=20)),
        st.binary(max_size=300),
    )

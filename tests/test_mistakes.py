"""What people read about data that is not what it should be."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.fakeapns.errors import FaultMistake
from mdmsim.fakeapns.fault_spec import FaultSpec, parse_fault
from mdmsim.mistakes import explain


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: Annotated[int, msgspec.Meta(ge=1)] = 1

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("count=13: not on a ship")


class Outer(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    rate: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0
    seconds: Annotated[float, msgspec.Meta(gt=0, le=31_536_000)] | None = None
    side: Literal["left", "right"] | None = None
    inner: Inner = msgspec.field(default_factory=Inner)
    many: list[Inner] = []
    by_name: dict[str, Inner] = {}
    label: Annotated[str, msgspec.Meta(min_length=1, max_length=5)] = "x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not JSON: it ends too early"),
        ("x", "not JSON: invalid character at byte 0"),
        ("[]", "takes an object, not a list"),
        ("{}", '"name" is missing'),
        ('{"name": 1}', "name: takes text, not a whole number"),
        ('{"name": "a", "rate": 7}', "rate: takes a number from 0 to 1"),
        ('{"name": "a", "seconds": 0}', "seconds: takes a number, more than 0 and at most 31536000 or null"),
        ('{"name": "a", "side": "up"}', 'side: "up" is not allowed. It takes one of "left", "right" or null'),
        ('{"name": "a", "inner": {"count": 0}}', "inner.count: takes a whole number, 1 or more"),
        (
            '{"name": "a", "inner": {"coutn": 0}}',
            'inner: there is no field "coutn". Did you mean "count"? Allowed: count',
        ),
        ('{"name": "a", "inner": {"count": 13}}', "inner: count=13: not on a ship"),
        ('{"name": "a", "many": [{"count": "x"}]}', "many[0].count: takes a whole number, 1 or more, not text"),
        (
            '{"name": "a", "by_name": {"b": {"count": "x"}}}',
            "by_name[...].count: takes a whole number, 1 or more, not text",
        ),
        ('{"name": "a", "label": "longer"}', "label: takes text of 1 to 5 characters"),
        ('{"name": "a", "many": 3}', "many: takes a list, not a whole number"),
    ],
)
def test_it_says_where_what_and_what_is_allowed(text: str, said: str) -> None:
    with pytest.raises(msgspec.MsgspecError) as caught:
        msgspec.json.decode(text, type=Outer)
    assert explain(caught.value, Outer) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("push.lost,rate=7", "rate: takes a number from 0 to 1"),
        ("push.lost,rate=often", "rate: takes a number from 0 to 1, not text"),
        ("push.lost,ratee=1", 'there is no parameter "ratee". Did you mean "rate"? Allowed: why, rate, after, every, '),
        ("blackout,side=up", 'side: "up" is not allowed. It takes one of "both", "devices", "providers"'),
        ("answer.slow,seconds=1e9", "seconds: takes a number from 0 to 31536000"),
    ],
)
def test_a_fault_is_told_with_what_it_takes(text: str, said: str) -> None:
    with pytest.raises(FaultMistake) as caught:
        parse_fault(text)
    assert str(caught.value).startswith(f'fault "{text}": {said}')


@given(
    st.dictionaries(
        st.sampled_from(FaultSpec.__struct_fields__),
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.lists(st.integers()),
    )
)
def test_no_word_of_the_library_comes_through(fields: dict[str, object]) -> None:
    try:
        msgspec.convert(fields, FaultSpec)
    except msgspec.ValidationError as error:
        said = explain(error, FaultSpec)
        assert "Expected" not in said
        assert "`" not in said
        assert "$" not in said

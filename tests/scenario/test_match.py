import pytest

from mdmsim.scenario.match import mismatch, shown


@pytest.mark.parametrize(
    ("expected", "observed"),
    [
        ({"A": 1}, {"A": 1, "B": 2}),
        ({"A": {"B": [1, 2]}}, {"A": {"B": [1, 2]}}),
        ({"List": {"contains": {"Id": "x"}}}, {"List": [{"Id": "y"}, {"Id": "x", "More": True}]}),
        ({"List": {"lacks": {"Id": "x"}}}, {"List": [{"Id": "y"}]}),
        ({"Text": {"contains": "Apple"}}, {"Text": "AppleTV14,1"}),
        ({"List": {"length": 2}}, {"List": [1, 2]}),
        ({"Gone": {"absent": True}}, {}),
        ({"There": {"any": True}}, {"There": None}),
        ({}, {"A": 1}),
    ],
)
def test_what_is_as_told_has_no_mismatch(expected: object, observed: object) -> None:
    assert mismatch(expected, observed) is None


@pytest.mark.parametrize(
    ("expected", "observed", "why"),
    [
        ({"A": 1}, {"A": 2}, "A is 2"),
        ({"A": 1}, {}, "there is no A"),
        ({"A": {"B": 1}}, {"A": "x"}, 'A is "x", not a mapping'),
        ({"A": True}, {"A": 1}, "A is 1"),
        ({"A": [1]}, {"A": [1, 2]}, "A has 2 entries: [1, 2]"),
        ({"A": [1]}, {"A": [2]}, "A[0] is 2"),
        ({"L": {"contains": {"Id": "x"}}}, {"L": [{"Id": "y"}]}, 'L has no {Id: "x"}: [{Id: "y"}]'),
        ({"L": {"lacks": 1}}, {"L": [1]}, "L has 1"),
        ({"L": {"lacks": 1}}, {}, "there is no L"),
        ({"L": {"length": 3}}, {"L": "ab"}, 'L has 2 entries: "ab"'),
        ({"L": {"contains": 1}}, {"L": 5}, "L is 5, neither text nor a list"),
        ({"G": {"absent": True}}, {"G": 1}, "G is 1"),
        ({"A": {"any": True}}, {}, "there is no A"),
        ({"A": {"any": False}}, {"A": 1}, "A is 1"),
        ({"A": {"absent": False}}, {}, "there is no A"),
    ],
)
def test_a_mismatch_names_the_place_and_what_is_there(expected: object, observed: object, why: str) -> None:
    assert mismatch(expected, observed) == why


def test_data_is_shown_by_its_length_only() -> None:
    assert shown({"Token": b"secret!"}) == "{Token: <7 bytes>}"

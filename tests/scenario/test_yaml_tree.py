"""YAML comes in with its lines, and everything that is not the strict subset goes out with a line and a reason."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.yaml_tree import MAX_BYTES, Mapping, parse, plain


def read(text: str) -> Any:
    (document,) = parse(text.encode(), "f.yaml")
    return plain(document)


def test_words_that_yaml_1_1_would_twist_stay_what_they_are() -> None:
    assert read("{power: off, country: no, at: 12:30, day: 2026-01-05, big: 1_000}") == {
        "power": "off",
        "country": "no",
        "at": "12:30",
        "day": "2026-01-05",
        "big": "1_000",
    }


def test_numbers_truth_and_nothing_are_understood() -> None:
    assert read("[1, -2, 0, 1.5, 2e3, true, False, null, ~, '1', \"true\"]") == [
        1, -2, 0, 1.5, 2000.0, True, False, None, None, "1", "true",
    ]  # fmt: skip


def test_every_key_knows_its_line() -> None:
    (document,) = parse(b"a: 1\n\n# a remark\nb:\n  c: 2\n", "f.yaml")
    assert isinstance(document, Mapping)
    inner = document.entries[1].value
    assert isinstance(inner, Mapping)
    assert [entry.line for entry in document.entries] + [inner.entries[0].line] == [1, 4, 5]


def test_binary_data_is_read() -> None:
    assert read("data: !!binary AAEC") == {"data": b"\0\1\2"}


def test_an_alias_stands_for_its_anchor() -> None:
    assert read("a: &x [1, 2]\nb: *x\n") == {"a": [1, 2], "b": [1, 2]}


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\n\tb: 2\n", 2, "a tab"),
        ("a: 1\na: 2\n", 2, "stands here a second time (first in line 1)"),
        ("a: [1\n", 2, "not YAML"),
        ("a: 'b\n", 2, "not YAML"),
        ("a: b: c\n", 1, "not YAML"),
        ("a: 1\n b: 2\n", 2, "not YAML"),
        ("x: &x [*x]\n", 1, "would contain itself"),
        ("x: *nowhere\n", 1, "*nowhere has no &nowhere"),
        ("a: !!python/object:os.system x\n", 1, "is not allowed here"),
        ("a: !mine x\n", 1, "is not allowed here"),
        ("<<: {a: 1}\n", 1, "merge keys"),
        ("1: a\n", 1, "a key must be a word, not the number 1"),
        ("[a]: b\n", 1, "a key must be a word, not a list"),
        ("keys:\n  PIN: 123456\n", 2, "PIN 123456 is a number. Put it in quotes"),
        ("keys:\n  PIN: 012345\n", 2, 'begins with a zero: put it in quotes, "012345"'),
        ("{passcode: 1234}", 1, 'passcode: "1234"'),
        ("a: 123456789012345678901234\n", 1, "is too large"),
        ("a: !!binary '*'\n", 1, "base64"),
        ("[" * 60 + "]" * 60, 1, "nested more than"),
        (LAUGHS, 5, "more than 20000 values"),
        ("[&a x" + ", *a" * 101 + "]", 1, "more than 100 aliases"),
        ("a: 1\nb: \x01\n", 2, "control character"),
    ],
)
def test_bad_yaml_is_told_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse(text.encode(), "f.yaml")
    assert caught.value.where == f"f.yaml:{line}"
    assert says in caught.value.what


def test_text_in_another_encoding_is_told_with_its_line() -> None:
    with pytest.raises(ScenarioError, match=r"f\.yaml:2: not UTF-8"):
        parse("a: 1\nb: ä\n".encode("latin-1"), "f.yaml")


def test_a_huge_file_is_refused_at_once() -> None:
    with pytest.raises(ScenarioError, match="Split it"):
        parse(b"#" * (MAX_BYTES + 1), "f.yaml")


def test_thousands_of_brackets_are_refused() -> None:
    with pytest.raises(ScenarioError):
        parse(b"[" * 20_000, "f.yaml")


@settings(max_examples=200, deadline=None)
@given(
    st.binary(max_size=200) | st.text(alphabet="abc:-[]{}&*!|>#'\"\n \t0123456789,?%@`", max_size=80).map(str.encode)
)
def test_no_bytes_raise_anything_but_a_scenario_error(data: bytes) -> None:
    try:
        parse(data, "f.yaml")
    except ScenarioError as error:
        assert error.where.startswith("f.yaml")

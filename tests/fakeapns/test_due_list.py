from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.fakeapns.due import DueEntry
from mdmsim.fakeapns.due_list import BadDueList, read_due
from mdmsim.fakeapns.moments import moment_ms

ENTRY = DueEntry(udid="U-1", since="2026-01-01T00:00:00Z")


@pytest.mark.parametrize(
    "text",
    [
        '[{"udid": "U-1", "since": "2026-01-01T00:00:00Z"}]',
        '{"due": [{"udid": "U-1", "since": "2026-01-01T00:00:00Z"}]}',
        "udid,since\nU-1,2026-01-01T00:00:00Z\n",
        "\ufeffUDID;Since;owner\r\nU-1;2026-01-01T00:00:00Z;Ann\r\n",
        "- udid: U-1\n  since: 2026-01-01T00:00:00Z\n",
        "due:\n  - {udid: U-1, since: 2026-01-01T00:00:00Z}\n",
    ],
)
def test_json_csv_and_yaml_are_told_apart(text: str) -> None:
    assert read_due(text) == [ENTRY]


def test_a_serial_number_of_digits_stays_what_it_is() -> None:
    assert read_due("- serial_number: 0123456789\n  since: 1767225600\n")[0].serial == "0123456789"
    assert read_due("serial,since\n0123456789,1767225600\n")[0].serial == "0123456789"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('[{"udid": "a", "since": 1},\n {"udid": "b"}]', "line 2: .*since"),
        ('[{"udid": "a", "since": 1},\n\n\n {"udid": "b", "since": "never"}]', "line 4: since"),
        ('[{"udid": "a", "since": 1,\n}]', "line 2: no JSON"),
        ('[{"udid": "a", "since": 1, "sinse": 2}]', "line 1: .*sinse"),
        ("[1]", "line 1: entry 1 is no object"),
        ('{"entries": []}', "no list of entries"),
        ("udid,due\na,1\n", "line 1: no column since"),
        ("udid,since\na,1\n\nb,soon\n", "line 4: since"),
        ('udid,since\n"a,1\n', "line 2: no CSV"),
        ("- udid: a\n  since: 1\n- udid: b\n  serial: c\n  since: 1\n", "line 3: .*udid and serial"),
        ("- udid: [a\n", "line 2: no YAML"),
        ("- since: 1\n", "line 1: one of device, udid"),
        ("nothing", "no list of entries"),
        ("", "no list of entries"),
    ],
)
def test_a_mistake_is_told_with_its_line(text: str, words: str) -> None:
    with pytest.raises(BadDueList, match=f"(?s)^due.csv.*{words}"):
        read_due(text, name="due.csv")


@given(st.text())
def test_whatever_is_given_is_read_or_refused(text: str) -> None:
    try:
        assert isinstance(read_due(text), list)
    except BadDueList:
        pass


@given(st.lists(st.fixed_dictionaries({"device": st.text(min_size=1), "since": st.integers(0, 2**40)}), max_size=5))
def test_what_is_json_is_read_as_it_was_written(entries: list[dict[str, object]]) -> None:
    read = read_due(json.dumps(entries, indent=1))
    assert [(entry.device, entry.since) for entry in read] == [(entry["device"], entry["since"]) for entry in entries]


@pytest.mark.parametrize(
    "moment",
    [
        "2026-01-01T00:00:00Z",
        "2026-01-01T01:00:00+01:00",
        "2026-01-01",
        "2026-01-01 00:00",
        1767225600,
        1767225600.0,
        1767225600000,
        "1767225600",
        " 1767225600000 ",
    ],
)
def test_a_moment_is_read_as_people_and_programs_write_it(moment: str | float) -> None:
    assert moment_ms(moment) == 1767225600000


@pytest.mark.parametrize("moment", ["", "soon", -1, float("nan"), float("inf"), "1e400", True, "2026-13-01"])
def test_what_is_no_moment_is_refused(moment: str | float) -> None:
    with pytest.raises(ValueError, match=r"no time"):
        moment_ms(moment)

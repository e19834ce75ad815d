from __future__ import annotations

import plistlib
import struct
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import plist
from mdmsim.protocol.errors import Malformed

HEAD = (
    b'<?xml version="1.0" encoding="UTF-8"?>\n'
    b'<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">\n'
)


def xml(body: bytes) -> bytes:
    return HEAD + b'<plist version="1.0">' + body + b"</plist>\n"


# Values that a plist can hold. No carriage returns: every XML reader makes line feeds of them.
text = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"], exclude_characters="\ufffe\uffff"), max_size=20
)
leaves = st.one_of(
    text,
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.binary(max_size=200),
    st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC)).map(
        lambda d: d.replace(microsecond=0)
    ),
)
reals = st.floats(allow_nan=False, allow_infinity=False)


def nested(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    values = st.recursive(
        leaf, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4), max_leaves=15
    )
    return st.dictionaries(text, values, max_size=5)


def naive(value: Any) -> Any:
    """The value with naive dates, which is what plistlib writes and reads."""
    if isinstance(value, datetime):
        return value.replace(tzinfo=None)
    if isinstance(value, dict):
        return {key: naive(item) for key, item in value.items()}
    return [naive(item) for item in value] if isinstance(value, list) else value


def kinds(value: Any) -> Any:
    """Types all the way down: True == 1 == 1.0 in Python, in a plist they differ."""
    if isinstance(value, dict):
        return {key: kinds(item) for key, item in value.items()}
    return [kinds(item) for item in value] if isinstance(value, list) else type(value)


@settings(max_examples=150, deadline=None)
@given(nested(leaves | reals))
def test_what_was_written_is_read_back(value: dict[str, Any]) -> None:
    again = plist.loads(plist.dumps(value))
    assert (again, kinds(again)) == (value, kinds(value))


@settings(max_examples=150, deadline=None)
@given(nested(leaves))
def test_without_reals_the_bytes_are_those_of_plistlib(value: dict[str, Any]) -> None:
    assert plist.dumps(value) == plistlib.dumps(naive(value), sort_keys=True)


@settings(max_examples=100, deadline=None)
@given(nested(leaves | reals))
def test_binary_plists_of_plistlib_are_read(value: dict[str, Any]) -> None:
    again = plist.loads(plistlib.dumps(naive(value), fmt=plistlib.FMT_BINARY))
    assert (again, kinds(again)) == (value, kinds(value))


@settings(max_examples=100, deadline=None)
@given(nested(leaves | reals))
def test_a_foreign_reader_reads_what_was_written(value: dict[str, Any]) -> None:
    assert plistlib.loads(plist.dumps(value)) == naive(value)


def only_malformed(data: bytes) -> None:
    try:
        plist.loads_any(data, what="plist")
    except Malformed as error:
        assert error.what == "plist"
        assert error.reason


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    only_malformed(data)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=120), st.integers(0, 2**16), st.integers(0, 2**16))
def test_random_binary_plists_raise_nothing_but_malformed(body: bytes, top: int, table: int) -> None:
    only_malformed(b"bplist00" + body + struct.pack(">6xBBQQQ", 1, 1, len(body) // 4 + 1, top % 4, table % 150))


FRAGMENTS = [
    b"<dict>", b"</dict>", b"<array>", b"</array>", b"<key>", b"</key>", b"<string>", b"</string>", b"<true/>", b"<dict/>",
    b"<integer>", b"</integer>", b"<data>", b"</data>", b"<real>", b"</real>", b"<date>", b"</date>", b"<plist>", b"</plist>",
    b"<!-- a -->", b"<![CDATA[", b"]]>", b"&lt;", b"&x;", b"1", b"AAAA", b"a", b" ", b"\xff", b"<?x y?>", b"<b>", b"</b>",
]  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14))
def test_jumbled_elements_raise_nothing_but_malformed(pieces: list[bytes]) -> None:
    only_malformed(xml(b"".join(pieces)))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_flipped_and_cut_plists_raise_nothing_but_malformed(data: st.DataObject) -> None:
    value = {"A": [1, 2.5, True, {"B": b"data"}], "C": "ünïcode", "D": datetime(2020, 1, 1), "E": 2**70 // 2**8}
    form = data.draw(st.sampled_from([plistlib.FMT_XML, plistlib.FMT_BINARY]))
    body = bytearray(plistlib.dumps(value, fmt=form))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    only_malformed(bytes(body[: data.draw(st.integers(0, len(body)))]))


@pytest.mark.parametrize("cut", range(0, 180, 7))
def test_truncated_binary_plists_are_malformed(cut: int) -> None:
    body = plistlib.dumps({"A": [1, 2, 3], "B": "x" * 100}, fmt=plistlib.FMT_BINARY)
    with pytest.raises(Malformed):
        plist.loads(body[: min(cut, len(body) - 1)])


# Form of reals, dates and data -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (0.0, "0.0"),
        (-0.0, "0.0"),
        (1.0, "1"),
        (10.0, "10"),
        (12e9, "12000000000"),
        (-2.0, "-2"),
        (29.0, "29"),
        (60.97759246826172, "60.977592468261719"),
        (plist.single(0.86), "0.86000001430511475"),
        (464.8224105834961, "464.82241058349609"),
    ],
)
def test_reals_are_written_as_devices_write_them(value: float, written: str) -> None:
    assert f"<real>{written}</real>\n" in plist.dumps({"R": value}).decode()


def test_a_whole_real_is_still_a_real_when_read() -> None:
    assert kinds(plist.loads(xml(b"<dict><key>R</key><real>1</real></dict>"))) == {"R": float}


def test_keys_are_sorted_by_bytes_at_every_level() -> None:
    out = plist.dumps({"iTunes": {"b": 1, "B": 2}, "UDID": "x", "Éa": 0}).decode()
    order = [out.index(f"<key>{key}</key>") for key in ("UDID", "iTunes", "B", "b", "Éa")]
    assert order == sorted(order)


@pytest.mark.parametrize(("depth", "width"), [(1, 68), (3, 52), (4, 44), (12, 16)])
def test_data_lines_get_shorter_with_each_level(depth: int, width: int) -> None:
    value: Any = b"\0" * 200
    for _ in range(depth):
        value = [value]
    lines = [line for line in plist.dumps(value).decode().splitlines() if line.strip("\tA=") == "" and line.strip()]
    assert max(len(line.strip()) for line in lines) == width
    assert {len(line) - len(line.lstrip("\t")) for line in lines} == {depth}


def test_dates_are_whole_seconds_in_utc() -> None:
    at = datetime(2016, 11, 3, 5, 12, 26, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert b"<date>2016-11-03T03:12:26Z</date>" in plist.dumps({"At": at})


def test_dates_are_read_as_aware_times_in_utc() -> None:
    assert plist.loads_any(xml(b"<date>2016-11-03T03:12:26Z</date>")) == datetime(2016, 11, 3, 3, 12, 26, tzinfo=UTC)


def test_only_three_characters_are_escaped() -> None:
    assert b"<string>&amp;&lt;&gt;\"'\xe2\x80\x9cx\xe2\x80\x9d</string>" in plist.dumps({"S": "&<>\"'“x”"})


@pytest.mark.parametrize(
    "value",
    [
        None,
        {1: 2},
        {"a": object()},
        {"a": {2: 1, "b": 3}},
        2**64,
        -(2**63) - 1,
        float("nan"),
        float("-inf"),
        "\0",
        "\ud800",
        {"\x1b": 1},
    ],
)
def test_what_a_plist_cannot_hold_is_refused_by_the_writer(value: Any) -> None:
    with pytest.raises(Malformed, match=r"^plist: "):
        plist.dumps({"Value": value})


# Refusals --------------------------------------------------------------------------------------------------------------

LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE lolz [<!ENTITY lol "lol">'
    + b"".join(b'<!ENTITY lol%d "%s">' % (n, b"&lol%d;" % (n - 1) * 10 if n else b"&lol;") for n in range(10))
    + b"]><plist><string>&lol9;</string></plist>"
)
EXTERNAL = (
    b'<?xml version="1.0"?><!DOCTYPE p [<!ENTITY x SYSTEM "file:///etc/passwd">]><plist><string>&x;</string></plist>'
)


def nested_xml(depth: int) -> bytes:
    return xml(b"<array>" * depth + b"</array>" * depth)


def binary(objects: list[bytes], top: int = 0) -> bytes:
    """A binary plist from raw objects, references of one byte."""
    body, offsets = b"bplist00", []
    for item in objects:
        offsets.append(len(body))
        body += item
    return (
        body + struct.pack(f">{len(offsets)}H", *offsets) + struct.pack(">6xBBQQQ", 2, 1, len(offsets), top, len(body))
    )


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello", "not XML"),
        (b"\n" + xml(b"<dict/>"), "not XML"),
        (HEAD + b"<plist><dict>", "not XML"),
        (HEAD + b"<dict/>", "outside <plist>"),
        (xml(b""), "without a value"),
        (xml(b"<dict/><dict/>"), "second value"),
        (xml(b"<plist><dict/></plist>"), "not in this place"),
        (xml(b"<set/>"), "no element of a plist"),
        (xml(b"<string><b/></string>"), "inside <string>"),
        (xml(b"<dict>text</dict>"), "text between"),
        (xml(b"<dict><string/></dict>"), "without a key"),
        (xml(b"<dict><key>A</key></dict>"), "without a value"),
        (xml(b"<dict><key>A</key><key>B</key></dict>"), "where a value belongs"),
        (xml(b"<key>A</key>"), "where a value belongs"),
        (xml(b"<dict><key>A</key><true/><key>A</key><true/></dict>"), "twice"),
        (xml(b"<true>x</true>"), "text inside"),
        (xml(b"<integer>1_000</integer>"), "not a whole number"),
        (xml("<integer>１２</integer>".encode()), "not a whole number"),
        (xml(b"<integer>18446744073709551616</integer>"), "64 bits"),
        (xml(b"<integer>" + b"9" * 100_000 + b"</integer>"), "not a whole number"),
        (xml(b"<real>nan</real>"), "not a finite number"),
        (xml(b"<real>1e999</real>"), "not a finite number"),
        (xml(b"<date>2016-13-03T03:12:26Z</date>"), "not a time"),
        (xml(b"<date>2016-11-03</date>"), "not a time"),
        (xml(b"<data>A</data>"), "not base64"),
        (xml(b"<data>AAAA!</data>"), "not base64"),
        (xml("<data>ÄÄÄÄ</data>".encode()), "not base64"),
        (xml(b"<string>&nbsp;</string>"), "entity"),
        (LAUGHS, "document type with declarations"),
        (EXTERNAL, "document type with declarations"),
        (b'<?xml version="1.0" encoding="nonsense"?><plist><dict/></plist>', "encoding"),
        (b'<?xml version="1.0" encoding="shift_jis"?><plist><dict/></plist>', "encoding"),
        (nested_xml(plist.MAX_DEPTH + 1), "nested deeper"),
        (nested_xml(100_000), "nested deeper"),
        (xml(b"<array>" + b"<true/>" * (plist.MAX_VALUES + 1) + b"</array>"), "more than"),
        (b" " * (plist.MAX_BYTES + 1), "a plist may have"),
        (b"bplist00", "cut short"),
        (binary([b"\xa1\x00"]), "nested deeper"),
        (binary([b"\xa2\x01\x01", *(b"\xa9" + bytes([n]) * 9 for n in range(2, 12)), b"\x09"]), "more than"),
        (binary([b"\xa1\x07"]), "does not have"),
        (binary([b"\xd1\x01\x01", b"\x09"]), "no string"),
        (binary([b"\xd2\x01\x01\x02\x02", b"\x51A", b"\x09"]), "twice"),
        (binary([b"\x80\x01"]), "does not use"),
        (binary([b"\x00"]), "does not use"),
        (binary([b"\x51\x00"]), "control character"),
        (binary([b"\x51\xff"]), "not text"),
        (binary([b"\x61\xd8\x00"]), "not text"),
        (binary([b"\x5f\x13" + b"\xff" * 8]), "runs past"),
        (binary([b"\x5f\x51A"]), "length"),
        (binary([b"\x14" + b"\x7f" * 16]), "64 bits"),
        (binary([b"\x23\x7f\xf8" + b"\0" * 6]), "finite"),
        (binary([b"\x33\x7e" + b"\0" * 7]), "years"),
    ],
)  # fmt: skip
def test_bad_plists_are_malformed_with_the_reason(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        plist.loads_any(data)


def test_repeated_large_strings_count_each_time() -> None:
    # One string of 60,000 bytes, referred to 65,000 times through 255 x 255: 4 GB once written out again.
    array = b"\xaf\x10\xff"
    with pytest.raises(Malformed, match="repeated ones"):
        plist.loads_any(binary([array + b"\x01" * 255, array + b"\x02" * 255, b"\x5f\x11\xea\x60" + b"A" * 60_000]))


@pytest.mark.parametrize(
    ("body", "found"), [(b"<array/>", "an array"), (b"<true/>", "a boolean"), (b"<string>x</string>", "a string")]
)
def test_a_root_of_the_wrong_type_says_what_it_is(body: bytes, found: str) -> None:
    with pytest.raises(Malformed, match=f"check-in: the outermost value is {found}; it must be a dictionary"):
        plist.loads(xml(body), what="check-in")


def test_syntax_errors_name_the_line() -> None:
    with pytest.raises(Malformed, match="line 4"):
        plist.loads(HEAD + b"<plist>\n<wrong/></plist>")


def test_the_greatest_depth_is_read_and_written() -> None:
    assert plist.loads_any(plist.dumps(plist.loads_any(nested_xml(plist.MAX_DEPTH)))) is not None


def test_writing_deeper_than_can_be_read_is_refused() -> None:
    value: list[Any] = []
    for _ in range(plist.MAX_DEPTH):
        value = [value]
    with pytest.raises(Malformed, match="nested deeper"):
        plist.dumps(value)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"<integer> 0x1F </integer>", 31),
        (b"<integer>+7</integer>", 7),
        (b"<string><![CDATA[a<b]]></string>", "a<b"),
        (b"<!-- note --><string>x</string>", "x"),
        (b"<string>&#8220;&amp;</string>", "“&"),
        (b"<data> QUJD\n RA== </data>", b"ABCD"),
        (b"<data/>", b""),
        (b"<true></true>", True),
    ],
)
def test_forms_that_other_writers_use_are_read(body: bytes, value: Any) -> None:
    assert plist.loads_any(xml(body)) == value


def test_utf_16_is_read() -> None:
    body = '<?xml version="1.0" encoding="UTF-16"?><plist><string>ü</string></plist>'.encode("utf-16")
    assert plist.loads_any(body) == "ü"


@pytest.mark.parametrize("length", [2**18 - 1, 2**18, 2**18 + 1, 2**19 + 1, 2**20])
def test_long_strings_are_read_whole(length: int) -> None:
    value = {"S": "ü" * (length // 2), "T": "end"}
    assert plist.loads(plist.dumps(value)) == value


@pytest.mark.parametrize("filler", [b" a='>'", b" "])
def test_an_endless_tag_is_refused_before_it_is_read_whole(filler: bytes) -> None:
    with pytest.raises(Malformed, match="a tag or comment of more than"):
        plist.loads_any(HEAD + b"<plist" + filler * (2**20 // len(filler)) + b"><dict/></plist>")

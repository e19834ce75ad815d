"""What devices read: a table of odd plists, each with the rule of Apple's reader that decides it.

The rules are those of swift-corelibs-foundation (Apache 2.0), CFPropertyList.c unless another file is named.
"""

from __future__ import annotations

import math
import plistlib
import struct
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.protocol import device_plist, plist
from mdmsim.protocol.errors import Malformed
from tests.protocol.test_plist import (
    EXTERNAL,
    FRAGMENTS,
    HEAD,
    LAUGHS,
    binary,
    kinds,
    leaves,
    naive,
    nested,
    nested_xml,
    reals,
    xml,
)


class Refused:
    """The reader refuses with a reason that contains this."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


def doc(text: str) -> bytes:
    return xml(text.encode())


DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
BODY = "<plist><string>ü</string></plist>"

#: Name, bytes, value or refusal, rule.
ODD: list[tuple[str, bytes, Any, str]] = [
    # Before the first element
    ("blank-first", b"\n \t\r\n" + xml(b"<true/>"), True, "blanks are skipped before every construct of the prolog"),
    ("comment-first", b"<!-- by hand -->\n" + xml(b"<true/>"), True, "a comment may stand before the declaration"),
    ("dashes-in-comment", b"<!-- a -- b -->" + xml(b"<true/>"), True, "a comment ends at the first -->, nothing else"),
    ("dashes-in-inner-comment", doc("<array><!-- a--b --><true/></array>"), [True], "so do comments inside"),
    ("shortest-comment-first", b"<!---->" + xml(b"<true/>"), Refused("comment"), "in the prolog the reader steps over three characters after <! and one more, and then looks for -->"),
    ("shortest-comment-inside", doc("<array><!----><true/></array>"), [True], "inside the document it steps over the two dashes only"),
    ("declaration-late", b"<!DOCTYPE plist><?xml version='1.0'?><true/>", True, "a declaration is a processing instruction, allowed anywhere"),
    ("instruction-inside", doc("<array><?php x ?><true/></array>"), [True], "processing instructions are skipped"),
    ("instruction-cut", b"<?xml version='1.0'", Refused("declaration that does not end"), "the encoding is looked for up to ? or >"),
    ("typographic-quotes", "<?xml version=“1.0” encoding=“UTF-8”?><!DOCTYPE plist PUBLIC “x”><true/>".encode(), True, "an encoding is named only within straight quotes, and a document type is skipped up to >"),
    ("missing-quotes", b"<?xml version=1.0 encoding=UTF-8?><!DOCTYPE plist PUBLIC x><plist version=1.0><true/></plist>", True, "attributes are not looked at"),
    ("empty-doctype", b"<!DOCTYPE><true/>", True, "nothing has to follow DOCTYPE"),
    ("doctype-lower-case", b"<!doctype plist><true/>", Refused("neither a comment nor"), "DOCTYPE is compared letter by letter"),
    ("doctype-with-declarations", b"<!DOCTYPE plist [ ]><true/>", Refused("declarations of its own"), "a bracket in the document type is an error"),
    ("entity-of-its-own", LAUGHS, Refused("declarations of its own"), "a bracket in the document type is an error"),
    ("external-entity", EXTERNAL, Refused("declarations of its own"), "a bracket in the document type is an error"),
    ("text-first", b"x" + xml(b"<true/>"), Refused("old-style"), "outside of elements only blanks are skipped"),
    ("blanks-alone", b" \n\t", {}, "CFOldStylePList.c: a file of blanks alone is an empty dictionary"),
    # After the first element
    ("text-after", xml(b"<true/>") + b"rendered in 3 ms", True, "nothing after the first element is looked at"),
    ("second-end-tag", xml(b"<true/>") + b"</plist>", True, "nothing after the first element is looked at"),
    ("zero-byte-after", xml(b"<true/>") + b"\0", True, "nothing after the first element is looked at"),
    ("second-document", xml(b"<true/>") + xml(b"<false/>"), True, "nothing after the first element is looked at"),
    ("not-utf-8-after", xml(b"<true/>") + b"\xff", True, "only strings are decoded"),
    # <plist> and the structure
    ("no-plist", HEAD + b"<dict><key>A</key><true/></dict>", {"A": True}, "plist is one element among others"),
    ("plist-in-plist", doc("<plist><true/></plist>"), True, "plist is one element among others"),
    ("plist-as-value", doc("<dict><key>A</key><plist><true/></plist></dict>"), {"A": True}, "plist is one element among others"),
    ("two-values", doc("<true/><false/>"), Refused("second value"), "a plist holds one object"),
    ("empty-plist", doc(""), Refused("without a value"), "a plist holds one object"),
    ("empty-plist-tag", b"<plist/>", Refused("empty <plist/>"), "a plist holds one object"),
    ("plist-not-closed", b"<plist><true/>", Refused("without its end tag"), "every element but the empty ones has its end tag"),
    ("attributes", doc('<dict a="1"><key b>A</key><true c=d/></dict>'), {"A": True}, "what stands behind a tag's name is skipped up to >"),
    ("greater-than-in-attribute", doc('<string a=">">x</string>'), '">x', "a tag ends at the first >, quoted or not"),
    ("blank-in-end-tag", doc("<string>x</string >"), "x", "blanks may stand before the > of an end tag"),
    ("blank-before-slash", doc("<true />"), True, "a tag is empty if / stands right before >"),
    ("blank-after-slash", doc("<true/ >"), Refused("no element"), "the name goes up to the first blank and is then true/"),
    ("blank-before-name", doc("< true/>"), Refused("no element"), "a tag begins with its name"),
    ("capital-letters", doc("<String>x</String>"), Refused("no element"), "names are compared letter by letter"),
    ("namespace", doc("<p:true/>"), Refused("no element"), "names are compared letter by letter"),
    ("wrong-end-tag", doc("<string>x</key>"), Refused("not closed"), "the end tag must repeat the name"),
    ("longer-end-tag", doc("<string>x</strings>"), Refused("something else before"), "after the name only blanks may stand"),
    ("text-between", doc("<dict>text</dict>"), Refused("text between"), "between elements only blanks, comments and instructions may stand"),
    ("cdata-between", doc("<array><![CDATA[x]]></array>"), Refused("begins no comment"), "<! inside the document must begin a comment"),
    # Dictionaries and arrays
    ("key-twice", doc("<dict><key>A</key><string>1</string><key>A</key><string>2</string></dict>"), {"A": "2"}, "each pair is set, so the last value stays"),
    ("key-without-value", doc("<dict><key>A</key></dict>"), Refused("without a value"), "each key needs its value"),
    ("value-without-key", doc("<dict><true/></dict>"), Refused("without a key"), "a pair begins with a key"),
    ("key-as-value", doc("<dict><key>A</key><key>B</key></dict>"), {"A": "B"}, "where a value is expected a key is a string"),
    ("key-in-array", doc("<array><key>A</key></array>"), ["A"], "where a value is expected a key is a string"),
    ("key-outermost", doc("<key>A</key>"), "A", "where a value is expected a key is a string"),
    ("key-inside-plist", doc("<dict><plist><key>A</key></plist><true/></dict>"), Refused("without a key"), "inside plist a key is a value"),
    ("empty-key", doc("<dict><key/><true/></dict>"), {"": True}, "an empty key is the empty string"),
    ("comment-between", doc("<dict><!-- a --><key>A</key><!-- b --><true/></dict>"), {"A": True}, "comments may stand between elements"),
    ("archive-object", doc("<dict><key>CF$UID</key><integer>1</integer></dict>"), Refused("keyed archive"), "such a dictionary is no dictionary (ours: refused)"),
    # Strings
    ("comment-in-string", doc("<string>La<!-- room 2 -->b</string>"), Refused("comment inside a string"), "<! in a string must begin CDATA"),
    ("comment-in-key", doc("<dict><key>A<!-- b --></key><true/></dict>"), Refused("comment inside a string"), "<! in a key must begin CDATA"),
    ("instruction-in-string", doc("<string>a<?b?></string>"), Refused("not closed"), "a string ends at < unless CDATA follows"),
    ("cdata", doc("<string>a<![CDATA[<&]]>b</string>"), "a<&b", "CDATA is taken as it stands"),
    ("cdata-in-key", doc("<dict><key><![CDATA[A]]></key><true/></dict>"), {"A": True}, "CDATA is taken as it stands"),
    ("cdata-not-closed", doc("<string><![CDATA[x</string>"), Refused("CDATA that does not end"), "CDATA ends at ]]>"),
    ("cdata-end-in-text", doc("<string>a]]>b</string>"), "a]]>b", "outside of CDATA ]]> is text"),
    ("control-character", b"<string>a\x01\x0bb</string>", "a\x01\x0bb", "characters are not checked"),
    ("zero-byte", b"<string>a\0b</string>", "a\0b", "characters are not checked"),
    ("control-reference", doc("<string>&#1;&#x1F;</string>"), "\x01\x1f", "a reference may name any character"),
    ("empty-reference", doc("<string>&#;&#x;</string>"), "\0\0", "without digits the number is zero"),
    ("big-x-reference", doc("<string>&#X41;</string>"), Refused("entity"), "hexadecimal references begin with a small x"),
    ("long-reference", doc("<string>&#000000065;</string>"), Refused("entity"), "a reference has eight digits at most"),
    ("surrogate-reference", doc("<string>&#xD83D;</string>"), Refused("no character"), "the number must be a character"),
    ("reference-too-great", doc("<string>&#x110000;</string>"), Refused("no character"), "the number must be a character"),
    ("html-entity", doc("<string>&nbsp;</string>"), Refused("entity"), "there are five names: lt, gt, amp, apos, quot"),
    ("bare-ampersand", doc("<string>A & B</string>"), Refused("entity"), "there are five names: lt, gt, amp, apos, quot"),
    ("quotes", doc("<string>&apos;&quot;&lt;&gt;&amp;</string>"), "'\"<>&", "there are five names: lt, gt, amp, apos, quot"),
    ("carriage-return", b"<string>a\r\nb\rc</string>", "a\r\nb\rc", "line ends stay as they are"),
    ("not-utf-8", b"<string>\xfc</string>", Refused("not UTF-8"), "a string must be UTF-8"),
    ("not-utf-8-in-comment", b"<!-- \xfc --><true/>", True, "only strings are decoded"),
    ("surrogate-bytes", b"<string>\xed\xa0\x80</string>", Refused("not UTF-8"), "a string must be UTF-8"),
    # Integers
    ("integer-blank-after", doc("<integer>1\n</integer>"), Refused("after the digits"), "after the digits any other character is an error"),
    ("integer-blank-before", doc("<integer>\n\t 1</integer>"), 1, "blanks before the digits are skipped"),
    ("integer-wide-blank", doc("<integer>\u2003-\u30007</integer>"), -7, "so are some blanks of Unicode, before and after the sign"),
    ("integer-no-break-space", doc("<integer>\u00a07</integer>"), Refused("not digits alone"), "blanks are looked for byte by byte, and 0xC2 is none"),
    ("integer-leading-zeros", doc("<integer>000000000000000000000007</integer>"), 7, "leading zeros are skipped"),
    ("integer-plus", doc("<integer>+7</integer>"), 7, "a plus sign is allowed"),
    ("integer-hexadecimal", doc("<integer>-0X1f</integer>"), -31, "0x makes it hexadecimal"),
    ("integer-hexadecimal-zeros", doc("<integer>0x000</integer>"), 0, "zeros alone are zero"),
    ("integer-0x", doc("<integer>0x</integer>"), Refused("not digits alone"), "0x alone is incomplete"),
    ("integer-empty", doc("<integer></integer>"), Refused("not digits alone"), "digits are needed"),
    ("integer-empty-tag", doc("<integer/>"), Refused("empty <integer/>"), "digits are needed"),
    ("integer-fraction", doc("<integer>1.0</integer>"), Refused("not digits alone"), "a point is no digit"),
    ("integer-largest", doc("<integer>18446744073709551615</integer>"), 2**64 - 1, "up to 64 bits without a sign"),
    ("integer-too-large", doc("<integer>18446744073709551616</integer>"), Refused("64 bits"), "up to 64 bits without a sign"),
    ("integer-smallest", doc("<integer>-9223372036854775808</integer>"), -(2**63), "down to -2^63"),
    ("integer-too-small", doc("<integer>-9223372036854775809</integer>"), Refused("64 bits"), "down to -2^63"),
    ("integer-comment", doc("<integer>1<!-- a --></integer>"), Refused("not closed"), "digits end at < and the end tag follows"),
    ("integer-of-other-digits", doc("<integer>１２</integer>"), Refused("not digits alone"), "digits are those of ASCII"),
    # Reals
    ("real-nan", doc("<real>NaN</real>"), math.nan, "nan in any case"),
    ("real-infinity", doc("<array><real>inf</real><real>+Infinity</real></array>"), [math.inf, math.inf], "inf and infinity, with a sign or without"),
    ("real-minus-infinity", doc("<real>-INF</real>"), -math.inf, "inf and infinity, with a sign or without"),
    ("real-minus-nan", doc("<real>-nan</real>"), Refused("not a number"), "nan has no sign"),
    ("real-overflow", doc("<real>1e999</real>"), math.inf, "CFStringScanner.c: what strtod makes of it"),
    ("real-blank-before", doc("<real> \n1.5</real>"), 1.5, "CFStringScanner.c: blanks before the number are skipped"),
    ("real-blank-after", doc("<real>1.5 </real>"), Refused("not a number"), "the whole text must be used up"),
    ("real-cdata", doc("<real><![CDATA[1.5]]></real>"), 1.5, "the text of a real is read like a string"),
    ("real-reference", doc("<real>&#49;</real>"), 1.0, "the text of a real is read like a string"),
    ("real-hexadecimal", doc("<real>0x10</real>"), Refused("not a number"), "CFStringScanner.c: x is no character of a number"),
    ("real-half-exponent", doc("<real>1e</real>"), Refused("not a number"), "the whole text must be used up"),
    ("real-empty", doc("<real></real>"), Refused("not a number"), "a number is needed"),
    # Dates
    ("date-zero", doc("<date>0000-00-00T00:00:00Z</date>"), datetime(1, 1, 1, tzinfo=UTC), "no field has a smallest value (ours: year 1 at least)"),
    ("date-leap-second", doc("<date>2016-12-31T23:59:60Z</date>"), datetime(2017, 1, 1, tzinfo=UTC), "seconds are added up"),
    ("date-hour-24", doc("<date>2016-02-29T24:00:00Z</date>"), datetime(2016, 3, 1, tzinfo=UTC), "hours are added up"),
    ("date-day-30-of-february", doc("<date>2015-02-30T00:00:00Z</date>"), datetime(2015, 3, 2, tzinfo=UTC), "days are added up"),
    ("date-month-13", doc("<date>2016-13-03T00:00:00Z</date>"), datetime(2017, 1, 3, tzinfo=UTC), "CFDate.c: the table of months goes on"),
    ("date-month-16", doc("<date>2016-16-03T00:00:00Z</date>"), Refused("no rule"), "CFDate.c: the table of months ends at 15 (ours: refused)"),
    ("date-far", doc("<date>20260-01-01T00:00:00Z</date>"), datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), "a year may have any number of digits (ours: year 9999 at most)"),
    ("date-short-year", doc("<date>26-01-01T00:00:00Z</date>"), datetime(26, 1, 1, tzinfo=UTC), "a year may have any number of digits"),
    ("date-before-christ", doc("<date>-0044-03-15T00:00:00Z</date>"), datetime(1, 1, 1, tzinfo=UTC), "a year may have a minus sign (ours: year 1 at least)"),
    ("date-blank-before", doc("<date> 2016-01-01T00:00:00Z</date>"), Refused("<date>"), "no blank is skipped in a date"),
    ("date-blank-after", doc("<date>2016-01-01T00:00:00Z\n</date>"), Refused("<date>"), "the end tag follows the Z"),
    ("date-fraction", doc("<date>2016-01-01T00:00:00.5Z</date>"), Refused("<date>"), "seconds have two digits"),
    ("date-offset", doc("<date>2016-01-01T00:00:00+01:00</date>"), Refused("<date>"), "only Z names a time zone"),
    ("date-without-time", doc("<date>2016-01-01</date>"), Refused("<date>"), "all parts are needed"),
    # Booleans
    ("true-with-end-tag", doc("<true></true>"), True, "an end tag may follow at once"),
    ("true-with-blank", doc("<true> </true>"), Refused("not closed"), "an end tag may follow at once"),
    ("false-with-comment", doc("<false><!-- a --></false>"), Refused("not closed"), "an end tag may follow at once"),
    # Data
    ("data-empty", doc("<data></data>"), b"", "no character is needed"),
    ("data-empty-tag", doc("<data/>"), Refused("empty <data/>"), "an empty tag is an error"),
    ("data-other-characters", doc("<data>QU-J_D.</data>"), b"ABC", "ASCII outside of the alphabet is skipped"),
    ("data-entity", doc("<data>QUJD&#10;</data>"), b"ABC", "an entity is none here: its digits are two letters of a group that is incomplete"),
    ("data-no-padding", doc("<data>QUJDRA</data>"), b"ABC", "an incomplete last group is dropped"),
    ("data-one-equals", doc("<data>QUJDRA=</data>"), b"ABC", "an incomplete last group is dropped"),
    ("data-too-many-equals", doc("<data>QUJD====</data>"), b"ABC\0", "= is a zero, and a group that ends with two gives one byte"),
    ("data-after-padding", doc("<data>QQ==QUI=</data>"), b"AAB", "padding may stand in the middle"),
    ("data-equals-apart", doc("<data>QQ= =</data>"), b"A", "blanks between two = do not part them"),
    ("data-equals-parted", doc("<data>QQ=.=</data>"), b"A\0", "any other character does"),
    ("data-not-ascii", doc("<data>QUJDÄ</data>"), Refused("not ASCII"), "bytes from 0x80 on are an error"),
    ("data-cdata", doc("<data><![CDATA[QUJD]]></data>"), Refused("not closed"), "data ends at <"),
    ("data-comment", doc("<data>QUJD<!-- a --></data>"), Refused("not closed"), "data ends at <"),
    # Encodings
    ("utf-8-mark", b"\xef\xbb\xbf" + (DECLARATION + BODY).encode(), "ü", "a byte order mark decides"),
    ("utf-8-mark-declared-latin-1", b"\xef\xbb\xbf<?xml encoding='ISO-8859-1'?>" + BODY.encode(), "ü", "a byte order mark decides"),
    ("utf-16-declared-utf-8", (DECLARATION + BODY).encode("utf-16"), "ü", "a byte order mark decides"),
    ("utf-16-big-endian", b"\xfe\xff" + (DECLARATION + BODY).encode("utf-16-be"), "ü", "a byte order mark decides"),
    ("utf-32", b"\x00\x00\xfe\xff" + BODY.encode("utf-32-be"), "ü", "a byte order mark decides"),
    ("utf-32-little-endian", b"\xff\xfe\x00\x00" + BODY.encode("utf-32-le"), "ü", "a byte order mark decides"),
    ("utf-16-without-mark", BODY.encode("utf-16-be"), Refused("old-style"), "two bytes are skipped as if they were the mark"),
    ("latin-1", b"<?xml version='1.0' encoding='iso-8859-1'?><string>\xfc</string>", "ü", "the declaration names the encoding"),
    ("utf-8-declared-ascii", b"<?xml encoding='us-ascii'?>" + BODY.encode(), Refused("not text in ASCII"), "the declaration names the encoding"),
    ("utf-8-declared-utf-16", b'<?xml encoding="utf-16"?>' + BODY.encode(), Refused(""), "the declaration names the encoding"),
    ("unknown-encoding", b'<?xml encoding="nonsense"?>' + BODY.encode(), Refused("unknown"), "an encoding that IANA does not know is an error"),
    ("blank-before-equals", b'<?xml encoding ="nonsense"?>' + BODY.encode(), "ü", "only encoding= names one"),
    # CFOldStylePList.c
    ("old-style", b"{ A = 1; B = (x, 'y z', \"\\n\"); C = <4142 43>; }", {"A": "1", "B": ["x", "y z", "\n"], "C": b"ABC"}, "all scalars are strings or data"),
    ("old-style-comments", b"// a\n/* b */ { A = /* c */ b; }", {"A": "b"}, "comments of C are skipped"),
    ("old-style-escapes", rb'"\101\U00fc\x\"\\"', 'AÜx"\\'.replace("Ü", "ü"), "octal, \\U and a few letters; others stand for themselves"),
    ("old-style-nextstep", rb'"\200\341"', "\u00a0Æ", "octal from 200 on is an encoding of NeXTSTEP"),
    ("old-style-last-comma", b"(a, b,)", ["a", "b"], "a comma may stand before )"),
    ("old-style-key-twice", b"{A=1;A=2;}", {"A": "2"}, "the last value stays"),
    ("old-style-no-semicolon", b"{ A = 1 }", Refused("without ;"), "every value ends with ;"),
    ("old-style-more", b"{} {}", Refused("more text after"), "after any value but a string nothing may follow"),
    ("strings-file", b'/* a */ "A" = "b";\nC;\n', {"A": "b", "C": "C"}, "the outer braces may be left out; a key alone is its own value"),
    ("strings-file-cut-short", b"A = b; ) junk", {"A": "b"}, "a strings file ends at the first thing that is no key"),
    ("plain-word", b"hello", "hello", "a word is a string"),
    ("two-words", b"hello world", Refused("without ; or ="), "and two are a strings file without ="),
    ("old-style-data-odd", b"<414>", Refused(""), "hexadecimal digits come in pairs"),
    ("web-page", b"<html><body>Sign in</body></html>", Refused("<html> is no element"), "names are compared letter by letter"),
    # CFBinaryPList.c
    ("binary-key-twice", binary([b"\xd2\x01\x01\x02\x03", b"\x51A", b"\x09", b"\x08"]), {"A": True}, "a key is added once, so the first value stays"),
    ("binary-control-character", binary([b"\x51\x01"]), "\x01", "characters are not checked"),
    ("binary-infinity", binary([b"\x23\x7f\xf0" + b"\0" * 6]), math.inf, "reals are not checked"),
    ("binary-16-bytes", binary([b"\x14" + b"\x7f" * 16]), 0x7F7F7F7F7F7F7F7F, "of 16 bytes the last 8 count"),
    ("binary-far-date", binary([b"\x33\xff" + b"\0" * 7]), datetime(1, 1, 1, tzinfo=UTC), "a date may be any number (ours: years 1 to 9999)"),
    ("binary-gap", binary([b"\x09"])[:-32] + b"\0" + binary([b"\x09"])[-32:], Refused("between"), "objects, offsets and trailer fill the file"),
    ("binary-cut", b"bplist00", "bplist00", "what is no binary plist is tried as XML and in the old style"),
]  # fmt: skip


def test_the_table_has_a_rule_for_each_of_its_plists() -> None:
    assert len({name for name, *_ in ODD}) == len(ODD) >= 77
    assert all(rule for *_, rule in ODD)


@pytest.mark.parametrize(("data", "expected"), [pytest.param(d, e, id=name) for name, d, e, _ in ODD])
def test_odd_plists_are_read_as_devices_read_them(data: bytes, expected: Any) -> None:
    if isinstance(expected, Refused):
        with pytest.raises(Malformed) as caught:
            device_plist.loads_any(data)
        assert expected.reason in caught.value.reason
    else:
        value = device_plist.loads_any(data)
        assert repr(value) == repr(expected)  # nan is not equal to itself; 1, 1.0 and True are equal


# Agreement with the reader that keeps to XML ---------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(nested(leaves | reals))
def test_both_readers_read_what_is_well_formed(value: dict[str, Any]) -> None:
    for body in (
        plist.dumps(value),
        plistlib.dumps(naive(value)),
        plistlib.dumps(naive(value), fmt=plistlib.FMT_BINARY),
    ):
        again = device_plist.loads(body)
        assert (again, kinds(again)) == (value, kinds(value))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([*FRAGMENTS, b"2020-01-01T00:00:00Z", b"\t\n", b"-", b"=", b"&#65;"]), max_size=14))
def test_the_readers_agree_where_both_accept(pieces: list[bytes]) -> None:
    body = xml(b"".join(pieces))
    try:
        device, server = device_plist.loads_any(body), plist.loads_any(body)
    except Malformed:
        return
    assert repr(device) == repr(server)


ELEMENTS = st.recursive(
    st.sampled_from(
        [
            b"<string>%s</string>", b"<string/>", b"<integer>%s7</integer>", b"<real>%s1.5</real>", b"<true/>", b"<data>%sQUJD</data>",
            b"<data>QUI=</data>", b"<date>2020-02-29T01:02:03Z</date>", b"<false />", b"<dict/>", b"<string>&lt;%s&#65;</string>",
            b"<string>%s<![CDATA[<b>]]></string>", b"<integer>0x1F</integer>", b"<key>%s</key>", b"<real>%snan</real>", b"<data/>",
        ]
    ).flatmap(lambda form: st.sampled_from([b"", b" ", b"\n\t", b"-", b"a"]).map(lambda text: form.replace(b"%s", text))),
    lambda inner: st.lists(inner, max_size=4).map(lambda items: b"<array>\n" + b" ".join(items) + b"</array>")
    | st.lists(st.tuples(st.sampled_from([b"A", b"B", b"C D"]), inner), max_size=4).map(
        lambda pairs: b"<dict>" + b"<!-- - -->".join(b"<key>%s</key> %s" % pair for pair in pairs) + b"</dict>"
    ),
    max_leaves=8,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(ELEMENTS)
def test_the_readers_agree_on_whole_documents_that_both_accept(element: bytes) -> None:
    body = xml(element)
    try:
        device, server = device_plist.loads_any(body), plist.loads_any(body)
    except Malformed:
        return
    assert repr(device) == repr(server)


# Nothing but Malformed, and the limits ---------------------------------------------------------------------------------


def only_malformed(data: bytes) -> None:
    try:
        device_plist.loads_any(data, what="plist")
    except Malformed as error:
        assert error.what == "plist"
        assert error.reason


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    only_malformed(data)


@settings(max_examples=150, deadline=None)
@given(st.text("{}()<>=;,'\"\\/*\n aU07\ud7ff\U0001f600ü", max_size=40))
def test_random_old_style_plists_raise_nothing_but_malformed(text: str) -> None:
    only_malformed(text.encode())


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([row[1] for row in ODD]), st.data())
def test_flipped_and_cut_odd_plists_raise_nothing_but_malformed(body: bytes, data: st.DataObject) -> None:
    flipped = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        flipped[data.draw(st.integers(0, len(flipped) - 1))] = data.draw(st.integers(0, 255))
    only_malformed(bytes(flipped[: data.draw(st.integers(0, len(flipped)))]))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b" " * (plist.MAX_BYTES + 1), "a plist may have"),
        (nested_xml(plist.MAX_DEPTH + 1), "nested deeper"),
        (nested_xml(100_000), "nested deeper"),
        (b"<plist>" * 100_000, "nested deeper"),
        (b"<dict><key>a</key>" * 100_000, "nested deeper"),
        (b"(" * 100_000, "nested deeper"),
        (b"{a=" * 100_000, "nested deeper"),
        (xml(b"<array>" + b"<true/>" * (plist.MAX_VALUES + 1) + b"</array>"), "more than"),
        (xml(b"<array>" + b"<true />" * (plist.MAX_VALUES + 1) + b"</array>"), "more than"),
        (xml(b"<dict>" + b"<key>a</key><true/>" * (plist.MAX_VALUES + 1) + b"</dict>"), "more than"),
        (b"(" + b"a," * (plist.MAX_VALUES + 1) + b")", "more than"),
        (binary([b"\xa1\x00"]), "nested deeper"),
    ],
)
def test_the_limits_hold(data: bytes, reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        device_plist.loads_any(data)


def test_the_greatest_depth_is_read() -> None:
    assert device_plist.loads_any(nested_xml(plist.MAX_DEPTH)) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"<integer>" + b" " * 2**20 + b"x</integer>",
        b"<real>" + b"1" * 2**20 + b"x</real>",
        b"<data>" + b"=" * 2**20 + b"</data>",
        b"<string>" + b"&lt;" * 2**18 + b"</string>",
        b"<plist" + b" a='>'" * 2**18 + b"><dict/></plist>",
        b"/* " + b"*" * 2**20,
        b"<!--" * 2**18,
        b'"' + b"\\a" * 2**19,
    ],
)
def test_a_megabyte_of_one_thing_takes_no_more_than_linear_time(data: bytes) -> None:
    only_malformed(data)  # quadratic time would not end within a test run


def test_errors_name_the_line() -> None:
    with pytest.raises(Malformed, match="line 4"):
        device_plist.loads(HEAD + b"<plist>\n<wrong/></plist>")


def test_an_outermost_value_that_is_no_dictionary_says_what_it_is() -> None:
    with pytest.raises(Malformed, match="command: the outermost value is a string; it must be a dictionary"):
        device_plist.loads(b"Unauthorized", what="command")


# Writing what was read ---------------------------------------------------------------------------------------------------


def test_a_device_writes_what_it_read_without_a_check() -> None:
    value = {"A": "\x01\0", "B": [math.inf, -math.inf, math.nan]}
    with pytest.raises(Malformed):
        plist.dumps(value)
    body = plist.dumps(value, like_device=True)
    assert b"<string>\x01\0</string>" in body
    # CFNumber.c: nan, and infinity always with its sign.
    assert [line.strip() for line in body.splitlines() if b"<real>" in line] == [
        b"<real>+infinity</real>",
        b"<real>-infinity</real>",
        b"<real>nan</real>",
    ]
    assert repr(device_plist.loads(body)) == repr(value)


def test_random_binary_plists_raise_nothing_but_malformed() -> None:
    for size in range(1, 9):
        only_malformed(b"bplist00" + b"\xd1\x01\x01\x51A" + b"\x08\x0b" + struct.pack(">6xBBQQQ", size, 1, 2, 0, 13))

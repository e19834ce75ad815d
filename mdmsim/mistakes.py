"""What msgspec has against a value, in words for people: where it stands, what it is, and what is allowed there."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

import msgspec
import msgspec.inspect as inspected

#: How msgspec ends its messages: the way to the value, such as `$.floods.pings` or `$[0].since`.
_PLACE = re.compile(r" - at `(?:key in )?\$?([^`]*)`$")
_STEP = re.compile(r"\.?([^.\[\]]+)|\[([^\]]*)\]")
_GOT = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def explain(error: Exception, kind: Any) -> str:
    """The message of a `msgspec.MsgspecError`, or of another error in its place, about data that should be a `kind`.

    No full stop at its end; texts of a struct's own (`__post_init__`) stay as they are, with the place before them.
    """
    text = str(error)
    if not isinstance(error, msgspec.ValidationError):
        found = re.fullmatch(r"JSON is malformed: (.*?)(?: \(byte (\d+)\))?", text)
        if found is not None:
            return f"not JSON: {found[1]}" + (f" at byte {found[2]}" if found[2] else "")
        return "not JSON: it ends too early" if text == "Input data was truncated" else text
    place = ""
    if (at := _PLACE.search(text)) is not None:
        place, text = at[1].removeprefix("."), text[: at.start()]
    said = _said(text, _at(inspected.type_info(kind), place))
    return f"{place}: {said}" if place else said


def _said(text: str, info: inspected.Type | None) -> str:
    if (unknown := re.fullmatch(r"Object contains unknown field `(.*)`", text)) is not None:
        names = [field.encode_name for field in info.fields] if isinstance(info, inspected.StructType) else []
        return no_such(unknown[1], names)
    if (absent := re.fullmatch(r"Object missing required field `(.*)`", text)) is not None:
        return f'"{absent[1]}" is missing'
    if text.startswith("Invalid enum value ") and info is not None:
        return f"{_quoted(text.removeprefix('Invalid enum value '))} is not allowed. It takes {_word(info)}"
    if text.startswith("Expected ") and info is not None:
        got = re.search(r", got `(\w+)`$", text)
        return f"takes {_word(info)}" + (f", not {_GOT.get(got[1], got[1])}" if got is not None else "")
    return text


def no_such(name: str, names: Iterable[str], what: str = "field") -> str:
    """A name that does not exist, the one that may be meant, and all that there are."""
    known = list(names)
    near = get_close_matches(name, known, 1)
    meant = f' Did you mean "{near[0]}"?' if near else ""
    allowed = f" Allowed: {', '.join(known)}" if known else ""
    return f'there is no {what} "{name[:60]}".{meant}{allowed}'


def _quoted(text: str) -> str:
    return f'"{text[1:-1]}"' if text[:1] == "'" else text


def _at(info: inspected.Type | None, place: str) -> inspected.Type | None:
    """The type at that place; None where that cannot be told."""
    for name, index in _STEP.findall(place):
        info = _inside(info, name, index)
    return info


def _inside(info: inspected.Type | None, name: str, index: str) -> inspected.Type | None:
    if isinstance(info, inspected.Metadata):
        return _inside(info.type, name, index)
    if isinstance(info, inspected.UnionType):
        found = (_inside(one, name, index) for one in info.types)
        return next((one for one in found if one is not None), None)
    if name and isinstance(info, inspected.StructType):
        return next((field.type for field in info.fields if field.encode_name == name), None)
    if index and isinstance(info, inspected.DictType):
        return info.value_type
    if index and isinstance(info, inspected.ListType | inspected.VarTupleType):
        return info.item_type
    return None


def _word(info: inspected.Type) -> str:
    """What is allowed there."""
    match info:
        case inspected.Metadata():
            return _word(info.type)
        case inspected.UnionType():
            return " or ".join(_word(one) for one in info.types)
        case inspected.LiteralType():
            return "one of " + ", ".join(
                f'"{value}"' if isinstance(value, str) else str(value) for value in info.values
            )
        case inspected.IntType():
            return f"a whole number{_range(info)}"
        case inspected.FloatType():
            return f"a number{_range(info)}"
        case inspected.StrType():
            low, high = info.min_length, info.max_length
            if high is not None:
                return f"text of {low or 0} to {high} characters"
            return f"text of {low} characters or more" if low else "text"
        case inspected.BoolType():
            return "true or false"
        case inspected.NoneType():
            return "null"
        case inspected.ListType() | inspected.VarTupleType():
            low, high = info.min_length or 0, info.max_length
            return f"a list of {low} to {high}" if high is not None else "a list"
        case inspected.StructType() | inspected.DictType():
            return "an object"
    return "another value"


def _range(info: inspected.IntType | inspected.FloatType) -> str:
    """The bounds of a number, with what stands before them."""
    if info.ge is not None and info.le is not None:
        return f" from {_plain(info.ge)} to {_plain(info.le)}"
    bounds = [
        f"{_plain(bound)} {more}" if more.startswith("or") else f"{more} {_plain(bound)}"
        for bound, more in ((info.ge, "or more"), (info.gt, "more than"), (info.le, "at most"), (info.lt, "less than"))
        if bound is not None
    ]
    return f", {' and '.join(bounds)}" if bounds else ""


def _plain(bound: float) -> str:
    return str(int(bound)) if bound == int(bound) else str(bound)

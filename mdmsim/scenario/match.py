"""Comparing what came with what a scenario says: mappings may hold more than was asked for, everything else is equal.

Words for what equality cannot say, each a mapping with that one key:
`contains` (a list has such an entry, a text such a part), `lacks` (it has none), `length` (of a list or text), `absent`
(true: the key is not there), `any` (true: the key is there, with whatever value; false: as `absent`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mdmsim.scenario.errors import WrongKey, did_you_mean, excerpt, nearest

#: Known keys and what is known of their values: keys again, of a mapping or of a list's entries. None: anything goes.
Shape = Mapping[str, Any] | None

WORDS = ("contains", "lacks", "length", "absent", "any")

_MISSING = object()


def mismatch(expected: Any, observed: Any, path: str = "") -> str | None:
    """Why `observed` is not as `expected` says, naming the place; None when it is."""
    word = _word(expected)
    if word is not None:
        return _by_word(word, expected[word], observed, path)
    if isinstance(expected, Mapping):
        if not isinstance(observed, Mapping):
            return f"{path or 'it'} is {shown(observed)}, not a mapping"
        for key, wanted in expected.items():
            problem = mismatch(wanted, observed.get(key, _MISSING), f"{path}.{key}" if path else str(key))
            if problem is not None:
                return problem
        return None
    if observed is _MISSING:
        return f"there is no {path}"
    if isinstance(expected, bool) or isinstance(observed, bool):
        same = expected is observed
    elif isinstance(expected, list) and isinstance(observed, list | tuple):
        return _same_list(expected, list(observed), path)
    else:
        same = bool(expected == observed)
    return None if same else f"{path or 'it'} is {shown(observed)}"


def check_keys(expected: Any, shape: Shape, what: str, path: tuple[str, ...] = ()) -> None:
    """Raises WrongKey for a key that `what` never holds: an expectation with it would fail, or hold, whatever came."""
    if shape is None:
        return
    word = _word(expected)
    if word in ("contains", "lacks"):
        check_keys(expected[word], shape, what, (*path, word))
    elif isinstance(expected, list | tuple):
        for entry in expected:
            check_keys(entry, shape, what, path)
    elif isinstance(expected, Mapping) and word is None:
        for key, wanted in expected.items():
            if key not in shape:
                raise WrongKey(f'{what} has no "{key}". {did_you_mean(str(key), shape)}', (*path, str(key)))
            check_keys(wanted, shape[key], what, (*path, str(key)))


def check_absences(expected: Any, shape: Shape, what: str, path: tuple[str, ...] = ()) -> None:
    """Raises WrongKey where something must be missing under a name that `what` never has: it always would be."""
    if shape is None:
        return
    word = _word(expected)
    if word == "lacks":
        check_keys(expected[word], shape, what, (*path, word))
    elif word == "contains":
        check_absences(expected[word], shape, what, (*path, word))
    elif isinstance(expected, list | tuple):
        for entry in expected:
            check_absences(entry, shape, what, path)
    elif isinstance(expected, Mapping) and word is None:
        for key, wanted in expected.items():
            if key in shape:
                check_absences(wanted, shape[key], what, (*path, str(key)))
            elif _word(wanted) == "absent" and (near := nearest(str(key), shape)) is not None:
                # Only what looks like a slip: that a device sends no key of another name can be a story, too.
                raise WrongKey(f'{what} has no "{key}". Did you mean "{near}"?', (*path, str(key)))


def _word(expected: Any) -> str | None:
    if isinstance(expected, Mapping) and len(expected) == 1:
        key = next(iter(expected))
        return key if key in WORDS else None
    return None


def _by_word(word: str, wanted: Any, observed: Any, path: str) -> str | None:
    at = path or "it"
    if word in ("absent", "any"):
        there = observed is not _MISSING
        wanted = wanted if word == "absent" else not wanted
        return (
            f"{at} is {shown(observed)}"
            if there and wanted
            else f"there is no {at}"
            if not there and not wanted
            else None
        )
    if observed is _MISSING:
        return f"there is no {at}"
    if not isinstance(observed, str | list | tuple):
        return f"{at} is {shown(observed)}, neither text nor a list"
    if word == "length":
        return None if len(observed) == wanted else f"{at} has {len(observed)} entries: {shown(observed)}"
    if isinstance(observed, str):
        found = isinstance(wanted, str) and wanted in observed
    else:
        found = any(mismatch(wanted, entry) is None for entry in observed)
    if word == "contains":
        return None if found else f"{at} has no {shown(wanted)}: {shown(observed)}"
    return f"{at} has {shown(wanted)}" if found else None


def _same_list(expected: list[Any], observed: list[Any], path: str) -> str | None:
    if len(expected) != len(observed):
        return f"{path or 'it'} has {len(observed)} entries: {shown(observed)}"
    for number, (wanted, came) in enumerate(zip(expected, observed, strict=True)):
        if problem := mismatch(wanted, came, f"{path}[{number}]"):
            return problem
    return None


def shown(value: Any) -> str:
    """A value in a message: short, data only by length."""
    if value is _MISSING:
        return "not there"
    return excerpt(_plain(value), longest=200)


def _plain(value: Any) -> str:
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "nothing"}[value]
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_plain(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_plain(entry) for entry in value) + "]"
    return str(value)

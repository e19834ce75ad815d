"""What a check found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

#: `missing` is needed for what mdmsim is for; `advice` makes something quicker or possible that few need.
State = Literal["good", "advice", "missing"]

MARKS: dict[State, str] = {"good": "✓", "advice": "–", "missing": "✗"}


@dataclass(frozen=True, slots=True)
class Finding:
    """`seen`: what is there. `do`: what to do about it; empty where nothing needs to be done."""

    state: State
    seen: str
    do: str = ""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing to look at. `name` is stable: scripts may look for it."""

    name: str
    look: Callable[[], Finding]


def good(seen: str) -> Finding:
    return Finding("good", seen)


def advice(seen: str, do: str) -> Finding:
    return Finding("advice", seen, do)


def missing(seen: str, do: str) -> Finding:
    return Finding("missing", seen, do)

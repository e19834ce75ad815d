"""Types that several steps share, and what they have in common when they look at something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from mdmsim.scenario.durations import Duration
from mdmsim.scenario.run import PATIENCE_MS
from mdmsim.scenario.typed import about

#: `device: phone`: who acts, or is looked at.
DeviceName = Annotated[str, about('Name a device or a group from "devices"', example="phone", refers_to="device")]

#: `to: ipads`: to whom the server sends something.
Recipient = Annotated[str, about('Name a device or a group from "devices"', example="ipads", refers_to="device")]

Within = Annotated[
    Duration | None, about("How long to wait for it at most (world time; 30s if not said)", example="2m")
]

Codes = Annotated[
    tuple[int | str, ...],
    about("Error codes that the chain must hold, outer ones first", example="[12021]", filled=True),
]


def patience(within: Duration | None) -> int:
    """How long an expectation waits, in milliseconds."""
    return PATIENCE_MS if within is None else within.ms


def chain_text(chain: Sequence[Mapping[str, Any]]) -> str:
    """An error chain in a message: `MCMDMErrorDomain 12021 (...)`, outer error first."""
    said = [f"{item.get('ErrorDomain')} {item.get('ErrorCode')} ({item.get('LocalizedDescription')})" for item in chain]
    return " over ".join(said) or "no error chain"


def has_codes(chain: Sequence[Mapping[str, Any]], codes: Sequence[int | str]) -> bool:
    """Whether the chain holds the codes in that order. A code is a number, or domain and number as text."""
    left = iter(chain)
    for code in codes:
        for item in left:
            if code in (item.get("ErrorCode"), f"{item.get('ErrorDomain')} {item.get('ErrorCode')}"):
                break
        else:
            return False
    return True


def words(values: Sequence[object]) -> str:
    return ", ".join(str(value) for value in values)

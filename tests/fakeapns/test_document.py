"""docs/fake-apns.md says of the switches and faults what the code does, and forgets none."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import msgspec

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.fault_names import CATALOGUE
from mdmsim.fakeapns.front.server import ENDINGS
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.serve import Ready
from mdmsim.fakeapns.settings import CHECKS, ApnsSettings

PAGE = (Path(__file__).parents[2] / "docs" / "fake-apns.md").read_text(encoding="utf-8")


def rows(heading: str) -> dict[str, list[str]]:
    """The table under that heading: the first cell's code to the other cells."""
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    found = re.findall(r"^\| `([^`]+)` \|(.*)\|$", section, re.MULTILINE)
    return {name: [cell.strip() for cell in rest.split(" | ")] for name, rest in found}


def test_every_switch_is_in_the_table_with_its_default() -> None:
    told = {name: cells[0] for name, cells in rows("Apple's and ours").items()}
    defaults = {
        name: f"`{msgspec.json.encode(getattr(switches, name)).decode()}`"
        for switches in (ApnsSettings(), FrontSettings())
        for name in switches.__struct_fields__
    }
    defaults |= {"order": "as listed", "floods": "`FloodLimits`"}
    assert told == defaults


def test_the_order_of_the_checks_is_listed() -> None:
    assert rows("Apple's and ours")["order"][-1].endswith(f"All of: {', '.join(CHECKS)}")


def test_every_way_that_connections_end_is_in_the_table() -> None:
    assert {word: cells[0].rstrip(" |") for word, cells in rows("How connections end").items()} == ENDINGS


def test_every_fault_is_in_the_table_with_what_it_takes() -> None:
    told = {name: re.findall(r"`([^`]+)`", cells[0]) for name, cells in rows("Faults").items()}
    assert told == {name: list(fault.takes) for name, fault in CATALOGUE.items()}


def test_every_public_name_of_the_context_manager_is_told() -> None:
    public = {name for name, _ in inspect.getmembers(FakeApns) if not name.startswith("_")}
    section = PAGE.split("## In a test suite")[1].split("\n## ")[0]
    assert {name for name in public if not re.search(rf"`{name}\b", section)} == set()


def test_every_key_of_the_ready_line_is_told() -> None:
    section = PAGE.split("## As a process")[1].split("\n## ")[0]
    told = {
        key for cell in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for key in re.findall(r"`(\w+)`", cell)
    }
    assert told == set(Ready.__struct_fields__)

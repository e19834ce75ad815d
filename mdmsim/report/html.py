"""`report.html`: one file with everything in it, which asks no network for anything."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mdmsim.report.decode import PROLOG
from mdmsim.report.document import Document, build
from mdmsim.report.model import ORDER, Case, Grade, Run
from mdmsim.report.words import duration, plural

_PAGE = Path(__file__).with_name("page")
#: Put together in this order; `look.css` is what every page of the product shares.
STYLES = ("look.css", "report.css", "diagram.css")
SCRIPTS = ("dom.js", "tree.js", "diagram.js", "panel.js", "report.js")

#: Data of the page larger than this, in characters, is compressed.
PLAIN_CAP = 1_000_000

_PLATFORMS = {
    "ios": "iOS",
    "ipados": "iPadOS",
    "macos": "macOS",
    "tvos": "tvOS",
    "visionos": "visionOS",
    "watchos": "watchOS",
}
_COLUMNS = list(_PLATFORMS)


@dataclass(slots=True)
class Row:
    """One line of a story in the overview: the same case on several platforms."""

    name: str
    title: str
    cells: dict[str, list[dict[str, Any]]] = field(default_factory=dict)


@dataclass(slots=True)
class Story:
    """One story in the overview and in the list of cases."""

    name: str
    cases: list[dict[str, Any]]
    platforms: list[str]
    rows: list[Row]

    @property
    def good(self) -> int:
        return sum(1 for case in self.cases if Grade(case["grade"]).ok)


def report_html(run: Run, cases: Sequence[Case]) -> str:
    """The text of `report.html`."""
    return render_html(build(run, cases))


def render_html(document: Document) -> str:
    """The same from a document that is built already."""
    style = "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in STYLES)
    script = "\n".join((_PAGE / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = f'(async () => {{\n"use strict";\n{script}\n}})();\n'
    run, cases = document.run, document.cases
    data, packed = pack(island(document))
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            run=run,
            cases=cases,
            stories=_stories(cases),
            bad=[case for case in cases if not Grade(case["grade"]).ok],
            verdict=verdict(run["counts"]),
            tally=[(grade, run["counts"].get(grade.value, 0)) for grade in ORDER if grade.value in run["counts"]],
            bar=_bar(run["counts"]),
            extent=_extent(document),
            took=duration(run["duration_ms"]),
            # Text inside <style> and <script> is not escaped by browsers, so it must not be escaped here either.
            style=Markup(style),
            script=Markup(script),
            style_hash=_hash(style),
            script_hash=_hash(script),
            data=Markup(data),
            packed=packed,
        )
    )


def verdict(numbers: dict[str, int]) -> str:
    """`2 failed, 31 passed, 4 not applicable`."""
    said = [
        f"{numbers[grade.value]} {_counted(grade, numbers[grade.value])}" for grade in ORDER if numbers.get(grade.value)
    ]
    if numbers and set(numbers) == {Grade.NOT_APPLICABLE.value}:
        said.append("nothing was judged")
    return ", ".join(said) or "no case ran"


def case_link(case_id: str, exchange: int | None = None) -> str:
    """The permalink of a case, or of one of its exchanges (counted from 0, shown from 1), as a fragment."""
    where = f"#/{quote(case_id, safe='/[]()-._~')}"
    return where if exchange is None else f"{where}?x={exchange + 1}"


def pack(data: str) -> tuple[str, bool]:
    """The data of the page as it stands there, and whether it is compressed: zlib in base64, if it is large.

    Small data stays readable, for a search or a `diff`; large data would be megabytes of repetition.
    """
    if len(data) <= PLAIN_CAP:
        return data, False
    return base64.b64encode(zlib.compress(data.encode("utf-8"), 9)).decode("ascii"), True


def island(document: Document) -> str:
    """The data of the page as JSON that is safe inside a script element. Each body and list of headers once."""
    bodies, headers = _Once(), _Once()
    cases = []
    for case, diagram in zip(document.cases, document.diagrams, strict=True):
        slim = {key: value for key, value in case.items() if value not in (None, [], {})}
        slim["took"] = duration(slim.pop("duration_ms"))
        slim["exchanges"] = [_exchange(exchange, bodies, headers) for exchange in case["exchanges"]]
        slim["events"], diagram = _shown_events(case["events"], diagram)
        slim["lanes"], slim["rows"] = diagram["lanes"], diagram["rows"]
        cases.append(slim)
    whole = {"prolog": PROLOG, "cases": cases, "bodies": bodies.kept, "headers": headers.kept}
    text = json.dumps(whole, ensure_ascii=False, separators=(",", ":"))
    # `</script>` and `<!--` would end or change the element; U+2028 and U+2029 are harmless in JSON.
    return text.replace("<", "\\u003c")


class _Once:
    """Keeps each value once and says where."""

    def __init__(self) -> None:
        self.kept: list[Any] = []
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        key = json.dumps(value, ensure_ascii=False)
        if key not in self._places:
            self._places[key] = len(self.kept)
            self.kept.append(value)
        return self._places[key]


def _exchange(exchange: dict[str, Any], bodies: _Once, headers: _Once) -> dict[str, Any]:
    slim = {
        key: value for key, value in exchange.items() if value not in (None, []) and key not in ("request", "response")
    }
    for key, short in (("request", "q"), ("response", "r")):
        message = exchange[key]
        if message["headers"]:
            slim[f"{short}h"] = headers.place(message["headers"])
        if message["body"]:
            slim[f"{short}b"] = bodies.place(message["body"])
    return slim


def _shown_events(events: list[dict[str, Any]], diagram: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Only the events that a row of the diagram opens; the others are in `report.json`."""
    kept: list[Any] = []
    rows = []
    for row in diagram["rows"]:
        if row["k"] in ("push", "note") and "e" in row:
            rows.append({**row, "e": len(kept)})
            kept.append(events[row["e"]])
        else:
            rows.append({key: value for key, value in row.items() if key != "e"})
    return kept, {"lanes": diagram["lanes"], "rows": rows}


def _stories(cases: list[dict[str, Any]]) -> list[Story]:
    grouped: dict[str, list[dict[str, Any]]] = {}
    for case in cases:
        grouped.setdefault(case["story"], []).append(case)
    stories = []
    for name, members in grouped.items():
        found = {case["platform"] for case in members}
        platforms = [key for key in _COLUMNS if key in found] + sorted(found - set(_COLUMNS))
        rows: dict[str, Row] = {}
        for case in members:
            short = short_name(case)
            row = rows.setdefault(short, Row(short, case["title"]))
            row.cells.setdefault(case["platform"], []).append(case)
        stories.append(Story(name, members, platforms, list(rows.values())))
    return stories


def short_name(case: dict[str, Any]) -> str:
    """The case within its story: `pin` for `lock/pin[macos]`."""
    name = str(case["id"]).removeprefix(f"{case['story']}/")
    return re.sub(r"\[[^\]]*\]", "", name).strip() or name


def variant(case: dict[str, Any]) -> str:
    """What stands in an id's brackets, in Apple's spelling: `macOS`, `macOS intel`; the platform where nothing does."""
    found = re.search(r"\[([^\]]*)\]", str(case["id"]))
    text = found.group(1) if found else str(case["platform"])
    first, dash, rest = text.partition("-")
    return f"{_PLATFORMS.get(first, first)} {rest}" if dash and first in _PLATFORMS else _PLATFORMS.get(text, text)


def _extent(document: Document) -> list[str]:
    """How much was done, for the top of the page."""
    devices = {(case["id"], name) for case in document.cases for name in case["devices"]}
    devices |= {
        (case["id"], exchange["device"])
        for case in document.cases
        for exchange in case["exchanges"]
        if exchange["device"]
    }
    exchanges = sum(len(case["exchanges"]) for case in document.cases)
    pushes = sum(
        1 for case in document.cases for event in case["events"] if event["kind"] in ("push.accepted", "push.refused")
    )
    return [plural(len(devices), "device"), plural(exchanges, "exchange"), plural(pushes, "push", "pushes")]


def _bar(numbers: dict[str, int]) -> list[tuple[str, float, float]]:
    """Grade, start and width of each part of the bar, in percent."""
    total, start, parts = sum(numbers.values()) or 1, 0.0, []
    for grade in (Grade.PASSED, Grade.TOLERATED, Grade.NOT_APPLICABLE, Grade.ERROR, Grade.FAILED):
        width = 100 * numbers.get(grade.value, 0) / total
        if width:
            parts.append((grade.value, round(start, 3), round(width, 3)))
        start += width
    return parts


def _counted(grade: Grade, number: int) -> str:
    return "errors" if grade is Grade.ERROR and number != 1 else grade.words


def _hash(source: str) -> str:
    return base64.b64encode(hashlib.sha256(source.encode("utf-8")).digest()).decode("ascii")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_PAGE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["link"] = case_link
    environment.filters["platform"] = lambda name: _PLATFORMS.get(name, name)
    environment.filters["grade"] = Grade
    environment.filters["short"] = short_name
    environment.filters["variant"] = variant
    return environment

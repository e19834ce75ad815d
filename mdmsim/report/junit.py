"""`junit.xml`: the form that continuous-integration servers read.

One `testsuite` per story, one `testcase` per case. Failed is `failure`, error is `error`, not applicable is
`skipped`; tolerated passes and says so in `system-out`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from mdmsim.printable import printable_lines
from mdmsim.report.document import Document, build
from mdmsim.report.model import Case, Run

#: What XML 1.0 cannot hold (section 2.2, production Char).
_FORBIDDEN = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(run: Run, cases: Sequence[Case]) -> str:
    """The text of `junit.xml`, line feed included."""
    return render_junit(build(run, cases))


def render_junit(document: Document) -> str:
    """The same from a document that is built already."""
    stories: dict[str, list[dict[str, Any]]] = {}
    for case in document.cases:
        stories.setdefault(case["story"], []).append(case)
    root = ElementTree.Element("testsuites", {"name": "mdmsim", **_numbers(document.cases)})
    for story, cases in stories.items():
        suite = ElementTree.SubElement(
            root,
            "testsuite",
            {"name": _xml(story), "timestamp": cases[0]["started"].partition(".")[0], **_numbers(cases)},
        )
        properties = ElementTree.SubElement(suite, "properties")
        for name in ("version", "seed", "target", "mode", "command"):
            ElementTree.SubElement(properties, "property", {"name": name, "value": _xml(str(document.run[name]))})
        for case in cases:
            _case(suite, case)
    ElementTree.indent(root, " ")
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _numbers(cases: Sequence[dict[str, Any]]) -> dict[str, str]:
    grades = [case["grade"] for case in cases]
    return {
        "tests": str(len(cases)),
        "failures": str(grades.count("failed")),
        "errors": str(grades.count("error")),
        "skipped": str(grades.count("not-applicable")),
        "time": _seconds(sum(case["duration_ms"] for case in cases)),
    }


def _case(suite: ElementTree.Element, case: dict[str, Any]) -> None:
    element = ElementTree.SubElement(
        suite,
        "testcase",
        {
            "classname": _xml(f"mdmsim.{case['story']}"),
            "name": _xml(case["id"]),
            "time": _seconds(case["duration_ms"]),
        },
    )
    file, _, line = (case["where"] or "").rpartition(":")
    if file and line.isdigit():
        element.attrib |= {"file": _xml(file), "line": line}
    grade = case["grade"]
    if grade in ("failed", "error"):
        outcome = ElementTree.SubElement(
            element,
            "failure" if grade == "failed" else "error",
            {
                "message": _xml(f"expected: {case['expected'] or 'not said'}; seen: {case['observed'] or 'nothing'}"),
                "type": grade,
            },
        )
        outcome.text = _xml("\n".join(_block(case)))
    elif grade == "not-applicable":
        ElementTree.SubElement(
            element, "skipped", {"message": _xml(case["observed"] or case["expected"] or "not applicable")}
        )
    said = ["tolerated", *_block(case)] if grade == "tolerated" else []
    if case["not_simulated"]:
        said.append(f"not simulated: {', '.join(case['not_simulated'])}")
    if said:
        ElementTree.SubElement(element, "system-out").text = _xml("\n".join(said))


def _block(case: dict[str, Any]) -> list[str]:
    lines = [case["title"]]
    for name, key in (("expected", "expected"), ("seen", "observed"), ("where", "where"), ("replay", "replay")):
        if case[key]:
            lines.append(f"{name}: {case[key]}")
    return lines


def _seconds(ms: int) -> str:
    return f"{ms / 1000:.3f}"


def _xml(value: str) -> str:
    return _FORBIDDEN.sub("\N{REPLACEMENT CHARACTER}", printable_lines(value))

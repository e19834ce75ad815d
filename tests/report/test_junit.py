"""`junit.xml`, as CI servers read it."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from mdmsim.report import Case, Grade, Run
from mdmsim.report.document import Document
from mdmsim.report.junit import junit_xml, render_junit


@pytest.fixture(scope="module")
def root(document: Document) -> ElementTree.Element:
    return ElementTree.fromstring(render_junit(document))


def case(root: ElementTree.Element, name: str) -> ElementTree.Element:
    return next(element for element in root.iter("testcase") if element.get("name") == name)


def test_each_story_is_a_suite(root: ElementTree.Element) -> None:
    assert [suite.get("name") for suite in root] == ["enrollment", "401-unenroll", "lock"]


def test_the_numbers_add_up(root: ElementTree.Element) -> None:
    for key, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert int(root.get(key, "")) == sum(int(suite.get(key, "")) for suite in root) == len(list(root.iter(tag)))


def test_a_failed_case_is_a_failure_that_says_how_to_replay_it(root: ElementTree.Element) -> None:
    failure = case(root, "lock/pin[macos-silicon]").find("failure")
    assert failure is not None
    assert (
        failure.get("message")
        == "expected: no request of mac-04 until the PIN is typed; seen: connect:Idle of mac-04 4.0 s after the lock"
    )
    assert "replay: mdmsim run scenarios/lock.yaml" in (failure.text or "")


def test_an_error_is_an_error(root: ElementTree.Element) -> None:
    assert case(root, "enrollment/cut-answer[ios]").find("error") is not None


def test_not_applicable_is_skipped_with_its_reason(root: ElementTree.Element) -> None:
    skipped = case(root, "lock/refused[tvos]").find("skipped")
    assert skipped is not None
    assert skipped.get("message") == "DeviceLock does not exist on tvOS"


def test_tolerated_passes_and_says_so(root: ElementTree.Element) -> None:
    element = case(root, "lock/notnow[ios]")
    assert [child.tag for child in element] == ["system-out"]
    assert (element.findtext("system-out") or "").startswith("tolerated")


def test_file_and_line_are_given(root: ElementTree.Element) -> None:
    element = case(root, "enrollment/scep[ios]")
    assert (element.get("file"), element.get("line")) == ("scenarios/enrollment.yaml", "12")


def test_what_xml_cannot_hold_and_controls_are_shown_as_escapes() -> None:
    run = Run(version="1", seed=1, target="t", started_ms=0, ended_ms=0, mode="live", command="c")
    odd = Case(
        id="a/\x00b",
        story="a\x1b",
        title="\ud800",
        platform="ios",
        grade=Grade.FAILED,
        expected="<&>",
        observed="\x08\x9b\u202e\uffff",
    )
    (element,) = ElementTree.fromstring(junit_xml(run, [odd])).iter("testcase")
    assert element.get("name") == "a/\\x00b"
    failure = element.find("failure")
    assert failure is not None
    # Consoles of CI servers show it: C1 controls, which XML can hold, must not take effect there.
    assert failure.get("message") == "expected: <&>; seen: \\x08\\x9b\\u202e\N{REPLACEMENT CHARACTER}"

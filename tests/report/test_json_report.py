"""`report.json`: the documented layout, the same text for the same seed, no secret in it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mdmsim.report import Case, Run
from mdmsim.report.document import Document
from mdmsim.report.html import render_html
from mdmsim.report.json_report import render_json, report_json
from mdmsim.report.junit import render_junit
from tests.report.synthetic import demo_events, demo_run, secrets_of

DOCS = Path(__file__).parents[2] / "docs" / "report.md"


@pytest.fixture(scope="module")
def report(document: Document) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(render_json(document))
    return loaded


def documented(heading: str) -> set[str]:
    """The keys in the first column of the table below a line of `docs/report.md`."""
    text = DOCS.read_text(encoding="utf-8").split(f"\n{heading}", 1)[1]
    table = text.split("\n\n", 2)[1]
    rows = [line.split("|")[1] for line in table.splitlines()[2:]]
    return {key for row in rows for key in re.findall(r"`([a-z_]+)(?:\[\])?`", row)}


def test_the_top_holds_schema_run_and_cases(report: dict[str, Any]) -> None:
    assert list(report) == ["schema", "run", "cases"]
    assert report["schema"] == 1


@pytest.mark.parametrize("heading", ["`run`:", "`cases[]`,", "`exchanges[]`,"])
def test_every_key_is_documented_and_every_documented_key_is_there(report: dict[str, Any], heading: str) -> None:
    there = {
        "`run`:": report["run"],
        "`cases[]`,": report["cases"][0],
        "`exchanges[]`,": report["cases"][0]["exchanges"][0],
    }
    assert set(there[heading]) == documented(heading)


def test_a_run_with_a_failure_has_not_passed(report: dict[str, Any]) -> None:
    assert report["run"]["passed"] is False
    assert report["run"]["counts"] == {"failed": 1, "error": 1, "tolerated": 1, "passed": 26, "not-applicable": 1}


def test_a_run_without_a_case_has_not_passed(demo: tuple[Run, list[Case]]) -> None:
    assert json.loads(report_json(demo[0], []))["run"]["passed"] is False


def test_a_failed_case_has_expectation_observation_place_proof_and_replay(report: dict[str, Any]) -> None:
    case = next(case for case in report["cases"] if case["grade"] == "failed")
    assert case["expected"] == "no request of mac-04 until the PIN is typed"
    assert case["exchanges"][case["proof"]]["label"] == "connect:Idle"
    assert case["where"] and case["replay"]


def test_the_same_seed_gives_the_same_text() -> None:
    # Each run makes keys of its own: certificates, signatures and thumbprints differ, the report must not.
    assert report_json(*demo_run(seed=11)) == report_json(*demo_run(seed=11))


def test_another_seed_gives_another_text() -> None:
    assert report_json(*demo_run(seed=11)) != report_json(*demo_run(seed=12))


@pytest.mark.parametrize("render", [render_json, render_html, render_junit])
def test_no_secret_is_in_any_file(document: Document, render: Any) -> None:
    _, maker = demo_events()
    text = render(document)
    flat = re.sub(r"(?:\\[nt]|\s)+", "", text)
    found = [secret for secret in secrets_of(maker) if secret in text or secret in flat]
    assert found == []


def test_a_pin_is_hidden_where_it_was_sent(report: dict[str, Any]) -> None:
    assert "836471" not in json.dumps(report)


def test_no_thumbprint_is_in_the_report(report: dict[str, Any]) -> None:
    _, maker = demo_events()
    text = json.dumps(report)
    assert not [phone.name for phone in maker._phones.values() if phone.identity.fingerprint in text]


def test_an_identity_is_named_by_subject_and_alias(report: dict[str, Any]) -> None:
    identities = {exchange["identity"] for exchange in report["cases"][0]["exchanges"]}
    assert identities == {None, "CN=iphone-01 identity (certificate-2)"}

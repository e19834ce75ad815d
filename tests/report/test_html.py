"""The page as text; what it does in a browser is in `test_browser.py`."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from typing import Any

import pytest

from mdmsim.report import Case, Grade, Run
from mdmsim.report.document import Document
from mdmsim.report.html import (
    PLAIN_CAP,
    case_link,
    island,
    pack,
    render_html,
    report_html,
    short_name,
    variant,
    verdict,
)

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>&\"'"


@pytest.fixture(scope="module")
def page(document: Document) -> str:
    return render_html(document)


def data_of(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="[a-z/]+" id="data"( data-packed)?>(.*?)</script>', page, re.DOTALL)
    assert found
    text = zlib.decompress(base64.b64decode(found.group(2))).decode() if found.group(1) else found.group(2)
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def test_the_page_asks_for_nothing_outside_itself(page: str) -> None:
    assert not re.findall(r"""<(?:link|script|img|iframe|source)[^>]*(?:src|href)=["'](?!data:)""", page)
    assert "@import" not in page
    assert "url(" not in page


def test_its_policy_allows_its_own_style_and_script_only(page: str) -> None:
    for tag in ("style", "script"):
        source = re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[-1]
        assert f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'" in page
    assert "default-src 'none'" in page


def test_sixty_busy_cases_stay_under_two_megabytes(busy: tuple[Run, list[Case]]) -> None:
    run, cases = busy
    assert (len(cases), sum(len(case.exchanges) for case in cases) // len(cases)) == (60, 20)
    assert len(report_html(run, cases).encode()) < 2_000_000


def test_large_data_is_packed_and_the_same(document: Document) -> None:
    data = island(document)
    padded = data[:-1] + " " * PLAIN_CAP + "}"
    packed, is_packed = pack(padded)
    assert is_packed
    assert zlib.decompress(base64.b64decode(packed)).decode() == padded
    assert pack(data) == (data, False)


def test_each_body_is_stored_once(page: str) -> None:
    bodies = [json.dumps(body) for body in data_of(page)["bodies"]]
    assert len(bodies) == len(set(bodies))


def test_hostile_text_stays_text() -> None:
    run = Run(version="1", seed=HOSTILE, target=HOSTILE, started_ms=0, ended_ms=0, mode="live", command=HOSTILE)
    case = Case(
        id=f"a/{HOSTILE}",
        story=HOSTILE,
        title=HOSTILE,
        platform=HOSTILE,
        grade=Grade.FAILED,
        expected=HOSTILE,
        observed=HOSTILE,
        where=HOSTILE,
        replay=HOSTILE,
    )
    text = report_html(run, [case])
    assert "<script>alert" not in text
    assert "<img src=x" not in text
    assert text.count("</script>") == 2
    assert data_of(text)["cases"][0]["title"] == HOSTILE


def test_the_verdict_counts_the_worst_first() -> None:
    assert (
        verdict({"passed": 31, "failed": 2, "not-applicable": 4, "error": 2})
        == "2 failed, 2 errors, 31 passed, 4 not applicable"
    )
    assert verdict({}) == "no case ran"


def test_a_case_without_events_has_a_page_too() -> None:
    run = Run(version="1", seed=1, target="t", started_ms=0, ended_ms=0, mode="in-process", command="c")
    assert "in process, virtual time" in report_html(run, [Case(id="a", story="a", title="t", platform="")])


def test_no_case_at_all_has_a_page_too() -> None:
    run = Run(version="1", seed=1, target="t", started_ms=0, ended_ms=0, mode="live", command="c")
    assert "no case ran" in report_html(run, [])


@pytest.mark.parametrize(
    ("case_id", "short", "platform"),
    [
        ("lock/pin[macos]", "pin", "macOS"),
        ("lock/pin[macos-intel]", "pin", "macOS intel"),
        ("lock/pin", "pin", "iOS"),
        ("lock", "lock", "iOS"),
    ],
)
def test_a_case_is_named_within_its_story(case_id: str, short: str, platform: str) -> None:
    case = {"id": case_id, "story": "lock", "platform": "ios"}
    assert (short_name(case), variant(case)) == (short, platform)


def test_a_permalink_counts_exchanges_from_one() -> None:
    assert case_link("lock/pin[macos] (2)", 11) == "#/lock/pin[macos]%20(2)?x=12"

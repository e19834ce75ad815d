"""transcript.har: the run in a format that other people's tools read."""

from __future__ import annotations

import json

from mdmsim.events import Event
from mdmsim.report import Case, Run
from mdmsim.report.diagram import draw
from mdmsim.report.document import build
from mdmsim.report.har import render_har
from tests.report.synthetic import demo_events, secrets_of


def test_every_exchange_is_an_entry_of_its_case(demo: tuple[Run, list[Case]]) -> None:
    log = json.loads(render_har(build(*demo)))["log"]
    _, cases = demo
    assert log["version"] == "1.2"
    assert [page["id"] for page in log["pages"]] == [case.id for case in cases]
    assert len(log["entries"]) == sum(len(case.exchanges) for case in cases)
    assert {entry["pageref"] for entry in log["entries"]} <= {case.id for case in cases}


def test_an_entry_has_what_the_format_asks_for(demo: tuple[Run, list[Case]]) -> None:
    for entry in json.loads(render_har(build(*demo)))["log"]["entries"]:
        assert {"startedDateTime", "time", "request", "response", "cache", "timings"} <= entry.keys()
        assert {
            "method",
            "url",
            "httpVersion",
            "cookies",
            "headers",
            "queryString",
            "headersSize",
            "bodySize",
        } <= entry["request"].keys()
        assert {"status", "statusText", "content", "redirectURL", "headersSize", "bodySize"} <= entry["response"].keys()
        assert entry["timings"].keys() >= {"send", "wait", "receive"}


def test_no_secret_is_in_it(demo: tuple[Run, list[Case]]) -> None:
    _, maker = demo_events()
    written = render_har(build(*demo))
    assert [secret for secret in secrets_of(maker) if secret in written] == []


def test_what_a_server_asks_of_the_device_enrollment_service_has_a_lane() -> None:
    events = [
        Event(kind="dep.portal", at_ms=1, source="dep", seq=1, data={"action": "order"}),
        Event(kind="dep.fetch", at_ms=2, source="dep", seq=2, data={"server": "s", "devices": 1}),
        Event(kind="dep.refused", at_ms=3, source="dep", seq=3, data={"status": 403, "reason": "ACCESS_DENIED"}),
    ]
    case = Case(id="a/b[ios]", story="a", title="t", platform="ios", events=events)
    diagram = draw(case, [], {})
    assert [lane["label"] for lane in diagram.lanes] == ["server", "DEP"]
    assert [row["label"] for row in diagram.rows] == ["portal: order", "fetch devices", "refused: 403 ACCESS_DENIED"]


def test_a_sync_that_finds_nothing_new_is_drawn_once_however_many_days_pass() -> None:
    events = []
    for day in range(20):
        for number, (kind, data) in enumerate(
            (
                ("dep.refused", {"status": 401, "reason": "UNAUTHORIZED"}),
                ("dep.session", {}),
                ("dep.sync", {"operations": 0}),
            )
        ):
            events.append(Event(kind=kind, at_ms=day, source="dep", seq=3 * day + number + 1, data=data))
    events.append(Event(kind="dep.sync", at_ms=99, source="dep", seq=99, data={"operations": 2}))
    diagram = draw(Case(id="a/b[ios]", story="a", title="t", platform="ios", events=events), [], {})
    labels = [row["label"] for row in diagram.rows]
    assert labels == ["refused: 401 UNAUTHORIZED", "session", "sync devices", "sync devices"]

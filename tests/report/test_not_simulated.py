"""What is not simulated is said in every form of the report, whatever the verdict."""

from __future__ import annotations

import io
import json
from dataclasses import replace

from mdmsim.events import Event
from mdmsim.report import Case, Run, Terminal
from mdmsim.report.document import build
from mdmsim.report.html import render_html
from mdmsim.report.json_report import render_json
from mdmsim.report.junit import render_junit


def asked_too_much(case: Case) -> Case:
    data = {"command_uuid": "c-1", "request_type": "InstallApplication", "status": "Error", "error_chain": []}
    answered = Event(
        kind="device.command-answered",
        at_ms=case.ended_ms,
        source="device",
        device=next(iter(case.devices)),
        data=data | {"simulated": False},
    )
    return replace(case, events=[*case.events, answered])


def test_every_form_of_the_report_names_what_is_not_simulated(demo: tuple[Run, list[Case]]) -> None:
    run, cases = demo
    passed = next(case for case in cases if case.ok and case.devices)
    document = build(run, [asked_too_much(passed)])
    assert json.loads(render_json(document))["cases"][0]["not_simulated"] == ["InstallApplication"]
    assert "not simulated: InstallApplication" in render_junit(document)
    assert '"not_simulated":["InstallApplication"]' in render_html(document)


def test_a_payload_that_was_left_out_is_named_like_a_command(demo: tuple[Run, list[Case]]) -> None:
    run, cases = demo
    left_out = Event(
        kind="device.not-simulated",
        at_ms=1,
        source="device",
        device="iphone-01",
        data={"what": "com.apple.security.acme (org.example.acme)", "profile": "org.example"},
    )
    case = replace(cases[0], events=[*cases[0].events, left_out])
    said = json.loads(render_json(build(run, [case])))["cases"][0]["not_simulated"]
    assert said == ["com.apple.security.acme (org.example.acme)"]


def test_the_last_lines_name_what_is_not_simulated(demo: tuple[Run, list[Case]]) -> None:
    run, cases = demo
    stream = io.StringIO()
    Terminal(stream).finish(run, [asked_too_much(cases[0])])
    assert (
        "  not simulated: InstallApplication (mdmsim schema coverage lists what is)" in stream.getvalue().splitlines()
    )


def test_a_device_that_was_asked_too_much_says_so_in_its_line() -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, every_case=True)
    started = {
        "case": "a/b[ios]",
        "title": "t",
        "platform": "ios",
        "story": "a",
        "where": "f:1",
        "devices": {"iphone-01": "x"},
    }
    answered = {"command_uuid": "c", "request_type": "InstallApplication", "status": "Error", "simulated": False}
    for kind, device, data in (
        ("case.started", None, started),
        ("device.command-answered", "iphone-01", answered),
        ("case.finished", None, {"case": "a/b[ios]", "grade": "passed"}),
    ):
        terminal(Event(kind=kind, at_ms=1, source="scenario", device=device, data=data))
    assert "InstallApplication not simulated" in stream.getvalue()

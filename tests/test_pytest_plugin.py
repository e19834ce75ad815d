"""The pytest plugin, in pytest runs of its own: scenario files as tests, and fixtures for Python."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import walk_packages

import pytest

import mdmsim.scenario

pytest_plugins = ["pytester"]

REPOSITORY = Path(__file__).parents[1]

STORY = """\
scenario: test/story
title: A phone enrols
platforms: [ios, macos]
devices:
  device: {}
steps:
  - enroll: {device: device}
  - expect_server: {device: device, status: enrolled}
"""

BAD = STORY.replace("status: enrolled}", "status: removed, within: 1s}").replace("test/story", "test/bad")

#: Where mdmsim is installed its entry point loads the plugin; in a bare checkout it is named.
LOADED = (
    ()
    if any(e.value == "mdmsim.pytest_plugin" for e in entry_points(group="pytest11"))
    else ("-p", "mdmsim.pytest_plugin")
)


@pytest.fixture(autouse=True, scope="module")
def imported() -> None:
    """What inner runs in this process use is imported before them.

    pytester forgets what they import themselves. A second copy of PyYAML's classes beside its compiled half reads every
    file as empty, and a second copy of a step is a step too many.
    """
    for module in walk_packages(mdmsim.scenario.__path__, "mdmsim.scenario."):
        import_module(module.name)


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inner runs in processes of their own find this checkout."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH")))))


@pytest.fixture
def story(pytester: pytest.Pytester) -> Path:
    folder = pytester.mkdir("scenarios")
    (folder / "story.yaml").write_text(STORY)
    return folder


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    return pytester.runpytest_inprocess(*LOADED, "-p", "no:cacheprovider", "-p", "no:randomly", *arguments)


def test_a_folder_of_scenarios_is_collected_case_by_case(pytester: pytest.Pytester, story: Path) -> None:
    result = run(pytester, "scenarios", "-v")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(
        ["scenarios/story.yaml::test/story[[]ios[]] PASSED*", "scenarios/story.yaml::test/story[[]macos[]] PASSED*"]
    )


def test_one_case_can_be_chosen_by_its_id(pytester: pytest.Pytester, story: Path) -> None:
    run(pytester, "scenarios/story.yaml::test/story[macos]").assert_outcomes(passed=1)


def test_cases_can_be_chosen_by_platform_and_marker(pytester: pytest.Pytester, story: Path) -> None:
    run(pytester, "scenarios", "-k", "macos").assert_outcomes(passed=1, deselected=1)
    run(pytester, "scenarios", "-m", "not mdmsim_scenario").assert_outcomes(deselected=2)


def test_a_failed_case_is_told_in_six_lines(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", bad=BAD.replace("[ios, macos]", "[ios]"))
    result = run(pytester, "bad.yaml", "--mdmsim-seed", "41")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        [
            "✗ test/bad[[]ios[]]  A phone enrols",
            "  expected  the server's record of iphone-01 has status removed",
            "  seen      status enrolled",
            "  where     iphone-01, step *, bad.yaml:8",
            "  exchange  checkin:TokenUpdate → 200 (PUT https://*)",
            "  replay    mdmsim run bad.yaml --seed 41",
        ],
        consecutive=True,
    )


def test_a_passed_case_prints_nothing(pytester: pytest.Pytester, story: Path) -> None:
    result = run(pytester, "scenarios", "-q", "-s")
    assert "iphone" not in result.stdout.str()
    assert result.stderr.str() == ""


def test_a_mistake_in_a_file_is_told_with_its_line(pytester: pytest.Pytester, story: Path) -> None:
    (story / "typo.yaml").write_text(STORY.replace("test/story", "test/typo").replace("enroll:", "enrol:"))
    result = run(pytester, "scenarios")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['scenarios/typo.yaml:7: there is no step "enrol". Did you mean "enroll"?'])


def test_other_peoples_yaml_is_left_alone(pytester: pytest.Pytester, story: Path) -> None:
    (story / "values.yaml").write_text("replicas: 3\n")
    pytester.makefile(".yaml", compose="scenario: none of ours\n")
    run(pytester).assert_outcomes(passed=2)


def test_a_file_named_on_the_command_line_is_read_whatever_it_is(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", values="replicas: 3\n")
    result = run(pytester, "values.yaml")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(['*values.yaml:1: scenario has no "replicas".*'])


def test_a_case_that_needs_a_live_world_is_skipped_in_process(pytester: pytest.Pytester) -> None:
    pytester.makefile(".yaml", live=STORY.replace("platforms:", "needs: [live]\nplatforms:"))
    run(pytester, "live.yaml").assert_outcomes(skipped=2)


def test_a_report_is_written_where_it_is_asked_for(pytester: pytest.Pytester, story: Path) -> None:
    result = run(pytester, "scenarios", "--mdmsim-report", "out")
    result.assert_outcomes(passed=2)
    written = json.loads((pytester.path / "out" / "report.json").read_text())
    assert [case["id"] for case in written["cases"]] == ["test/story[ios]", "test/story[macos]"]
    assert sorted(path.name for path in (pytester.path / "out").iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
        "transcript.har",
    ]


def test_a_report_of_several_workers_is_one_report(pytester: pytest.Pytester, story: Path) -> None:
    pytest.importorskip("xdist")
    result = pytester.runpytest_subprocess(*LOADED, "-n", "2", "scenarios", "--mdmsim-report", "out")
    result.assert_outcomes(passed=2)
    written = json.loads((pytester.path / "out" / "report.json").read_text())
    assert [case["id"] for case in written["cases"]] == ["test/story[ios]", "test/story[macos]"]
    assert sorted(path.name for path in (pytester.path / "out").iterdir()) == [
        "junit.xml",
        "report.html",
        "report.json",
        "transcript.har",
    ]


def test_a_report_that_cannot_be_written_is_told_and_fails_the_run(pytester: pytest.Pytester, story: Path) -> None:
    (pytester.path / "out").write_text("a file")
    result = run(pytester, "scenarios", "--mdmsim-report", "out")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stdout.fnmatch_lines(["*cannot be written to*Name a directory."])


PAGE = REPOSITORY / "docs" / "writing-a-scenario.md"

#: The page's own example, and a test that fails.
FIXTURES = (
    re.findall(r"^```python\n(import pytest.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)[0]
    + """

def test_it_fails_where_it_is_written(device):
    device.enroll(outcome="failed")
"""
)


def test_fixtures_give_a_world_a_device_and_its_server(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(FIXTURES)
    result = run(pytester)
    result.assert_outcomes(passed=2, failed=1)
    result.stdout.fnmatch_lines(
        [
            '>       device.enroll(outcome="failed")',
            "E       *StepFailed: expected iphone-01 ends up failed; seen: enrolled",
            "",
            "*test_fixtures*.py:*: StepFailed",
        ]
    )


def test_a_test_that_needs_what_is_not_simulated_is_skipped_with_the_reason(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        def test_an_app_is_installed(device, server):
            device.enroll()
            server.queue(device, "InstallApplication", iTunesStoreID=1).expect()
        """
    )
    result = run(pytester, "-rs")
    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*InstallApplication is not simulated (iphone-01; see mdmsim schema coverage)."])


#: What somebody writes who tests a push client of theirs, without any world of ours.
PUSHES = """
import ssl

import httpx
import pytest

TOKENS = []


@pytest.fixture
def client(fake_apns):
    context = ssl.create_default_context(cafile=fake_apns.ca_file)
    context.load_cert_chain(fake_apns.certificate().file)
    with httpx.Client(http2=True, verify=context, base_url=fake_apns.url) as client:
        yield client


@pytest.mark.parametrize("round", [1, 2])
def test_every_test_has_a_fake_of_its_own(fake_apns, client, round):
    phone = fake_apns.device("phone")
    client.post(f"/3/device/{phone.token}", content=b"{}")
    TOKENS.append(phone.token)
    assert (len(fake_apns.pushes), len(set(TOKENS))) == (1, round)


def test_a_world_may_stand_beside_it(fake_apns, client, device, server):
    device.enroll()
    phone = fake_apns.device("phone")
    client.post(f"/3/device/{phone.token}", content=b"{}")
    server.queue(device, "SecurityInfo").expect()
    assert len(phone.pushes) == 1


def test_it_fails_where_it_is_written(fake_apns):
    fake_apns.device("phone").wait_for_push(timeout=0.01)
"""


def test_the_fixture_for_pushes_is_a_fresh_fake_in_each_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(PUSHES)
    result = pytester.runpytest_subprocess(*LOADED, "-p", "no:cacheprovider", "-p", "no:randomly")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["E *TimeoutError: phone heard no push within 0.01 s; APNs was sent nothing"])


def test_options_of_load_tests_stay_free(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_addoption(parser):\n    parser.addoption('--host', '-H', default='kept free')\n")
    pytester.makepyfile("def test_it(request):\n    assert request.config.getoption('--host') == 'kept free'\n")
    result = pytester.runpytest_subprocess(*LOADED, "-p", "no:locust", "-p", "no:pytest_locust")
    result.assert_outcomes(passed=1)


def test_loading_the_plugin_imports_nothing_heavy() -> None:
    code = (
        "import sys, mdmsim.pytest_plugin\n"
        "heavy = {'trio', 'anyio', 'cryptography', 'yaml', 'msgspec', 'faker', 'starlette', 'httpx', 'rich'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    told = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"

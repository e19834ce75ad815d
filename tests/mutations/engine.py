"""Planted defects in the scenario engine and its verdicts: what judges must be judged, too."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

_STEPS = "mdmsim.scenario.steps"
_TESTS = "tests/scenario"
_NEVER = "        if False:\n"


def _row(step: str, key: str) -> str:
    """The test of one row of the table of expectations."""
    test = "test_an_expectation_holds_where_it_is_so_and_fails_for_its_reason_where_not"
    return f"{_TESTS}/test_expectations.py::{test}[{step}-{key}]"


def _load(says: str) -> str:
    return f"{_TESTS}/test_load.py::test_a_wrong_step_is_told_with_file_line_and_what_is_allowed"


_DEFECTS: tuple[tuple[str, str, str, str, str], ...] = (
    # expect_command and query
    (
        "the server's record of a command is never compared",
        f"{_STEPS}.commands",
        "    if on_record != wanted.status:\n",
        "    if False:\n",
        f"{_TESTS}/test_record.py::test_a_record_that_differs_fails_the_case",
    ),
    (
        "a command may be answered with any status",
        f"{_STEPS}.commands",
        "    if said != wanted.status:\n",
        "    if False:\n",
        _row("expect_command", "status"),
    ),
    (
        "the keys of an answer are not compared",
        f"{_STEPS}.commands",
        "    if problem is not None:\n",
        "    if False:\n",
        _row("expect_command", "response"),
    ),
    ("error matches any error", f"{_STEPS}.shared", "            return False\n", "            return True\n", _row("expect_command", "error")),
    ("error is not compared at all", f"{_STEPS}.commands", "    if wanted.error and not", "    if False and not", _row("query", "error")),
    ("served is not compared", f"{_STEPS}.commands", "        if number is not None and number != count:\n", "        if name != 'served' and number is not None and number != count:\n", _row("expect_command", "served")),
    ("not_now is not compared", f"{_STEPS}.commands", "        if number is not None and number != count:\n", "        if name == 'served' and number is not None and number != count:\n", _row("expect_command", "not_now")),
    ("query forgets the status it was told", f"{_STEPS}.commands", "            status=arguments.status,\n", "", _row("query", "status")),
    ("query forgets the response it was told", f"{_STEPS}.commands", "            response=arguments.response,\n", "", _row("query", "response")),
    ("query forgets the error it was told", f"{_STEPS}.commands", "            error=arguments.error,\n", "", _row("query", "error")),
    # events
    ("times of an event is not compared", f"{_STEPS}.events", "            if number != arguments.times:\n", "            if False:\n", _row("expect_event", "times")),
    ("times of an event is only a minimum", f"{_STEPS}.events", "            if number != arguments.times:\n", "            if number < arguments.times:\n", _row("expect_event", "times: more")),
    ("the data of an event is not compared", f"{_STEPS}.events", " and mismatch(data, event.data) is None", "", _row("expect_event", "data")),
    ("an event of any device will do", f"{_STEPS}.events", "event.kind == kind and run.concerns(event, device_id) and", "event.kind == kind and", _row("expect_event", "device")),
    ("an event of any kind will do", f"{_STEPS}.events", "    return event.kind == kind and run.concerns(event, device_id) and mismatch", "    return run.concerns(event, device_id) and mismatch", _row("expect_event", "kind")),
    ("events count from the beginning always", f"{_STEPS}.events", '    return run.begin if since == "start" else run.mark\n', "    return run.begin\n", _row("expect_event", "since")),
    ("events count from the last action always", f"{_STEPS}.events", '    return run.begin if since == "start" else run.mark\n', "    return run.mark\n", _row("expect_no_event", "since")),
    ("an event that must not happen may", f"{_STEPS}.events", "    if came is not None:\n", "    if False:\n", _row("expect_no_event", "kind")),
    ("an event that must not happen is not waited for", f"{_STEPS}.events", "        within_ms=arguments.for_.ms,\n", "        within_ms=0,\n", _row("expect_no_event", "for")),
    # requests
    ("times of a request is only a minimum", f"{_STEPS}.requests", "number == arguments.times if", "number >= arguments.times if", _row("expect_request", "times: more")),
    ("times of a request is not compared", f"{_STEPS}.requests", "number == arguments.times if", "number >= 1 if", _row("expect_request", "times")),
    ("at_most is not compared", f"{_STEPS}.requests", "as_wanted = number <= arguments.at_most", "as_wanted = True", _row("expect_request", "at_most")),
    ("the status of a request is not compared", f"{_STEPS}.requests", "    return status is None or status_of(event) == status\n", "    return True\n", _row("expect_request", "status")),
    ("a request under any label will do", f"{_STEPS}.requests", " or not fnmatchcase(label_of(event), label)", "", _row("expect_request", "label")),
    ("a request of any device will do", f"{_STEPS}.requests", ' or event.device != device_id or', " or", _row("expect_request", "device")),
    ("a device that must be silent may talk", f"{_STEPS}.requests", "    if came is not None:\n", "    if False:\n", _row("expect_no_request", "label")),
    ("silence is not waited for", f"{_STEPS}.requests", "        within_ms=arguments.for_.ms,\n", "        within_ms=0,\n", _row("expect_no_request", "for")),
    # the device, the server's record, Apple
    ("what a device shows is not compared", f"{_STEPS}.devices", "if seen[name] != value}", "if False}", _row("expect_device", "enrolled")),
    ("the profiles of a device are not compared", f"{_STEPS}.devices", "for name, value in wanted.items() if seen", 'for name, value in wanted.items() if name != "profiles" and seen', _row("expect_device", "profiles")),
    ("the status of an enrollment is not compared", f"{_STEPS}.servers", "            if arguments.status is not None and status != arguments.status:\n", "            if False:\n", _row("expect_server", "status")),
    ("the record of an enrollment is not compared", f"{_STEPS}.servers", "            if not arguments.record:\n", "            if True:\n", _row("expect_server", "record")),
    ("a record that is not there is as good as any", f"{_STEPS}.servers", 'if record is not None else "the server has no record of it"', "if record is not None else None", _row("expect_server", "record: none")),
    ("the portal's status is not compared", f"{_STEPS}.apple", "                if status != arguments.status:\n", "                if False:\n", _row("expect_dep", "status")),
    ("the server's record of a device at Apple is not compared", f"{_STEPS}.apple", "            if not arguments.record:\n", "            if True:\n", _row("expect_dep", "record")),
    ("a device never ordered is known at Apple", f"{_STEPS}.apple", 'if record is not None else "the server knows no such device"', "if record is not None else None", _row("expect_dep", "record: none")),
    ("what must be the same may have changed", f"{_STEPS}.secrets", "for name in arguments.same if name in now and now[name] != old.get(name)]", "for name in () if name]", _row("expect_told", "same")),
    ("what must be new may be the same", f"{_STEPS}.secrets", "for name in arguments.new if name in now and now[name] == old.get(name)]", "for name in () if name]", _row("expect_told", "new")),
    ("what was never told counts as changed", f"{_STEPS}.secrets", "for name in arguments.new if name in now and name not in old]", "for name in () if name]", _row("expect_told", "new: nothing before")),
    ("what was never told counts as the same", f"{_STEPS}.secrets", "for name in (*arguments.same, *arguments.new) if name not in now]", "for name in () if name]", _row("expect_told", "same: nothing told")),
    # pushes
    ("pending pushes are not counted", f"{_STEPS}.pushes", "None if len(pending) == arguments.count else", "None if True else", _row("expect_pending_pushes", "count")),
    ("pending pushes of any device count", f"{_STEPS}.pushes", "if token is not None and p.token == token.token]", "if token is not None]", _row("expect_pending_pushes", "device")),
    ("nothing queued counts as all pushed", f"{_STEPS}.pushes", "        if not entries:\n", "        if False:\n", _row("expect_pushed", "device")),
    ("a push that never came is good enough", f"{_STEPS}.pushes", "            if answer.accepted is None:\n", "            if answer.accepted is None:\n                continue\n            if False:\n", _row("expect_pushed", "within")),
    ("a push may be as late as it likes", f"{_STEPS}.pushes", "arguments.late is not None and answer.accepted.late_ms > arguments.late.ms", "False", _row("expect_pushed", "late")),
    ("APNs may answer a push with anything", f"{_STEPS}.pushes", "        if status != arguments.status:\n", _NEVER, _row("push", "status")),
    # people
    ("an enrollment may end as it likes", f"{_STEPS}.enrolling", "        if outcome != arguments.outcome:\n", _NEVER, _row("enroll", "outcome")),
    ("any error chain will do for a failed enrollment", f"{_STEPS}.enrolling", "        if not has_codes(chain, arguments.error):\n", _NEVER, _row("enroll", "error")),
    ("a profile installed by hand may fail as it likes", f"{_STEPS}.profiles", "        if not has_codes(chain, arguments.error):\n", _NEVER, _row("install_profile", "error")),
    ("a device may pair or not", f"{_STEPS}.setup", "        if not seen.startswith(arguments.outcome):\n", _NEVER, _row("pair", "outcome")),
    ("a device may open or stay locked", f"{_STEPS}.people", "        if not seen.startswith(outcome):\n", _NEVER, _row("unlock", "outcome: opens")),
    ("a profile may be removable or not", f"{_STEPS}.profiles", "            if not seen.startswith(arguments.outcome):\n", "            if False:\n", _row("remove_profile", "outcome")),
    ("Setup Assistant may end as it likes", f"{_STEPS}.setup", "        if outcome != arguments.outcome or arguments.why not in why:\n", _NEVER, _row("walk_setup", "outcome")),
    ("Setup Assistant may say what it likes", f"{_STEPS}.setup", " or arguments.why not in why:", ":", _row("walk_setup", "why")),
    ("the code of a refusal is not compared", f"{_STEPS}.setup", "        if arguments.code is not None and code != arguments.code:\n", _NEVER, _row("walk_setup", "code")),
    # steps that hold others
    ("a fault that hit no request passes", f"{_STEPS}.every_request", "    if not struck:\n", "    if not struck:\n        return Outcome('', '')\n    if False:\n", f"{_TESTS}/test_every_request.py::test_a_fault_that_hit_no_request_fails_the_case"),
    ("a fault that hit another request passes", f"{_STEPS}.every_request", "    if struck[0] != label:\n", "    if False:\n", f"{_TESTS}/test_every_request.py::test_a_fault_that_hit_another_request_than_the_recorded_one_fails_the_case"),
    ("an empty recording passes", f"{_STEPS}.every_request", "    if not recorded:\n", "    if False:\n", _row("for_each_request", "requests")),
    ("what must be so after a fault is not played", f"{_STEPS}.every_request", "    for nested in arguments.then:\n", "    for nested in ():\n", _row("for_each_request", "then")),
    ("repeat plays its steps once", f"{_STEPS}.control", "    for _ in range(arguments.times):\n", "    for _ in range(1):\n", f"{_TESTS}/test_steps.py::test_a_story_goes_as_told"),
    ("only_on plays its steps nowhere", f"{_STEPS}.control", "    if not any(is_of_platform(run.case.platform, word) for word in arguments.platforms):\n", "    if True:\n", _row("only_on", "steps")),
    ("only_on plays its steps everywhere", f"{_STEPS}.control", "    if not any(is_of_platform(run.case.platform, word) for word in arguments.platforms):\n", "    if False:\n", f"{_TESTS}/test_steps.py::test_a_story_goes_as_told"),
    # comparing
    ("contains holds always", "mdmsim.scenario.match", '        return None if found else f"{at} has no {shown(wanted)}', '        return None if True else f"{at} has no {shown(wanted)}', f"{_TESTS}/test_match.py"),
    ("lacks holds always", "mdmsim.scenario.match", '    return f"{at} has {shown(wanted)}" if found else None', "    return None", f"{_TESTS}/test_match.py"),
    ("any length will do", "mdmsim.scenario.match", "None if len(observed) == wanted else", "None if True else", f"{_TESTS}/test_match.py"),
    ("lists may hold more", "mdmsim.scenario.match", "    if len(expected) != len(observed):\n", "    if len(expected) > len(observed):\n", f"{_TESTS}/test_match.py"),
    ("1 is as good as true", "mdmsim.scenario.match", "        same = expected is observed\n", "        same = bool(expected == observed)\n", f"{_TESTS}/test_match.py"),
    ("a key that is missing is as good as any value", "mdmsim.scenario.match", '        return f"there is no {path}"\n', "        return None\n", f"{_TESTS}/test_match.py"),
    ("a key that must be absent may be there", "mdmsim.scenario.match", "            if there and wanted\n", "            if False\n", f"{_TESTS}/test_match.py"),
    # loading
    ("unknown keys of an event are let through", f"{_STEPS}.events", "    check_keys(data, shape, kind, (\"data\",))\n", "", _load("data")),
    ("unknown keys under lacks are let through", "mdmsim.scenario.match", '    if word in ("contains", "lacks"):\n', '    if word == "contains":\n', _load("lacks")),
    ("a kind of event about no device is let through", f"{_STEPS}.events", "    if known.subject is None:\n", "    if False:\n", _load("kind")),
    ("a device that shows nothing is let through", f"{_STEPS}.devices", "        if not _wanted(self):\n", _NEVER, _load("device")),
    ("a record without a key is let through", f"{_STEPS}.servers", "        if self.status is None and not self.record:\n", _NEVER, _load("server")),
    ("a portal without a status is let through", f"{_STEPS}.apple", "        if self.status is None and not self.record:\n", _NEVER, _load("dep")),
    ("steps for platforms that are never played are let through", "mdmsim.scenario.load", "            _check_platforms(step, step.arguments, text)\n", "            pass\n", _load("only_on")),
    # the run
    ("a world that breaks after the verdict stays passed", "mdmsim.scenario.runner", "    if broken is not None and result.ok:", "    if False:", f"{_TESTS}/test_runner.py::test_a_world_that_breaks_after_the_verdict_is_an_error"),
    ("a bug of a device is the server's fault", "mdmsim.scenario.runner", 'event.kind == "device.failed" and started)', "False)", f"{_TESTS}/test_runner.py::test_a_bug_of_a_simulated_device_is_an_error_whatever_the_story_saw"),
    ("an API that does not answer fails the server", "mdmsim.scenario.run", "    if isinstance(error, ApiUnreachable):\n", "    if False:\n", f"{_TESTS}/test_runner.py::test_an_administrators_api_that_does_not_answer_is_an_error_of_the_run"),
    ("a bug in a step passes", "mdmsim.scenario.run", 'return Grade.ERROR, {"expected": "the step to run', 'return Grade.PASSED, {"expected": "the step to run', f"{_TESTS}/test_runner.py::test_a_step_that_breaks_is_an_error_and_no_pass"),
    ("a failed step passes", "mdmsim.scenario.run", "        return Grade.FAILED, told\n", "        return Grade.PASSED, told\n", _row("push", "status")),
    ("what a case needs is not looked at", "mdmsim.scenario.needs", "        if ability not in abilities:\n", _NEVER, f"{_TESTS}/test_needs.py::test_a_story_about_pushes_fails_no_server_whose_apns_is_not_seen"),
    ("what nested steps need is not looked at", "mdmsim.scenario.needs", "            yield from _played(nested, platform)\n", "            pass\n", f"{_TESTS}/test_needs.py::test_a_step_is_played_where_everything_that_it_needs_is_there"),
    ("events of APNs are seen everywhere", f"{_STEPS}.events", '    **dict.fromkeys(("push.", "token.", "provider.", "courier."), Ability.APNS),\n', "", f"{_TESTS}/test_needs.py::test_a_step_is_played_where_everything_that_it_needs_is_there"),
    ("a run in which nothing was applicable is green", "mdmsim.report.model", " and any(case.grade is not Grade.NOT_APPLICABLE for case in cases)", "", "tests/cli/test_stories.py::test_a_run_in_which_nothing_was_applicable_is_exit_code_3_and_says_so"),
    ("a case that could not be carried out is exit code 1", "mdmsim.cli.playing", " or Grade.ERROR in judged else FAILED", " else FAILED", "tests/cli/test_stories.py::test_a_case_that_cannot_be_carried_out_is_exit_code_3"),
    ("a failed scenario is exit code 0", "mdmsim.cli.playing", " or Grade.ERROR in judged else FAILED", " or Grade.ERROR in judged else PASSED", "tests/cli/test_stories.py::test_a_scenario_that_fails_is_exit_code_1_and_says_how_to_play_it_again"),
    ("a case that never ended is what it was", "mdmsim.report.collector", '    case.grade = Grade.ERROR\n', "    case.grade = Grade.PASSED\n", "tests/report/test_collector.py"),
    ("an unknown grade passes", "mdmsim.report.model", "        return Grade.ERROR\n", "        return Grade.PASSED\n", "tests/report/test_collector.py"),
    # figures
    ("seconds are read as milliseconds", "mdmsim.load.criteria", '"s": 1000.0', '"s": 1.0', "tests/load/test_criteria.py"),
    ("minutes are read as milliseconds", "mdmsim.load.criteria", '"min": 60_000.0', '"min": 1.0', "tests/load/test_criteria.py"),
    ("what was never measured meets its limit", "mdmsim.load.criteria", 'Verdict(self.text, False, "never measured")', 'Verdict(self.text, True, "never measured")', "tests/load/test_criteria.py"),
    ("a rate is met when it is too low", "benchmarks.measure", "ratio >= limit, _short", "ratio <= limit, _short", "tests/benchmarks/test_judging.py"),
    ("a ratio is the floor over the value", "benchmarks.measure", "    ratio = value / floor\n    return Figure(name, value, unit, floor, ratio, f\"ratio <=", "    ratio = floor / value\n    return Figure(name, value, unit, floor, ratio, f\"ratio <=", "tests/benchmarks/test_judging.py"),
    ("a missed goal is exit code 0", "benchmarks.__main__", "    return 1 if any(", "    return 0 if any(", "tests/benchmarks/test_judging.py"),
    ("a cost is met when it is too high", "benchmarks.measure", "value <= limit, value", "value >= limit, value", "tests/benchmarks/test_judging.py"),
)  # fmt: skip

MUTATIONS = tuple(Mutation(name, module, old, new, by) for name, module, old, new, by in _DEFECTS)

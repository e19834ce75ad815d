"""Planted defects in the fake DEP: sessions, refusals, devices and profiles."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("there may be any number of requests a minute", "mdmsim.fakedep.service", "        if count >= most:\n", "        if False:\n", "tests/fakedep/test_refusals.py::test_too_many_requests_are_told_how_long_to_wait"),
        ("a request needs no User-Agent", "mdmsim.fakedep.service", "        if not agent:\n", "        if False:\n", "tests/fakedep/test_refusals.py::test_a_request_without_user_agent_is_400_everywhere"),
        ("any method will do at any endpoint", "mdmsim.fakedep.service", "        if request.method not in methods:\n", "        if False:\n", "tests/fakedep/test_refusals.py::test_a_request_that_apple_refuses_is_refused_and_changes_nothing"),
        ("a device without a profile gets one at activation", "mdmsim.fakedep.service", 'device.profile_status not in ("assigned", "pushed") or device.profile_uuid is None', "device.profile_uuid is None", "tests/fakedep/test_activation.py::test_a_device_without_a_profile_gets_nothing"),
        ("a fetched profile does not count as pushed", "mdmsim.fakedep.service", "        self.register.push_profile(device)\n", "", "tests/fakedep/test_activation.py::test_the_profile_counts_as_pushed_from_then_on"),
        ("a profile of another server may be assigned", "mdmsim.fakedep.profiles", "        if profile is None:\n            reason", "        if profile is None:\n            return next(iter(call.server.profiles.values()))\n            reason", "tests/fakedep/test_profiles.py::test_a_profile_of_another_server_is_unknown"),
        ("devices of others may be assigned a profile", "mdmsim.fakedep.profiles", '                results[serial] = "NOT_ACCESSIBLE"\n                continue\n', '                results[serial] = "SUCCESS"\n                continue\n', "tests/fakedep/test_profiles.py::test_a_profile_is_assigned_device_by_device"),
        ("an assignment is told and not kept", "mdmsim.fakedep.profiles", "            assign(device, profile)\n", "", "tests/fakedep/test_profiles.py::test_a_result_may_be_left_out_of_the_answer_and_the_device_stays_as_it_was"),
        ("a server does not hear of changes", "mdmsim.fakedep.register", "            server.change(device, now_ms)\n", "", "tests/fakedep/test_devices.py::test_records_have_the_keys_of_the_version_that_is_asked_for"),
        ("OAuth takes parameters twice", "mdmsim.fakedep.oauth", "        if name in found:\n", "        if False:\n", "tests/fakedep/test_oauth.py::test_a_header_that_cannot_be_judged_is_refused_with_the_reason"),
        ("OAuth takes any signature method", "mdmsim.fakedep.oauth", '    if found["oauth_signature_method"] != "HMAC-SHA1":\n', "    if False:\n", "tests/fakedep/test_oauth.py::test_a_header_that_cannot_be_judged_is_refused_with_the_reason"),
        ("any signature opens a session", "mdmsim.fakedep.login", "        if not signed:\n", "        if False:\n", "tests/fakedep/test_session.py::test_a_wrong_authorization_is_refused_in_apples_words"),
        ("a nonce may come again", "mdmsim.fakedep.login", "        if key in self._nonces:\n", "        if False:\n", "tests/fakedep/test_session.py::test_a_nonce_is_good_once"),
        ("a timestamp may be of any time", "mdmsim.fakedep.login", "        if window_ms is not None and abs", "        if False and abs", "tests/fakedep/test_session.py::test_a_clock_that_is_off_is_refused"),
        ("a server token lasts for ever", "mdmsim.fakedep.login", "        if now_ms >= token.expires_ms:\n", "        if False:\n", "tests/fakedep/test_session.py::test_a_server_token_lasts_a_year"),
        ("a replaced server token is good", "mdmsim.fakedep.login", "        if token.replaced_ms is not None and now_ms >=", "        if False and now_ms >=", "tests/fakedep/test_session.py::test_a_renewed_token_ends_the_one_before_it"),
        ("a cursor is good at any server", "mdmsim.fakedep.cursors", "f\"{server}:{head}\".encode()", "f\"{head}\".encode()", "tests/fakedep/test_refusals.py::test_a_cursor_of_another_server_is_invalid"),
        ("a finished fetch begins again", "mdmsim.fakedep.devices", "            if cursor.done:\n", "            if False:\n", "tests/fakedep/test_refusals.py::test_a_finished_fetch_is_exhausted_and_so_is_a_cursor_of_sync"),
        ("sync goes on from an unfinished fetch", "mdmsim.fakedep.devices", "        if not cursor.done and core", "        if False and core", "tests/fakedep/test_refusals.py::test_sync_from_an_unfinished_fetch_is_invalid_unless_switched_on"),
        ("a cursor lasts for ever", "mdmsim.fakedep.devices", "        if age_ms > self._core.settings.cursor_life_ms or not", "        if not", "tests/fakedep/test_refusals.py::test_a_cursor_lasts_seven_days"),
        ("sync needs no cursor", "mdmsim.fakedep.devices", "            raise refuse(\"CURSOR_REQUIRED\", \"sync goes on from the cursor of a fetch\")\n", "            return self.fetch(call)\n", "tests/fakedep/test_refusals.py::test_a_request_that_apple_refuses_is_refused_and_changes_nothing"),
        ("the name of a profile is looked at before its URL", "mdmsim.fakedep.profile_rules", "    _url(body, \"url\", required=True)\n    _name(body)\n", "    _name(body)\n    _url(body, \"url\", required=True)\n", "tests/fakedep/test_profiles.py::test_apple_looks_at_the_url_before_the_name"),
        ("a result that is left out is assigned all the same", "mdmsim.fakedep.profiles", "                    del results[serial]\n                    continue\n", "                    del results[serial]\n                    assign(device, profile)\n                    continue\n", "tests/fakedep/test_profiles.py::test_a_result_may_be_left_out_of_the_answer_and_the_device_stays_as_it_was"),
        ("a result is never left out", "mdmsim.fakedep.profiles", "                    del results[serial]\n                    continue\n", "                    continue\n", "tests/fakedep/test_profiles.py::test_a_result_may_be_left_out_of_the_answer_and_the_device_stays_as_it_was"),
    )
)  # fmt: skip

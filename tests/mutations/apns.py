"""Planted defects in the fake APNs: its checks, and what becomes of a push."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("APNs takes any method", "mdmsim.fakeapns.checks", '        if judgement.method == "POST":\n', "        if True:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any path", "mdmsim.fakeapns.checks", "        if not path.startswith(PATH):\n", "        if False:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes a path that goes on after the token", "mdmsim.fakeapns.checks", '        if "/" in path[len(PATH) :]:\n', "        if False:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes repeated headers", "mdmsim.fakeapns.checks", "        if judgement.duplicate is None:\n", "        if True:\n", "tests/fakeapns/test_checks.py::test_a_repeated_header_is_refused"),
        ("APNs takes any apns-id", "mdmsim.fakeapns.checks", "        if value is None or _UUID.fullmatch(value):\n", "        if True:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any expiration", "mdmsim.fakeapns.checks", "        if not _SECONDS.fullmatch(value):\n            judgement.why", "        if not _SECONDS.fullmatch(value):\n            return None\n            judgement.why", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any priority", "mdmsim.fakeapns.checks", '        if value in ("10", "5", "1"):\n', "        if True:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any collapse id", "mdmsim.fakeapns.checks", "        if value is None or len(value) <= 64:\n", "        if True:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any push type", "mdmsim.fakeapns.checks", "        if value is None or value in PUSH_TYPES:\n", "        if True:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes any certificate", "mdmsim.fakeapns.checks", '            error, judgement.why = refused or (ApnsError.of("BadCertificate"), "unknown")\n            return error.reason\n', "            return None\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("a certificate pushes to any topic", "mdmsim.fakeapns.checks", "        if allowed is not None and asked not in allowed:\n", "        if False:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs needs no credential", "mdmsim.fakeapns.checks", '            return "MissingProviderToken"\n', "            return None\n", "tests/fakeapns/test_provider_tokens.py::test_neither_certificate_nor_token_is_missing"),
        ("provider tokens push to MDM topics", "mdmsim.fakeapns.checks", '        if topic is not None and topic.startswith("com.apple.mgmt."):\n', "        if False:\n", "tests/fakeapns/test_provider_tokens.py::test_an_mdm_topic_takes_no_provider_token"),
        ("APNs takes an empty payload", "mdmsim.fakeapns.checks", '            return "PayloadEmpty"\n        limit', "            return None\n        limit", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs takes a payload of any size", "mdmsim.fakeapns.checks", "        if len(payload) > limit:\n", "        if False:\n", "tests/fakeapns/test_checks.py::test_each_mistake_gets_its_own_reason"),
        ("APNs knows every token", "mdmsim.fakeapns.checks", '                judgement.why = "no device ever had this token"\n                return "BadDeviceToken"\n', "                return None\n", "tests/fakeapns/test_checks.py::test_a_token_that_is_malformed_or_unknown_is_a_bad_device_token"),
        ("a token of the other environment is good", "mdmsim.fakeapns.checks", "        if registration.environment != judgement.provider.environment:\n", "        if False:\n", "tests/fakeapns/test_environments.py::test_a_token_of_the_other_environment_is_a_bad_one"),
        ("a token that was given up is good for ever", "mdmsim.fakeapns.checks", '        return "Unregistered"\n', "        return None\n", "tests/fakeapns/test_checks.py::test_a_retired_token_is_unregistered_since_then_in_milliseconds"),
        ("a 410 does not say since when", "mdmsim.fakeapns.checks", "        judgement.timestamp_ms = registration.retired_ms\n", "", "tests/fakeapns/test_checks.py::test_a_retired_token_is_unregistered_since_then_in_milliseconds"),
        ("an acknowledged push is kept", "mdmsim.fakeapns.deliveries", "            self._storage.drop_push(kept)\n            slot.kept = None\n            if kept.number", "            if kept.number", "tests/fakeapns/test_store_and_forward.py"),
        ("a token takes any number of pushes a minute", "mdmsim.fakeapns.tokens", "        return count >= self._limit\n", "        return False\n", "tests/fakeapns/test_environments.py::test_pushes_to_one_token_can_be_limited"),
        ("pushes of the minute before count", "mdmsim.fakeapns.tokens", "        if self._minute != now_ms // MINUTE:\n", "        if False:\n", "tests/fakeapns/test_environments.py::test_pushes_to_one_token_can_be_limited"),
        ("a push before which a fault came counts", "mdmsim.fakeapns.tokens", "            self._pushed[slot] -= 1\n", "            pass\n", "tests/fakeapns/test_faults.py::test_a_stream_that_was_refused_does_not_count_against_the_rate"),
        ("the journal says 200 of a push that was not kept", "mdmsim.fakeapns.service", "            self.journal.amend(apns_id, 500, \"InternalServerError\", why)\n", "", "tests/fakeapns/test_journal.py::test_a_push_that_could_not_be_made_durable_is_told_as_it_was_answered"),
        ("HEAD is answered with a body", "mdmsim.fakeapns.front.http1", "        if has_content(request.method, answer.status):\n", "        if True:\n", "tests/fakeapns/front/test_plain.py::test_head_is_told_what_get_is_without_the_content"),
        ("a connection is never met by GOAWAY", "mdmsim.fakeapns.service", "        return refused or self._injection.wire(\"goaway.first\", facts)\n", "        return refused\n", "tests/fakeapns/front/test_plain.py::test_a_connection_over_http_1_ends_where_http_2_would_say_goaway"),
    )
)  # fmt: skip

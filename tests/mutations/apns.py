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
    )
)  # fmt: skip

"""Planted defects in the reference server: who may speak for which enrollment, the queue, pushes."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("a certificate and a signature may differ", "reference_server.identity", "        if connection.certificate != signer:\n", "        if False:\n", "tests/reference_server/test_identity_matrix.py::test_the_identity_matrix"),
        ("a signature is not checked", "reference_server.identity", "verify_header(header, body)", "named_signer(header)", "tests/reference_server/test_identity_matrix.py::test_a_signature_over_another_body_is_400"),
        ("anybody may pass a certificate on as a proxy", "reference_server.identity", "self._header is not None and self._clients.is_proxy(scope)", "self._header is not None", "tests/reference_server/test_identity_matrix.py::test_a_proxys_header_counts_from_named_proxies_only"),
        ("a removed identity is only forbidden", "reference_server.binding", '        raise Refusal(401, "the administrator removed', '        raise Refusal(403, "the administrator removed', "401-unenroll/removed-by-the-administrator[ios]"),
        ("an identity may open another enrollment", "reference_server.binding", "    if owner is not None and owner != enrollment_id:\n        raise", "    if False:\n        raise", "tests/reference_server/test_identity_owners.py::test_what_is_issued_for_an_enrollment_opens_no_other"),
        ("a withdrawn identity may enrol", "reference_server.binding", "    if state == IdentityState.WITHDRAWN:\n", "    if False:\n", "tests/reference_server/test_identity_owners.py::test_of_several_renewals_only_the_last_can_be_used"),
        ("any identity may update the token", "reference_server.storage.checkin", '            if not finishes and (status != "enrolled" or bound != news.identity):\n', "            if False:\n", "tests/reference_server/test_identity_matrix.py::test_another_devices_identity_is_refused_on_every_message"),
        ("any identity may fetch commands", "reference_server.storage.connect", " or row[1] != identity:", ":", "tests/reference_server/test_identity_matrix.py::test_the_identity_matrix"),
        ("any identity may check out", "reference_server.storage.checkin", "            if not is_bound and pending != identity:\n", "            if False:\n", "tests/reference_server/test_identity_matrix.py::test_another_devices_identity_is_refused_on_every_message"),
        ("a one-time challenge enrols many", "reference_server.storage.checkin", "            self.check_challenge(identity)\n            if refusals", "            if refusals", "tests/reference_server/test_enrollment.py::test_a_challenge_is_used_up_by_the_enrollment_that_was_finished"),
        ("a challenge is never used up", "reference_server.storage.checkin", "        self.settle_challenge(identity)\n", "", "tests/reference_server/test_enrollment.py::test_a_challenge_is_used_up_by_the_enrollment_that_was_finished"),
        ("commands of the enrollment before are served to the next", "reference_server.storage.checkin", 'WHERE enrollment = ? AND open = 1 AND seq <= ?",\n            (enrollment_id, pending_after),', 'WHERE enrollment = ? AND open = 1 AND seq <= ?",\n            (enrollment_id, -1),', "tests/reference_server/test_reenrollment.py::test_commands_from_before_the_authenticate_are_superseded"),
        ("a command that was put off comes again at once", "reference_server.storage.connect", 'not_now = not_now + 1, unanswered = 0, session = ?"', 'not_now = not_now + 1, unanswered = 0, session = 0 * ?"', "tests/reference_server/test_sessions.py::test_each_command_is_offered_once_per_session_and_again_in_the_next"),
        ("a command is offered again in one session", "reference_server.storage.connect", "AND open = 1 AND session < ?", "AND open = 1 AND session <= ?", "tests/reference_server/test_sessions.py::test_each_command_is_offered_once_per_session_and_again_in_the_next"),
        ("urgent commands wait their turn", "reference_server.storage.connect", "ORDER BY urgent DESC, ", "ORDER BY ", "tests/reference_server/test_sessions.py::test_an_urgent_command_goes_before_a_backlog"),
        ("commands come in another order", "reference_server.storage.connect", "seq LIMIT 1", "seq DESC LIMIT 1", "tests/reference_server/test_sessions.py::test_commands_come_in_the_order_in_which_they_were_queued"),
        ("a report twice counts twice", "reference_server.storage.connect", '        if not is_open:\n            return None, request_type, f"late', '        if False:\n            return None, request_type, f"late', "tests/reference_server/test_sessions.py::test_a_second_and_different_answer_is_kept_as_late"),
        ("an answered command stays open", "reference_server.storage.connect", "SET state = ?, open = NULL, unanswered = 0, answered_ms = ?", "SET state = ?, open = 1, unanswered = 0, answered_ms = ?", "tests/reference_server/test_sessions.py::test_commands_come_in_the_order_in_which_they_were_queued"),
        ("a field may be of any length", "reference_server.checkin", '        if len(getattr(message, name) or "") > most:\n', "        if False:\n", "tests/reference_server/test_bad_input.py::test_fields_without_measure_are_400"),
        ("a new token is not pushed to", "reference_server.storage.checkin", "            if self.has_open_commands(news.enrollment_id):\n                self.start_ladder", "            if False:\n                self.start_ladder", "tests/reference_server/test_push.py::test_410_ends_all_pushing_until_a_tokenupdate"),
    )
)  # fmt: skip

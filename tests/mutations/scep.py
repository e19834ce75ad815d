"""Planted defects in SCEP, at the server and at the device."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("the server's CA issues for any challenge", "reference_server.scep", "        if right is None:\n", "        if False:\n", "tests/reference_server/test_enrollment.py::test_a_wrong_challenge_is_a_scep_failure_that_tells_nothing_internal"),
        ("a static challenge is not compared", "reference_server.scep", "hmac.compare_digest(challenge.encode(), static.encode())", "True", "tests/reference_server/test_enrollment.py::test_a_wrong_challenge_is_a_scep_failure_that_tells_nothing_internal"),
        ("an identity of no enrollment may be renewed", "reference_server.storage.scep", "AND state = 'bound' AND status = 'enrolled'", "AND 1", "tests/reference_server/test_identity_owners.py::test_a_renewed_identity_can_be_renewed_again_once_it_is_in_use"),
        ("one identity is renewed without end", "reference_server.storage.scep", "renewal_of = identities.identity) < ?\n", "renewal_of = identities.identity) < ? + 1000\n", "tests/reference_server/test_identity_owners.py::test_an_identity_does_not_renew_itself_without_end"),
        ("a renewed identity belongs to nobody", "reference_server.storage.scep", "            if owner is not None:\n                self._withdraw_identities", "            if False:\n                self._withdraw_identities", "tests/reference_server/test_identity_owners.py::test_what_is_issued_for_an_enrollment_opens_no_other"),
        ("what was renewed before stays good", "reference_server.storage.scep", "                self._withdraw_identities(owner)\n", "", "tests/reference_server/test_identity_owners.py::test_of_several_renewals_only_the_last_can_be_used"),
        ("an expired challenge is good", "reference_server.storage.scep", "WHERE challenge = ? AND expires_ms > ?\n", "WHERE challenge = ? AND ? IS NOT NULL\n", "tests/reference_server/test_storage.py::test_a_challenge_is_open_until_the_millisecond_in_which_it_expires[trio]"),
        ("a challenge mints identities without end", "reference_server.storage.scep", "challenges.challenge) < devices * ?))", "challenges.challenge) < devices * ? + 1000))", "tests/reference_server/test_enrollment.py::test_a_challenge_does_not_mint_identities_without_end"),
        ("any certificate of any CA renews", "mdmsim.pki.scep.server", "        except UntrustedCertificate:\n            return None\n", "        except UntrustedCertificate:\n            pass\n", "tests/pki/scep/test_server.py::test_a_static_challenge_lets_in_who_knows_it"),
        ("a RenewalReq needs no certificate to renew", "mdmsim.pki.scep.server", "        if message.message_type is MessageType.RENEWAL_REQ and renewal_of is None:\n", "        if False:\n", "tests/pki/scep/test_server.py::test_a_renewal_by_anyone_else_is_refused"),
        ("the CA asks for no challenge", "mdmsim.pki.scep.server", "        if request.renewal_of is None and not self._challenges.allows(request.challenge, request):\n", "        if False:\n", "tests/pki/scep/test_server.py::test_a_static_challenge_lets_in_who_knows_it"),
        ("a poll by anybody is answered", "mdmsim.pki.scep.server", "earlier is None or public_key_der(earlier.request.signer) != public_key_der(request.signer)", "earlier is None", "tests/pki/scep/test_server.py::test_a_poll_by_someone_else_is_refused"),
        ("any transaction of that id is a retry", "mdmsim.pki.scep.server", "    return request.csr is not None and earlier.csr is not None and request.csr.der == earlier.csr.der\n", "    return True\n", "tests/pki/scep/test_server.py::test_a_static_challenge_lets_in_who_knows_it"),
        ("an answer is taken for a request", "mdmsim.pki.scep.server", "        if message.message_type is MessageType.CERT_REP:\n", "        if False:\n", "tests/pki/scep/test_server.py::test_what_is_no_scep_message_is_malformed"),
        ("a device takes the answer to another request", "mdmsim.pki.scep.client", "    if reply.transaction_id != transaction.transaction_id:\n", "    if False:\n", "tests/pki/scep/test_client.py::test_an_answer_to_another_request_is_refused"),
        ("a device takes a repeated answer", "mdmsim.pki.scep.client", "    if reply.recipient_nonce != transaction.sender_nonce:\n", "    if False:\n", "tests/pki/scep/test_client.py::test_an_answer_to_another_request_is_refused"),
        ("a device trusts any CA's answer", "mdmsim.pki.scep.client", '        raise BadReply("SCEP CertRep", f"its signer is not', '        return\n        raise BadReply("SCEP CertRep", f"its signer is not', "tests/pki/scep/test_client.py::test_an_answer_from_another_ca_is_refused"),
        ("a device takes a certificate for another key", "mdmsim.pki.scep.client", "    mine = [der for der in certificates if _key_of(der) == transaction.public_key]\n", "    mine = list(certificates)\n", "tests/pki/scep/test_client.py::test_a_certificate_for_another_key_is_refused"),
        ("a device takes a request for an answer", "mdmsim.pki.scep.client", "    if reply.message_type is not MessageType.CERT_REP:\n", "    if False:\n", "tests/pki/scep/test_client.py::test_our_own_request_is_no_answer"),
        ("a key of any size gets a certificate", "mdmsim.pki.scep.server", "key.key_size < self._least_key_bits", "False", "tests/reference_server/test_scep_requests.py::test_an_rsa_key_below_the_size_of_the_profile_is_refused"),
        ("anybody gets the name of an authority", "mdmsim.pki.scep.server", "        if comparable(csr.subject) in self._authorities:\n", "        if False:\n", "tests/pki/scep/test_server.py::test_the_subject_of_the_ca_is_issued_to_nobody"),
        ("alternative names are issued that no profile asks for", "mdmsim.pki.scep.server", "csr.san is not None and not self._alternative_names", "False", "tests/reference_server/test_scep_requests.py::test_alternative_names_that_no_profile_asks_for_are_refused"),
        ("an authority's own certificate renews", "mdmsim.pki.scep.server", "is_authority(message.signer) or message.signer == self._speaker.certificate", "False", "tests/pki/scep/test_server.py::test_a_renewal_signed_by_an_authority_is_refused"),
    )
)  # fmt: skip

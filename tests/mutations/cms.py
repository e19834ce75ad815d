"""Planted defects in CMS, certificates and certificate requests."""

from __future__ import annotations

from tests.mutations.mutation import Mutation

MUTATIONS = tuple(
    Mutation(name, module, old, new, by)
    for name, module, old, new, by in (
        ("a certificate that has expired holds", "mdmsim.pki.chain", "        if self._dates and self._at_ms > not_after_ms(der) + 999:", "        if False and self._at_ms > not_after_ms(der) + 999:", "tests/pki/test_chain.py::test_dates_are_judged_at_the_moment_given_to_the_second"),
        ("a certificate that is not valid yet holds", "mdmsim.pki.chain", "        if self._dates and self._at_ms < not_before_ms(der):\n", "        if False:\n", "tests/pki/test_chain.py::test_dates_are_judged_at_the_moment_given_to_the_second"),
        ("a key usage without signing certificates signs them", "mdmsim.pki.chain", "        if usage is not None and not usage.key_cert_sign:\n", "        if False:\n", "tests/pki/test_chain.py::test_a_ca_without_cert_sign_cannot_issue"),
        ("a path may be longer than its CA allows", "mdmsim.pki.chain", "constraints.path_length is not None and depth - 1 > constraints.path_length", "False", "tests/pki/test_chain.py::test_a_path_length_is_kept"),
        ("an issuer's signature is not checked", "mdmsim.pki.chain", "            if not _signed_by(last, issuer):\n", "            if False:\n", "tests/pki/test_chain.py::test_a_ca_of_the_same_name_with_another_key_is_refused"),
        ("critical extensions that nobody knows are ignored", "mdmsim.pki.chain", "            if extension.critical and extension.oid not in _UNDERSTOOD:\n", "            if False:\n", "tests/pki/test_chain.py::test_an_unknown_critical_extension_is_refused"),
        ("a certificate is for any purpose", "mdmsim.pki.chain", "        if _PURPOSE[self._purpose] not in usages and", "        if False and", "tests/pki/test_chain.py::test_purposes_are_judged_where_there_are_usages"),
        ("a certificate is for any host", "mdmsim.pki.chain", "        if self._hostname is not None and not names_host(path[0], self._hostname):\n", "        if False:\n", "tests/pki/test_chain.py::test_host_names_match_the_alternative_names_alone"),
        ("a wildcard stands for several labels", "mdmsim.pki.chain", 'wanted.partition(".")[2] == offered[2:]', "wanted.endswith(offered[1:])", "tests/pki/test_chain.py::test_host_names_match_the_alternative_names_alone"),
        ("a wildcard stands above a top-level domain", "mdmsim.pki.chain", "offered.startswith(\"*.\") and \".\" in offered[2:] and", "offered.startswith(\"*.\") and", "tests/pki/test_chain.py::test_a_wildcard_is_a_whole_leftmost_label_above_two_others_and_no_address"),
        ("of several signers the first counts", "mdmsim.pki.cms", "    if len(message.signers) != 1:\n", "    if not message.signers:\n", "tests/pki/test_cms.py::test_a_message_of_several_signers_is_refused_although_every_signature_holds"),
    )
)  # fmt: skip

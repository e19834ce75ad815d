"""Which certificate is missing when a server is not trusted."""

from __future__ import annotations

import pytest

from mdmsim.chance import Chance
from mdmsim.cli.enrollment.untrusted import Distrusted, judge, presented_chain
from mdmsim.clock import DAY, ManualClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys

CLOCK = ManualClock()


@pytest.fixture(scope="module")
def root() -> Authority:
    return Authority.create("Acme Lab CA", keys=FreshKeys(), clock=CLOCK, chance=Chance(1), kind="ec")


def test_a_root_that_is_not_sent_along_is_named_as_the_leafs_issuer(root: Authority) -> None:
    server = root.issue_server(["mdm.example.com"])
    found = judge((server.certificate,), "mdm.example.com", (), CLOCK)
    assert found == Distrusted(subject=found.subject if found else "", authority="CN=Acme Lab CA")


def test_a_root_that_is_sent_along_is_named_all_the_same(root: Authority) -> None:
    server = root.issue_server(["mdm.example.com"])
    found = judge((server.certificate, root.certificate), "mdm.example.com", (), CLOCK)
    assert found is not None
    assert (found.authority, found.self_signed) == ("CN=Acme Lab CA", False)


def test_of_a_longer_chain_the_top_is_named(root: Authority) -> None:
    issuing = root.subordinate("Acme Issuing CA", kind="ec")
    server = issuing.issue_server(["mdm.example.com"])
    found = judge((server.certificate, issuing.certificate), "mdm.example.com", (), CLOCK)
    assert found is not None
    assert found.authority == "CN=Acme Lab CA"


def test_a_certificate_that_signed_itself_is_told_as_such(root: Authority) -> None:
    found = judge((root.certificate,), "mdm.example.com", (), CLOCK)
    assert found is not None
    assert found.fault is not None or found.self_signed


def test_a_wrong_name_is_not_blamed_on_the_ca(root: Authority) -> None:
    server = root.issue_server(["mdm.example.com"])
    found = judge((server.certificate,), "other.example.com", (), CLOCK)
    assert found is not None
    assert found.fault is not None
    assert "is for mdm.example.com, not for other.example.com" in found.fault


def test_an_expired_certificate_is_not_blamed_on_the_ca(root: Authority) -> None:
    server = root.issue_server(["mdm.example.com"], days=1)
    found = judge((server.certificate,), "mdm.example.com", (), ManualClock(CLOCK.now_ms() + 3 * DAY))
    assert found is not None
    assert found.fault is not None
    assert "expired" in found.fault


def test_a_chain_that_holds_is_not_what_is_wrong(root: Authority) -> None:
    server = root.issue_server(["mdm.example.com"])
    assert judge((server.certificate,), "mdm.example.com", (root.certificate,), CLOCK) is None


@pytest.mark.parametrize("chain", [(), (b"junk",)])
def test_a_chain_that_cannot_be_read_raises_nothing(chain: tuple[bytes, ...]) -> None:
    found = judge(chain, "mdm.example.com", (), CLOCK)
    assert found is None or found.fault


def test_where_nothing_listens_there_is_no_chain() -> None:
    assert presented_chain("127.0.0.1", 1) == ()

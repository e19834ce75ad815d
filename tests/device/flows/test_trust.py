"""Whom a device trusts as its server: judged by real certificates, as its TLS would."""

from __future__ import annotations

from typing import Any

import pytest

from mdmsim.device.device import Behaviour
from mdmsim.device.flows.install import install_profile
from mdmsim.http import Identity, Request, TLSFailed
from mdmsim.pki.authority import Authority
from mdmsim.protocol.payloads import CertificatePayload
from mdmsim.protocol.profile import build_profile
from mdmsim.transport.inprocess.judge import Judge
from mdmsim.transport.place import place_of
from tests.device.bench import KEYS, Bench

HOST = "mdm.example.test"
DAY = 86_400


class Site:
    """An enrolled device and a server whose certificate can be changed."""

    def __init__(self, **mdm: Any) -> None:
        self.bench = Bench("mac-silicon")
        self.other = Authority.create(
            "Other CA", keys=KEYS, clock=self.bench.clock, chance=self.bench.chance.stream("other")
        )
        self.shows: Identity = self.bench.authority.issue_server([HOST])
        self.judge = Judge()
        self.bench.server.interfere = self._handshake
        self.bench.enroll(**mdm)

    def _handshake(self, request: Request) -> TLSFailed | None:
        chain = (self.shows.certificate, *self.shows.chain)
        try:
            self.judge.server(chain, request.trust, place_of(request.url), self.bench.clock.now_ms())
        except TLSFailed as error:
            return error
        return None

    def connects(self) -> bool:
        """Whether a push brings a connect that succeeds."""
        before = self.bench.log.count("device.connected")
        self.bench.push()
        self.bench.act()
        return self.bench.log.count("device.connected") > before

    def root_profile(self) -> bytes:
        payload = CertificatePayload(type="com.apple.security.root", content=self.other.certificate)
        return build_profile(
            identifier="test.root", uuid="ROOT", payloads=(payload.to_payload(identifier="test.root.1", uuid="R"),)
        )


def test_a_server_under_the_root_of_the_enrollment_profile_is_trusted() -> None:
    assert Site().connects()


def test_a_server_that_moves_to_a_foreign_ca_is_a_network_error_until_it_comes_back() -> None:
    site = Site()
    own, site.shows = site.shows, site.other.issue_server([HOST])
    assert not site.connects()
    site.bench.later(DAY)
    assert site.bench.device.enrolled
    assert site.bench.server.reports == []
    site.shows = own
    site.bench.later(3601)
    assert site.bench.log.count("device.connected") == 1


def test_a_server_that_sends_its_new_root_first_can_move_to_another_ca() -> None:
    site = Site()
    site.bench.ask("InstallProfile", Payload=site.root_profile())
    site.shows = site.other.issue_server([HOST])
    assert site.connects()
    site.bench.queue("RemoveProfile", Identifier="test.root")
    assert not site.connects(), "the root went with its profile, and with it the way to say so"
    assert site.bench.device.undelivered() is not None


def test_a_root_that_a_person_installed_does_not_make_the_server_trusted() -> None:
    site = Site()
    site.bench.run(install_profile(site.bench.device, site.root_profile()))
    site.shows = site.other.issue_server([HOST])
    assert not site.connects()


@pytest.mark.parametrize("key", ["server_url_pinning_certificate_uuids", "check_in_url_pinning_certificate_uuids"])
def test_a_pin_holds_for_its_own_url_only(key: str) -> None:
    site = Site(**{key: ("ROOT-1",)})
    site.bench.ask("InstallProfile", Payload=site.root_profile())
    site.shows = site.other.issue_server([HOST])
    assert site.connects() == (key == "check_in_url_pinning_certificate_uuids")
    assert site.bench.device.enrolled


def test_a_certificate_that_expires_is_a_network_error_and_a_new_one_mends_it() -> None:
    site = Site()
    site.bench.clock.advance(400 * DAY * 1000)
    assert not site.connects()
    assert site.bench.device.enrolled
    site.shows = site.bench.authority.issue_server([HOST])
    site.bench.later(61)
    assert site.bench.log.count("device.connected") == 1


def test_an_enrollment_over_http_that_was_allowed_once_stays_allowed() -> None:
    url = "http://127.0.0.1:9000/mdm"
    bench = Bench("iphone", behaviour=Behaviour(allow_http=True))
    bench.enroll(server_url=url, check_in_url=url)
    bench.behaviour = Behaviour()
    bench.restart()
    assert bench.device.trust([]).allow_http
    assert not Bench("iphone").device.trust([]).allow_http


def test_what_a_device_was_told_to_trust_counts_besides_the_profiles_roots() -> None:
    site = Site()
    digest = site.bench.store.put(site.other.certificate)
    site.bench.device.state.trusted = [digest]
    site.shows = site.other.issue_server([HOST])
    assert site.connects()

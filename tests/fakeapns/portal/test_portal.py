"""The portal's rules: create makes a topic, renew keeps it, revoke ends it, everybody sees their own only."""

from __future__ import annotations

from pathlib import Path

import pytest

from mdmsim.chance import Chance
from mdmsim.clock import DAY, HOUR, ManualClock
from mdmsim.fakeapns.portal.portal import ISSUER, Portal, PortalError
from mdmsim.pki.certificate import certificates_from_pem, load_certificate, not_after_ms, public_key_der
from mdmsim.pki.keys import public_key_of
from mdmsim.pki.names import issuer_text
from mdmsim.pki.push_certificate import PushRights, is_push_certificate, push_rights
from mdmsim.startup import ServeError
from tests.fakeapns.portal.support import KEYS, customer
from tests.fakeapns.support import Bench, reason

ME, OTHER = "mdm@acme.example", "someone@else.example"


class Shop:
    """A portal beside a push service, at a moment that can be moved."""

    def __init__(self, bench: Bench, file: Path | None = None) -> None:
        self.bench = bench
        self.clock: ManualClock = bench.clock
        self.file = file
        self.portal = self.open()

    def open(self) -> Portal:
        certificates = self.bench.service.certificates
        self.portal = Portal(
            self.clock,
            Chance("portal"),
            register=certificates.register,
            revoke=certificates.revoke,
            keys=KEYS,
            file=self.file,
        )
        return self.portal


@pytest.fixture
def shop(bench: Bench) -> Shop:
    return Shop(bench)


def newest(shop: Shop, number: str, account: str = ME) -> bytes:
    return certificates_from_pem(shop.portal.download(account, number)[1])[0]


def test_creating_issues_a_push_certificate_for_the_key_of_the_request(shop: Shop) -> None:
    key, request = customer()
    entry = shop.portal.create(ME, request, "for the pilot")
    der = newest(shop, entry.id)
    assert push_rights(der) == PushRights(entry.topic, (), True, False)
    assert is_push_certificate(der) and public_key_der(der) == public_key_of(key)
    assert issuer_text(der) == f"CN={ISSUER}"
    assert not_after_ms(der) == shop.clock.now_ms() + 365 * DAY
    assert (entry.vendor, entry.note) == ("Acme MDM, Inc.", "for the pilot")


def test_every_creation_makes_a_topic_of_its_own(shop: Shop) -> None:
    topics = {shop.portal.create(ME, customer()[1]).topic for _ in range(3)}
    assert len(topics) == 3


def test_the_push_service_knows_it_at_once(shop: Shop) -> None:
    entry = shop.portal.create(ME, customer()[1])
    token = shop.bench.service.register("mac-1", entry.topic)
    assert reason(shop.bench.push(token, certificate=newest(shop, entry.id)))[0] == 200


def test_renewing_keeps_the_topic_for_a_new_key(shop: Shop) -> None:
    first_key, request = customer()
    entry = shop.portal.create(ME, request)
    first, topic = newest(shop, entry.id), entry.topic
    shop.clock.advance(300 * DAY)
    second_key, again = customer()
    renewed = shop.portal.renew(ME, entry.id, again)
    second = newest(shop, entry.id)
    assert (renewed.topic, push_rights(second).topic) == (topic, topic)
    assert public_key_der(second) == public_key_of(second_key) != public_key_of(first_key)
    assert not_after_ms(second) == shop.clock.now_ms() + 365 * DAY
    token = shop.bench.service.register("mac-1", topic)
    assert [reason(shop.bench.push(token, certificate=each))[0] for each in (first, second)] == [200, 200]


def test_an_expired_one_can_be_renewed(shop: Shop) -> None:
    entry = shop.portal.create(ME, customer()[1])
    shop.clock.advance(366 * DAY)
    assert shop.portal.status(entry) == "expired"
    assert shop.portal.status(shop.portal.renew(ME, entry.id, customer()[1])) == "active"


@pytest.mark.parametrize(("account", "number"), [(OTHER, None), (ME, "no-such-id"), (ME, "")])
def test_what_is_not_ones_own_is_not_renewed(shop: Shop, account: str, number: str | None) -> None:
    entry = shop.portal.create(ME, customer()[1])
    with pytest.raises(PortalError, match="sign in as that one") as caught:
        shop.portal.renew(account, entry.id if number is None else number, customer()[1])
    assert caught.value.status == 404
    assert len(entry.issued) == 1


@pytest.mark.parametrize("what", ["download", "revoke"])
def test_what_is_not_ones_own_is_not_touched(shop: Shop, what: str) -> None:
    entry = shop.portal.create(ME, customer()[1])
    with pytest.raises(PortalError):
        getattr(shop.portal, what)(OTHER, entry.id)
    assert shop.portal.status(entry) == "active"
    assert shop.portal.entries(OTHER) == ()


def test_revoking_refuses_every_push_of_the_topic(shop: Shop) -> None:
    entry = shop.portal.create(ME, customer()[1])
    shop.portal.renew(ME, entry.id, customer()[1])
    assert shop.portal.status(shop.portal.revoke(ME, entry.id)) == "revoked"
    token = shop.bench.service.register("mac-1", entry.topic)
    for issued in entry.issued:
        assert reason(shop.bench.push(token, certificate=issued.der)) == (403, "BadCertificate")


def test_what_was_revoked_stays_revoked(shop: Shop) -> None:
    entry = shop.portal.create(ME, customer()[1])
    shop.portal.revoke(ME, entry.id)
    at = entry.newest.revoked_ms
    shop.clock.advance(HOUR)
    shop.portal.revoke(ME, entry.id)
    assert entry.newest.revoked_ms == at
    with pytest.raises(PortalError, match=r"was revoked at .*: create a new certificate") as caught:
        shop.portal.renew(ME, entry.id, customer()[1])
    assert caught.value.status == 409


def test_a_bad_request_issues_nothing(shop: Shop) -> None:
    with pytest.raises(PortalError, match="not base64") as caught:
        shop.portal.create(ME, b"?")
    assert caught.value.status == 400
    assert shop.portal.entries(ME) == ()


@pytest.mark.parametrize("account", ["", "me and you", "x" * 200, "né"])
def test_an_account_has_a_name(shop: Shop, account: str) -> None:
    with pytest.raises(PortalError, match="account: "):
        shop.portal.create(account, customer()[1])


def test_the_file_is_named_as_apples(shop: Shop) -> None:
    entry = shop.portal.create(ME, customer()[1])
    assert shop.portal.download(ME, entry.id)[0] == "MDM_ Acme MDM, Inc._Certificate.pem"
    entry.vendor = '../"x"\r\n/\u202e'
    assert shop.portal.download(ME, entry.id)[0] == "MDM_ ..x_Certificate.pem"


def test_everything_is_kept_between_runs(bench: Bench, tmp_path: Path) -> None:
    file = tmp_path / "portal.json"
    shop = Shop(bench, file)
    kept, gone = (shop.portal.create(ME, customer()[1]) for _ in range(2))
    shop.portal.revoke(ME, gone.id)
    assert file.stat().st_mode & 0o777 == 0o600
    bench.build()
    shop.open()
    assert [(entry.topic, shop.portal.status(entry)) for entry in shop.portal.entries(ME)] == [
        (kept.topic, "active"),
        (gone.topic, "revoked"),
    ]
    answers = []
    for entry in shop.portal.entries(ME):
        token = bench.service.register("mac-1", entry.topic)
        answers.append(reason(bench.push(token, certificate=entry.newest.der)))
    assert answers == [(200, None), (403, "BadCertificate")]
    issuer = load_certificate(kept.newest.der).issuer
    again = shop.portal.renew(ME, kept.id, customer()[1])
    assert load_certificate(again.newest.der).issuer == issuer
    assert again.newest.serial != kept.newest.serial


@pytest.mark.parametrize("content", [b"", b"{}", b'{"authority": "", "entries": []}', b'{"authority": "\xff', b"[]"])
def test_a_file_that_is_none_is_named(bench: Bench, tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "portal.json"
    file.write_bytes(content)
    with pytest.raises(ServeError, match=r"portal\.json: not what the portal keeps"):
        Shop(bench, file)

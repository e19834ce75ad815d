"""Provider tokens: rules of Apple's "Establishing a token-based connection to APNs", one by one."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from mdmsim.clock import HOUR, MINUTE, SECOND
from mdmsim.fakeapns.errors import BadSigningKey
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.provider_tokens import SigningKey, SigningKeys, TokenUse
from tests.fakeapns.support import Bench, reason

APP = "com.example.app"
TEAM, OTHER_TEAM = "TEAM000001", "TEAM000002"
KEY, OTHER_KEY = "KEY0000001", "KEY0000002"

_private = {name: ec.generate_private_key(ec.SECP256R1()) for name in (KEY, OTHER_KEY)}


def pem(key_id: str) -> bytes:
    return _private[key_id].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _part(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def jwt(issued_ms: int, *, key: str = KEY, signed_by: str | None = None, **changes: Any) -> str:
    """A provider token; `changes` replace claims and header fields."""
    header = {"alg": changes.pop("alg", "ES256"), "kid": changes.pop("kid", key)}
    claims = {"iss": TEAM, "iat": issued_ms // SECOND, **changes}
    text = ".".join(_part(json.dumps(value).encode()) for value in (header, claims))
    r, s = decode_dss_signature(_private[signed_by or key].sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{_part(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"


class Site:
    """A bench with a registered key, a token of a device for an app, and one connection without a certificate."""

    def __init__(self, bench: Bench, **settings: Any) -> None:
        self.bench = bench
        bench.build(**settings)
        self.key()
        self.token = bench.service.register("phone", APP)
        self.connection: Provider = self.connect()

    def key(self, key_id: str = KEY, **wishes: Any) -> None:
        wishes.setdefault("team_id", TEAM)
        self.bench.service.signing_keys.register(SigningKey(key_id=key_id, public_key=pem(key_id), **wishes))

    def connect(self) -> Provider:
        return self.bench.connect(None)

    def push(self, token: str, *, over: Provider | None = None, topic: str | None = APP) -> tuple[int, str | None]:
        headers = {"authorization": f"bearer {token}"}
        if topic is not None:
            headers["apns_topic"] = topic
        return reason(self.bench.push(self.token, over=over or self.connection, **headers))

    def now(self, **changes: Any) -> str:
        return jwt(self.bench.clock.now_ms(), **changes)


@pytest.fixture
def site(bench: Bench) -> Site:
    return Site(bench)


def test_a_good_token_pushes(site: Site) -> None:
    assert site.push(site.now()) == (200, None)


@pytest.mark.parametrize("scheme", ["bearer", "Bearer"])
def test_the_scheme_may_be_written_either_way(site: Site, scheme: str) -> None:
    answer = site.bench.push(site.token, over=site.connection, authorization=f"{scheme} {site.now()}", apns_topic=APP)
    assert answer.status == 200


@pytest.mark.parametrize("form", [float, str])
def test_iat_may_be_a_float_or_text_as_some_clients_send_it(site: Site, form: type) -> None:
    assert site.push(site.now(iat=form(site.bench.clock.now_ms() / SECOND))) == (200, None)


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "HS256"},
        {"alg": "none"},
        {"kid": "KEY9999999"},
        {"iss": OTHER_TEAM},
        {"iat": None},
        {"iat": True},
        {"iat": "soon"},
        {"signed_by": OTHER_KEY},
    ],
)
def test_a_token_that_does_not_verify_is_invalid(site: Site, changes: dict[str, Any]) -> None:
    assert site.push(site.now(**changes)) == (403, "InvalidProviderToken")


def test_neither_certificate_nor_token_is_missing(site: Site) -> None:
    assert reason(site.bench.push(site.token, over=site.connection, apns_topic=APP)) == (403, "MissingProviderToken")


def test_a_token_of_exactly_an_hour_is_good_and_a_second_later_it_has_expired(site: Site) -> None:
    token = site.now()
    site.bench.clock.advance(HOUR)
    assert site.push(token) == (200, None)
    site.bench.clock.advance(SECOND)
    assert site.push(token) == (403, "ExpiredProviderToken")


def test_a_token_from_the_future_is_invalid(site: Site) -> None:
    assert site.push(jwt(site.bench.clock.now_ms() + HOUR)) == (403, "InvalidProviderToken")


@pytest.mark.parametrize(("sticks", "expected"), [(False, (200, None)), (True, (403, "ExpiredProviderToken"))])
def test_whether_an_expired_token_wedges_the_connection_is_a_switch(
    bench: Bench, sticks: bool, expected: tuple[int, str | None]
) -> None:
    site = Site(bench, expired_token_sticks=sticks)
    site.push(jwt(bench.clock.now_ms() - 2 * HOUR))
    assert site.push(site.now()) == expected
    assert site.push(site.now(), over=site.connect()) == (200, None)


def test_a_token_refreshed_after_19_minutes_is_one_update_too_many(site: Site) -> None:
    site.push(site.now())
    site.bench.clock.advance(19 * MINUTE)
    assert site.push(site.now()) == (429, "TooManyProviderTokenUpdates")


def test_a_token_refreshed_after_20_minutes_is_welcome(site: Site) -> None:
    site.push(site.now())
    site.bench.clock.advance(20 * MINUTE)
    assert site.push(site.now()) == (200, None)


def test_requests_on_their_way_may_still_carry_the_token_before(site: Site) -> None:
    first = site.now()
    site.push(first)
    site.bench.clock.advance(21 * MINUTE)
    site.push(site.now())
    assert site.push(first) == (200, None)


def test_other_connections_may_use_other_tokens_of_the_same_key(site: Site) -> None:
    site.push(site.now())
    site.bench.clock.advance(MINUTE)
    assert site.push(site.now(), over=site.connect()) == (200, None)


def test_a_token_refused_as_too_new_leaves_the_one_before_it_good(site: Site) -> None:
    first = site.now()
    site.push(first)
    site.bench.clock.advance(MINUTE)
    site.push(site.now())
    assert site.push(first) == (200, None)


@pytest.mark.parametrize("word", ["InvalidProviderToken", "Forbidden"])
def test_another_team_on_the_same_connection_is_refused(bench: Bench, word: str) -> None:
    site = Site(bench, other_team=word)
    site.key(OTHER_KEY, team_id=OTHER_TEAM)
    site.push(site.now())
    assert site.push(site.now(key=OTHER_KEY, iss=OTHER_TEAM)) == (403, word)


def test_another_key_of_the_team_is_unrelated(site: Site) -> None:
    site.key(OTHER_KEY)
    site.push(site.now())
    assert site.push(site.now(key=OTHER_KEY)) == (403, "UnrelatedKeyIdInToken")


@pytest.mark.parametrize("named_by", [KEY, OTHER_KEY])
def test_a_related_key_may_be_used_on_the_same_connection(site: Site, named_by: str) -> None:
    names = {KEY: OTHER_KEY, OTHER_KEY: KEY}
    for key_id in (KEY, OTHER_KEY):
        site.key(key_id, related=names[key_id] if key_id == named_by else None)
    site.push(site.now())
    assert site.push(site.now(key=OTHER_KEY)) == (200, None)


@pytest.mark.parametrize("word", ["BadEnvironmentKeyInToken", "BadEnvironmentKeyIdInToken"])
def test_a_key_of_the_other_environment_is_refused_in_the_spelling_asked_for(bench: Bench, word: str) -> None:
    site = Site(bench, environment_key_reason=word)
    site.key(environments=("sandbox",))
    assert site.push(site.now()) == (403, word)


def test_a_key_for_some_topics_pushes_to_no_other(site: Site) -> None:
    site.key(topics=("com.example.other",))
    assert site.push(site.now()) == (400, "TopicDisallowed")


def test_a_token_needs_a_topic_header(site: Site) -> None:
    assert site.push(site.now(), topic=None) == (400, "MissingTopic")


@pytest.mark.parametrize("word", ["Forbidden", "TopicDisallowed", "InvalidProviderToken"])
def test_an_mdm_topic_takes_no_provider_token(bench: Bench, word: str) -> None:
    site = Site(bench, provider_token_for_mdm=word)
    answer = site.push(site.now(), topic="com.apple.mgmt.External.11111111-2222-4333-8444-555555555555")
    assert answer[1] == word


def test_a_key_that_was_taken_back_pushes_no_more(site: Site) -> None:
    token = site.now()
    site.push(token)
    site.bench.service.signing_keys.remove(KEY)
    assert site.push(token) == (403, "InvalidProviderToken")


def test_a_private_key_file_can_be_registered_too() -> None:
    keys = SigningKeys()
    private = _private[KEY].private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    keys.register(SigningKey(key_id=KEY, team_id=TEAM, public_key=private))
    assert [key.key_id for key in keys.registered()] == [KEY]


def _rsa() -> bytes:
    key = rsa.generate_private_key(65537, 2048)
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"key_id": "short"}, "key_id"),
        ({"team_id": "TEAM-00001"}, "team_id"),
        ({"public_key": b"no key"}, "PEM"),
        ({"public_key": _rsa()}, "P-256"),
        ({"environments": ()}, "environments"),
    ],
)
def test_a_key_that_apple_would_not_give_is_not_registered(changes: dict[str, Any], says: str) -> None:
    good: dict[str, Any] = {"key_id": KEY, "team_id": TEAM, "public_key": pem(KEY)}
    with pytest.raises(BadSigningKey, match=says):
        SigningKeys().register(SigningKey(**{**good, **changes}))


_keys = SigningKeys()
_keys.register(SigningKey(key_id=KEY, team_id=TEAM, public_key=pem(KEY)))
_good = jwt(0)


@given(
    st.one_of(
        st.text(),
        st.lists(st.binary(max_size=40).map(_part), min_size=3, max_size=3).map(".".join).map("bearer ".__add__),
        st.builds(
            lambda at, char: "bearer " + _good[:at] + char + _good[at + 1 :],
            st.integers(0, len(_good) - 1),
            st.characters(),
        ),
    )
)
def test_whatever_stands_in_the_header_is_judged(header: str) -> None:
    verdict = _keys.judge(
        header, TokenUse(), 0, environment="production", sticky=False, wrong_team="InvalidProviderToken"
    )
    assert verdict.reason == "InvalidProviderToken" or (verdict.key is not None and not verdict.reason)

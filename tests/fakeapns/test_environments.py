"""Production and sandbox: certificates, tokens and answers of each."""

from __future__ import annotations

import pytest

from mdmsim.fakeapns.front.context import environment_of
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from tests.fakeapns.support import OTHER_TOPIC, TOPIC, Bench, reason


@pytest.fixture
def token(bench: Bench) -> bytes:
    return bench.service.register("mac-1", TOPIC)


def _registered(bench: Bench, identity: Identity) -> bytes:
    bench.service.certificates.register(identity.certificate)
    return identity.certificate


@pytest.mark.parametrize(
    ("host", "environment"),
    [
        ("api.push.apple.com", "production"),
        ("API.Push.Apple.com.", "production"),
        ("api.sandbox.push.apple.com", "sandbox"),
        ("api.development.push.apple.com", "sandbox"),
        ("api-manage-broadcast.sandbox.push.apple.com", "sandbox"),
        ("mdm.example.com", None),
    ],
)
def test_a_host_name_of_apples_names_its_environment(host: str, environment: str | None) -> None:
    assert environment_of(host) == environment


def test_a_production_certificate_is_turned_away_from_the_sandbox(bench: Bench) -> None:
    connection = bench.connect(environment="sandbox")
    assert connection.refusal is not None
    assert (connection.refusal.status, connection.refusal.reason) == (403, "BadCertificateEnvironment")


def test_a_request_on_such_a_connection_is_refused_with_the_same_word(bench: Bench, token: bytes) -> None:
    answer = bench.push(token, over=bench.connect(environment="sandbox"))
    assert reason(answer) == (403, "BadCertificateEnvironment")


def test_a_certificate_for_both_is_welcome_in_both(bench: Bench, authority: Authority) -> None:
    certificate = _registered(bench, authority.issue_push(TOPIC, environments=("production", "sandbox")))
    for environment in ("production", "sandbox"):
        token = bench.service.register("mac-1", TOPIC, environment=environment)
        assert bench.push(token, over=bench.connect(certificate, environment=environment)).status == 200


@pytest.mark.parametrize(("rule", "refused"), [("strict", True), ("lenient", False)])
def test_whether_a_certificate_without_any_mark_is_good_is_a_switch(
    bench: Bench, authority: Authority, rule: str, refused: bool
) -> None:
    bench.build(certificate_environments=rule)
    certificate = _registered(bench, authority.issue_push(TOPIC, environments=()))
    assert (bench.connect(certificate).refusal is not None) == refused


def test_a_token_of_the_other_environment_is_a_bad_one(bench: Bench, authority: Authority, token: bytes) -> None:
    certificate = _registered(bench, authority.issue_push(TOPIC, environments=("sandbox",)))
    answer = bench.push(token, over=bench.connect(certificate, environment="sandbox"))
    assert reason(answer) == (400, "BadDeviceToken")


def test_a_device_has_another_token_in_each_environment(bench: Bench, token: bytes) -> None:
    assert bench.service.register("mac-1", TOPIC, environment="sandbox") != token


@pytest.mark.parametrize(
    ("switch", "environment", "there"),
    [
        ("sandbox", "sandbox", True),
        ("sandbox", "production", False),
        ("always", "production", True),
        ("never", "sandbox", False),
    ],
)
def test_apns_unique_id_comes_where_the_switch_says(
    bench: Bench, authority: Authority, switch: str, environment: str, there: bool
) -> None:
    bench.build(unique_id=switch)
    certificate = _registered(bench, authority.issue_push(TOPIC, environments=("production", "sandbox")))
    token = bench.service.register("mac-1", TOPIC, environment=environment)
    answer = bench.push(token, over=bench.connect(certificate, environment=environment))
    assert (answer.status, "apns-unique-id" in dict(answer.headers)) == (200, there)


# certificates for several topics


@pytest.fixture
def several(bench: Bench, authority: Authority) -> bytes:
    return _registered(bench, authority.issue_push(TOPIC, topics=(TOPIC, OTHER_TOPIC)))


def test_a_certificate_for_several_topics_needs_the_header(bench: Bench, several: bytes, token: bytes) -> None:
    assert reason(bench.push(token, certificate=several)) == (400, "MissingTopic")


@pytest.mark.parametrize("topic", [TOPIC, OTHER_TOPIC])
def test_it_pushes_to_each_of_its_topics(bench: Bench, several: bytes, topic: str) -> None:
    token = bench.service.register("mac-1", topic)
    assert bench.push(token, certificate=several, apns_topic=topic).status == 200


def test_it_pushes_to_no_other(bench: Bench, several: bytes, token: bytes) -> None:
    answer = bench.push(token, certificate=several, apns_topic="com.apple.mgmt.External.none")
    assert reason(answer) == (400, "TopicDisallowed")


# revoked


def test_a_revoked_certificate_pushes_no_more(bench: Bench, token: bytes) -> None:
    connection = bench.connect()
    bench.service.certificates.revoke(bench.provider.certificate)
    assert reason(bench.push(token, over=connection)) == (403, "BadCertificate")


# what the journal says of it


def test_the_reason_is_told_in_words(bench: Bench, several: bytes, token: bytes) -> None:
    bench.push(token, certificate=several)
    assert "several topics" in next(bench.service.journal.newest_first()).why


# switches of the checks


def test_pushes_to_one_token_can_be_limited(bench: Bench) -> None:
    token = bench.build(max_pushes_per_minute=2).register("mac-1", TOPIC)
    assert [bench.push(token).status for _ in range(3)] == [200, 200, 429]
    bench.clock.advance(60_000)
    assert bench.push(token).status == 200


@pytest.mark.parametrize(("payload", "status"), [(b"no json", 400), (b"[1]", 400), (b'{"mdm":"x"}', 200)])
def test_payloads_can_be_made_to_be_json(bench: Bench, payload: bytes, status: int) -> None:
    token = bench.build(json_payload=True).register("mac-1", TOPIC)
    assert bench.push(token, payload=payload).status == status


def test_a_certificate_that_becomes_known_on_an_open_connection_is_judged_for_its_environment(
    bench: Bench, authority: Authority, token: bytes
) -> None:
    identity = authority.issue_push(TOPIC, environments=("sandbox",))
    connection = bench.connect(identity.certificate)
    assert reason(bench.push(token, over=connection)) == (403, "BadCertificate")
    _registered(bench, identity)
    assert reason(bench.push(token, over=connection)) == (403, "BadCertificateEnvironment")


def test_the_limit_of_pushes_stays_cheap_with_many_tokens(bench: Bench) -> None:
    service = bench.build(max_pushes_per_minute=5)
    for number in range(300):
        bench.push(service.register(f"mac-{number}", TOPIC))
    bench.clock.advance(60_000)
    bench.push(service.register("mac-0", TOPIC))
    assert len(service.tokens._pushed) == 1

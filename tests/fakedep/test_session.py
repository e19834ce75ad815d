"""GET /session, and the life of a session token."""

from __future__ import annotations

import re
from typing import Any

import pytest

from mdmsim.clock import DAY, HOUR, MINUTE, SECOND
from tests.fakedep.support import BASE, NAME, Bench, Client, header, result

BAD = (400, "oauth_problem_adviceBad Request")
UNAUTHORIZED = (401, "oauth_problem_adviceUnauthorized")


def test_a_signed_request_opens_a_session(bench: Bench) -> None:
    status, body = bench.client.login()
    assert status == 200 and list(body) == ["auth_session_token"]
    assert re.fullmatch("[0-9]{13}(O[0-9A-F]+)+", body["auth_session_token"])
    assert bench.client.call("GET", "/account")[0] == 200


@pytest.mark.parametrize("realm", [None, "ADM"])
def test_the_realm_is_adm_or_absent(bench: Bench, realm: str | None) -> None:
    assert bench.client.login(bench.client.authorization(realm=realm))[0] == 200


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ({"oauth_signature_method": "PLAINTEXT"}, BAD),
        ({"oauth_nonce": None}, BAD),
        ({"oauth_token": None}, BAD),
        ({"oauth_signature": None}, BAD),
        ({"oauth_callback": "oob"}, BAD),
        ({"oauth_version": "1.1"}, BAD),
        ({"oauth_timestamp": "yesterday"}, BAD),
        ({"realm": "GDM"}, UNAUTHORIZED),
        ({"oauth_consumer_key": "CK_0"}, UNAUTHORIZED),
        ({"oauth_token": "AT_0"}, UNAUTHORIZED),
        ({"oauth_signature": "AAAA"}, UNAUTHORIZED),
        ({"url": f"{BASE}/account"}, UNAUTHORIZED),
        ({"url": "http://mdmenrollment.apple.com/session"}, UNAUTHORIZED),
    ],
)
def test_a_wrong_authorization_is_refused_in_apples_words(
    bench: Bench, change: dict[str, Any], answer: tuple[int, str]
) -> None:
    client = bench.client
    assert client.login(client.authorization(**change)) == answer
    assert client.session is None and client.login()[0] == 200


def test_a_request_without_authorization_is_400(bench: Bench) -> None:
    assert result(bench.handle("GET", "/session", headers={"User-Agent": "bench"})) == BAD


def test_a_host_header_that_is_none_is_400(bench: Bench) -> None:
    headers = {"User-Agent": "bench", "Authorization": bench.client.authorization()}
    for base in ("https://host:port", "https://[host", "https://"):
        assert bench.handle("GET", "/session", headers=headers, base=base).status in (400, 401)


def test_a_nonce_is_good_once(bench: Bench) -> None:
    header = bench.client.authorization()
    assert bench.client.login(header)[0] == 200
    assert bench.client.login(header) == UNAUTHORIZED
    assert bench.whys() == ["the nonce was used before"]


def test_a_nonce_of_a_refused_request_is_not_used_up(bench: Bench) -> None:
    client = bench.client
    assert client.login(client.authorization(oauth_nonce="n", oauth_signature="AAAA")) == UNAUTHORIZED
    assert client.login(client.authorization(oauth_nonce="n"))[0] == 200


def test_a_nonce_may_come_again_at_another_time(bench: Bench) -> None:
    assert bench.client.login(bench.client.authorization(oauth_nonce="n"))[0] == 200
    bench.clock.advance(SECOND)
    assert bench.client.login(bench.client.authorization(oauth_nonce="n"))[0] == 200


def test_nonces_are_not_kept_for_ever(bench: Bench) -> None:
    for _ in range(200):
        bench.clock.advance(MINUTE)
        assert bench.client.login()[0] == 200
    assert len(bench.service._login._nonces) <= 20


@pytest.mark.parametrize("off_s", [-3600, -301, 301, 3600])
def test_a_clock_that_is_off_is_refused(bench: Bench, off_s: int) -> None:
    at_s = bench.clock.now_ms() // 1000 + off_s
    assert bench.client.login(bench.client.authorization(oauth_timestamp=str(at_s))) == UNAUTHORIZED
    assert "clock is wrong" in bench.whys()[0]


@pytest.mark.parametrize("off_s", [-300, 300])
def test_five_minutes_off_are_allowed(bench: Bench, off_s: int) -> None:
    at_s = bench.clock.now_ms() // 1000 + off_s
    assert bench.client.login(bench.client.authorization(oauth_timestamp=str(at_s)))[0] == 200


def test_timestamps_and_nonces_can_be_left_unjudged() -> None:
    bench = Bench(oauth_window_ms=None, nonce_once=False)
    header = bench.client.authorization(oauth_timestamp="1")
    assert [bench.client.login(header)[0] for _ in range(2)] == [200, 200]


def test_behind_a_front_that_speaks_tls_the_scheme_of_the_client_counts() -> None:
    bench = Bench(external_scheme="https")
    headers = {"User-Agent": "bench", "Authorization": bench.client.authorization()}
    assert bench.handle("GET", "/session", headers=headers, base=BASE.replace("https", "http")).status == 200


# server tokens


def test_a_server_token_lasts_a_year(bench: Bench) -> None:
    bench.clock.advance(365 * DAY - 1)
    assert bench.client.login()[0] == 200
    bench.clock.advance(1)
    assert bench.client.login() == UNAUTHORIZED


def test_a_renewed_token_ends_the_one_before_it(bench: Bench) -> None:
    old, new = bench.client, bench.client_of(NAME)
    assert new.token["consumer_key"] == old.token["consumer_key"]
    assert old.login() == (403, "token_expiredForbidden")
    assert new.login()[0] == 200


def test_a_replaced_token_can_be_given_time() -> None:
    bench = Bench(replaced_token_life_ms=HOUR)
    old = bench.client
    bench.client_of(NAME)
    assert old.login()[0] == 200
    bench.clock.advance(HOUR)
    assert old.login()[0] == 403


def test_a_removed_server_is_denied(bench: Bench) -> None:
    bench.client.login()
    bench.portal.remove_server(NAME)
    assert bench.client.call("GET", "/account") == (403, "ACCESS_DENIED")
    assert bench.client.login() == (403, "ACCESS_DENIED")


def test_new_terms_stop_everything_until_somebody_accepts_them(bench: Bench) -> None:
    bench.client.login()
    bench.portal.new_terms()
    assert bench.client.call("GET", "/account") == (403, "T_C_NOT_SIGNED")
    assert bench.client.login() == (403, "T_C_NOT_SIGNED")
    bench.portal.accept_terms()
    assert bench.client.call("GET", "/account")[0] == 200


# session tokens


def test_a_session_ends(bench: Bench) -> None:
    bench.client.adopts = False
    bench.client.login()
    bench.clock.advance(5 * MINUTE - 1)
    assert bench.client.call("GET", "/account")[0] == 200
    bench.clock.advance(1)
    assert bench.client.call("GET", "/account") == (401, "UNAUTHORIZED")
    assert bench.client.login()[0] == 200


@pytest.mark.parametrize("token", ["", "1767225600000OAA", "\u00e9"])
def test_a_token_that_was_never_handed_out_is_forbidden(bench: Bench, token: str) -> None:
    headers = {"User-Agent": "bench", "X-ADM-Auth-Session": token}
    assert result(bench.handle("GET", "/account", headers=headers)) == (403, "FORBIDDEN")


def test_a_client_that_takes_new_tokens_stays_in(bench: Bench) -> None:
    for _ in range(20):
        assert bench.client.call("GET", "/account")[0] == 200
        bench.clock.advance(2 * MINUTE)
    assert bench.log.count("dep.session") == 1


def test_a_client_that_renews_every_three_minutes_and_ignores_new_tokens_stays_in(bench: Bench) -> None:
    bench.client.adopts = False
    for _ in range(20):
        assert bench.client.login()[0] == 200
        for _ in range(3):
            assert bench.client.call("GET", "/account")[0] == 200
            bench.clock.advance(MINUTE)


def test_each_answer_can_bring_a_new_token_and_the_old_one_ends_after_its_grace() -> None:
    bench = Bench(rotate_session_after_ms=0, session_grace_ms=10 * SECOND)
    client = bench.client
    first = client.answer("GET", "/account")
    second = client.answer("GET", "/account")
    tokens = [header(answer, "X-ADM-Auth-Session") for answer in (first, second)]
    assert None not in tokens and tokens[0] != tokens[1]
    client.adopts, client.session = False, tokens[0]
    assert client.call("GET", "/account")[0] == 200
    bench.clock.advance(10 * SECOND)
    assert client.call("GET", "/account") == (401, "UNAUTHORIZED")


def test_concurrent_calls_with_one_token_get_the_same_new_one() -> None:
    bench = Bench(rotate_session_after_ms=0)
    bench.client.adopts = False
    tokens = {header(bench.client.answer("GET", "/account"), "X-ADM-Auth-Session") for _ in range(3)}
    assert len(tokens) == 1


def test_refusals_bring_a_new_token_too() -> None:
    bench = Bench(rotate_session_after_ms=0)
    answer = bench.client.answer("POST", "/devices", {})
    assert answer.status == 400 and header(answer, "X-ADM-Auth-Session") is not None


def test_no_token_is_brought_where_that_is_switched_off() -> None:
    bench = Bench(rotate_session_after_ms=None)
    bench.client.login()
    bench.clock.advance(4 * MINUTE)
    assert header(bench.client.answer("GET", "/account"), "X-ADM-Auth-Session") is None


def test_several_sessions_are_open_at_once(bench: Bench) -> None:
    clients = [Client(bench, bench.client.token), Client(bench, bench.client.token)]
    clients[1]._nonce = 100
    assert [client.call("GET", "/account")[0] for client in clients] == [200, 200]


def test_sessions_can_be_ended_and_forgotten(bench: Bench) -> None:
    bench.client.login()
    bench.service.expire_sessions(NAME)
    assert bench.client.call("GET", "/account") == (401, "UNAUTHORIZED")
    bench.client.login()
    bench.service.forget_sessions()
    assert bench.client.call("GET", "/account") == (403, "FORBIDDEN")


def test_expired_sessions_are_not_kept_for_ever() -> None:
    bench = Bench(rotate_session_after_ms=0)
    bench.client.login()
    for _ in range(40):
        bench.clock.advance(HOUR)
        bench.client.login()
        for _ in range(100):
            bench.client.call("GET", "/account")
    assert len(bench.service.sessions._sessions) <= 3 * 1024


def test_the_event_of_a_session_says_who_came_and_gives_no_secret_away(bench: Bench) -> None:
    bench.client.login(**{"X-Server-Protocol-Version": "7"})
    (event,) = bench.log.of("dep.session")
    assert (event.data["server"], event.data["user_agent"], event.data["version"]) == (NAME, "bench", "7")
    everything = repr(bench.log.events)
    secrets = (bench.client.token["consumer_secret"], bench.client.token["access_secret"], bench.client.session)
    assert not any(secret in everything for secret in secrets if secret)

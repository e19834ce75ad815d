"""Every refusal that Apple documents: status and body to the letter, a reason for people, and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from mdmsim.clock import DAY, MINUTE, SECOND
from mdmsim.fakedep.errors import REASONS, DepError
from tests.fakedep.support import NAME, PROFILE, Bench, header, result

URL = "https://mdm.acme.example/"

CASES: list[tuple[str, str, Any, int, str]] = [
    # fetch and sync
    ("POST", "/server/devices", b"", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b"[]", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b"{", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b'{"limit":"10"}', 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b'{"limit":0}', 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b'{"limit":true}', 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b'{"cursor":5}', 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b"\xff\xfe", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", b"[" * 100_000, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/server/devices", {"cursor": "nonsense"}, 400, "INVALID_CURSOR"),
    ("POST", "/server/devices", {"cursor": "x" * 1001}, 400, "INVALID_CURSOR"),
    ("POST", "/devices/sync", b"x", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/devices/sync", {}, 400, "CURSOR_REQUIRED"),
    ("POST", "/devices/sync", {"cursor": None}, 400, "CURSOR_REQUIRED"),
    ("POST", "/devices/sync", {"cursor": "bm9uc2Vuc2U"}, 400, "INVALID_CURSOR"),
    # details, disown, Activation Lock, replacements
    ("POST", "/devices", b"null", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/devices", {}, 400, "DEVICE_ID_REQUIRED"),
    ("POST", "/devices", {"devices": []}, 400, "DEVICE_ID_REQUIRED"),
    ("POST", "/devices", {"devices": "SERIAL1"}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/devices", {"devices": [1]}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/devices/disown", {}, 400, "DEVICE_ID_REQUIRED"),
    ("POST", "/devices/disown", b"{", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/device/activationlock", {}, 400, "DEVICE_ID_REQUIRED"),
    ("POST", "/device/activationlock", b"", 400, "MALFORMED_REQUEST_BODY"),
    ("GET", "/device/replacementDetails", None, 400, "DEVICE_ID_REQUIRED"),
    ("GET", "/device/replacementDetails?device=SERIAL1", None, 400, "DEVICE_NOT_FOUND"),
    # profiles
    ("POST", "/profile", b"{", 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/profile", {"url": URL}, 400, "CONFIG_NAME_REQUIRED"),
    ("POST", "/profile", {"url": URL, "profile_name": ""}, 400, "CONFIG_NAME_INVALID"),
    ("POST", "/profile", {"url": URL, "profile_name": "n" * 126}, 400, "CONFIG_NAME_INVALID"),
    ("POST", "/profile", {"url": URL, "profile_name": 1}, 400, "CONFIG_NAME_INVALID"),
    ("POST", "/profile", {"profile_name": "n"}, 400, "CONFIG_URL_REQUIRED"),
    # An empty URL counts as a missing one (micromdm issue 596).
    ("POST", "/profile", {"profile_name": "n", "url": ""}, 400, "CONFIG_URL_REQUIRED"),
    ("POST", "/profile", {"profile_name": "n", "url": "mdm.acme.example"}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {"profile_name": "n", "url": "https://a b/"}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {"profile_name": "n", "url": "https://[::"}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {"profile_name": "n", "url": URL + "x" * 2000}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {"profile_name": "n", "url": URL + "\u00e9" * 400}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {**PROFILE, "configuration_web_url": "ftp://x"}, 400, "CONFIG_URL_INVALID"),
    ("POST", "/profile", {**PROFILE, "department": "d" * 126}, 400, "DEPARTMENT_INVALID"),
    ("POST", "/profile", {**PROFILE, "support_phone_number": ""}, 400, "SUPPORT_PHONE_INVALID"),
    ("POST", "/profile", {**PROFILE, "support_phone_number": "1" * 51}, 400, "SUPPORT_PHONE_INVALID"),
    ("POST", "/profile", {**PROFILE, "support_email_address": "e" * 251}, 400, "SUPPORT_EMAIL_INVALID"),
    ("POST", "/profile", {**PROFILE, "org_magic": "m" * 257}, 400, "MAGIC_INVALID"),
    ("POST", "/profile", {**PROFILE, "is_mdm_removable": False}, 400, "FLAGS_INVALID"),
    ("POST", "/profile", {**PROFILE, "is_mdm_removable": False, "is_supervised": False}, 400, "FLAGS_INVALID"),
    ("POST", "/profile", {**PROFILE, "is_supervised": "yes"}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/profile", {**PROFILE, "skip_setup_items": "Siri"}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/profile", {**PROFILE, "anchor_certs": [1]}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/profile", {**PROFILE, "language": "English"}, 400, "LOCALE_INVALID"),
    ("POST", "/profile", {**PROFILE, "region": "usa"}, 400, "LOCALE_INVALID"),
    ("POST", "/profile", {**PROFILE, "devices": "SERIAL1"}, 400, "MALFORMED_REQUEST_BODY"),
    ("GET", "/profile", None, 400, "PROFILE_UUID_REQUIRED"),
    ("GET", "/profile?profile_uuid=", None, 400, "PROFILE_UUID_REQUIRED"),
    ("GET", "/profile?profile_uuid=0123456789ABCDEF0123456789ABCDEF", None, 404, "NOT_FOUND"),
    ("PUT", "/profile/devices", {"devices": ["SERIAL1"]}, 400, "PROFILE_UUID_REQUIRED"),
    ("PUT", "/profile/devices", {"profile_uuid": "AB"}, 400, "DEVICE_ID_REQUIRED"),
    ("PUT", "/profile/devices", {"profile_uuid": "AB", "devices": ["SERIAL1"]}, 404, "NOT_FOUND"),
    ("PUT", "/profile/devices", {"profile_uuid": 7, "devices": ["SERIAL1"]}, 400, "MALFORMED_REQUEST_BODY"),
    ("POST", "/profile/devices", {"profile_uuid": "AB", "devices": ["SERIAL1"]}, 404, "NOT_FOUND"),
    ("DELETE", "/profile/devices", {}, 400, "DEVICE_ID_REQUIRED"),
    ("DELETE", "/profile/devices", b"", 400, "MALFORMED_REQUEST_BODY"),
    # account-driven enrollment
    ("POST", "/account-driven-enrollment/profile", {}, 400, "MDM_SERVICE_DISCOVERY_URL_REQUIRED"),
    (
        "POST",
        "/account-driven-enrollment/profile",
        {"mdm_service_discovery_url": "http://a.example/"},
        400,
        "MDM_SERVICE_DISCOVERY_URL_NOT_VALID",
    ),
    (
        "POST",
        "/account-driven-enrollment/profile",
        {"mdm_service_discovery_url": "https://[x"},
        400,
        "MDM_SERVICE_DISCOVERY_URL_NOT_VALID",
    ),
    ("GET", "/account-driven-enrollment/profile", None, 404, "NOT_FOUND"),
    # methods and paths
    ("POST", "/account", {}, 405, ""),
    ("GET", "/server/devices", None, 405, ""),
    ("PATCH", "/profile", {}, 405, ""),
    ("HEAD", "/account", None, 405, ""),
    ("GET", "/", None, 404, "NOT_FOUND"),
    ("GET", "/account/", None, 404, "NOT_FOUND"),
    ("POST", "/roster/class", {}, 404, "NOT_FOUND"),
]


@pytest.mark.parametrize(("method", "path", "body", "status", "word"), CASES)
def test_a_request_that_apple_refuses_is_refused_and_changes_nothing(
    bench: Bench, method: str, path: str, body: Any, status: int, word: str
) -> None:
    bench.order("SERIAL1")
    bench.client.login()
    before = bench.service.device("SERIAL1")
    raw = body if isinstance(body, bytes) else None
    answer = bench.client.answer(method, path, None if raw is not None else body, raw=raw)
    assert (answer.status, answer.body.decode()) == (status, word)
    assert bench.service.device("SERIAL1") == before
    assert [(each.data["status"], each.data["reason"]) for each in bench.log.of("dep.refused")] == [(status, word)]
    assert bench.whys()[0]


def test_a_refusal_is_bare_text_without_a_line_end(bench: Bench) -> None:
    answer = bench.client.answer("POST", "/devices/sync", {})
    assert answer.body == b"CURSOR_REQUIRED"
    assert header(answer, "content-type") == "text/plain;charset=UTF-8"


def test_refusals_can_be_quoted_as_apples_old_simulator_did() -> None:
    bench = Bench(quoted_errors=True)
    assert bench.client.answer("POST", "/devices/sync", {}).body == b'"CURSOR_REQUIRED"'


def test_a_wrong_method_is_told_the_right_ones(bench: Bench) -> None:
    answer = bench.client.answer("PATCH", "/profile/devices", {})
    assert (answer.status, header(answer, "allow")) == (405, "POST, PUT, DELETE")


def test_session_has_one_method(bench: Bench) -> None:
    assert result(bench.handle("POST", "/session", headers={"User-Agent": "x"})) == (405, "")


@pytest.mark.parametrize("path", ["/session", "/account", "/devices/sync"])
@pytest.mark.parametrize("agent", [None, "", "   "])
def test_a_request_without_user_agent_is_400_everywhere(bench: Bench, path: str, agent: str | None) -> None:
    method = "POST" if "sync" in path else "GET"
    headers = {} if agent is None else {"User-Agent": agent}
    assert result(bench.handle(method, path, headers=headers)) == (400, "USER_AGENT_MISSING")


@pytest.mark.parametrize("path", ["/session", "/account"])
def test_a_user_agent_can_be_denied_everywhere(path: str) -> None:
    bench = Bench(deny_user_agent="^nanodep-godep/")
    for agent, word in (("nanodep-godep/0", "USER_AGENT_INVALID"), ("nanodep-g-o-dep/0", None)):
        _, body = result(bench.handle("GET", path, headers={"User-Agent": agent}))
        assert (body == "USER_AGENT_INVALID") == (word is not None)


def test_an_excessive_limit_is_served_as_the_most_or_refused() -> None:
    for excessive, wanted in (("clamp", 200), ("refuse", 400)):
        bench = Bench(maximum_limit=50, excessive_limit=excessive)
        bench.order(*(f"S{number}" for number in range(60)))
        status, body = bench.client.call("POST", "/server/devices", {"limit": 51})
        assert status == wanted
        assert status == 400 or len(body["devices"]) == 50


def test_a_cursor_of_another_server_is_invalid(bench: Bench) -> None:
    bench.portal.add_server("other")
    _, cursor = bench.client_of("other").fetch_all()
    for path in ("/server/devices", "/devices/sync"):
        assert bench.client.call("POST", path, {"cursor": cursor}) == (400, "INVALID_CURSOR")


def test_a_cursor_of_another_fake_is_invalid(bench: Bench) -> None:
    other = Bench()
    assert other.client.fetch_all()[1] == bench.client.fetch_all()[1], "same seed, same cursor"
    foreign = Bench(cursor_length=200)
    _, cursor = foreign.client.fetch_all()
    assert 200 <= len(cursor) <= 1000
    altered = cursor[:6] + ("A" if cursor[6] != "A" else "B") + cursor[7:]
    assert foreign.client.call("POST", "/devices/sync", {"cursor": altered}) == (400, "INVALID_CURSOR")


def test_a_finished_fetch_is_exhausted_and_so_is_a_cursor_of_sync(bench: Bench) -> None:
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    assert bench.client.call("POST", "/server/devices", {"cursor": cursor}) == (400, "EXHAUSTED_CURSOR")
    _, later = bench.client.sync_all(cursor)
    bench.clock.advance(8 * DAY)
    bench.client.login()
    assert bench.client.call("POST", "/server/devices", {"cursor": later}) == (400, "EXHAUSTED_CURSOR")


def test_a_finished_fetch_can_be_answered_with_an_empty_page() -> None:
    bench = Bench(finished_fetch="empty")
    bench.order("S1")
    _, cursor = bench.client.fetch_all()
    page = bench.client.post("/server/devices", {"cursor": cursor})
    assert (page["devices"], page["more_to_follow"], page["cursor"]) == ([], False, cursor)


def test_sync_from_an_unfinished_fetch_is_invalid_unless_switched_on() -> None:
    for switch, wanted in (("INVALID_CURSOR", 400), ("accept", 200)):
        bench = Bench(unfinished_sync=switch)
        bench.order("S1", "S2")
        page = bench.client.post("/server/devices", {"limit": 1})
        assert page["more_to_follow"]
        assert bench.client.call("POST", "/devices/sync", {"cursor": page["cursor"]})[0] == wanted


@pytest.mark.parametrize("path", ["/devices/sync", "/server/devices"])
def test_a_cursor_lasts_seven_days(bench: Bench, path: str) -> None:
    bench.order("S1", "S2")
    limit = 1 if path == "/server/devices" else 10
    page = bench.client.post("/server/devices", {"limit": limit})
    bench.clock.advance(7 * DAY)
    bench.client.login()
    assert bench.client.call("POST", path, {"cursor": page["cursor"]})[0] == 200
    bench.clock.advance(1)
    assert bench.client.call("POST", path, {"cursor": page["cursor"]}) == (400, "EXPIRED_CURSOR")


def test_an_old_simulators_word_for_an_unknown_profile_can_be_had() -> None:
    bench = Bench(unknown_profile="PROFILE_NOT_FOUND")
    assert bench.client.call("GET", "/profile?profile_uuid=AB") == (400, "PROFILE_NOT_FOUND")


def test_empty_texts_are_taken_with_a_warning_or_refused() -> None:
    for key, word in (("org_magic", "MAGIC_INVALID"), ("department", "DEPARTMENT_INVALID")):
        lenient, strict = Bench(), Bench(refuse_empty_strings=True)
        lenient.client.define(**{key: ""})
        assert key in lenient.log.of("dep.profile-defined")[0].data["warnings"][0]
        assert strict.client.call("POST", "/profile", {**PROFILE, key: ""}) == (400, word)


def test_too_many_requests_are_told_how_long_to_wait() -> None:
    bench = Bench(requests_per_minute=3)
    assert [bench.client.call("GET", "/account")[0] for _ in range(3)] == [200, 200, 429]
    bench.clock.advance(10 * SECOND)
    answer = bench.client.answer("GET", "/account")
    assert (answer.body, header(answer, "retry-after")) == (b"TOO_MANY_REQUESTS", "50")
    bench.clock.advance(MINUTE)
    assert bench.client.call("GET", "/account")[0] == 200


def test_organisations_of_the_old_programs_have_no_service_discovery(bench: Bench) -> None:
    bench.portal.add_organisation("Old", org_version="v1")
    bench.portal.add_server("old", organisation="Old")
    client = bench.client_of("old")
    for method, body in (("POST", {"mdm_service_discovery_url": URL}), ("GET", None), ("DELETE", None)):
        found = client.call(method, "/account-driven-enrollment/profile", body)
        assert found == (400, "ORG_NOT_SUPPORTED")


def test_an_organisation_without_appleseed_gets_no_beta_tokens(bench: Bench) -> None:
    assert bench.client.call("GET", "/os-beta-enrollment/tokens") == (200, {"betaEnrollmentTokens": []})
    bench.portal.organisation().beta_tokens = None
    assert bench.client.call("GET", "/os-beta-enrollment/tokens") == (403, "APPLE_SEED_FOR_IT_TURNED_OFF")


def test_no_refusal_but_forbidden_contains_that_word() -> None:
    """Clients look for it as a part of the body, and open a session where they find it."""
    assert [word for word in REASONS if "FORBIDDEN" in word] == ["FORBIDDEN"]


def test_a_refusal_with_an_unknown_word_cannot_be_planned() -> None:
    with pytest.raises(ValueError, match="TEAPOT"):
        DepError.of("TEAPOT")


def test_a_url_that_cannot_be_read_is_400(bench: Bench) -> None:
    assert bench.handle("GET", "/account", base="https://[").status == 400


def test_the_event_of_a_refusal_names_the_server(bench: Bench) -> None:
    bench.client.call("POST", "/devices", {})
    (event,) = bench.log.of("dep.refused")
    assert (event.data["server"], event.data["endpoint"], event.data["method"]) == (NAME, "/devices", "POST")

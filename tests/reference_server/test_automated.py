"""Automated enrollment: MachineInfo and who signed it, the devices Apple names, demands to update, and logins."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.clock import DAY, ManualClock
from mdmsim.pki.cms import sign, verify
from mdmsim.protocol.content_type import is_profile
from mdmsim.protocol.errors import Malformed
from mdmsim.protocol.profile import Profile, parse_profile
from reference_server.enrollment.login import LOGIN_MS
from reference_server.enrollment.machine_info import MachineInfo, read_machine_info
from reference_server.enrollment.os_versions import platform_of, update_needed, version_key
from reference_server.errors import Refusal
from tests.reference_server.apple import AppleServer, factory_chain, factory_identity, machine_info, signed_info
from tests.reference_server.kit import Answer, fresh_identity

pytestmark = pytest.mark.anyio

USERS = {"ada": "correct horse", "bob": "päss wörd"}
SERIAL = "SERIAL1"


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def _apple(**changes: Any) -> AppleServer:
    server = AppleServer(**changes)
    await server.connect_dep(SERIAL)
    await server.synced()
    return server


@pytest.fixture
def bare() -> Iterator[AppleServer]:
    server = AppleServer()
    yield server
    server.app.close()


async def _post(server: AppleServer, body: bytes, **headers: str) -> Answer:
    given_headers = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return await server.request(
        "POST", "/enroll/automated", body, headers=(("Content-Type", "application/pkcs7-signature"), *given_headers)
    )


def _profile(answer: Answer) -> Profile:
    assert answer.status == 200, answer.body
    assert is_profile(answer.headers["content-type"])
    return parse_profile(verify(answer.body).content)


# ---- who gets a profile


async def test_a_device_that_apple_names_gets_a_profile_that_cannot_be_removed() -> None:
    server = await _apple()
    profile = _profile(await _post(server, signed_info()))
    assert profile.removal_disallowed is True
    assert server.seen.of("server.automated")[-1].data == {
        "serial_number": SERIAL,
        "udid": "UDID-1",
        "status": 200,
        "why": None,
    }


async def test_a_removable_enrollment_has_a_removable_profile() -> None:
    server = await _apple(dep_profile={"is_mdm_removable": True})
    assert not _profile(await _post(server, signed_info())).removal_disallowed


async def test_the_profile_a_device_was_assigned_counts_and_not_the_newest() -> None:
    server = await _apple()
    await server.api("PUT", "/dep/abm/profiles/default", {"keys": {"is_mdm_removable": True}})
    assert _profile(await _post(server, signed_info())).removal_disallowed is True
    await server.synced()
    assert not _profile(await _post(server, signed_info())).removal_disallowed


async def test_a_device_that_apple_does_not_name_is_told_so() -> None:
    server = await _apple()
    answer = await _post(server, signed_info(machine_info("STRANGER")))
    assert (answer.status, answer.headers["content-type"]) == (403, "application/json")
    assert answer.json()["code"] == "com.apple.unrecognized.device"
    assert "STRANGER" in server.log[-1]["why"]


async def test_a_device_that_apple_took_away_is_told_so() -> None:
    server = await _apple()
    server.dep.portal.unassign([SERIAL])
    await server.synced()
    assert (await _post(server, signed_info())).json()["code"] == "com.apple.unrecognized.device"


# ---- who signed


@pytest.mark.parametrize("chain", [(), factory_chain()[:1], factory_chain()], ids=["leaf", "leaf+issuer", "whole"])
async def test_the_chain_may_be_sent_along_or_not(chain: tuple[bytes, ...]) -> None:
    server = await _apple()
    _profile(await _post(server, signed_info(chain=chain)))


@pytest.mark.parametrize(
    "form",
    [
        {"digest": "sha1", "attributes": False},
        {"digest": "sha256", "attributes": True},
        {"digest": "sha256", "attributes": False, "form": "ber"},
    ],
    ids=lambda form: f"{form['digest']}-{form['attributes']}",
)
async def test_signatures_as_devices_made_them_over_the_years_are_taken(form: dict[str, Any]) -> None:
    server = await _apple()
    _profile(await _post(server, signed_info(**form)))


async def test_a_device_ca_that_expired_is_no_matter() -> None:
    server = await _apple()
    server.manual.advance(30 * 365 * DAY)
    # The list is known, whatever Apple thinks of the token by now.
    _profile(await _post(server, signed_info()))


async def test_a_stranger_is_refused_and_the_log_says_who() -> None:
    server = await _apple()
    answer = await _post(server, signed_info(identity=fresh_identity("stranger", ca="Nobody's CA"), chain=()))
    assert answer.status == 403
    assert "not trusted" in server.log[-1]["why"] and "Nobody's CA" in server.log[-1]["why"]


async def test_the_mdm_identity_of_a_device_is_no_factory_identity() -> None:
    server = await _apple()
    assert (await _post(server, signed_info(identity=fresh_identity(), chain=()))).status == 403


async def test_without_a_device_ca_nobody_enrols() -> None:
    server = await _apple(automated_anchors=())
    answer = await _post(server, signed_info())
    assert (answer.status, "automated_anchors" in server.log[-1]["why"]) == (403, True)


async def test_content_that_was_changed_is_refused() -> None:
    server = await _apple()
    body = signed_info().replace(b"UDID-1", b"UDID-2")
    answer = await _post(server, body)
    assert (answer.status, "signed" in server.log[-1]["why"]) == (403, True)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        machine_info(),
        signed_info()[:-40],
        signed_info()[:400],
        signed_info(b"not a plist"),
        signed_info(machine_info(SERIAL=None)),
        signed_info(machine_info(UDID=None)),
        signed_info(machine_info(PRODUCT=None)),
        signed_info(machine_info(VERSION=7)),
        signed_info(machine_info(SERIAL="S" * 500)),
        signed_info(machine_info(SERIAL="S\n")),
        sign(machine_info(), factory_identity(), detached=True),
    ],
    ids=range(13),
)
async def test_what_is_no_machine_info_is_400(body: bytes) -> None:
    server = await _apple()
    answer = await _post(server, body)
    assert (answer.status, server.log[-1]["why"]) == (400, answer.body.decode().strip())
    assert "\n" not in answer.body.decode().strip()


async def test_a_body_without_end_is_413(bare: AppleServer) -> None:
    assert (await bare.request("POST", "/enroll/automated", declare=10_000_000)).status == 413


async def test_only_a_post_is_answered(bare: AppleServer) -> None:
    assert (await bare.request("GET", "/enroll/automated")).status == 405


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_sent_is_a_refusal_or_machine_info(data: st.DataObject) -> None:
    body = bytearray(signed_info())
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(body)))
    try:
        info = read_machine_info(bytes(body[:cut]), factory_chain(), at_ms=ManualClock().now_ms())
    except Refusal as refusal:
        assert refusal.status in (400, 403)
    else:
        assert info.serial == SERIAL, "a signature that holds vouches for what was signed"


# ---- demands to update


@pytest.mark.parametrize(
    ("product", "version", "supplement", "needed"),
    [
        ("iPhone15,4", "18.0", None, "18.1"),
        ("iPhone15,4", "18.1", None, None),
        ("iPhone15,4", "18.1.0", None, None),
        ("iPhone15,4", "18.1.1", None, None),
        ("iPhone15,4", "17.7.2", "(a)", "18.1"),
        ("iPad14,1", "17.0", None, None),
        ("Mac14,2", "14.6", None, "14.6.1 (a)"),
        ("Mac14,2", "14.6.1", None, "14.6.1 (a)"),
        ("Mac14,2", "14.6.1", "(a)", None),
        ("Mac14,2", "14.6.1", "(b)", None),
        ("VirtualMac2,1", "14.7", None, None),
        ("AppleTV14,1", "17.0", None, None),
        ("iPhone15,4", None, None, None),
        ("iPhone15,4", "unknown", None, None),
    ],
)
def test_versions_are_compared_as_versions(
    product: str, version: str | None, supplement: str | None, needed: str | None
) -> None:
    info = MachineInfo("U", "S", product, "22A1", version, supplement, True)
    assert update_needed(info, {"ios": "18.1", "macos": "14.6.1 (a)"}) == needed


@given(st.lists(st.integers(0, 99), min_size=1, max_size=3))
def test_trailing_zeros_make_no_version(parts: list[int]) -> None:
    text = ".".join(map(str, parts))
    assert version_key(text) == version_key(f"{text}.0")


@pytest.mark.parametrize(
    ("product", "platform"),
    [("MacBookPro18,1", "macos"), ("iMac21,1", "macos"), ("iPod9,1", "ios"), ("Watch6,1", None), ("Reality1,1", None)],
)
def test_products_have_platforms(product: str, platform: str | None) -> None:
    assert platform_of(product) == platform


async def test_a_device_below_the_minimum_is_told_to_update() -> None:
    server = await _apple(automated_minimum_os={"ios": "18.3"})
    answer = await _post(server, signed_info())
    assert answer.status == 403
    assert (answer.json()["code"], answer.json()["details"]) == (
        "com.apple.softwareupdate.required",
        {"OSVersion": "18.3"},
    )
    updated = machine_info(OS_VERSION="18.3", VERSION="22E1")
    _profile(await _post(server, signed_info(updated)))


@pytest.mark.parametrize("value", [None, False])
async def test_a_device_that_cannot_be_told_to_update_enrols_as_it_is(value: bool | None) -> None:
    server = await _apple(automated_minimum_os={"ios": "18.3"})
    _profile(await _post(server, signed_info(machine_info(MDM_CAN_REQUEST_SOFTWARE_UPDATE=value))))


# ---- logins over HTTP


def _basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


async def test_basic_asks_and_is_answered() -> None:
    server = await _apple(automated_login="basic", users=USERS)
    asked = await _post(server, signed_info())
    assert (asked.status, asked.headers["www-authenticate"]) == (
        401,
        'Basic realm="mdmsim reference server", charset="UTF-8"',
    )
    for name, password in USERS.items():
        _profile(await _post(server, signed_info(), Authorization=_basic(name, password)))


@pytest.mark.parametrize(
    "header",
    [_basic("ada", "wrong"), _basic("ada", ""), _basic("eve", ""), "Basic ?", "Basic", "Digest x", "Basic YQ=="],
)
async def test_a_wrong_password_asks_again(header: str) -> None:
    server = await _apple(automated_login="basic", users=USERS)
    answer = await _post(server, signed_info(), Authorization=header)
    assert (answer.status, "www-authenticate" in answer.headers) == (401, True)
    assert not server.app._storage.execute("SELECT 1 FROM automated").fetchall()


async def test_a_stranger_is_not_asked_for_a_password() -> None:
    server = await _apple(automated_login="basic", users=USERS)
    answer = await _post(server, signed_info(machine_info("STRANGER")), Authorization=_basic("ada", "correct horse"))
    assert (answer.status, "www-authenticate" in answer.headers) == (403, False)


async def _with_httpx(server: AppleServer, auth: httpx.Auth) -> httpx.Response:
    transport = httpx.ASGITransport(server.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://mdm.example.com") as client:
        return await client.post("/enroll/automated?device=1", content=signed_info(), auth=auth)


async def test_digest_is_what_another_client_takes_it_for() -> None:
    server = await _apple(automated_login="digest", users=USERS)
    assert (await _with_httpx(server, httpx.DigestAuth("ada", "correct horse"))).status_code == 200
    assert (await _with_httpx(server, httpx.DigestAuth("ada", "wrong"))).status_code == 401
    assert (await _with_httpx(server, httpx.DigestAuth("eve", "correct horse"))).status_code == 401


async def test_a_digest_that_is_too_old_is_stale_and_not_wrong() -> None:
    server = await _apple(automated_login="digest", users=USERS)
    seen: list[str] = []
    auth = httpx.DigestAuth("ada", "correct horse")
    transport = httpx.ASGITransport(server.app)
    async with httpx.AsyncClient(transport=transport, base_url="https://mdm.example.com") as client:
        first = await client.post("/enroll/automated", content=signed_info(), auth=auth)
        seen.append(first.request.headers["authorization"])
    server.manual.advance(LOGIN_MS + 1)
    answer = await _post(server, signed_info(), Authorization=seen[0])
    assert (answer.status, "stale=true" in answer.headers["www-authenticate"]) == (401, True)


async def _digest_for(server: AppleServer, path: str) -> str:
    """The Authorization header with which another client answers the server's challenge, for that path."""
    asked = await _post(server, signed_info())
    request = httpx.Request("POST", f"https://mdm.example.com{path}")
    flow = httpx.DigestAuth("ada", "correct horse").auth_flow(request)
    next(flow)
    challenge = {"www-authenticate": asked.headers["www-authenticate"]}
    return str(flow.send(httpx.Response(401, headers=challenge, request=request)).headers["authorization"])


async def test_a_digest_is_good_for_its_own_address_only() -> None:
    server = await _apple(automated_login="digest", users=USERS)
    here, elsewhere = await _digest_for(server, "/enroll/automated"), await _digest_for(server, "/other")
    statuses = [(await _post(server, signed_info(), Authorization=header)).status for header in (here, elsewhere)]
    assert statuses == [200, 401]


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (r' nonce="[^"]*"', ' nonce="1.0000000000000000.' + "0" * 64 + '"'),
        ("qop=auth", "qop=auth-int"),
        (r'username="ada"', 'username="bob"'),
        (r'realm="[^"]*"', 'realm="other"'),
        (r'response="[^"]*"', 'response="é"'),
        (r', cnonce="[^"]*"', ""),
        (".*", "Digest"),
        (".*", 'Digest username="ada'),
    ],
)
async def test_a_digest_that_was_changed_is_refused(part: str, instead: str) -> None:
    server = await _apple(automated_login="digest", users=USERS)
    header = re.sub(part, instead, await _digest_for(server, "/enroll/automated"), count=1)
    assert (await _post(server, signed_info(), Authorization=header)).status == 401


# ---- the web login


async def _web(**changes: Any) -> AppleServer:
    return await _apple(**({"automated_login": "web", "users": USERS} | changes))


async def _open(server: AppleServer, signed: bytes | None = None) -> Answer:
    header = base64.b64encode(signed or signed_info()).decode()
    return await server.request("GET", "/enroll/web", headers=(("x-apple-aspen-deviceinfo", header),))


async def _sign_in(server: AppleServer, page: Answer, name: str, password: str) -> Answer:
    cookie = page.headers["set-cookie"].partition(";")[0]
    body = httpx.QueryParams({"name": name, "password": password})
    headers = (("Cookie", cookie), ("Content-Type", "application/x-www-form-urlencoded"))
    return await server.request("POST", "/enroll/web", str(body).encode(), headers=headers)


async def test_a_user_signs_in_and_the_profile_comes() -> None:
    server = await _web()
    page = await _open(server)
    assert (page.status, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    for name, password in USERS.items():
        profile = _profile(await _sign_in(server, page, name, password))
        assert profile.removal_disallowed is True


async def test_the_cookie_is_for_this_page_over_tls_and_for_no_script() -> None:
    page = await _open(await _web())
    told = page.headers["set-cookie"].lower()
    assert all(word in told for word in ("secure", "httponly", "samesite=lax", "path=/enroll/web", "max-age=600"))


async def test_a_wrong_password_shows_the_page_again_and_keeps_the_name() -> None:
    server = await _web()
    page = await _open(server)
    again = await _sign_in(server, page, 'ada"><b>', "wrong")
    assert (again.status, 'role="alert"' in again.body.decode()) == (200, True)
    assert 'value="ada&quot;&gt;&lt;b&gt;"' in again.body.decode()
    assert "wrong" not in server.log[-1]["path"] and "correct horse" not in json.dumps(server.log)


async def test_the_page_is_made_for_keyboards_and_screen_readers() -> None:
    text = (await _open(await _web())).body.decode()
    fields = re.findall(r'<input id="(\w+)"', text)
    assert fields == re.findall(r'<label for="(\w+)"', text) == ["name", "password"]
    assert '<html lang="en">' in text and "<h1>" in text and "<main>" in text and "<script" not in text


async def test_the_page_stays_after_a_reload_without_the_header() -> None:
    server = await _web()
    cookie = (await _open(server)).headers["set-cookie"].partition(";")[0]
    assert (await server.request("GET", "/enroll/web", headers=(("Cookie", cookie),))).status == 200


async def test_a_login_survives_a_restart(tmp_path: Path) -> None:
    server = await _web(database=str(tmp_path / "x.sqlite"))
    page = await _open(server)
    server.app.close()
    server.start()
    _profile(await _sign_in(server, page, "ada", "correct horse"))


@pytest.mark.parametrize(
    "cookie", ["", "enrollment=x", "enrollment=e30.0", "enrollment=" + "A" * 3000, "enrollment=é.é"]
)
async def test_without_a_cookie_of_ours_nobody_signs_in(cookie: str) -> None:
    server = await _web()
    headers = (("Cookie", cookie),) if cookie else ()
    answer = await server.request("POST", "/enroll/web", b"name=ada&password=correct+horse", headers=headers)
    assert (answer.status, "<h1>" in answer.body.decode()) == (403, True)


async def test_a_login_takes_ten_minutes_at_most() -> None:
    server = await _web()
    page = await _open(server)
    server.manual.advance(LOGIN_MS + 1)
    assert (await _sign_in(server, page, "ada", "correct horse")).status == 403


async def test_a_device_that_was_taken_away_during_the_login_gets_no_profile() -> None:
    server = await _web()
    page = await _open(server)
    server.dep.portal.unassign([SERIAL])
    await server.synced()
    assert (await _sign_in(server, page, "ada", "correct horse")).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((), 400),
        ((("x-apple-aspen-deviceinfo", "?"),), 400),
        ((("x-apple-aspen-deviceinfo", ""),), 400),
        ((("x-apple-aspen-deviceinfo", base64.b64encode(b"hello").decode()),), 400),
        ((("x-apple-aspen-deviceinfo", base64.b64encode(signed_info()[:-40]).decode()),), 400),
        (
            (
                (
                    "x-apple-aspen-deviceinfo",
                    base64.b64encode(signed_info(identity=fresh_identity("x", ca="Nobody's CA"), chain=())).decode(),
                ),
            ),
            403,
        ),
    ],
    ids=["missing", "no base64", "empty", "no CMS", "truncated", "stranger"],
)
async def test_a_view_that_shows_no_good_machine_info_gets_a_page_that_says_so(
    headers: tuple[tuple[str, str], ...], status: int
) -> None:
    server = await _web()
    answer = await server.request("GET", "/enroll/web", headers=headers)
    assert (answer.status, "<h1>" in answer.body.decode(), "set-cookie" in answer.headers) == (status, True, False)


async def test_demands_come_before_the_login() -> None:
    server = await _web(automated_minimum_os={"ios": "26.0"})
    assert (await _open(server)).json()["code"] == "com.apple.softwareupdate.required"
    assert (await _open(server, signed_info(machine_info("STRANGER")))).json()[
        "code"
    ] == "com.apple.unrecognized.device"


async def test_who_must_sign_in_by_web_gets_nothing_at_the_other_address() -> None:
    assert (await _post(await _web(), signed_info())).status == 403


async def test_there_is_no_web_login_unless_it_is_set_up() -> None:
    server = await _apple()
    assert (await _open(server)).status == 404
    assert (await server.request("POST", "/enroll/web", b"name=a")).status == 404


def test_the_kit_signs_what_it_says() -> None:
    assert verify(signed_info()).content == machine_info()
    with pytest.raises(Malformed):
        verify(signed_info()[:-40])

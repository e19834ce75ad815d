"""Who may fetch an enrollment profile at /enroll, and how many may be outstanding."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from mdmsim.clock import DAY
from mdmsim.pki.cms import verify
from mdmsim.protocol.profile import Profile, parse_profile
from reference_server.settings import BadSettings, Settings
from tests.reference_server.kit import Answer, Server, settings
from tests.reference_server.scep_client import scep_identity, scep_payload

pytestmark = pytest.mark.anyio

TOKEN = "a-token-for-enrolling"
USERS = {"ada": "engine"}


@pytest.fixture
def make() -> Iterator[Any]:
    servers: list[Server] = []

    def make(access: str, **changes: Any) -> Server:
        servers.append(Server(enroll_access=access, **changes))
        return servers[-1]

    yield make
    for server in servers:
        server.app.close()


async def _fetch(server: Server, *headers: tuple[str, str], path: str = "/enroll", client: str = "192.0.2.7") -> Answer:
    return await server.request("GET", path, headers=headers, client=client)


def _basic(name: str, password: str) -> tuple[str, str]:
    return ("Authorization", f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}")


def _challenges(server: Server) -> int:
    (count,) = server.app._storage.execute("SELECT COUNT(*) FROM challenges").fetchone()
    return int(count)


def _profile(answer: Answer) -> Profile:
    assert answer.status == 200, answer.body
    return parse_profile(verify(answer.body).content)


# ---- this machine, which is the default


def test_only_this_machine_may_fetch_a_profile_unless_it_is_said_otherwise() -> None:
    (default,) = [field.default for field in msgspec.structs.fields(Settings) if field.name == "enroll_access"]
    assert default == "loopback"


@pytest.mark.parametrize("client", ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_fetches_a_profile(make: Any, client: str) -> None:
    assert (await _fetch(make("loopback"), client=client)).status == 200


@pytest.mark.parametrize("client", ["192.0.2.7", "::ffff:192.0.2.7", "2001:db8::1", "no address"])
async def test_a_stranger_fetches_no_profile_and_leaves_no_row(make: Any, client: str) -> None:
    server = make("loopback")
    answer = await _fetch(server, client=client)
    assert (answer.status, _challenges(server)) == (403, 0)
    assert b"this machine" in answer.body and b"enroll_access" in answer.body


@pytest.mark.parametrize(
    "header", [("X-Forwarded-For", "198.51.100.4"), ("Forwarded", "for=198.51.100.4"), ("Via", "1.1 proxy"),
               ("X-Forwarded-For", "127.0.0.1"), ("X-Real-IP", "127.0.0.1")]
)  # fmt: skip
async def test_who_comes_through_an_unknown_proxy_of_this_machine_is_a_stranger(
    make: Any, header: tuple[str, str]
) -> None:
    assert (await _fetch(make("loopback"), header, client="127.0.0.1")).status == 403


@pytest.mark.parametrize(
    ("forwarded", "status"),
    [
        ("127.0.0.1", 200),
        ("127.0.0.1, ::1", 200),
        ("198.51.100.4, 127.0.0.1", 403),  # a stranger behind two proxies, or a program here that made it up
        ("127.0.0.1, 198.51.100.4", 403),  # a stranger that made up the first
        ("nonsense", 403),
    ],
)
async def test_who_comes_through_trusted_proxies_is_here_if_every_address_is(
    make: Any, forwarded: str, status: int
) -> None:
    server = make("loopback", trusted_proxies=("127.0.0.1",), proxy_header="X-Client-Cert")
    answer = await _fetch(server, ("X-Forwarded-For", forwarded), client="127.0.0.1")
    assert answer.status == status


async def test_a_trusted_proxy_that_does_not_say_who_asks_is_no_loopback(make: Any) -> None:
    server = make("loopback", trusted_proxies=("127.0.0.1",), proxy_header="X-Client-Cert")
    assert (await _fetch(server, client="127.0.0.1")).status == 403


# ---- a token, a login


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        (f"/enroll?token={TOKEN}", (), 200),
        ("/enroll", (("Authorization", f"Bearer {TOKEN}"),), 200),
        ("/enroll", (), 401),
        ("/enroll?token=", (), 401),
        ("/enroll?token=wrong", (), 401),
        (f"/enroll?token={TOKEN}&token=wrong", (), 401),
        ("/enroll", (("Authorization", "Bearer wrong"),), 401),
        ("/enroll", (("Authorization", "Bearer é"),), 401),
        ("/enroll", (("Authorization", f"Basic {TOKEN}"),), 401),
    ],
)
@pytest.mark.parametrize("client", ["127.0.0.1", "192.0.2.7"])
async def test_a_token_is_asked_for(make: Any, path: str, headers: Any, status: int, client: str) -> None:
    server = make("token", enroll_token=TOKEN)
    answer = await _fetch(server, *headers, path=path, client=client)
    assert (answer.status, _challenges(server)) == (status, int(status == 200))
    assert answer.headers.get("www-authenticate") == (None if status == 200 else "Bearer")
    assert not any(TOKEN.encode() in line for line in server.log_lines)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ((_basic("ada", "engine"),), 200),
        ((), 401),
        ((_basic("ada", "wrong"),), 401),
        ((_basic("nobody", "engine"),), 401),
        ((("Authorization", "Basic ?"),), 401),
        ((("Authorization", "Bearer engine"),), 401),
    ],
)
async def test_a_login_is_asked_for(make: Any, headers: Any, status: int) -> None:
    server = make("login", users=USERS)
    answer = await _fetch(server, *headers, client="127.0.0.1")
    assert (answer.status, _challenges(server)) == (status, int(status == 200))
    assert answer.headers.get("www-authenticate", "").startswith("" if status == 200 else "Basic realm=")


async def test_a_look_ahead_of_a_stranger_is_refused_as_well(make: Any) -> None:
    assert (await make("loopback").request("HEAD", "/enroll")).status == 403


@pytest.mark.parametrize("access", ["loopback", "token", "login", "anyone"])
async def test_the_page_says_who_gets_a_profile(make: Any, access: str) -> None:
    server = make(access, enroll_token=TOKEN if access == "token" else None, users=USERS if access == "login" else {})
    words = {"loopback": "this machine", "token": "token", "login": "user", "anyone": "anyone"}
    assert words[access] in (await server.request("GET", "/")).body.decode()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"enroll_access": "everybody"}, "enroll_access"),
        ({"enroll_access": "token"}, "enroll_token"),
        ({"enroll_token": TOKEN}, "enroll_token"),
        ({"enroll_access": "token", "enroll_token": "short"}, "enroll_token"),
        ({"enroll_access": "token", "enroll_token": "with a blank"}, "enroll_token"),
        ({"enroll_access": "login"}, "users"),
        ({"enroll_limit": 0}, "enroll_limit"),
    ],
)
def test_access_that_cannot_be_granted_is_refused_at_the_start(changes: Any, where: str) -> None:
    with pytest.raises(BadSettings) as refused:
        settings(**changes)
    assert where in refused.value.where


# ---- how many


@pytest.mark.parametrize("identity", ["scep", "pkcs12"])
async def test_the_profiles_that_are_outstanding_are_limited(make: Any, identity: str) -> None:
    server = make("anyone", enroll_limit=2, profile_identity=identity)
    statuses = [(await _fetch(server)).status for _ in range(4)]
    assert (statuses, _challenges(server)) == ([200, 200, 429, 429], 2)


async def test_the_refusal_says_the_limit_and_when_to_come_again(make: Any) -> None:
    server = make("anyone", enroll_limit=1)
    await _fetch(server)
    server.manual.advance(DAY)
    answer = await _fetch(server)
    assert (answer.status, answer.headers["retry-after"]) == (429, str(6 * 86_400))
    assert b"enroll_limit" in answer.body


async def test_an_enrollment_makes_room_for_another_profile(make: Any) -> None:
    server = make("anyone", enroll_limit=1)
    identity = await scep_identity(server, scep_payload(_profile(await _fetch(server))))
    assert (await _fetch(server)).status == 429
    await server.enrolled(identity=identity)
    assert (await _fetch(server)).status == 200


async def test_time_makes_room_for_another_profile_and_takes_the_row(make: Any) -> None:
    server = make("anyone", enroll_limit=1)
    await _fetch(server)
    server.manual.advance(8 * DAY)
    assert ((await _fetch(server)).status, _challenges(server)) == (200, 1)


async def test_the_administrators_profiles_do_not_count(make: Any) -> None:
    server = make("anyone", enroll_limit=1)
    await server.api("POST", "/profiles")
    assert (await _fetch(server)).status == 200
    assert (await server.api("POST", "/profiles")).status == 201


async def test_rows_of_certificates_go_where_no_challenge_is_ever_made(make: Any) -> None:
    server = make("anyone", scep_challenge="none", scep_days=30)
    payload = scep_payload(_profile(await _fetch(server)))
    for _ in range(2):
        await scep_identity(server, payload)
        server.manual.advance(31 * DAY)
    assert server.app._storage.execute("SELECT COUNT(*) FROM issued").fetchone() == (1,)


async def test_rows_go_when_the_certificates_that_they_were_kept_for_have_expired(make: Any) -> None:
    server = make("anyone", scep_days=30)
    await scep_identity(server, scep_payload(_profile(await _fetch(server))))
    server.manual.advance(31 * DAY)
    await _fetch(server)
    (issued,) = server.app._storage.execute("SELECT COUNT(*) FROM issued").fetchone()
    assert (_challenges(server), issued) == (1, 0)

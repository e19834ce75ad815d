"""Whose a device is: the user who signed in at automated enrollment, or the one it was assigned to beforehand."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from mdmsim.pki.cms import verify
from mdmsim.protocol.profile import parse_profile
from tests.reference_server.apple import AppleServer, machine_info, signed_info
from tests.reference_server.kit import KEYS, Answer, Device
from tests.reference_server.scep_client import renewal, scep_identity, scep_payload

pytestmark = pytest.mark.anyio

USERS = {"ada": "correct horse", "bob": "battery staple"}
SERIAL, UDID = "SERIAL1", "UDID-1"


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def _apple(login: str = "none") -> AppleServer:
    server = AppleServer(automated_login=login, users=USERS)
    await server.connect_dep(SERIAL)
    await server.synced()
    return server


async def _choose(server: AppleServer, **order: Any) -> Answer:
    return await server.api("PUT", f"/dep/abm/devices/{SERIAL}/user", order)


async def _ask(server: AppleServer, name: str | None = None) -> Answer:
    """What a device in Setup Assistant asks, with the login of whoever holds it."""
    basic = base64.b64encode(f"{name}:{USERS.get(name or '', '')}".encode()).decode()
    headers = (("Authorization", f"Basic {basic}"),) if name is not None else ()
    body = signed_info(machine_info(SERIAL, UDID))
    return await server.request("POST", "/enroll/automated", body, headers=headers)


async def _enrolled(server: AppleServer, answer: Answer) -> Device:
    assert answer.status == 200, answer.body
    payload = scep_payload(parse_profile(verify(answer.body).content))
    device = Device(server, UDID, identity=await scep_identity(server, payload))
    await device.enrol()
    return device


async def _user(server: AppleServer) -> str | None:
    user: str | None = (await server.device(UDID))["user"]
    return user


# ---- who signed in


async def test_the_user_who_signed_in_is_kept_with_the_device() -> None:
    server = await _apple("basic")
    await _enrolled(server, await _ask(server, "ada"))
    assert await _user(server) == "ada"


async def test_the_user_who_signed_in_at_the_web_login_is_kept_with_the_device() -> None:
    server = await _apple("web")
    info = ("x-apple-aspen-deviceinfo", base64.b64encode(signed_info(machine_info(SERIAL, UDID))).decode())
    page = await server.request("GET", "/enroll/web", headers=(info,))
    cookie = ("Cookie", page.headers["set-cookie"].partition(";")[0])
    form = b"name=bob&password=battery+staple"
    await _enrolled(server, await server.request("POST", "/enroll/web", form, headers=(cookie,)))
    assert await _user(server) == "bob"


async def test_a_device_has_no_user_before_it_has_enrolled_and_none_where_nobody_signs_in() -> None:
    server = await _apple()
    device = await _enrolled(server, await _ask(server))
    assert await _user(server) is None
    await device.authenticate()
    assert await _user(server) is None


async def test_the_next_user_takes_the_place_of_the_one_before() -> None:
    server = await _apple("basic")
    await _enrolled(server, await _ask(server, "ada"))
    second = await _ask(server, "bob")
    assert await _user(server) == "ada", "a profile is no enrollment"
    await _enrolled(server, second)
    assert await _user(server) == "bob"


@pytest.mark.parametrize("way", ["scep", "management"])
async def test_a_renewal_keeps_the_user(way: str) -> None:
    server = await _apple("basic")
    device = await _enrolled(server, await _ask(server, "ada"))
    if way == "scep":
        renewed = await renewal(server, device.identity, KEYS.take())
        assert renewed is not None
        device.identity = renewed
    else:
        await server.api("POST", f"/devices/{UDID}/renew")
        command = (await device.idle()).command
        assert command is not None
        payload = scep_payload(parse_profile(verify(command.keys["Payload"]).content))
        device.identity = await scep_identity(server, payload)
    await device.enrol()
    assert await _user(server) == "ada"


async def test_who_enrols_by_hand_after_it_does_not_inherit_the_user() -> None:
    server = await _apple("basic")
    await _enrolled(server, await _ask(server, "ada"))
    await _enrolled(server, await server.request("GET", "/enroll"))
    assert await _user(server) is None


# ---- who was assigned


@pytest.mark.parametrize("login", ["none", "basic", "web"])
async def test_a_device_that_was_assigned_to_a_user_enrols_without_a_login(login: str) -> None:
    server = await _apple(login)
    assert (await _choose(server, user="bob")).json() == {"user": "bob", "login": False}
    await _enrolled(server, await _ask(server))
    assert await _user(server) == "bob"


async def test_the_web_login_of_an_assigned_device_is_its_profile() -> None:
    server = await _apple("web")
    await _choose(server, user="bob")
    info = ("x-apple-aspen-deviceinfo", base64.b64encode(signed_info(machine_info(SERIAL, UDID))).decode())
    await _enrolled(server, await server.request("GET", "/enroll/web", headers=(info,)))
    assert await _user(server) == "bob"


async def test_an_assigned_device_of_nobodys_account_gets_nothing() -> None:
    server = await _apple("basic")
    await _choose(server, user="bob")
    body = signed_info(machine_info("SERIAL2", UDID))
    assert (await server.request("POST", "/enroll/automated", body)).status == 403


async def test_a_device_that_demands_a_login_asks_for_one() -> None:
    server = await _apple("basic")
    assert (await _choose(server, login=True)).json() == {"user": None, "login": True}
    assert (await _ask(server)).status == 401
    await _enrolled(server, await _ask(server, "ada"))
    assert await _user(server) == "ada"


async def test_an_assignment_is_shown_and_taken_back() -> None:
    server = await _apple("basic")
    path = f"/dep/abm/devices/{SERIAL}/user"
    assert (await server.api("GET", path)).json() == {"user": None, "login": True}
    await _choose(server, user="bob")
    assert (await server.api("GET", path)).json() == {"user": "bob", "login": False}
    assert (await server.api("DELETE", path)).status == 204
    assert (await _ask(server)).status == 401


# WSO2, "Assign device to profile", enrollment configurations: a user or a login, not both, and the user's short name.
@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({}, "neither a user nor a login"),
        ({"login": False}, "neither a user nor a login"),
        ({"user": None}, "neither a user nor a login"),
        ({"user": "bob", "login": True}, "both a user and a login"),
        ({"user": "bob@acme.example"}, "has a domain"),
        ({"user": "carol"}, "none of the server's users"),
        ({"user": "a:b"}, "no name that could sign in"),
        ({"user": " "}, "no name that could sign in"),
    ],
)
async def test_a_user_or_a_login_and_not_both_and_not_neither(order: dict[str, Any], says: str) -> None:
    server = await _apple("basic")
    answer = await _choose(server, **order)
    assert (answer.status, answer.json()["error"]) == (400, "bad-user")
    assert says in answer.json()["what"]
    assert (await _ask(server)).status == 401


async def test_a_login_is_refused_where_nobody_can_sign_in() -> None:
    server = await _apple("none")
    answer = await _choose(server, login=True)
    assert (answer.status, answer.json()["error"]) == (409, "no-login")


async def test_a_device_that_apple_never_named_has_no_user() -> None:
    server = await _apple("basic")
    answer = await server.api("PUT", "/dep/abm/devices/SERIAL9/user", {"user": "bob"})
    assert (answer.status, answer.json()["error"]) == (404, "unknown-device")

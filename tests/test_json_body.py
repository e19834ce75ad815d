"""Whatever JSON a client sends to an admin API, the answer is 4xx when it is ambiguous or cannot be kept, never 500."""

from __future__ import annotations

import re
from typing import Any

import httpx
import msgspec
import pytest

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.events import Events
from mdmsim.fakeapns.admin.app import create_app as apns_admin
from mdmsim.fakeapns.portal.portal import Portal
from mdmsim.fakeapns.portal.routes import portal_routes
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakedep.admin.app import create_app as dep_admin
from mdmsim.fakedep.inprocess import InProcessDep
from mdmsim.fakedep.service import DepService
from mdmsim.json_body import BadJson, decode_json
from mdmsim.protocol.cloud_configuration import PATH

pytestmark = pytest.mark.anyio

DIGITS = b"9" * 5000
DEEP = b"[" * 20_000 + b"]" * 20_000

BODIES = {
    "huge integer": b'{"a": ' + DIGITS + b"}",
    "huge integer alone": DIGITS,
    "huge integers": b"[" + DIGITS + b"]",
    "deep": DEEP,
    "deep and open": b'{"a":' * 20_000,
    "deep inside": b'{"a": ' + DEEP + b"}",
    "NaN": b'{"a": NaN}',
    "half a surrogate pair": b'{"name": "\\ud800", "why": "\\udfff"}',
    "a key twice": b'{"name": "Acme", "name": "Other"}',
    "a fault twice": b'{"name": "push.lost", "name": "push.lost"}',
    "a serial twice": b'{"serial_number": "S1", "serial_number": "S2"}',
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "no text": b"\xff\xfe\x00",
}

#: What is due, in the three forms that the list has.
DUE = {
    "huge integer": (b'{"due": [{"device": "x", "since": ' + DIGITS + b"}]}", "application/json"),
    "infinity": (b'{"due": [{"device": "x", "since": 1e400}]}', "application/json"),
    "NaN": (b'{"due": [{"device": "x", "since": NaN}]}', "application/json"),
    "half a surrogate pair": (b'{"due": [{"device": "\\ud800", "since": 1}]}', "application/json"),
    "half a surrogate pair as a key": (b'{"due": [{"\\ud800": "x", "since": 1}]}', "application/json"),
    "a key twice": (b'{"due": [{"device": "x", "device": "y", "since": 1}]}', "application/json"),
    "deep": (b'{"due": [{"device": "x", "since": 1, "what": ' + DEEP + b"}]}", "application/json"),
    "surrogate in YAML": (b'- {since: 1, device: "\\ud800"}', "application/yaml"),
    "huge integer in YAML": (b"- {since: " + DIGITS + b", device: x}", "application/yaml"),
    "deep YAML": (b"- " + b"[" * 5000, "application/yaml"),
}


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


def _apps() -> dict[str, Any]:
    clock, chance = ManualClock(), Chance(1)
    apns = ApnsService(clock, chance.stream("apns"), Events(clock))
    portal = Portal(clock, chance.stream("portal"), register=apns.register_certificate, revoke=apns.revoke_certificate)
    admin = apns_admin(apns, key="secret")
    admin.routes.extend(portal_routes(portal, clock, "secret"))
    dep = DepService(clock, chance.stream("dep"))
    return {"apns": admin, "dep": dep_admin(dep, key="secret"), "activation": InProcessDep(dep).activation}


def _client(app: Any) -> httpx.AsyncClient:
    # What an app raises is 500 to its client: a server over sockets says so.
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx.AsyncClient(transport=transport, base_url="http://admin", headers={"authorization": "Bearer secret"})


def _calls(name: str, app: Any) -> list[tuple[str, str]]:
    """Every call that may have a body; placeholders in paths are filled in."""
    if name == "activation":
        return [("POST", PATH)]
    routes = [
        (method, route.path) for route in app.routes for method in sorted(route.methods) if method in ("POST", "PUT")
    ]
    return [(method, re.sub(r"\{[^}]*\}", "1", path)) for method, path in routes]


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
async def test_no_call_of_an_admin_api_takes_such_a_body_or_breaks_at_it(body: bytes) -> None:
    for name, app in _apps().items():
        async with _client(app) as client:
            for method, path in _calls(name, app):
                answer = await client.request(method, path, content=body)
                assert 400 <= answer.status_code < 500, (name, method, path)


@pytest.mark.parametrize(("body", "kind"), DUE.values(), ids=DUE)
async def test_a_due_list_of_such_values_is_a_mistake(body: bytes, kind: str) -> None:
    async with _client(_apps()["apns"]) as client:
        answer = await client.post("/due", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"][:8]) == (400, "due-list")


def test_a_key_that_comes_twice_is_named() -> None:
    with pytest.raises(BadJson, match="the key 'b' comes twice"):
        decode_json(b'{"a": {"b": 1, "b": 1}}', dict[str, Any])


def test_what_is_unambiguous_is_read_as_ever() -> None:
    assert decode_json(b'{"a": {"b": 1}, "c": [{"b": 1}, {"b": 2}]}', dict[str, Any])["c"] == [{"b": 1}, {"b": 2}]
    with pytest.raises(msgspec.ValidationError):
        decode_json(b'{"a": 1}', dict[str, str])

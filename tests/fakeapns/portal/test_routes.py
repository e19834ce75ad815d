"""The portal over HTTP: who may do what, and what the answers say."""

from __future__ import annotations

from functools import partial
from typing import Any

import httpx
import pytest
import trio
from starlette.applications import Starlette

from mdmsim.chance import Chance
from mdmsim.fakeapns.portal.portal import ACCOUNT, Portal
from mdmsim.fakeapns.portal.routes import ORPHANS, portal_routes
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.push_request import MAX_REQUEST
from tests.fakeapns.portal.support import KEYS, customer
from tests.fakeapns.support import Bench

LIST = "/portal/certificates"


class Client:
    """Asks the app, with the right key unless told otherwise."""

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.headers = {"authorization": "Bearer secret"}

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://fake", headers=self.headers) as client:
                return await client.request(method, path, **options)

        return trio.run(ask)

    @property
    def get(self) -> Any:
        return partial(self.request, "GET")

    @property
    def post(self) -> Any:
        return partial(self.request, "POST")


@pytest.fixture
def client(bench: Bench) -> Client:
    known = bench.service.certificates
    portal = Portal(bench.clock, Chance("portal"), register=known.register, revoke=known.revoke, keys=KEYS)
    return Client(Starlette(routes=portal_routes(portal, bench.clock, "secret")))


def created(client: Client, **query: str) -> dict[str, Any]:
    answer = client.post(LIST, content=customer()[1], params=query)
    assert answer.status_code == 201, answer.text
    told: dict[str, Any] = answer.json()
    return told


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", LIST), ("POST", LIST), ("GET", f"{LIST}/1"), ("POST", f"{LIST}/1/renew"), ("POST", f"{LIST}/1/revoke")],
)
@pytest.mark.parametrize("given", [None, "Bearer wrong", "secret"])
def test_nothing_is_done_without_the_key(client: Client, method: str, path: str, given: str | None) -> None:
    client.headers.pop("authorization")
    answer = client.request(method, path, headers={"authorization": given} if given else {})
    assert answer.status_code == 401
    assert "secret" not in answer.text


def test_a_key_in_the_url_opens_nothing(client: Client) -> None:
    client.headers.pop("authorization")
    assert client.get(f"{LIST}?key=secret").status_code == 401


def test_creating_warns_of_what_it_does_to_a_fleet(client: Client) -> None:
    made = created(client, note="pilot")
    assert made["warning"] == f"This is a new topic. {ORPHANS}"
    assert made["topic"].startswith("com.apple.mgmt.External.")
    assert (made["account"], made["status"], made["renewals"], made["note"]) == (ACCOUNT, "active", 0, "pilot")


def test_the_list_has_topic_expiry_and_status(client: Client) -> None:
    made = created(client)
    told = client.get(LIST).json()
    assert told == {"account": ACCOUNT, "certificates": [{k: v for k, v in made.items() if k != "warning"}]}
    assert made["expires"] > made["issued"]


def test_accounts_see_their_own(client: Client) -> None:
    made = created(client, account="me@acme.example")
    assert client.get(LIST).json()["certificates"] == []
    assert client.post(f"{LIST}/{made['id']}/renew", content=customer()[1]).status_code == 404


def test_renewing_keeps_the_topic_and_warns_of_nothing(client: Client) -> None:
    made = created(client)
    answer = client.post(f"{LIST}/{made['id']}/renew", content=customer()[1])
    renewed = answer.json()
    assert (answer.status_code, renewed["topic"], renewed["renewals"]) == (201, made["topic"], 1)
    assert renewed["serial"] != made["serial"] and "warning" not in renewed


def test_the_certificate_comes_as_a_file(client: Client) -> None:
    made = created(client)
    answer = client.get(f"{LIST}/{made['id']}")
    assert 'attachment; filename="MDM_ Acme MDM, Inc._Certificate.pem"' in answer.headers["content-disposition"]
    assert len(certificates_from_pem(answer.content)) == 1
    assert b"PRIVATE" not in answer.content


def test_revoking_is_told(client: Client) -> None:
    made = created(client)
    assert client.post(f"{LIST}/{made['id']}/revoke").json()["status"] == "revoked"
    assert client.post(f"{LIST}/{made['id']}/renew", content=customer()[1]).status_code == 409


@pytest.mark.parametrize(
    ("content", "status", "says"),
    [
        (b"", 400, "request: "),
        (b"-----BEGIN CERTIFICATE REQUEST-----", 400, "must sign it first"),
        (b"A" * (MAX_REQUEST + 1), 413, "at most"),
    ],
)
def test_a_bad_request_is_refused_in_words(client: Client, content: bytes, status: int, says: str) -> None:
    answer = client.post(LIST, content=content)
    assert answer.status_code == status
    assert says in answer.json()["error"]


def test_the_page_is_there_for_everybody_and_holds_no_secret(client: Client) -> None:
    client.headers.pop("authorization")
    page = client.get("/portal")
    assert page.headers["content-type"].startswith("text/html")
    assert "secret" not in page.text and "{{" not in page.text
    assert ORPHANS in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "kind"), [("look.css", "text/css"), ("portal.css", "text/css"), ("portal.js", "text/javascript")]
)
def test_what_the_page_needs_is_served(client: Client, path: str, kind: str) -> None:
    answer = client.get(f"/portal/{path}")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith(kind)

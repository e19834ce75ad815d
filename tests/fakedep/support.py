"""A DEP on a bench: a clock moved by hand, one MDM server, a client that signs as RFC 5849 says, everything that happened."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any
from urllib.parse import quote

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.events import EventLog, Events
from mdmsim.fakedep.core import Answer, DepRequest
from mdmsim.fakedep.service import DepService
from mdmsim.fakedep.settings import DepSettings

BASE = "https://mdmenrollment.apple.com"
NAME = "acme"
PROFILE = {"profile_name": "Acme", "url": "https://mdm.acme.example/enroll"}

Result = tuple[int, Any]


class Client:
    """An MDM server's side, as simple as can be: it signs once, and takes every new session token."""

    def __init__(self, bench: Bench, token: dict[str, str], version: int | None = 10) -> None:
        self.bench = bench
        self.token = token
        self.version = version
        self.session: str | None = None
        self.adopts = True
        self._nonce = 0

    def authorization(self, *, url: str = f"{BASE}/session", realm: str | None = None, **other: str | None) -> str:
        """The header of a session request; parameters can be changed, added, or left out with None."""
        self._nonce += 1
        parameters: dict[str, str | None] = {
            "oauth_consumer_key": self.token["consumer_key"],
            "oauth_token": self.token["access_token"],
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(self.bench.clock.now_ms() // 1000),
            "oauth_nonce": f"nonce{self._nonce}",
            "oauth_version": "1.0",
        }
        parameters |= {name: value for name, value in other.items() if name != "oauth_signature"}
        kept = {name: value for name, value in parameters.items() if value is not None}
        pairs = "&".join(f"{name}={_encode(value)}" for name, value in sorted(kept.items()))
        text = f"GET&{_encode(url)}&{_encode(pairs)}"
        key = f"{_encode(self.token['consumer_secret'])}&{_encode(self.token['access_secret'])}"
        digest = hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()
        signature = other.get("oauth_signature", base64.b64encode(digest).decode())
        if signature is not None:
            kept["oauth_signature"] = signature
        head = [f'realm="{realm}"'] if realm is not None else []
        return "OAuth " + ", ".join([*head, *(f'{name}="{_encode(value)}"' for name, value in kept.items())])

    def login(self, authorization: str | None = None, **headers: str) -> Result:
        """GET /session; the token is kept."""
        given = {"User-Agent": "bench", "Authorization": authorization or self.authorization(), **headers}
        answer = self.bench.handle("GET", "/session", headers=given)
        status, body = result(answer)
        if status == 200:
            self.session = body["auth_session_token"]
        return status, body

    def call(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None) -> Result:
        """One call in the session, which is opened first where there is none."""
        return result(self.answer(method, path, body, raw=raw))

    def answer(self, method: str, path: str, body: Any = None, *, raw: bytes | None = None, **headers: str) -> Answer:
        if self.session is None:
            status, why = self.login()
            assert status == 200, why
        given = {"User-Agent": "bench", "X-ADM-Auth-Session": self.session or "", **headers}
        if self.version is not None:
            given.setdefault("X-Server-Protocol-Version", str(self.version))
        content = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        answer = self.bench.handle(method, path, content, given)
        fresh = header(answer, "X-ADM-Auth-Session")
        if fresh is not None and self.adopts:
            self.session = fresh
        return answer

    def post(self, path: str, body: Any = None) -> Any:
        """POST that must succeed; its JSON. A session that is over is opened again, as servers do."""
        status, found = self.call("POST", path, body if body is not None else {})
        if status == 401:
            self.login()
            status, found = self.call("POST", path, body if body is not None else {})
        assert status == 200, found
        return found

    def fetch_all(self, limit: int = 1000) -> tuple[list[dict[str, Any]], str]:
        """Every record of a whole fetch, and its last cursor."""
        return self._follow("/server/devices", {"limit": limit})

    def sync_all(self, cursor: str, limit: int = 1000) -> tuple[list[dict[str, Any]], str]:
        return self._follow("/devices/sync", {"limit": limit, "cursor": cursor})

    def _follow(self, path: str, body: dict[str, Any]) -> tuple[list[dict[str, Any]], str]:
        found: list[dict[str, Any]] = []
        while True:
            page = self.post(path, body)
            found.extend(page["devices"])
            body = {**body, "cursor": page["cursor"]}
            if not page["more_to_follow"]:
                return found, page["cursor"]

    def define(self, **keys: Any) -> str:
        """Define a profile that must be accepted; its UUID."""
        uuid: str = self.post("/profile", {**PROFILE, **keys})["profile_uuid"]
        return uuid


class Bench:
    def __init__(self, **settings: Any) -> None:
        self.clock = ManualClock()
        self.log = EventLog()
        events = Events(self.clock)
        events.subscribe(self.log)
        self.service = DepService(self.clock, Chance(7), events, None, DepSettings(**settings))
        self.portal = self.service.portal
        self.portal.add_server(NAME)
        self.client = self.client_of(NAME)

    def client_of(self, server: str, version: int | None = 10) -> Client:
        """A client with a token of its own; what the server had before is over."""
        return Client(self, self.portal.plain_token(server), version)

    def order(self, *serials: str, server: str | None = NAME) -> None:
        self.portal.order(serials, server=server)

    def fault(self, name: str, answer: Any = None, **plan: Any) -> None:
        self.service.faults.add(name, why="a test wants it", answer=answer, **plan)

    def handle(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None, base: str = BASE
    ) -> Answer:
        return self.service.handle(DepRequest(method, base + path, tuple((headers or {}).items()), body))

    def whys(self) -> list[str]:
        """Why requests were refused, oldest first."""
        return [event.data["why"] for event in self.log.of("dep.refused")]


def result(answer: Answer) -> Result:
    """Status and body: JSON where it is some, text where not."""
    text = answer.body.decode()
    try:
        return answer.status, json.loads(text)
    except ValueError:
        return answer.status, text


def header(answer: Answer, name: str) -> str | None:
    return next((value for key, value in answer.headers if key.lower() == name.lower()), None)


def _encode(text: str) -> str:
    return quote(text, safe="-._~")

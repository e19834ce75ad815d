"""The fake DEP with 5,000 devices: full fetch, assignment and the sync after it, both ends, without HTTP between them.

The other end is a plain client: it parses every page, keeps every device and builds its requests with the standard
library's JSON. The floor is that JSON alone, of the same documents, read and written once by each end.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from benchmarks.measure import Figure, at_most, beside, in_turn, own_cpu
from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakedep.core import DepRequest
from mdmsim.fakedep.oauth import percent_encode, signature
from mdmsim.fakedep.service import DepService

DEVICES = 5_000
PAGE = 1_000
ROUNDS = 5
URL = "https://mdmenrollment.apple.com"
AGENT = ("User-Agent", "benchmark")


class _Client:
    def __init__(self, service: DepService, clock: ManualClock) -> None:
        self._service = service
        token = service.portal.plain_token("acme")
        parameters = {
            "oauth_consumer_key": token["consumer_key"],
            "oauth_token": token["access_token"],
            "oauth_signature_method": "HMAC-SHA1",
            "oauth_timestamp": str(clock.now_ms() // 1000),
            "oauth_nonce": "n",
        }
        url = f"{URL}/session"
        made = signature("GET", url, parameters.items(), token["consumer_secret"], token["access_secret"])
        pairs = {**parameters, "oauth_signature": made}.items()
        header = "OAuth " + ", ".join(f'{name}="{percent_encode(value)}"' for name, value in pairs)
        answer = service.handle(DepRequest("GET", url, (AGENT, ("Authorization", header))))
        session = json.loads(answer.body)["auth_session_token"]
        self._headers = (AGENT, ("X-ADM-Auth-Session", session), ("X-Server-Protocol-Version", "10"))
        self.documents: list[Any] = []

    def call(self, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        answer = self._service.handle(DepRequest(method, URL + path, self._headers, json.dumps(body).encode()))
        assert answer.status == 200, answer.body
        found: dict[str, Any] = json.loads(answer.body)
        self.documents += (body, found)
        return found

    def follow(self, path: str, cursor: str | None) -> tuple[dict[str, Any], str]:
        known: dict[str, Any] = {}
        more = True
        while more:
            page = self.call("POST", path, {"limit": PAGE, **({"cursor": cursor} if cursor else {})})
            known |= {device["serial_number"]: device for device in page["devices"]}
            cursor, more = page["cursor"], page["more_to_follow"]
        assert cursor is not None
        return known, cursor


def _world() -> _Client:
    clock = ManualClock()
    service = DepService(clock, Chance("benchmark"))
    service.portal.add_server("acme")
    service.portal.order([f"F{number:09}" for number in range(DEVICES)], server="acme")
    return _Client(service, clock)


def _fetch_and_assign(client: _Client) -> str:
    known, cursor = client.follow("/server/devices", None)
    assert len(known) == DEVICES
    profile = {"profile_name": "Acme", "url": "https://mdm.acme.example/enroll"}
    uuid = client.call("POST", "/profile", profile)["profile_uuid"]
    serials = list(known)
    for start in range(0, DEVICES, PAGE):
        body = {"profile_uuid": uuid, "devices": serials[start : start + PAGE]}
        results = client.call("PUT", "/profile/devices", body)["devices"]
        assert set(results.values()) == {"SUCCESS"}
    return cursor


def _whole() -> float:
    client = _world()
    began = own_cpu()
    _fetch_and_assign(client)
    return own_cpu() - began


def _sync() -> float:
    client = _world()
    cursor = _fetch_and_assign(client)
    began = own_cpu()
    changed, _ = client.follow("/devices/sync", cursor)
    assert len(changed) == DEVICES
    return own_cpu() - began


def _json_alone(documents: list[Any]) -> float:
    texts = [json.dumps(document) for document in documents]
    began = own_cpu()
    for document, text in zip(documents, texts, strict=True):
        json.loads(text)
        json.dumps(document)
    return own_cpu() - began


def run() -> list[Figure]:
    client = _world()
    _fetch_and_assign(client)
    whole, sync, floor = in_turn(ROUNDS, _whole, _sync, partial(_json_alone, client.documents))
    name = f"DEP: {DEVICES} devices fetched and assigned, both ends, no HTTP"
    return [
        at_most(name, whole, "CPU s", 1.0, floor=floor),
        beside(f"DEP: {DEVICES} changes synced after it", sync, "CPU s"),
    ]

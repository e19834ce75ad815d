"""The adapter for the reference server's REST API, over sockets or in process."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from mdmsim.http import Outbound, Request, Response, TransportError, Trust
from mdmsim.target.adapter import AdapterError, ApiUnreachable, CommandStatus
from mdmsim.world.abilities import Ability


class ReferenceAdapter:
    """Speaks `/api/v1` with a bearer key. `trust`: how the server's certificate is judged."""

    name = "reference"
    abilities = frozenset(
        {
            Ability.PROFILE,
            Ability.PROFILE_CHANGES,
            Ability.QUEUE,
            Ability.RESULTS,
            Ability.RECORDS,
            Ability.PUSH,
            Ability.REMOVE,
            Ability.REFUSE,
            Ability.DEP_ACCOUNTS,
        }
    )

    def __init__(self, outbound: Outbound, url: str, api_key: str, trust: Trust) -> None:
        self._outbound = outbound
        self._url = url.rstrip("/")
        self._headers = (("Authorization", f"Bearer {api_key}"), ("Content-Type", "application/json"))
        self._trust = trust

    async def _send(self, method: str, path: str, body: Any = None) -> Response:
        data = b"" if body is None else json.dumps(body).encode()
        request = Request(method, f"{self._url}{path}", self._headers, data, label=f"api:{method}", trust=self._trust)
        try:
            response = await self._outbound.send(request)
        except TransportError as error:
            raise ApiUnreachable(f"{method} {path}: the server cannot be reached: {error}") from error
        if response.status == 401:
            raise ApiUnreachable(f"{method} {path} answered 401: the server does not take this API key.")
        return response

    async def _json(self, method: str, path: str, body: Any = None) -> Any:
        response = await self._send(method, path, body)
        if not response.is_success:
            raise AdapterError(f"{method} {path} answered {response.status}: {_said(response)}")
        return json.loads(response.body) if response.body else None

    async def check(self) -> None:
        """Look whether URL and key are right. Raises AdapterError."""
        path = "/api/v1/devices/00000000-0000-4000-8000-000000000000"  # nobody's
        response = await self._send("GET", path)
        if response.status == 404 and _error(response) != "unknown-device":
            raise AdapterError(f"{self._url}{path} answered 404: this is no reference server. Check url.")

    async def enrollment_profile(self, **changes: Any) -> bytes:
        minted = await self._json("POST", "/api/v1/profiles", changes)
        return base64.b64decode(minted["content"])

    async def queue(self, device: str, request_type: str, keys: Mapping[str, Any], *, push: bool = True) -> str:
        body = {"request_type": request_type, "keys": to_json(dict(keys)), "push": push}
        command = await self._json("POST", f"/api/v1/devices/{device}/commands", body)
        return str(command["command_uuid"])

    async def command(self, device: str, command_uuid: str) -> CommandStatus:
        command = await self._json("GET", f"/api/v1/devices/{device}/commands/{command_uuid}")
        results = command["results"]
        last = results[-1] if results else {}
        return CommandStatus(
            command_uuid=command["command_uuid"],
            request_type=command["request_type"],
            state=command["state"],
            status=last.get("status"),
            response=from_json(last.get("response") or {}),
            error_chain=tuple(last.get("error_chain") or ()),
            served=command["served"],
            not_now=command["not_now"],
            results=len(results),
        )

    async def device(self, device: str) -> Mapping[str, Any] | None:
        response = await self._send("GET", f"/api/v1/devices/{device}")
        if response.status == 404:
            return None
        if not response.is_success:
            raise AdapterError(f"GET device {device} answered {response.status}: {_said(response)}")
        record: Mapping[str, Any] = json.loads(response.body)
        return record

    async def push(self, device: str) -> int:
        return int((await self._json("POST", f"/api/v1/devices/{device}/push"))["status"])

    async def remove(self, device: str) -> None:
        await self._json("POST", f"/api/v1/devices/{device}/remove")

    async def refuse(self, *, udid: str, at: str) -> None:
        await self._json("POST", "/api/v1/refusals", {"udid": udid, "at": at})

    async def allow(self, *, udid: str) -> None:
        for refusal in (await self._json("GET", "/api/v1/refusals"))["refusals"]:
            if refusal["udid"] == udid:
                await self._json("DELETE", f"/api/v1/refusals/{refusal['id']}")

    async def renew_enrollment(self, device: str, **changes: Any) -> str:
        return await self.queue(device, "InstallProfile", {"Payload": await self.enrollment_profile(**changes)})

    async def clear_passcode(self, device: str, *, token: bytes | None = None) -> str:
        return await self.queue(device, "ClearPasscode", {} if token is None else {"UnlockToken": token})

    async def add_dep_account(self, account: str) -> bytes:
        await self._json("POST", "/api/v1/dep", {"name": account})
        certificate = await self._json("GET", f"{_dep(account)}/certificate")
        return str(certificate["pem"]).encode("ascii")

    async def set_dep_token(self, account: str, content: bytes) -> None:
        await self._json("POST", f"{_dep(account)}/token", {"content": base64.b64encode(content).decode("ascii")})

    async def remove_dep_account(self, account: str) -> None:
        await self._json("DELETE", _dep(account))

    async def sync_dep(self, account: str) -> None:
        await self._json("POST", f"{_dep(account)}/sync")

    async def assign_dep_profile(
        self, account: str, profile: str, keys: Mapping[str, Any], serials: Sequence[str]
    ) -> Mapping[str, int]:
        await self._json("PUT", f"{_dep(account)}/profiles/{quote(profile, safe='')}", {"keys": dict(keys)})
        body = {"profile": profile, "devices": list(serials)}
        assigned: Mapping[str, int] = (await self._json("POST", f"{_dep(account)}/assign", body))["assigned"]
        return assigned

    async def dep_device(self, account: str, serial: str) -> Mapping[str, Any] | None:
        response = await self._send("GET", f"{_dep(account)}/devices/{serial}")
        if response.status == 404:
            return None
        if not response.is_success:
            raise AdapterError(f"GET {_dep(account)}/devices/{serial} answered {response.status}: {_said(response)}")
        record: Mapping[str, Any] = json.loads(response.body)
        return record


def _dep(account: str) -> str:
    return f"/api/v1/dep/{quote(account, safe='')}"


def _said(response: Response) -> str:
    return response.body[:300].decode("utf-8", "replace").strip()


def _error(response: Response) -> object:
    """The word for what is wrong in an answer of the API; None in one of anything else."""
    try:
        said = json.loads(response.body)
    except ValueError:
        return None
    return said.get("error") if isinstance(said, dict) else None


def to_json(value: Any) -> Any:
    """Plist values as the API takes them: bytes become `{"base64": ...}`."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(value).decode("ascii")}
    if isinstance(value, Mapping):
        return {key: to_json(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(entry) for entry in value]
    return value


def from_json(value: Any) -> Any:
    """The inverse of `to_json`; dates stay the text they are."""
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: from_json(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [from_json(entry) for entry in value]
    return value

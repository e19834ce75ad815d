"""The adapter for NanoMDM's API: push certificate, queue, push. It has no profiles of its own and no way to ask for results.

Tried against NanoMDM v0.9.0. Source: its operations guide, and its answers.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

from mdmsim.chance import Chance
from mdmsim.http import Headers, Outbound, Request, Response, TransportError, Trust
from mdmsim.protocol.connect import Command, build_command
from mdmsim.protocol.errors import Malformed
from mdmsim.target.adapter import AdapterError, ApiUnreachable, AppleDevicesNotOffered, CommandStatus, NotOffered
from mdmsim.world.abilities import Ability

#: The name under which every caller of the API is known.
USER = "nanomdm"

#: How its push errors begin: `push HTTP status: 410: APNs push error: Unregistered: ...`
_STATUS = re.compile(r"HTTP status: (\d{3})")


class NanoMDMAdapter(AppleDevicesNotOffered):
    """Speaks `/v1` with Basic authentication. `profile`: what enrols devices there, or the URL that hands it out.

    `chance` makes the CommandUUIDs: the server takes each one once only.
    """

    name = "nanomdm"
    abilities = frozenset({Ability.PROFILE, Ability.QUEUE, Ability.PUSH})

    def __init__(
        self, outbound: Outbound, url: str, api_key: str, trust: Trust, *, profile: bytes | str | None, chance: Chance
    ) -> None:
        self._outbound = outbound
        self._url = url.rstrip("/")
        credentials = base64.b64encode(f"{USER}:{api_key}".encode()).decode("ascii")
        self._headers: Headers = (("Authorization", f"Basic {credentials}"),)
        self._trust = trust
        self._profile = profile
        self._chance = chance

    async def check(self) -> str:
        """The server's version. Raises AdapterError when it does not answer."""
        response = await self._send("GET", "/version")
        version = _json(response).get("version")
        if not response.is_success or not isinstance(version, str):
            raise AdapterError(f"{self._url}/version answered {response.status}: this is no NanoMDM. Check url.")
        return version

    async def set_push_certificate(self, pem: bytes) -> str:
        """Give the server its push certificate and key; the topic that it read from it."""
        response = await self._send("PUT", "/v1/pushcert", pem)
        topic = _json(response).get("topic")
        if not response.is_success or not isinstance(topic, str):
            raise AdapterError(f"PUT /v1/pushcert answered {response.status}: {_said(response)}")
        return topic

    async def enrollment_profile(self, **changes: Any) -> bytes:
        """The profile of the target file; NotOffered for any change to it."""
        if changes:
            raise NotOffered(f"NanoMDM makes no profiles, so none with another {', '.join(sorted(changes))}")
        if self._profile is None:
            raise NotOffered("NanoMDM makes no profiles, and the target file names none under enroll")
        if isinstance(self._profile, bytes):
            return self._profile
        request = Request("GET", self._profile, label="api:profile", trust=self._trust)
        try:
            response = await self._outbound.send(request)
        except TransportError as error:
            raise ApiUnreachable(f"the enrollment profile cannot be fetched: {error}") from error
        if not response.is_success:
            raise AdapterError(f"GET {self._profile} answered {response.status}: {_said(response)}")
        return response.body

    async def queue(self, device: str, request_type: str, keys: Mapping[str, Any], *, push: bool = True) -> str:
        command_uuid = str(self._chance.uuid()).upper()
        try:
            body = build_command(Command(command_uuid, request_type, dict(keys)))
        except Malformed as error:
            raise AdapterError(f"{request_type} cannot be queued: {error}") from None
        response = await self._send("PUT", f"/v1/enqueue/{device}{'' if push else '?nopush=1'}", body)
        answer = _json(response)
        status = _of_device(answer, device)
        problem = answer.get("command_error") or status.get("command_error")
        # A failed push alone is answered with 500, too; the command is queued all the same.
        if problem or answer.get("command_uuid") != command_uuid:
            raise AdapterError(
                f"PUT /v1/enqueue of {request_type} answered {response.status}: {problem or _said(response)}"
            )
        return command_uuid

    async def push(self, device: str) -> int:
        response = await self._send("GET", f"/v1/push/{device}")
        answer = _json(response)
        status = _of_device(answer, device)
        if status.get("push_result"):
            return 200
        problem = str(status.get("push_error") or answer.get("push_error") or "")
        if not problem:
            raise AdapterError(f"GET /v1/push answered {response.status}: {_said(response)}")
        found = _STATUS.search(problem)
        return int(found[1]) if found else 0

    async def renew_enrollment(self, device: str, **changes: Any) -> str:
        return await self.queue(device, "InstallProfile", {"Payload": await self.enrollment_profile(**changes)})

    async def clear_passcode(self, device: str, *, token: bytes | None = None) -> str:
        if token is None:
            _not_offered("the unlock token that it keeps")
        return await self.queue(device, "ClearPasscode", {"UnlockToken": token})

    async def command(self, device: str, command_uuid: str) -> CommandStatus:
        _not_offered("what became of a command: it hands results to a webhook only")

    async def device(self, device: str) -> Mapping[str, Any] | None:
        _not_offered("its record of an enrollment")

    async def remove(self, device: str) -> None:
        _not_offered("a way to end an enrollment")

    async def refuse(self, *, udid: str, at: str) -> None:
        _not_offered("a way to refuse a device: it never answers 401")

    async def allow(self, *, udid: str) -> None:
        _not_offered("a way to refuse a device, so none to allow it again")

    async def _send(self, method: str, path: str, body: bytes = b"") -> Response:
        request = Request(method, f"{self._url}{path}", self._headers, body, label=f"api:{method}", trust=self._trust)
        try:
            response = await self._outbound.send(request)
        except TransportError as error:
            raise ApiUnreachable(f"{method} {path}: the server cannot be reached: {error}") from error
        if response.status == 401:
            raise ApiUnreachable(
                f"{method} {path} answered 401: the API key is wrong. Check api_key in the target file."
            )
        return response


def _not_offered(what: str) -> NoReturn:
    raise NotOffered(f"NanoMDM's API does not offer {what}")


def _json(response: Response) -> dict[str, Any]:
    try:
        answer = json.loads(response.body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _of_device(answer: dict[str, Any], device: str) -> dict[str, Any]:
    statuses = answer.get("status")
    status = statuses.get(device) if isinstance(statuses, dict) else None
    return status if isinstance(status, dict) else {}


def _said(response: Response) -> str:
    return " ".join(response.body[:300].decode("utf-8", "replace").split()) or "nothing"

"""Where devices ask for their configuration, as an ASGI app. The protocol is the fake's own: `docs/fake-dep.md`."""

from __future__ import annotations

from typing import Any

import msgspec

from mdmsim.fakedep.front.asgi import BodyTooLong, Gone, Receive, Scope, Send, lifespan, read_body, respond
from mdmsim.fakedep.service import DepService
from mdmsim.json_body import decode_json
from mdmsim.protocol.cloud_configuration import PATH, to_json

_JSON = (("content-type", "application/json"),)


class ActivationFront:
    """The ASGI app: one endpoint, no credentials; a device shows its serial number, as it does to Apple."""

    def __init__(self, service: DepService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        try:
            body = await read_body(receive)
        except Gone:
            return
        except BodyTooLong:
            await respond(send, 413)
            return
        if scope["path"] != PATH:
            await _say(send, 404, f"no such path: POST {PATH}")
        elif scope["method"] != "POST":
            await respond(send, 405, (("allow", "POST"),))
        else:
            await self._configuration(body, send)

    async def _configuration(self, body: bytes, send: Send) -> None:
        try:
            asked = decode_json(body, dict[str, Any])
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            await _say(send, 400, f"the body: {error}. Send a JSON object with serial_number.")
            return
        serial = asked.pop("serial_number", None)
        if not isinstance(serial, str) or not serial:
            await _say(send, 400, 'no "serial_number": send the device\'s as a string')
            return
        if (status := self._service.activation_status(serial)) is not None:
            await _say(send, status, "fault activation.refused")
            return
        configuration = self._service.cloud_configuration(serial, asked)
        if configuration is None:
            await respond(send, 204)
        else:
            await respond(send, 200, _JSON, to_json(configuration))


async def _say(send: Send, status: int, error: str) -> None:
    await respond(send, status, _JSON, msgspec.json.encode({"error": error}))

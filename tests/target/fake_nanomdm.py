"""NanoMDM's API as v0.9.0 was seen to answer: what an adapter must cope with."""

from __future__ import annotations

import base64
import json
import plistlib
from typing import Any

from mdmsim.http import ConnectFailed, Request, Response

API_KEY = "secret"


class FakeNanoMDM:
    """An `Outbound` that answers as NanoMDM does. `enrolled`: who can be pushed to; `apns`: what APNs says to pushes."""

    def __init__(self, *enrolled: str) -> None:
        self.enrolled = set(enrolled)
        self.apns: str | None = None
        self.commands: dict[str, dict[str, Any]] = {}
        self.push_certificate: bytes | None = None
        self.pushed: list[str] = []
        self.down = False

    async def send(self, request: Request) -> Response:
        if self.down:
            raise ConnectFailed("connection refused")
        path, _, query = request.url.removeprefix("http://nanomdm.test").partition("?")
        if path == "/version":
            return _json(200, {"version": "v0.9.0"})
        if path == "/enroll":
            return Response(200, (), b"a profile")
        if request.header("authorization") != "Basic " + base64.b64encode(f"nanomdm:{API_KEY}".encode()).decode():
            return Response(401, (("WWW-Authenticate", 'Basic realm="nanomdm"'),), b"Unauthorized\n")
        match request.method, path.split("/")[2:]:
            case "PUT", ["pushcert"]:
                if b"-----BEGIN" not in request.body:
                    return _json(400, {"error": "tls: failed to find any PEM data in certificate input"})
                self.push_certificate = request.body
                return _json(200, {"topic": "com.apple.mgmt.test", "not_after": "2027-01-01T00:00:00Z"})
            case "PUT", ["enqueue", udid]:
                return self._enqueue(udid, request.body, push=query != "nopush=1")
            case "GET", ["push", udid]:
                status = self._push(udid)
                return _json(500 if "push_error" in status else 200, {"status": {udid: status}})
        return Response(404, (), b"404 page not found\n")

    def _enqueue(self, udid: str, body: bytes, *, push: bool) -> Response:
        try:
            command = plistlib.loads(body)
        except Exception as error:
            return _json(500, {"command_error": f"decoding command: {error}"})
        uuid, request_type = command["CommandUUID"], command["Command"]["RequestType"]
        about = {"command_uuid": uuid, "request_type": request_type}
        if uuid in self.commands:
            return _json(500, {"command_error": f"command already exists: {uuid}"} | about)
        self.commands[uuid] = command
        if not push:
            return _json(200, {"no_push": True} | about)
        status = self._push(udid)
        return _json(500 if "push_error" in status else 200, {"status": {udid: status}} | about)

    def _push(self, udid: str) -> dict[str, str]:
        if udid not in self.enrolled:
            return {"push_error": "push data missing for id"}
        if self.apns is not None:
            return {"push_error": self.apns}
        self.pushed.append(udid)
        return {"push_result": "8E4A1B7C-0000-4000-8000-000000000000"}


def _json(status: int, value: dict[str, Any]) -> Response:
    return Response(status, (("Content-Type", "application/json"),), json.dumps(value, indent="\t").encode() + b"\n")

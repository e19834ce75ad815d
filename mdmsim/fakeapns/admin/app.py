"""The admin API as an ASGI app: certificates, tokens, pending pushes, faults, counts. Bearer key, except `/healthz`."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mdmsim.fakeapns.errors import BadPushCertificate, NotDurable, UnknownToken
from mdmsim.fakeapns.fault_spec import FaultSpec, end_fault, plan_fault
from mdmsim.fakeapns.service import ApnsService
from mdmsim.faults import Fault
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.protocol.errors import Malformed

#: The longest body of a request, in bytes.
MAX_BODY = 1 << 20

_Endpoint = Callable[[Request], Awaitable[Response]]
_T = TypeVar("_T")


class NewToken(msgspec.Struct, forbid_unknown_fields=True):
    """Asks for the token of a device, or adopts the token (hex) that the device made itself."""

    device: str
    topic: str
    channel: str = "device"
    token: str | None = None


class _Refused(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def create_app(service: ApnsService, *, key: str, counters: Callable[[], Mapping[str, int]] = dict) -> Starlette:
    """The app. `key`: what clients send as `Authorization: Bearer`; `counters`: more numbers for `/stats`."""
    admin = _Admin(service, counters)

    def guarded(endpoint: _Endpoint) -> _Endpoint:
        async def run(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
                return _json({"error": "missing or wrong key: send Authorization: Bearer KEY"}, 401)
            try:
                return await endpoint(request)
            except _Refused as error:
                return _json({"error": str(error)}, error.status)
            except NotDurable as error:
                return _json({"error": str(error)}, 500)

        return run

    return Starlette(
        routes=[
            Route("/healthz", admin.health, methods=["GET"]),
            Route("/stats", guarded(admin.stats), methods=["GET"]),
            Route("/certificates", guarded(admin.certificates), methods=["GET"]),
            Route("/certificates", guarded(admin.register_certificate), methods=["POST"]),
            Route("/tokens", guarded(admin.tokens), methods=["GET"]),
            Route("/tokens", guarded(admin.register_token), methods=["POST"]),
            Route("/tokens/{topic}/{token}", guarded(admin.retire), methods=["DELETE"]),
            Route("/pending", guarded(admin.pending), methods=["GET"]),
            Route("/faults", guarded(admin.faults), methods=["GET"]),
            Route("/faults", guarded(admin.add_fault), methods=["POST"]),
            Route("/faults/{number:int}", guarded(admin.remove_fault), methods=["DELETE"]),
        ]
    )


class _Admin:
    def __init__(self, service: ApnsService, counters: Callable[[], Mapping[str, int]]) -> None:
        self._service = service
        self._counters = counters
        self._faults: dict[int, Fault] = {}
        self._last_fault = 0

    async def health(self, request: Request) -> Response:
        if (trouble := self._service.trouble) is not None:
            return _json({"status": "failing", "store": trouble}, 503)
        return _json({"status": "ok"})

    async def stats(self, request: Request) -> Response:
        service = self._service
        names = ("accepted", "refused", "delivered", "acknowledged", "acted", "expired", "superseded")
        counts = {name: getattr(service.counts, name) for name in names}
        return _json(
            {
                "pushes": counts,
                "tokens": len(service.registrations()),
                "listening": service.listening(),
                "pending": len(service.pending()),
                "connections": dict(self._counters()),
            }
        )

    async def certificates(self, request: Request) -> Response:
        known = self._service.certificates.registered()
        return _json(
            [
                {"topic": one.topic, "not_before_ms": one.not_before_ms, "not_after_ms": one.not_after_ms}
                for one in known
            ]
        )

    async def register_certificate(self, request: Request) -> Response:
        body = await _body(request)
        try:
            ders = certificates_from_pem(body) if b"-----BEGIN" in body else (body,)
            if not ders:
                raise _Refused(400, "no certificate in the body: send PEM or DER")
            # Of a chain, the leaf comes first.
            topic = self._service.register_certificate(ders[0])
        except (Malformed, BadPushCertificate) as error:
            raise _Refused(400, str(error)) from None
        await self._service.durable()
        return _json({"topic": topic}, 201)

    async def tokens(self, request: Request) -> Response:
        wanted = {name: request.query_params.get(name) for name in ("device", "topic")}
        found = [
            {
                "topic": one.topic,
                "token": one.token.hex(),
                "device": one.device,
                "channel": one.channel,
                "registered_ms": one.registered_ms,
                "retired_ms": one.retired_ms,
            }
            for one in self._service.registrations()
            if wanted["device"] in (None, one.device) and wanted["topic"] in (None, one.topic)
        ]
        return _json(found)

    async def register_token(self, request: Request) -> Response:
        asked = await _parse(request, NewToken)
        if asked.token is None:
            token = self._service.register(asked.device, asked.topic, asked.channel)
        else:
            token = _token(asked.token)
            try:
                self._service.adopt(asked.topic, token, device=asked.device, channel=asked.channel)
            except ValueError as error:
                raise _Refused(400, str(error)) from None
        await self._service.durable()
        return _json({"token": token.hex()}, 201)

    async def retire(self, request: Request) -> Response:
        try:
            self._service.retire(request.path_params["topic"], _token(request.path_params["token"]))
        except UnknownToken as error:
            raise _Refused(404, str(error)) from None
        await self._service.durable()
        return Response(status_code=204)

    async def pending(self, request: Request) -> Response:
        return _json(
            [
                {
                    "topic": push.topic,
                    "token": push.token.hex(),
                    "apns_id": push.apns_id,
                    "accepted_ms": push.accepted_ms,
                    "expires_ms": push.expires_ms,
                    "payload": base64.b64encode(push.payload).decode("ascii"),
                }
                for push in self._service.pending()
            ]
        )

    async def faults(self, request: Request) -> Response:
        return _json([_fault(number, fault) for number, fault in self._faults.items()])

    async def add_fault(self, request: Request) -> Response:
        spec = await _parse(request, FaultSpec)
        try:
            fault = plan_fault(self._service, spec)
        except ValueError as error:
            raise _Refused(400, str(error)) from None
        self._last_fault += 1
        self._faults[self._last_fault] = fault
        return _json(_fault(self._last_fault, fault), 201)

    async def remove_fault(self, request: Request) -> Response:
        fault = self._faults.pop(request.path_params["number"], None)
        if fault is None:
            raise _Refused(404, f"fault {request.path_params['number']}: none of that number is planned")
        end_fault(self._service, fault)
        return Response(status_code=204)


def _fault(number: int, fault: Fault) -> dict[str, Any]:
    return {
        "number": number,
        "name": fault.name,
        "why": fault.why,
        "rate": fault.rate,
        "after": fault.after,
        "every": fault.every,
        "times": fault.times,
        "considered": fault.considered,
        "injected": fault.injected,
    }


def _token(text: str) -> bytes:
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise _Refused(400, f'token "{text[:20]}": a token is written in hex') from None


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _Refused(413, f"a body has at most {MAX_BODY} bytes")
    return body


async def _parse(request: Request, kind: type[_T]) -> _T:
    try:
        return msgspec.json.decode(await _body(request), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, f"{kind.__name__}: {error}") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")

"""The admin API as an ASGI app: what people do in the portal, faults, a look inside. Bearer key, except `/healthz`."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mdmsim.fakedep.admin.values import (
    Assignment,
    DefaultServer,
    NewFault,
    NewOrganisation,
    NewServer,
    Order,
    Serials,
    SessionsEnd,
    Terms,
    device_value,
    fault_value,
    server_value,
)
from mdmsim.fakedep.errors import PortalError, UnknownDevice, UnknownServer
from mdmsim.fakedep.model import Device
from mdmsim.fakedep.service import DepService
from mdmsim.faults import Fault
from mdmsim.json_body import decode_json
from mdmsim.mistakes import explain

#: The longest body of a request, in bytes: an order of 100,000 devices fits.
MAX_BODY = 32 << 20

_Endpoint = Callable[[Request], Awaitable[Response]]
_T = TypeVar("_T")


class _Refused(Exception):
    def __init__(self, status: int, error: str) -> None:
        super().__init__(error)
        self.status = status


def create_app(service: DepService, *, key: str) -> Starlette:
    """The app. `key`: what clients send as `Authorization: Bearer`."""
    admin = _Admin(service)

    def guarded(endpoint: _Endpoint) -> _Endpoint:
        async def run(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
                return _json({"error": "missing or wrong key: send Authorization: Bearer KEY"}, 401)
            try:
                return await endpoint(request)
            except _Refused as error:
                return _json({"error": str(error)}, error.status)
            except (UnknownDevice, UnknownServer) as error:
                return _json({"error": str(error)}, 404)
            except PortalError as error:
                return _json({"error": str(error)}, 400)

        return run

    routes = (
        ("GET", "/stats", admin.stats),
        ("POST", "/organisations", admin.add_organisation),
        ("POST", "/terms", admin.terms),
        ("GET", "/servers", admin.servers),
        ("POST", "/servers", admin.add_server),
        ("DELETE", "/servers/{server}", admin.remove_server),
        ("PUT", "/servers/{server}/certificate", admin.upload_certificate),
        ("POST", "/servers/{server}/token", admin.token),
        ("POST", "/servers/{server}/plain-token", admin.plain_token),
        ("GET", "/servers/{server}/profiles", admin.profiles),
        ("GET", "/devices", admin.devices),
        ("POST", "/devices", admin.order),
        ("GET", "/devices/{serial}", admin.device),
        ("POST", "/assignments", admin.assign),
        ("POST", "/releases", admin.release),
        ("PUT", "/default-server", admin.default_server),
        ("POST", "/sessions", admin.end_sessions),
        ("GET", "/faults", admin.faults),
        ("POST", "/faults", admin.add_fault),
        ("DELETE", "/faults/{number:int}", admin.remove_fault),
    )
    return Starlette(
        routes=[
            Route("/healthz", admin.health, methods=["GET"]),
            *(Route(path, guarded(endpoint), methods=[method]) for method, path, endpoint in routes),
        ]
    )


class _Admin:
    def __init__(self, service: DepService) -> None:
        self._service = service
        self._portal = service.portal
        self._faults: dict[int, Fault] = {}
        self._last_fault = 0

    async def health(self, request: Request) -> Response:
        return _json({"status": "ok"})

    async def stats(self, request: Request) -> Response:
        statuses: dict[str, int] = {}
        for device in self._service.devices():
            statuses[device.profile_status] = statuses.get(device.profile_status, 0) + 1
        return _json(
            {
                "organisations": len(self._service.register.organisations),
                "servers": len(self._service.servers()),
                "devices": sum(statuses.values()),
                "profile_status": statuses,
            }
        )

    # the portal

    async def add_organisation(self, request: Request) -> Response:
        asked = await _parse(request, NewOrganisation)
        made = self._portal.add_organisation(asked.name, org_type=asked.org_type, org_version=asked.org_version)
        return _json({"name": made.name, "org_id": made.org_id}, 201)

    async def terms(self, request: Request) -> Response:
        asked = await _parse(request, Terms)
        change = self._portal.new_terms if asked.pending else self._portal.accept_terms
        change(asked.organisation)
        return Response(status_code=204)

    async def servers(self, request: Request) -> Response:
        return _json([server_value(server) for server in self._service.servers()])

    async def add_server(self, request: Request) -> Response:
        asked = await _parse(request, NewServer)
        certificate = asked.certificate.encode() if asked.certificate is not None else None
        made = self._portal.add_server(
            asked.name, certificate=certificate, organisation=asked.organisation, admin=asked.admin
        )
        return _json(server_value(made), 201)

    async def remove_server(self, request: Request) -> Response:
        self._portal.remove_server(request.path_params["server"])
        return Response(status_code=204)

    async def upload_certificate(self, request: Request) -> Response:
        self._portal.upload_certificate(request.path_params["server"], await _body(request))
        return Response(status_code=204)

    async def token(self, request: Request) -> Response:
        file = self._portal.token(request.path_params["server"])
        name = file.file_name.encode("ascii", "replace").decode("ascii").replace('"', "_")
        headers = {"content-disposition": f'attachment; filename="{name}"'}
        return Response(file.content, 200, headers, media_type="application/pkcs7-mime")

    async def plain_token(self, request: Request) -> Response:
        return _json(self._portal.plain_token(request.path_params["server"]))

    async def profiles(self, request: Request) -> Response:
        server = self._service.register.server(request.path_params["server"])
        return _json([{"profile_uuid": each.uuid, **each.definition} for each in server.profiles.values()])

    async def order(self, request: Request) -> Response:
        asked = await _parse(request, Order)
        ordered = self._portal.order(
            asked.devices,
            server=asked.server,
            organisation=asked.organisation,
            order_number=asked.order_number,
            by=asked.by,
        )
        return _json({"ordered": len(ordered)}, 201)

    async def assign(self, request: Request) -> Response:
        asked = await _parse(request, Assignment)
        if asked.server is None:
            self._portal.unassign(asked.serials)
        else:
            self._portal.assign(asked.serials, asked.server, by=asked.by)
        return Response(status_code=204)

    async def release(self, request: Request) -> Response:
        self._portal.release((await _parse(request, Serials)).serials)
        return Response(status_code=204)

    async def default_server(self, request: Request) -> Response:
        asked = await _parse(request, DefaultServer)
        self._portal.default_server(asked.family, asked.server)
        return Response(status_code=204)

    # a look inside

    async def devices(self, request: Request) -> Response:
        wanted = request.query_params.get("server")
        uuid = self._service.register.server(wanted).uuid if wanted is not None else None
        return _json([self._value(each) for each in self._service.devices() if uuid in (None, each.server)])

    async def device(self, request: Request) -> Response:
        return _json(self._value(self._service.device(request.path_params["serial"])))

    def _value(self, device: Device) -> dict[str, Any]:
        server = self._service.register.server_by_uuid(device.server) if device.server is not None else None
        return device_value(device, server)

    # faults

    async def end_sessions(self, request: Request) -> Response:
        asked = await _parse(request, SessionsEnd)
        if asked.how not in ("expire", "forget"):
            raise _Refused(400, f'how "{asked.how[:20]}": expire (401) or forget (403)')
        end = self._service.expire_sessions if asked.how == "expire" else self._service.forget_sessions
        end(asked.server)
        return Response(status_code=204)

    async def faults(self, request: Request) -> Response:
        return _json([fault_value(number, fault) for number, fault in self._faults.items()])

    async def add_fault(self, request: Request) -> Response:
        asked = await _parse(request, NewFault)
        try:
            fault = asked.plan(self._service.faults)
        except ValueError as error:
            raise _Refused(400, str(error)) from None
        self._last_fault += 1
        self._faults[self._last_fault] = fault
        return _json(fault_value(self._last_fault, fault), 201)

    async def remove_fault(self, request: Request) -> Response:
        fault = self._faults.pop(request.path_params["number"], None)
        if fault is None:
            raise _Refused(404, f"fault {request.path_params['number']}: none of that number is planned")
        self._service.faults.remove(fault)
        return Response(status_code=204)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            raise _Refused(413, f"a body has at most {MAX_BODY} bytes")
    return bytes(body)


async def _parse(request: Request, kind: type[_T]) -> _T:
    try:
        return decode_json(await _body(request), kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _Refused(400, f"{kind.__name__}: {explain(error, kind)}") from None


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")

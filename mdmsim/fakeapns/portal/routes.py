"""The portal over HTTP: a JSON API and a page for people, under `/portal` of the admin surface.

The page holds no secret: it asks for the admin key once, keeps it for the browser tab, and sends it as a header.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mdmsim.clock import Clock, iso
from mdmsim.fakeapns.portal.portal import ACCOUNT, DAYS, SOON_MS, Entry, Portal, PortalError
from mdmsim.pki.push_request import MAX_REQUEST

_Endpoint = Callable[[Request], Awaitable[Response]]

_PAGE = Path(__file__).with_name("page")
#: What every page of the product shares.
_LOOK = Path(__file__).parents[2] / "report" / "page" / "look.css"

#: What creating means for a fleet; said before it on the page, and in the answer.
ORPHANS = (
    "Devices that are enrolled with another topic do not hear a new one: they stay enrolled, and answer no push, until they "
    "enrol again. To go on with their topic, renew its certificate instead."
)

_SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; form-action 'none'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cache-control": "no-store",
}


def portal_routes(portal: Portal, clock: Clock, key: str) -> list[Route]:
    """The routes. `key`: what clients of the API send as `Authorization: Bearer`; the page itself is for everybody."""
    served = _Served(portal, clock)

    def guarded(endpoint: _Endpoint) -> _Endpoint:
        async def run(request: Request) -> Response:
            given = request.headers.get("authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {key}".encode()):
                return _json({"error": "missing or wrong key: send Authorization: Bearer KEY"}, 401)
            try:
                return await endpoint(request)
            except PortalError as error:
                return _json({"error": str(error)}, error.status)

        return run

    pages = [Route(f"/portal{path}", _static(name), methods=["GET"]) for path, name in _PAGES.items()]
    return [
        *pages,
        Route("/portal/certificates", guarded(served.entries), methods=["GET"]),
        Route("/portal/certificates", guarded(served.create), methods=["POST"]),
        Route("/portal/certificates/{id}", guarded(served.download), methods=["GET"]),
        Route("/portal/certificates/{id}/renew", guarded(served.renew), methods=["POST"]),
        Route("/portal/certificates/{id}/revoke", guarded(served.revoke), methods=["POST"]),
    ]


class _Served:
    def __init__(self, portal: Portal, clock: Clock) -> None:
        self._portal = portal
        self._clock = clock

    async def entries(self, request: Request) -> Response:
        account = _account(request)
        return _json({"account": account, "certificates": [self._told(each) for each in self._portal.entries(account)]})

    async def create(self, request: Request) -> Response:
        note = request.query_params.get("note", "")
        entry = self._portal.create(_account(request), await _body(request), note)
        return _json({**self._told(entry), "warning": f"This is a new topic. {ORPHANS}"}, 201)

    async def renew(self, request: Request) -> Response:
        entry = self._portal.renew(_account(request), request.path_params["id"], await _body(request))
        return _json(self._told(entry), 201)

    async def revoke(self, request: Request) -> Response:
        return _json(self._told(self._portal.revoke(_account(request), request.path_params["id"])))

    async def download(self, request: Request) -> Response:
        name, pem = self._portal.download(_account(request), request.path_params["id"])
        headers = {"content-disposition": f"attachment; filename=\"{name}\"; filename*=UTF-8''{quote(name)}"}
        return Response(pem, media_type="application/x-pem-file", headers=headers)

    def _told(self, entry: Entry) -> dict[str, Any]:
        newest = entry.newest
        return {
            "id": entry.id,
            "account": entry.account,
            "topic": entry.topic,
            "vendor": entry.vendor,
            "note": entry.note,
            "status": self._portal.status(entry),
            "serial": newest.serial,
            "issued": iso(newest.issued_ms),
            "expires": iso(newest.expires_ms),
            "expires_soon": newest.expires_ms - self._clock.now_ms() < SOON_MS,
            "renewals": len(entry.issued) - 1,
        }


def _account(request: Request) -> str:
    return request.query_params.get("account") or ACCOUNT


async def _body(request: Request) -> bytes:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_REQUEST:
            raise PortalError(413, f"a request has at most {MAX_REQUEST} bytes")
    return body


#: Paths under `/portal`, and what is served there.
_PAGES = {"": "portal.html", "/look.css": "look.css", "/portal.css": "portal.css", "/portal.js": "portal.js"}

_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def _static(name: str) -> _Endpoint:
    async def serve(request: Request) -> Response:
        return Response(_text(name), media_type=_TYPES[Path(name).suffix], headers=_SECURITY)

    return serve


@cache
def _text(name: str) -> str:
    text = (_LOOK if name == "look.css" else _PAGE / name).read_text(encoding="utf-8")
    return text.replace("{{ orphans }}", ORPHANS).replace("{{ account }}", ACCOUNT).replace("{{ days }}", str(DAYS))


def _json(value: Any, status: int = 200) -> Response:
    return Response(
        msgspec.json.encode(value), status, media_type="application/json", headers={"cache-control": "no-store"}
    )

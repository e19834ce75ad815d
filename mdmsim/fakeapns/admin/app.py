"""The admin API as an ASGI app, and the page that shows it to people. Bearer key, except `/healthz` and the page."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

import anyio
import msgspec
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mdmsim.fakeapns.admin.doing import Doing
from mdmsim.fakeapns.admin.endpoints import MAX_BODY, Endpoint, Refused
from mdmsim.fakeapns.admin.looking import FrontView, Looking
from mdmsim.fakeapns.admin.metrics import CONTENT_TYPE
from mdmsim.fakeapns.admin.openapi import describe
from mdmsim.fakeapns.admin.page import content_security_policy, page
from mdmsim.fakeapns.admin.table import table
from mdmsim.fakeapns.debug_log import DebugLog
from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.history import History
from mdmsim.fakeapns.service import ApnsService
from mdmsim.json_body import decode_json
from mdmsim.mistakes import explain

JSON = "application/json"


def create_app(
    service: ApnsService,
    *,
    key: str,
    counters: Callable[[], Mapping[str, int]] = dict,
    front: FrontView | None = None,
    history: History | None = None,
    log: DebugLog | None = None,
    metrics_open: bool = False,
) -> Starlette:
    """The app. `key`: what clients send as `Authorization: Bearer`; `metrics_open`: `/metrics` needs none.

    `counters`: more numbers for `/stats`; `front`: what knows providers' connections; `history`: somebody else lets it
    run; `log`: what `/log-level` is about.
    """
    log = log or DebugLog(service)
    look = Looking(service, counters=counters, front=front, history=history or History(service), log=log)
    endpoints = table(look, Doing(service, front=front, log=log), metrics_open=metrics_open)
    calls = _Calls(key)
    document = msgspec.json.encode(describe(endpoints))

    async def described(request: Request) -> Response:
        return Response(document, media_type=JSON)

    async def shown(request: Request) -> Response:
        headers = {
            "Content-Security-Policy": content_security_policy(),
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(page(), media_type="text/html", headers=headers)

    return Starlette(
        routes=[
            Route("/", shown, methods=["GET"]),
            Route("/openapi.json", described, methods=["GET"]),
            *(Route(one.path, calls.of(one), methods=[one.method]) for one in endpoints),
        ],
        exception_handlers={404: _not_there, 405: _not_there},
    )


async def _not_there(request: Request, error: Exception) -> Response:
    """No call of that path, or none of that method there: what there is instead."""
    routes = [route for route in request.app.routes if isinstance(route, Route)]
    here = [route for route in routes if route.path_regex.match(request.url.path)]
    said = f"{request.method} {request.url.path[:100]}: no such call"
    if here:
        methods = sorted({method for route in here for method in route.methods or ()} - {"HEAD"})
        told = {"error": f"{said}; there is {', '.join(methods)} here"}
        return _json(told, 405, {"Allow": ", ".join(methods)})
    paths = sorted({f"/{route.path.split('/')[1]}" for route in routes if route.path != "/"})
    return _json({"error": f"{said}; there is {', '.join(paths)}. GET /openapi.json describes them"}, 404)


class _Calls:
    """From a request to a handler and back."""

    def __init__(self, key: str) -> None:
        self._wanted = f"Bearer {key}".encode()

    def of(self, endpoint: Endpoint) -> Callable[[Request], Any]:
        async def run(request: Request) -> Response:
            if not endpoint.open and not self._may(request):
                return _json({"error": "missing or wrong key: send Authorization: Bearer KEY"}, 401)
            try:
                query = _query(endpoint, request)
                body = await _body(endpoint, request)
                asked = partial(endpoint.handler, request.path_params, query, body)
                reply = await (_while_connected(request, asked) if endpoint.waits else asked())
            except Refused as refused:
                return _json(refused.body, refused.status)
            except NotDurable as error:
                return _json({"error": str(error)}, 500)
            if reply is None:
                return Response(status_code=endpoint.status)
            if isinstance(reply, str):
                return Response(reply, endpoint.status, media_type=CONTENT_TYPE)
            return _json(reply, endpoint.status)

        return run

    def _may(self, request: Request) -> bool:
        return hmac.compare_digest(request.headers.get("authorization", "").encode(), self._wanted)


def _query(endpoint: Endpoint, request: Request) -> Any:
    try:
        pairs = dict(parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=50))
        if endpoint.query is not None:
            return msgspec.convert(pairs, endpoint.query, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise Refused(400, f"query: {explain(error, endpoint.query)}") from None
    if pairs:
        raise Refused(400, f"query: this call takes none; leave {', '.join(sorted(pairs))[:100]} out")
    return None


async def _while_connected(request: Request, asked: Callable[[], Awaitable[Any]]) -> Any:
    """The answer, or None as soon as nobody is left to have it."""
    reply: Any = None
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        reply = await asked()
        tasks.cancel_scope.cancel()
    return reply


async def _body(endpoint: Endpoint, request: Request) -> Any:
    if endpoint.body is None and not endpoint.raw:
        return None
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
        if len(data) > MAX_BODY:
            raise Refused(413, f"a body has at most {MAX_BODY} bytes")
    if endpoint.raw:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        return bytes(data), kind
    assert endpoint.body is not None
    try:
        return decode_json(data, endpoint.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, f"{endpoint.body.__name__}: {explain(error, endpoint.body)}") from None


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers=headers, media_type=JSON)

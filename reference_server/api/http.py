"""The API as ASGI: key, body and query checked, answers and problems as JSON."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from mdmsim.json_body import decode_json
from reference_server.api.endpoints import PREFIX, Endpoint
from reference_server.api.models import Problem
from reference_server.api.openapi import describe
from reference_server.bodies import LargeBodies, TooLarge, read_body
from reference_server.errors import ApiProblem, ClientGone
from reference_server.settings import Settings

JSON = "application/json"

#: Long bodies in memory at once.
LARGE_AT_ONCE = 4


class ApiRoutes:
    """Starlette routes for the table of calls."""

    def __init__(self, endpoints: Sequence[Endpoint], settings: Settings) -> None:
        self._endpoints = endpoints
        self._key = settings.api_key.encode("ascii")
        # Base64 makes a plist a third larger; the rest is for what stands around it.
        self._max_body = 2 * settings.max_body
        self._large = LargeBodies(LARGE_AT_ONCE)
        document = describe(endpoints, title=f"{settings.organization}: API", url=settings.public_url)
        self._document = msgspec.json.encode(document)

    def routes(self) -> list[Route]:
        routes = [Route(f"{PREFIX}/openapi.json", self._describe, methods=["GET"])]
        by_path: dict[str, dict[str, Endpoint]] = {}
        for endpoint in self._endpoints:
            by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
        for path, by_method in by_path.items():
            # Any string may be a CommandUUID, one with a slash, too.
            path = path.replace("{uuid}", "{uuid:path}")
            routes.append(Route(PREFIX + path, self._dispatcher(by_method), methods=list(by_method)))
        return routes

    async def _describe(self, request: Request) -> Response:
        return Response(self._document, media_type=JSON)

    def _dispatcher(self, by_method: dict[str, Endpoint]):  # type: ignore[no-untyped-def]
        async def dispatch(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            try:
                return await self._call(by_method[method], request)
            except ApiProblem as problem:
                return problem_response(request, problem)

        return dispatch

    async def _call(self, endpoint: Endpoint, request: Request) -> Response:
        self._check_key(request)
        query = self._query(endpoint, request)
        body = await self._body(endpoint, request)
        reply = await endpoint.handler(request.path_params, query, body)
        if reply is None:
            return Response(status_code=endpoint.status)
        return Response(msgspec.json.encode(reply), status_code=endpoint.status, media_type=JSON)

    def _check_key(self, request: Request) -> None:
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not hmac.compare_digest(key.strip().encode("utf-8"), self._key):
            raise ApiProblem(
                401,
                "unauthorized",
                "the API key is missing" if not scheme else "the API key is wrong",
                where="Authorization",
                hint="Send it as `Authorization: Bearer <key>`",
            )

    def _query(self, endpoint: Endpoint, request: Request) -> object:
        try:
            pairs = parse_qsl(request.url.query, keep_blank_values=True, max_num_fields=50)
            if endpoint.query is None:
                if pairs:
                    raise ApiProblem(400, "bad-query", "this call takes no query", where="query", hint="Leave it out")
                return None
            return msgspec.convert(dict(pairs), endpoint.query, strict=False)
        except (msgspec.ValidationError, ValueError) as error:
            raise ApiProblem(400, "bad-query", str(error), where="query", hint=f"See {PREFIX}/openapi.json") from None

    async def _body(self, endpoint: Endpoint, request: Request) -> object:
        try:
            data = await read_body(request.headers.raw, request.receive, self._max_body, self._large)
        except TooLarge:
            raise ApiProblem(
                413, "too-large", f"the body is larger than {self._max_body} bytes", where="body"
            ) from None
        except ClientGone:
            raise ClientDisconnect from None
        if endpoint.body is None:
            return None
        if not data and endpoint.body_optional:
            return endpoint.body()
        try:
            return decode_json(data, endpoint.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError) as error:
            what = "nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise ApiProblem(400, "bad-body", what, where="body", hint=f"JSON as in {PREFIX}/openapi.json") from None


def problem_response(request: Request, problem: ApiProblem) -> Response:
    """The answer to a problem; its reason is left in the request's state for the log."""
    request.state.why = problem.what
    body = Problem(error=problem.error, what=problem.what, where=problem.where, hint=problem.hint)
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else None
    return Response(msgspec.json.encode(body), status_code=problem.status, media_type=JSON, headers=headers)

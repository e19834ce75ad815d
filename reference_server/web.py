"""The URLs for people and machines other than devices' MDM clients: page, profile, SCEP, health; and how errors look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from mdmsim.protocol.content_type import PROFILE
from reference_server.api.endpoints import PREFIX
from reference_server.api.http import JSON, problem_response
from reference_server.api.openapi import server_version
from reference_server.bodies import LargeBodies, TooLarge, read_body
from reference_server.enrollment.access import EnrollAccess
from reference_server.enrollment.pages import HEADERS, landing_page
from reference_server.enrollment.profile import Profiles
from reference_server.errors import ApiProblem, ClientGone, LoginNeeded, Refusal, TooManyOutstanding
from reference_server.health import Health
from reference_server.scep import Scep
from reference_server.settings import Settings
from reference_server.storage.interface import HealthStore
from reference_server.storage.records import ChallengeTerms

#: Ten times the largest SCEP message that was ever seen, and what other servers allow (2 MiB).
MAX_SCEP = 2 * 2**20

#: Long SCEP messages in memory at once. Real ones are short; and who sends one is not known.
LARGE_AT_ONCE = 16


def web_routes(
    *,
    settings: Settings,
    access: EnrollAccess,
    profiles: Profiles,
    scep: Scep,
    storage: HealthStore,
    health: Health,
) -> list[Route]:
    """Everything but the two MDM URLs and the API."""
    page = landing_page(settings)
    terms = ChallengeTerms(limit=settings.enroll_limit)
    large = LargeBodies(LARGE_AT_ONCE)

    async def landing(request: Request) -> Response:
        return HTMLResponse(page, headers=HEADERS)

    async def enroll(request: Request) -> Response:
        try:
            access.check(request.scope, request.headers.get("authorization"))
            # A look ahead is no enrollment: no challenge is made for it.
            looking = request.method == "HEAD"
            content = b"" if looking else (await profiles.mint(terms=terms)).content
        except LoginNeeded as refusal:
            return _text(request, refusal.status, refusal.why, {"WWW-Authenticate": refusal.challenge})
        except TooManyOutstanding as refusal:
            return _text(request, refusal.status, refusal.why, {"Retry-After": str(refusal.retry_after_s)})
        except Refusal as refusal:
            return _text(request, refusal.status, refusal.why)
        return Response(
            content,
            media_type=PROFILE,
            headers={"Content-Disposition": 'attachment; filename="enroll.mobileconfig"', "Cache-Control": "no-store"},
        )

    async def enrol_identity(request: Request) -> Response:
        try:
            body = await read_body(request.headers.raw, request.receive, MAX_SCEP, large)
            raw_query = request.scope["query_string"].decode("latin-1")
            answer = await scep.answer(request.method, raw_query, body)
        except Refusal as refusal:
            return _text(request, refusal.status, refusal.why)
        except TooLarge:
            return _text(request, 413, f"SCEP: the message is larger than {MAX_SCEP} bytes")
        except ClientGone:
            raise ClientDisconnect from None
        request.state.why = answer.why
        return Response(answer.body, headers={"Content-Type": answer.content_type})

    async def healthz(request: Request) -> Response:
        return _json({"status": "ok"})

    async def readyz(request: Request) -> Response:
        troubles = health.troubles
        try:
            await storage.ping()
        except Exception as error:
            troubles["storage"] = f"{type(error).__name__}: {error}"
        request.state.why = ", ".join(f"{name}: {why}" for name, why in troubles.items()) or None
        return _json({"status": "not ready" if troubles else "ready", "troubles": troubles}, 503 if troubles else 200)

    async def version(request: Request) -> Response:
        return _json({"name": "mdmsim reference server", "version": server_version()})

    return [
        Route("/", landing),
        Route("/enroll", enroll),
        Route("/scep", enrol_identity, methods=["GET", "POST"]),
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/version", version),
    ]


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type=JSON)


def _text(request: Request, status: int, why: str, headers: Mapping[str, str] | None = None) -> Response:
    request.state.why = why
    return PlainTextResponse(f"{why}\n", status_code=status, headers=headers)


def exception_handlers() -> dict[Any, Callable[[Request, Exception], Awaitable[Response]]]:
    """Starlette's own refusals (no such path, wrong method) and bugs, in the form that the path promises."""

    async def refused(request: Request, error: Exception) -> Response:
        status, headers = 500, None
        if isinstance(error, HTTPException):
            status, headers = error.status_code, error.headers
        what = {404: "there is nothing at this path", 405: f"{request.method} is not offered here"}.get(
            status, "internal error"
        )
        if request.url.path.startswith(PREFIX):
            word = {404: "unknown-path", 405: "wrong-method"}.get(status, "internal-error")
            hint = f"See {PREFIX}/openapi.json" if status < 500 else "See the server's log"
            problem = ApiProblem(status, word, what, where=request.url.path[:200], hint=hint)
            response = problem_response(request, problem)
            response.headers.update(headers or {})
            return response
        response = _text(request, status, what)
        response.headers.update(headers or {})
        return response

    async def gone(request: Request, error: Exception) -> Response:
        return _text(request, 499, "cut before its end")

    return {HTTPException: refused, ClientDisconnect: gone, Exception: refused}

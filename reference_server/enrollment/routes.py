"""The URLs of automated enrollment: the signed POST, and the web login."""

from __future__ import annotations

from urllib.parse import parse_qsl

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from mdmsim.protocol.content_type import JSON, PROFILE
from reference_server.bodies import LargeBodies, TooLarge, read_body
from reference_server.enrollment.automated import Automated, CodedRefusal
from reference_server.enrollment.login import COOKIE, LOGIN_MS, Login
from reference_server.enrollment.login_page import dead_end_page, login_page
from reference_server.enrollment.machine_info import MAX_MACHINE_INFO
from reference_server.enrollment.pages import HEADERS
from reference_server.errors import ClientGone, LoginNeeded, Refusal
from reference_server.settings import Settings

AUTOMATED_PATH, WEB_PATH = "/enroll/automated", "/enroll/web"

DEVICE_INFO = "x-apple-aspen-deviceinfo"

#: Name and password; generous.
MAX_FORM = 16 * 1024
LARGE_AT_ONCE = 16

_PRIVATE = {"Cache-Control": "no-store"}
_PAGE = _PRIVATE | HEADERS | {"Content-Security-Policy": f"{HEADERS['Content-Security-Policy']}; form-action 'self'"}


def automated_routes(settings: Settings, automated: Automated, login: Login) -> list[Route]:
    large = LargeBodies(LARGE_AT_ONCE)
    is_web = settings.automated_login == "web"

    async def body_of(request: Request, limit: int) -> bytes:
        try:
            return await read_body(request.headers.raw, request.receive, limit, large)
        except TooLarge:
            raise Refusal(413, f"the body is larger than {limit} bytes") from None
        except ClientGone:
            raise ClientDisconnect from None

    async def post(request: Request) -> Response:
        try:
            body = await body_of(request, MAX_MACHINE_INFO)
            authorization = request.headers.get("authorization")
            profile = await automated.by_post(body, authorization, request.method, _target(request))
        except Refusal as refusal:
            return _refused(request, refusal)
        return _profile(profile)

    async def open_page(request: Request) -> Response:
        visitor = login.visitor(request.cookies.get(COOKIE)) if DEVICE_INFO not in request.headers else None
        try:
            if not is_web:
                raise Refusal(404, "nobody signs in here: the server's login is not by web")
            visitor = visitor or await automated.visit(request.headers.get(DEVICE_INFO))
            assigned = await automated.without_login(visitor)
        except CodedRefusal as refusal:
            return _refused(request, refusal)
        except Refusal as refusal:
            request.state.why = refusal.why
            page = dead_end_page("This page is for devices", f"A device in Setup Assistant opens it. {refusal.why}.")
            return HTMLResponse(page, refusal.status, headers=_PAGE)
        if assigned is not None:
            return _profile(assigned)
        response = HTMLResponse(login_page(settings, visitor.serial), headers=_PAGE)
        response.set_cookie(
            COOKIE,
            login.cookie_of(visitor),
            max_age=LOGIN_MS // 1000,
            path=WEB_PATH,
            secure=settings.public_url.startswith("https:"),
            httponly=True,
            samesite="lax",
        )
        return response

    async def sign_in(request: Request) -> Response:
        visitor = login.visitor(request.cookies.get(COOKIE))
        if not is_web or visitor is None:
            request.state.why = "no login is under way"
            page = dead_end_page("The sign-in is over", "It took too long. Go back on the device and try again.")
            return HTMLResponse(page, 403 if is_web else 404, headers=_PAGE)
        try:
            name, password = _form(await body_of(request, MAX_FORM))
            profile = await automated.sign_in(visitor, name, password)
        except Refusal as refusal:
            return _refused(request, refusal)
        if profile is None:
            # 200: it is the next page of the view, where one may try again.
            request.state.why = f"{visitor.serial}: wrong name or password"
            return HTMLResponse(login_page(settings, visitor.serial, name=name, wrong=True), headers=_PAGE)
        response = _profile(profile)
        response.delete_cookie(COOKIE, path=WEB_PATH)
        return response

    return [
        Route(AUTOMATED_PATH, post, methods=["POST"]),
        Route(WEB_PATH, open_page, methods=["GET"]),
        Route(WEB_PATH, sign_in, methods=["POST"]),
    ]


def _target(request: Request) -> str:
    query = request.url.query
    return f"{request.url.path}?{query}" if query else request.url.path


def _form(body: bytes) -> tuple[str, str]:
    """Name and password. Raises Refusal 400."""
    try:
        fields = dict(parse_qsl(body.decode("utf-8"), keep_blank_values=True, max_num_fields=20, errors="strict"))
    except ValueError:
        raise Refusal(400, "the form cannot be read") from None
    return fields.get("name", ""), fields.get("password", "")


def _profile(content: bytes) -> Response:
    headers = _PRIVATE | {"Content-Disposition": 'attachment; filename="enroll.mobileconfig"'}
    return Response(content, media_type=PROFILE, headers=headers)


def _refused(request: Request, refusal: Refusal) -> Response:
    request.state.why = refusal.why
    if isinstance(refusal, CodedRefusal):
        return Response(msgspec.json.encode(refusal.answer), 403, media_type=JSON, headers=_PRIVATE)
    headers = _PRIVATE | ({"WWW-Authenticate": refusal.challenge} if isinstance(refusal, LoginNeeded) else {})
    return PlainTextResponse(f"{refusal.why}\n", refusal.status, headers=headers)

"""The HTTP/1.1 server under the fakes' fronts and admin APIs, against clients over loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from mdmsim.asgi import serve_asgi
from tests.fakeapns.support import serving

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "trio"


async def _text(request: Request) -> Response:
    await request.body()
    return PlainTextResponse("content", int(request.query_params.get("status", "200")))


_APP = Starlette(routes=[Route("/", _text, methods=["GET", "POST"])])


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async def serve(listeners: list[trio.SocketListener], *, task_status: trio.TaskStatus[object]) -> None:
        await serve_asgi(_APP, listeners, task_status=task_status)

    async with serving(serve) as port:
        yield port


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("HEAD", 404), ("GET", 204), ("GET", 304)])
async def test_an_answer_that_has_no_content_leaves_the_connection_good(port: int, method: str, status: int) -> None:
    # RFC 9110 section 6.4.1: HEAD, 204 and 304 have none, whatever the app says.
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.request(method, f"/?status={status}")
        again = await client.get("/")
        ports = {each.extensions["network_stream"].get_extra_info("client_addr") for each in (answer, again)}
    assert (answer.status_code, answer.content, again.text, len(ports)) == (status, b"", "content", 1)

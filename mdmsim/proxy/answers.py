"""What stands for hosts of Apple that no fake has: the catalogue of operating systems, app metadata, and the outage of
Apps and Books.

Over TLS for servers that dial Apple's names, and the same over plain HTTP for those that can be given an address: some
trust Apple's own CA alone for the catalogue, whatever the machine trusts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Host, Route, Router

from mdmsim.asgi import App, serve_asgi
from mdmsim.http import Identity
from mdmsim.proxy.hosts import ANSWERED_HOSTS, CATALOGUE_HOST, METADATA_HOST, VPP_HOST
from mdmsim.startup import listen, tls_context

#: Apple's names that are answered for here.
HOSTS = ANSWERED_HOSTS

#: What the server certificate carries.
SERVER_NAMES = (*HOSTS, "localhost")

CATALOGUE_PATH = "/v2/pmv"
LOOKUP_PATH = "/WebObjects/MZStorePlatform.woa/wa/lookup"

#: Apps and Books out of order, as Apple words it: 503 with this number in both generations of the API (Apple, "Error
#: responses": moved or temporarily unavailable; seen in answers of the older one, too), and with Retry-After.
VPP_UNAVAILABLE = 9729
VPP_RETRY_AFTER = 3600


class Listening(NamedTuple):
    """The ports: `tls` for Apple's names, `plain` for an address."""

    tls: int
    plain: int


def answers(catalogue: bytes, metadata: Mapping[str, Any]) -> App:
    """The app. `catalogue`: JSON, as it is sent; `metadata`: adamId to what the lookup says of it."""

    async def pmv(request: Request) -> Response:
        return Response(catalogue, media_type="application/json")

    async def lookup(request: Request) -> Response:
        # `?version=2&p=mdm-lockup&caller=MDM&platform=...&cc=...&l=en&id=ADAMID[,ADAMID]`; the cookie with the token of
        # the content manager is nobody's business here. An id that is not known is left out.
        asked = request.query_params.get("id", "").split(",")
        found = {adam_id: metadata[adam_id] for adam_id in asked if adam_id in metadata}
        return Response(json.dumps({"results": found}), media_type="application/json")

    async def unavailable(request: Request) -> Response:
        text = "Temporarily unavailable: nothing plays Apps and Books here. Lead the host to a fake with --route."
        body: dict[str, Any] = {"errorNumber": VPP_UNAVAILABLE, "errorMessage": text}
        if not request.url.path.startswith("/mdm/v2/"):
            # The older API says of every answer whether it is one.
            body["status"] = -1
        return Response(json.dumps(body), 503, {"retry-after": str(VPP_RETRY_AFTER)}, "application/json")

    async def unknown(request: Request, error: Exception) -> Response:
        known = f"{CATALOGUE_PATH} ({CATALOGUE_HOST}) and {LOOKUP_PATH} ({METADATA_HOST}) are"
        text = f"{request.url.path[:200]} is not answered here: {known}.\n"
        return PlainTextResponse(text, 404)

    everything = ["GET", "POST", "PUT", "DELETE"]
    return Starlette(
        routes=[
            Host(VPP_HOST, Router([Route("/{path:path}", unavailable, methods=everything)])),
            Route(CATALOGUE_PATH, pmv, methods=["GET"]),
            Route(LOOKUP_PATH, lookup, methods=["GET"]),
        ],
        exception_handlers={404: unknown},
    )


async def serve(
    app: App,
    identity: Identity,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    task_status: trio.TaskStatus[Listening] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve until cancelled. `port`: of the plain one; 0 is any free one. Raises PortTaken."""
    with ExitStack() as stack:
        tls, plain = await listen(host, 0, "answers"), await listen(host, port, "catalogue_port")
        for listener in (*tls, *plain):
            stack.callback(listener.socket.close)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_asgi, app, tls, context=tls_context(identity, ["http/1.1"])))
            await nursery.start(serve_asgi, app, plain)
            task_status.started(Listening(*(each[0].socket.getsockname()[1] for each in (tls, plain))))

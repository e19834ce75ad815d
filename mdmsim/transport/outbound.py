"""Outbound HTTP for API clients and probes: httpx, so that HTTP/2 and everything else a strange server does works.

Devices do not use it: they have TrioTransport, which is ten times lighter and lets a test cut bytes.
"""

from __future__ import annotations

import ssl
from collections import OrderedDict
from collections.abc import Collection, Mapping
from types import TracebackType

import anyio
import httpx

import mdmsim
from mdmsim.apple_guard import keep_from_apple
from mdmsim.http import (
    BadAnswer,
    ConnectFailed,
    ExchangeCut,
    Identity,
    Request,
    Response,
    TimedOut,
    TLSFailed,
    TransportError,
    Trust,
)
from mdmsim.transport.descriptors import own_limit
from mdmsim.transport.http1 import Limits
from mdmsim.transport.place import Place, next_hop, place_of, refuse_apple, refuse_plain_http
from mdmsim.transport.tls import check_pins, load_identity, new_context, problem_of
from mdmsim.transport.wire import Tap

#: Clients kept, each with one identity and trust and its own connections.
_CLIENTS = 32


class HttpOutbound:
    """`mdmsim.http.Outbound` over httpx. `http2`: offer it; for the other settings see TrioTransport.

    Proxies and other settings from the environment play no part.
    """

    def __init__(
        self,
        *,
        http2: bool = True,
        allow_hosts: Collection[str] = (),
        connect_to: Mapping[str, tuple[str, int]] | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._http2 = http2
        self._allow_hosts = frozenset(allow_hosts)
        self._connect_to = dict(connect_to or {})
        self._limits = limits or Limits()
        self._clients: OrderedDict[tuple[Identity | None, Trust], httpx.AsyncClient] = OrderedDict()

    async def __aenter__(self) -> HttpOutbound:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close all connections."""
        while self._clients:
            _, client = self._clients.popitem()
            await client.aclose()

    async def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """The complete answer, redirects followed. Raises TransportError when none came.

        Faults that need bytes cannot be injected here: a tap that asks for one is a ValueError.
        """
        if tap is not None and (tap.request_cut(1), tap.cut_response_after, tap.stall_seconds) != (None, None, None):
            raise ValueError("httpx lets nobody cut or stall its bytes: send this through a TrioTransport")
        hop, followed, sent = request, 0, False
        try:
            with anyio.fail_after(request.timeout):
                while True:
                    response = await self._hop(hop)
                    sent = True
                    following = next_hop(hop, response, followed)
                    if following is None:
                        return response
                    if tap is not None:
                        tap.hops.append((response.status, following.url))
                    hop, followed = following, followed + 1
        except TimeoutError:
            raise TimedOut(f"{_asked(request)}: no complete answer within {request.timeout:g} s", sent=True) from None
        except TransportError as error:
            error.args = (f"{_asked(request)}: {error}",)
            error.sent = error.sent or sent
            raise

    async def _hop(self, request: Request) -> Response:
        place = place_of(request.url)
        refuse_plain_http(place, request.trust)
        refuse_apple(place, self._allow_hosts, self._connect_to)
        client = await self._client(request.identity, request.trust)
        url, extensions = self._route(place)
        try:
            async with client.stream(
                request.method,
                url,
                headers=[("Host", place.authority), *request.headers],
                content=request.body,
                extensions=extensions,
            ) as answer:
                body = bytearray()
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > self._limits.body:
                        raise BadAnswer(f"the answer's body is longer than {self._limits.body} bytes", sent=True)
                headers = tuple((k.decode("latin-1"), v.decode("latin-1")) for k, v in answer.headers.raw)
                return Response(answer.status_code, headers, bytes(body), request.url)
        except httpx.HTTPError as error:
            raise _translated(error, place) from None
        except (ValueError, LookupError) as error:
            # What the layers below let through of answers that are none, such as an HTTP/2 status of letters.
            raise BadAnswer(f"the answer is not HTTP: {error}", sent=True) from None

    def _route(self, place: Place) -> tuple[str, dict[str, str]]:
        to = self._connect_to.get(place.at)
        if to is None:
            return f"{place.scheme}://{place.authority}{place.target}", {}
        host = f"[{to[0]}]" if ":" in to[0] else to[0]
        return f"{place.scheme}://{host}:{to[1]}{place.target}", {"sni_hostname": place.host}

    async def _client(self, identity: Identity | None, trust: Trust) -> httpx.AsyncClient:
        key = (identity, trust)
        client = self._clients.get(key)
        if client is None:
            context = new_context(trust)
            if identity is not None:
                load_identity(context, identity)
            if trust.pins:
                context.sslobject_class = _pinned(trust)
            client = httpx.AsyncClient(
                verify=context,
                http2=self._http2,
                timeout=None,
                trust_env=False,
                headers={"User-Agent": f"mdmsim/{mdmsim.__version__}"},
            )
            # A host that was allowed and is pointed elsewhere dials that place.
            targets = {to[0] for at, to in self._connect_to.items() if at.rpartition(":")[0] in self._allow_hosts}
            self._clients[key] = keep_from_apple(client, self._allow_hosts | targets)
            if len(self._clients) > _CLIENTS:
                _, oldest = self._clients.popitem(last=False)
                await oldest.aclose()
        self._clients.move_to_end(key)
        return client


def _pinned(trust: Trust) -> type[ssl.SSLObject]:
    """An SSLObject that ends a handshake with a server that is not pinned, before a byte of a request is sent."""

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            check_pins(self, trust)

    return Pinned


def _root(error: BaseException) -> BaseException:
    """The innermost error behind it: httpx and httpcore wrap what the system said."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    return error


def _asked(request: Request) -> str:
    return f"{request.label} {request.method} {request.url}".lstrip()


def _translated(error: httpx.HTTPError, place: Place) -> TransportError:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return TLSFailed(
                f"the certificate of {place.at} is not trusted: {cause.verify_message}", problem="untrusted"
            )
        if isinstance(cause, ssl.SSLError):
            return TLSFailed(f"TLS with {place.at} failed: {cause.reason or cause}", problem=problem_of(cause))
        cause = cause.__cause__ or cause.__context__
    text = str(error) or type(error).__name__
    if isinstance(error, httpx.ConnectError):
        if (limit := own_limit(_root(error), place.at)) is not None:
            return limit
        return ConnectFailed(f"cannot connect to {place.at}: {text}")
    if isinstance(error, httpx.DecodingError):
        return BadAnswer(f"the answer's body cannot be decoded: {text}", sent=True)
    if isinstance(error, httpx.RemoteProtocolError) and "disconnected" not in text and "closed" not in text:
        return BadAnswer(f"the answer is not HTTP: {text}", sent=True)
    return ExchangeCut(f"the connection ended before the answer was whole: {text}", sent=True)

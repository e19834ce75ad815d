"""The server's own HTTP calls, live: httpx, HTTP/2, one client per identity and trust."""

from __future__ import annotations

import ipaddress
import ssl
import tempfile
from collections.abc import Collection, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import httpx

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
from mdmsim.pki.certificate import identity_to_pem, to_pem

#: Bytes of an answer. A page of DEP has a thousand devices of about a thousand bytes; APNs says its word in a hundred.
MAX_ANSWER = 16 * 2**20


class LiveOutbound:
    """`Outbound` over sockets, under trio and asyncio. HTTP/2, as APNs demands, and HTTP/1.1 for DEP; `HTTPS_PROXY` is honoured.

    `allow_hosts`: hosts of Apple's that may be connected to; all others are refused, except through a proxy.

    One connection per identity is kept for as long as the other end keeps it: Apple takes quick reconnects for abuse.
    """

    def __init__(self, allow_hosts: Collection[str] = ()) -> None:
        self._allow_hosts = frozenset(allow_hosts)
        self._clients: dict[tuple[str, Trust, bool], httpx.AsyncClient] = {}

    async def send(self, request: Request) -> Response:
        """The complete answer, whatever its status. Raises TransportError when none came."""
        client = self._client(request.identity, request.trust, loopback=_is_loopback(request.url))
        # Only the origin goes into messages: the path of a push is the device's token.
        where = request.url.partition("//")[2].partition("/")[0]
        try:
            # Over the whole of it: httpx counts each read by itself, and an answer may drip for ever.
            with anyio.fail_after(request.timeout):
                return await _exchange(client, request)
        except TimeoutError as error:
            raise TimedOut(f"{where}: no answer in {request.timeout} s", sent=True) from error
        except httpx.ConnectTimeout as error:
            raise ConnectFailed(f"{where}: no connection in {request.timeout} s") from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{where}: no answer in {request.timeout} s", sent=True) from error
        except httpx.ConnectError as error:
            kind = TLSFailed if any(isinstance(cause, ssl.SSLError) for cause in _causes(error)) else ConnectFailed
            raise kind(f"{where}: {_text(error)}") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise ExchangeCut(f"{where}: {_text(error)}", sent=True) from error
        except (httpx.HTTPError, httpx.InvalidURL, ValueError, LookupError) as error:
            # ValueError: what the layers below let through of answers that are none, such as a status of letters.
            raise BadAnswer(f"{where}: {_text(error)}", sent=True) from error

    def _client(self, identity: Identity | None, trust: Trust, *, loopback: bool) -> httpx.AsyncClient:
        key = (identity.fingerprint if identity is not None else "", trust, loopback)
        if key not in self._clients:
            client = httpx.AsyncClient(
                # APNs, which is called with an identity, must speak HTTP/2; DEP is not documented to.
                http1=identity is None,
                http2=True,
                verify=_context(identity, trust),
                # As Go does: what listens on this machine is never looked for behind a proxy.
                trust_env=not loopback,
                limits=httpx.Limits(max_connections=4, max_keepalive_connections=4, keepalive_expiry=3600),
            )
            self._clients[key] = keep_from_apple(client, self._allow_hosts)
        return self._clients[key]

    async def aclose(self) -> None:
        """Close all connections; the object may be used again."""
        clients, self._clients = list(self._clients.values()), {}
        for client in clients:
            await client.aclose()

    async def __aenter__(self) -> LiveOutbound:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


async def _exchange(client: httpx.AsyncClient, request: Request) -> Response:
    async with client.stream(
        request.method,
        request.url,
        headers=list(request.headers),
        content=request.body,
        timeout=request.timeout,
    ) as answer:
        body = bytearray()
        async for piece in answer.aiter_bytes():
            body += piece
            if len(body) > MAX_ANSWER:
                raise BadAnswer(f"an answer of more than {MAX_ANSWER} bytes", sent=True)
        return Response(
            status=answer.status_code,
            headers=tuple(answer.headers.multi_items()),
            body=bytes(body),
            url=str(answer.url),
        )


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what lies behind it, outermost first."""
    found: BaseException | None = error
    while found is not None:
        yield found
        found = found.__cause__ or found.__context__


def _text(error: BaseException) -> str:
    """The innermost cause that says anything; httpx's own words are often empty."""
    texts = [str(cause) for cause in _causes(error) if str(cause)]
    return texts[-1] if texts else type(error).__name__


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _context(identity: Identity | None, trust: Trust) -> ssl.SSLContext:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if trust.system:
            context.load_default_certs()
        if trust.anchors:
            context.load_verify_locations(cadata=to_pem(*trust.anchors).decode("ascii"))
        if identity is not None:
            load_identity(context, identity)
    except ssl.SSLError as error:
        raise TransportError(f"the certificates for this call cannot be used: {error}") from error
    return context


def load_identity(context: ssl.SSLContext, identity: Identity) -> None:
    """Give a context its certificate and key. Raises ssl.SSLError."""
    # The ssl module reads them from files only; the folder is private and gone before this returns.
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "identity.pem")
        path.touch(mode=0o600)
        path.write_bytes(identity_to_pem(identity))
        context.load_cert_chain(path)

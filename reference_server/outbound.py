"""The server's own HTTP calls, live: httpx, HTTP/2, one client per identity and trust."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

import httpx

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


class LiveOutbound:
    """`Outbound` over sockets, under trio and asyncio. HTTP/2 only, as APNs demands; `HTTPS_PROXY` is honoured.

    One connection per identity is kept for as long as the other end keeps it: Apple takes quick reconnects for abuse.
    """

    def __init__(self) -> None:
        self._clients: dict[tuple[str, Trust], httpx.AsyncClient] = {}

    async def send(self, request: Request) -> Response:
        """The complete answer, whatever its status. Raises TransportError when none came."""
        client = self._client(request.identity, request.trust)
        try:
            answer = await client.request(
                request.method,
                request.url,
                headers=list(request.headers),
                content=request.body,
                timeout=request.timeout,
            )
        except httpx.ConnectTimeout as error:
            raise ConnectFailed(f"{request.url}: no connection in {request.timeout} s") from error
        except httpx.TimeoutException as error:
            raise TimedOut(f"{request.url}: no answer in {request.timeout} s", sent=True) from error
        except httpx.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLError) or "SSL" in str(error) or "certificate" in str(error):
                raise TLSFailed(f"{request.url}: {error}") from error
            raise ConnectFailed(f"{request.url}: {error}") from error
        except (httpx.NetworkError, httpx.RemoteProtocolError) as error:
            raise ExchangeCut(f"{request.url}: {str(error) or type(error).__name__}", sent=True) from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise BadAnswer(f"{request.url}: {str(error) or type(error).__name__}", sent=True) from error
        return Response(
            status=answer.status_code,
            headers=tuple(answer.headers.multi_items()),
            body=answer.content,
            url=str(answer.url),
        )

    def _client(self, identity: Identity | None, trust: Trust) -> httpx.AsyncClient:
        key = (identity.fingerprint if identity is not None else "", trust)
        if key not in self._clients:
            self._clients[key] = httpx.AsyncClient(
                http1=False,
                http2=True,
                verify=_context(identity, trust),
                limits=httpx.Limits(max_connections=4, max_keepalive_connections=4, keepalive_expiry=3600),
            )
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

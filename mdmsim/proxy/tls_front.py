"""A TLS front for servers that speak only plain HTTP: it hands the device's certificate on in a header.

Requests and answers are taken whole and passed on whole, one at a time per connection; on their way a fault plan may
answer, or cut. HTTP/1.1 on both sides.
"""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Sequence
from typing import Literal

import h11
import trio

from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.events import Events
from mdmsim.faults import Fault, FaultPlan
from mdmsim.http import Headers, Identity, Response
from mdmsim.pace import USUAL, PaceLimits
from mdmsim.pki.certificate import fingerprint, identity_to_pem
from mdmsim.pki.proxy_header import to_nginx, to_rfc9440
from mdmsim.proxy.exchange import Http1Client, Http1Server, Unreachable, WholeRequest

#: How a certificate is handed on.
Form = Literal["nginx", "rfc9440"]

SOURCE = "front"

#: The faults that a plan may name here; both are matched by the facts `method`, `target`, `headers` (a dictionary,
#: names in lower case) and `body`.
FAULTS: dict[str, str] = {
    "front.answer": "answer=Response: the front answers so, and the server sees nothing",
    "front.cut": 'answer="before" or "after": the connection is cut before or after the server has answered',
}

#: OpenSSL's X509_V_FLAG_NO_CHECK_TIME, which Python has no name for.
_NO_CHECK_TIME = 0x200000

_HANDSHAKE_TIMEOUT = 30.0

#: RFC 9110 section 7.6.1: these belong to one connection; the last two are made anew.
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "upgrade",
        "transfer-encoding",
        "content-length",
    )
)


class TlsFront:
    """`identity` is the front's own. `upstream`: address and port of the server, over plain HTTP.

    `client_authorities` (DER): whose certificates are asked for, and accepted whatever their dates say, which the
    server behind judges; without any, none is asked for. `header` and `form` say how the certificate is handed on:
    percent-encoded PEM as nginx does, or RFC 9440. That header is taken out of what clients send. X-Forwarded-For
    gets the client's address in its last place.
    """

    def __init__(
        self,
        identity: Identity,
        upstream: tuple[str, int],
        *,
        client_authorities: Sequence[bytes] = (),
        header: str = "X-Client-Cert",
        form: Form = "nginx",
        faults: FaultPlan | None = None,
        events: Events | None = None,
        clock: Clock | None = None,
        limits: PaceLimits = USUAL,
    ) -> None:
        self.faults = faults or FaultPlan(Chance("tls front"))
        self._upstream = upstream
        self._header = header
        self._encode = to_nginx if form == "nginx" else to_rfc9440
        self._clock = clock or WallClock()
        self._events = events
        self._context = _context(identity, client_authorities)
        self._limits = limits
        self._last_connection = 0

    async def serve(
        self,
        listeners: Sequence[trio.SocketListener],
        *,
        task_status: trio.TaskStatus[Sequence[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until cancelled."""
        await trio.serve_listeners(self.handle, list(listeners), task_status=task_status)

    async def handle(self, stream: trio.abc.Stream) -> None:
        """One connection, to its end."""
        self._last_connection += 1
        number = self._last_connection
        address = _peer(stream)
        tls = trio.SSLStream(stream, self._context, server_side=True, https_compatible=True)
        upstream = Http1Client(self._upstream)
        try:
            with trio.fail_after(_HANDSHAKE_TIMEOUT):
                await tls.do_handshake()
            certificate: bytes | None = tls.getpeercert(binary_form=True)
            client = Http1Server(tls, self._limits)
            while (request := await client.request()) is not None:
                if not await self._exchange(client, upstream, request, certificate, address, number):
                    return
            with trio.move_on_after(1):
                await tls.aclose()
        except (trio.BrokenResourceError, trio.TooSlowError, h11.ProtocolError):
            # The client is gone, does not get on, or speaks something else (and was told, where it could be).
            return
        finally:
            await upstream.close()
            await trio.aclose_forcefully(stream)

    async def _exchange(
        self,
        client: Http1Server,
        upstream: Http1Client,
        request: WholeRequest,
        certificate: bytes | None,
        address: str | None,
        number: int,
    ) -> bool:
        """One request and its answer; False if the connection is to be cut now."""
        started_ms = self._clock.now_ms()
        facts = {
            "method": request.method,
            "target": request.target,
            "headers": {name.lower(): value for name, value in request.headers},
            "body": request.body,
        }
        response: Response | None = None
        error: str | None = None
        if (fault := self.faults.draw("front.answer", **facts)) is not None:
            self._injected(fault, request)
            response = fault.answer if isinstance(fault.answer, Response) else Response(500)
        else:
            cut = self.faults.draw("front.cut", **facts)
            if cut is not None:
                self._injected(cut, request)
                error = f"cut {cut.answer or 'before'} the server answered"
            if cut is None or cut.answer == "after":
                try:
                    response = await upstream.exchange(self._forwarded(request, certificate, address))
                except Unreachable as problem:
                    text = f"the server behind this front does not answer: {problem}\n"
                    response = Response(502, (("content-type", "text/plain; charset=utf-8"),), text.encode())
        if self._events is not None:
            self._events.emit(
                "exchange",
                source=SOURCE,
                label="",
                method=request.method,
                url=f"https://{request.host}{request.target}",
                request_headers=[list(pair) for pair in request.headers],
                request_body=request.body,
                status=response.status if response is not None else None,
                response_headers=[list(pair) for pair in response.headers] if response is not None else [],
                response_body=response.body if response is not None else b"",
                error=error,
                host=request.host,
                started_ms=started_ms,
                ended_ms=self._clock.now_ms(),
                identity=fingerprint(certificate) if certificate is not None else None,
                connection=number,
            )
        if response is None or error is not None:
            return False
        await client.answer(response, _end_to_end(response.headers))
        return True

    def _forwarded(self, request: WholeRequest, certificate: bytes | None, address: str | None) -> WholeRequest:
        # Underscores count as dashes: some servers cannot tell the two apart.
        own = self._header.lower().replace("_", "-")
        headers = tuple(
            (name, value) for name, value in _end_to_end(request.headers) if name.lower().replace("_", "-") != own
        )
        if certificate is not None:
            headers += ((self._header, self._encode(certificate)),)
        if address is not None:
            # In the last place, after whatever the client said itself.
            headers += (("X-Forwarded-For", address),)
        return WholeRequest(request.method, request.target, headers, request.body)

    def _injected(self, fault: Fault, request: WholeRequest) -> None:
        if self._events is not None:
            target = f"{request.method} {request.target}"
            self._events.emit("fault.injected", source=SOURCE, fault=fault.name, why=fault.why, target=target)


def _peer(stream: trio.abc.Stream) -> str | None:
    """The client's address; None where there is no socket, or the client has gone."""
    try:
        return str(stream.socket.getpeername()[0]) if isinstance(stream, trio.SocketStream) else None
    except OSError:
        return None


def _end_to_end(headers: Headers) -> Headers:
    named = {
        word.strip().lower() for name, value in headers if name.lower() == "connection" for word in value.split(",")
    }
    return tuple(pair for pair in headers if pair[0].lower() not in _HOP_BY_HOP and pair[0].lower() not in named)


def _context(identity: Identity, client_authorities: Sequence[bytes]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if client_authorities:
        context.verify_mode = ssl.CERT_OPTIONAL
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN | ssl.VerifyFlags(_NO_CHECK_TIME)
        context.load_verify_locations(cadata=b"".join(client_authorities))
    # Python loads identities from files only; this one is private (mode 0600) and gone in a moment.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(identity_to_pem(identity))
        file.flush()
        context.load_cert_chain(file.name)
    return context

"""The fake APNs for worlds in one process: the same service, without sockets, as a call and as an ASGI app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mdmsim.asgi import Dropped
from mdmsim.fakeapns.answers import Answer, PushRequest
from mdmsim.fakeapns.errors import NotDurable
from mdmsim.fakeapns.fault_names import Wire
from mdmsim.fakeapns.front.context import APPLE_HOSTS as HOSTS
from mdmsim.fakeapns.front.context import environment_of
from mdmsim.fakeapns.provider import Environment, Provider
from mdmsim.fakeapns.service import ApnsService
from mdmsim.http import Headers, Request, Response
from mdmsim.pki.certificate import certificates_from_pem

__all__ = ["HOSTS", "InProcessApns"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class InProcessApns:
    """Ways in that need no socket. What a fault would do to a connection is an error of the call here."""

    def __init__(self, service: ApnsService) -> None:
        self.service = service
        # As if each client kept one connection to each environment.
        self._providers: dict[tuple[bytes | None, Environment], Provider] = {}

    async def handle(self, request: Request, client_certificate: bytes | None = None) -> Response:
        """Answer a provider's request. Without `client_certificate`, the one of the request's identity counts.

        Raises Dropped, a ConnectionError, where a fault cuts the connection instead of answering.
        """
        if client_certificate is None and request.identity is not None:
            client_certificate = request.identity.certificate
        path = "/" + request.url.split("://", 1)[-1].partition("/")[2]
        headers = tuple((name.lower(), value) for name, value in request.headers)
        authority = request.url.split("://", 1)[-1].partition("/")[0]
        answer = await self._answer(request.method, path, headers, request.body, client_certificate, authority)
        return Response(answer.status, answer.headers, answer.body, request.url)

    async def asgi(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app. The client's certificate comes by the TLS extension: `client_cert_chain`, PEM, leaf first."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        chain = scope.get("extensions", {}).get("tls", {}).get("client_cert_chain") or ()
        certificate = certificates_from_pem(chain[0])[0] if chain else None
        path = scope.get("raw_path") or scope["path"].encode()
        headers = tuple((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in scope["headers"])
        # Over HTTP/2 there is `:authority`, which is no header.
        authority = next((value for name, value in headers if name == "host"), "")
        headers = tuple(header for header in headers if header[0] != "host")
        answer = await self._answer(
            scope["method"], path.decode("latin-1"), headers, bytes(body), certificate, authority
        )
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    async def _answer(
        self,
        method: str,
        path: str,
        headers: Headers,
        payload: bytes,
        certificate: bytes | None,
        authority: str,
    ) -> Answer:
        environment = environment_of(authority.rpartition(":")[0] or authority) or "production"
        provider = self._providers.get((certificate, environment))
        if provider is None:
            if self.service.greet(environment) is not None:
                raise Dropped("a fault keeps the connection to the fake APNs from being made")
            provider = self.service.open_provider(certificate, environment=environment)
            self._providers[certificate, environment] = provider
        elif self.service.darkness.over("providers"):
            raise Dropped("blackout: the fake APNs cannot be reached")
        answer = self.service.push(PushRequest(method, path, headers, payload), provider)
        try:
            await self.service.durable()
        except NotDurable:
            answer = self.service.not_durable(answer)
        if answer.wire is not None:
            await self._carry_out(answer.wire, provider)
        return answer

    async def _carry_out(self, wire: Wire, provider: Provider) -> None:
        if wire.name == "answer.slow":
            await self.service.clock.sleep_until(self.service.clock.now_ms() + round(wire.seconds * 1000))
        elif wire.name != "streams.limited":
            # One request at a time has no other streams: whatever happens to the connection happens to the request.
            self._providers.pop((provider.certificate, provider.environment), None)
            self.service.close_provider(provider, f"fault {wire.name}")
            raise Dropped(f"fault {wire.name}: the fake APNs does not answer")


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return

"""The fake DEP for worlds in one process: the same service, without sockets, as ASGI apps and as a call."""

from __future__ import annotations

from mdmsim.fakedep.core import DepRequest
from mdmsim.fakedep.front.activation import ActivationFront
from mdmsim.fakedep.front.service import HOSTS, ServiceFront
from mdmsim.fakedep.service import DepService
from mdmsim.http import Request, Response, TimedOut
from mdmsim.protocol.cloud_configuration import HOST as ACTIVATION_HOST

__all__ = ["ACTIVATION_HOST", "HOSTS", "InProcessDep"]


class InProcessDep:
    """Ways in that need no socket. `asgi`: what MDM servers dial, `HOSTS`; `activation`: what devices dial."""

    def __init__(self, service: DepService) -> None:
        self.service = service
        self.asgi = ServiceFront(service)
        self.activation = ActivationFront(service)

    async def handle(self, request: Request) -> Response:
        """Answer an MDM server's request. Raises Dropped where a fault cuts it, TimedOut where one stalls it."""
        answer = self.service.handle(DepRequest(request.method, request.url, request.headers, request.body))
        if not await self.asgi.wait(answer):
            clock = self.service.clock
            await clock.sleep_until(clock.now_ms() + round(request.timeout * 1000))
            raise TimedOut(f"{request.url}: no answer in {request.timeout} s", sent=True)
        return Response(answer.status, answer.headers, answer.body, request.url)

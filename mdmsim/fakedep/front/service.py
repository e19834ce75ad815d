"""The web service for MDM servers as an ASGI app: mdmenrollment.apple.com."""

from __future__ import annotations

from mdmsim.asgi import Dropped
from mdmsim.fakedep.core import Answer, DepRequest
from mdmsim.fakedep.front.asgi import (
    BodyTooLong,
    Gone,
    Receive,
    Scope,
    Send,
    headers_of,
    lifespan,
    read_body,
    respond,
    url_of,
)
from mdmsim.fakedep.service import DepService

#: The names that MDM servers dial.
HOSTS = ("mdmenrollment.apple.com",)


class ServiceFront:
    """The ASGI app. Carries out what faults do to answers: late, never, or a dropped connection (Dropped)."""

    def __init__(self, service: DepService) -> None:
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await lifespan(receive, send)
            return
        try:
            body = await read_body(receive)
        except Gone:
            return
        except BodyTooLong:
            await respond(send, 413)
            return
        answer = self._service.handle(DepRequest(scope["method"], url_of(scope), headers_of(scope), body))
        if await self.wait(answer, receive):
            await respond(send, answer.status, answer.headers, answer.body)

    async def wait(self, answer: Answer, receive: Receive | None = None) -> bool:
        """Wait as long as faults want. Raises Dropped where no answer is due; False: so it is, and nobody to tell."""
        clock = self._service.clock
        if answer.delay_ms:
            await clock.sleep_until(clock.now_ms() + answer.delay_ms)
        if answer.wire == "answer.cut":
            raise Dropped("fault answer.cut: the fake DEP drops the connection")
        if answer.wire == "answer.stalled":
            if receive is None:
                return False
            while (await receive())["type"] != "http.disconnect":
                continue
            raise Dropped("fault answer.stalled: the client has given up")
        return True

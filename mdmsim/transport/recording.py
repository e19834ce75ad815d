"""Recording: each exchange as one event, with all that a report needs to show it. A wrapper around any transport.

Put it outermost, around `Faulty`: then injected faults are in the record, under their names.
"""

from __future__ import annotations

from typing import Any

from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.http import ConnectFailed, Headers, Request, Response, TransportError
from mdmsim.transport.place import place_of
from mdmsim.transport.wire import AsyncTransport, Tap, Transport


class _Recorder:
    """Makes the event; what the two wrappers share."""

    def __init__(self, events: Events, clock: Clock, device: str | None, source: str) -> None:
        self._events, self._clock, self._device, self._source = events, clock, device, source

    def now_ms(self) -> int:
        return self._clock.now_ms()

    def note(
        self, request: Request, tap: Tap, started_ms: int, response: Response | None, error: BaseException | None
    ) -> None:
        """Emit the `exchange` event.

        Headers are lists of [name, value]; `status` is null where no answer came, `error` and `error_class` where
        one did; `sent`: the server may have seen the whole request; `connection`: its number within the transport;
        `hops`: [status, url] of each redirect followed; `fault`: the name of the one that was injected.
        """
        data: dict[str, Any] = {
            "label": request.label,
            "method": request.method,
            "url": request.url,
            "host": _host(request.url),
            "request_headers": _plain(request.headers),
            "request_body": request.body,
            "status": None,
            "response_url": None,
            "response_headers": [],
            "response_body": b"",
            "error": None,
            "error_class": None,
            "sent": True,
            "started_ms": started_ms,
            "ended_ms": self._clock.now_ms(),
            "identity": request.identity.fingerprint if request.identity is not None else None,
            "connection": tap.connection,
            "reused": tap.reused,
            "hops": [list(hop) for hop in tap.hops],
            "fault": tap.fault,
        }
        if response is not None:
            data["status"] = response.status
            data["response_url"] = response.url
            data["response_headers"] = _plain(response.headers)
            data["response_body"] = response.body
        if error is not None:
            data["error"], data["error_class"] = str(error), type(error).__name__
            data["sent"] = error.sent if isinstance(error, TransportError) else True
        self._events.emit("exchange", source=self._source, device=self._device, **data)


def _plain(headers: Headers) -> list[list[str]]:
    return [[name, value] for name, value in headers]


def _host(url: str) -> str | None:
    try:
        return place_of(url).authority
    except ConnectFailed:
        return None


class Recording:
    """Around a transport for async code. `source` names the recorder in its events."""

    def __init__(
        self,
        transport: AsyncTransport,
        events: Events,
        *,
        clock: Clock,
        device: str | None = None,
        source: str = "wire",
    ) -> None:
        self._transport = transport
        self._recorder = _Recorder(events, clock, device, source)

    async def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """As the wrapped transport; a cancelled exchange is recorded, too."""
        tap, recorder = tap or Tap(), self._recorder
        started_ms = recorder.now_ms()
        try:
            response = await self._transport.send(request, tap=tap)
        except BaseException as error:
            recorder.note(request, tap, started_ms, None, error)
            raise
        recorder.note(request, tap, started_ms, response, None)
        return response


class RecordingBlocking:
    """Around a transport for blocking code. `source` names the recorder in its events."""

    def __init__(
        self, transport: Transport, events: Events, *, clock: Clock, device: str | None = None, source: str = "wire"
    ) -> None:
        self._transport = transport
        self._recorder = _Recorder(events, clock, device, source)

    def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """As the wrapped transport; an interrupted exchange is recorded, too."""
        tap, recorder = tap or Tap(), self._recorder
        started_ms = recorder.now_ms()
        try:
            response = self._transport.send(request, tap=tap)
        except BaseException as error:
            recorder.note(request, tap, started_ms, None, error)
            raise
        recorder.note(request, tap, started_ms, response, None)
        return response

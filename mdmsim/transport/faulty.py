"""Faults of the network, by name, from a seeded plan. A wrapper around any transport.

| name | what happens | `answer` |
| --- | --- | --- |
| `network.down` | nothing leaves the device | |
| `connection.refused` | nobody listens at the server | |
| `tls.untrusted` | the server shows a certificate that the device does not trust | |
| `answer.status` | something in between answers; the server sees nothing | status, (status, body) or a Response |
| `request.cut` | the connection ends in the middle of the request | bytes (int) or share (float); 0.5 |
| `response.cut` | it ends in the middle of the answer, the server has acted | bytes that still come; 12 |
| `stall` | the device goes silent after its request, or after some bytes of it | seconds, or {"after": bytes, "seconds": s}; until the request's timeout |
"""

from __future__ import annotations

import math
from typing import Any

from mdmsim.events import Events
from mdmsim.faults import Fault, FaultPlan
from mdmsim.http import ConnectFailed, Request, Response, TLSFailed, TransportError
from mdmsim.transport.place import place_of
from mdmsim.transport.wire import AsyncTransport, Tap, Transport

#: Every name, in the order in which they are drawn: one that keeps a request at home comes before one on the wire.
NAMES = (
    "network.down",
    "connection.refused",
    "tls.untrusted",
    "answer.status",
    "request.cut",
    "response.cut",
    "stall",
)
#: "HTTP/1.1 200": in the middle of every answer's first line.
_SHORT_OF_ANY_ANSWER = 12


class _Injector:
    """Draws faults and carries out those that need no connection; what the two wrappers share."""

    def __init__(self, plan: FaultPlan, events: Events | None, device: str | None) -> None:
        self._plan, self._events, self._device = plan, events, device

    def inject(self, request: Request, tap: Tap | None) -> tuple[Response | None, Tap | None]:
        """An answer to give in the server's stead, or None and the tap to send with. Raises TransportError."""
        if not self._plan.planned:
            return None, tap
        fault = self._draw(request)
        if fault is None:
            return None, tap
        tap = tap or Tap()
        tap.fault = fault.name
        if self._events is not None:
            self._events.emit(
                "fault.injected",
                source="wire",
                device=self._device,
                fault=fault.name,
                why=fault.why,
                target=request.label or request.url,
            )
        if fault.name == "answer.status":
            return _answer(fault, request), tap
        if (error := _error(fault.name, request)) is not None:
            raise error
        _ask_of_wire(fault, tap)
        return None, tap

    def _draw(self, request: Request) -> Fault | None:
        facts: dict[str, Any] = {
            "label": request.label,
            "method": request.method,
            "url": request.url,
            "host": place_of(request.url).host,
            "device": self._device,
            "identity": request.identity.fingerprint if request.identity is not None else None,
        }
        for name in NAMES:
            fault = self._plan.draw(name, **facts)
            if fault is not None:
                return fault
        return None


def _error(name: str, request: Request) -> TransportError | None:
    place = place_of(request.url)
    asked = f"{request.label} {request.method} {request.url}".lstrip()
    if name == "network.down":
        return ConnectFailed(f"{asked}: cannot connect to {place.at}: Network is down")
    if name == "connection.refused":
        return ConnectFailed(f"{asked}: cannot connect to {place.at}: Connection refused")
    if name == "tls.untrusted":
        return TLSFailed(
            f"{asked}: the certificate of {place.at} is not trusted: unable to get local issuer certificate",
            problem="untrusted",
        )
    return None


def _answer(fault: Fault, request: Request) -> Response:
    answer = fault.answer
    if isinstance(answer, Response):
        return Response(answer.status, answer.headers, answer.body, request.url)
    status, body = answer if isinstance(answer, tuple) and len(answer) == 2 else (answer, b"")
    if not isinstance(status, int) or isinstance(status, bool) or not isinstance(body, bytes):
        raise ValueError(
            f'fault "answer.status" with answer={answer!r}: give a status such as 503, (status, body as bytes), '
            f"or a Response"
        )
    return Response(status, (("Content-Length", str(len(body))),), body, request.url)


def _ask_of_wire(fault: Fault, tap: Tap) -> None:
    amount = fault.answer
    if fault.name == "request.cut":
        if isinstance(amount, int) and not isinstance(amount, bool) and amount >= 0:
            tap.cut_request_after = amount
        elif amount is None or (isinstance(amount, float) and 0 <= amount <= 1):
            tap.cut_request_share = 0.5 if amount is None else amount
        else:
            raise ValueError(f'fault "request.cut" with answer={amount!r}: give bytes (int) or a share from 0.0 to 1.0')
    elif fault.name == "response.cut":
        tap.cut_response_after = int(_number(fault, amount, default=_SHORT_OF_ANY_ANSWER))
    elif isinstance(amount, dict) and amount.keys() <= {"after", "seconds"}:
        tap.stall_seconds = _number(fault, amount.get("seconds"), default=math.inf)
        tap.stall_request_after = int(_number(fault, amount.get("after"), default=0))
    else:
        tap.stall_seconds = _number(fault, amount, default=math.inf)


def _number(fault: Fault, amount: Any, *, default: float) -> float:
    if amount is None:
        return default
    if isinstance(amount, bool) or not isinstance(amount, int | float) or amount < 0:
        raise ValueError(f'fault "{fault.name}" with answer={amount!r}: give a number that is not negative')
    return amount


class Faulty:
    """Around a transport for async code. `events` hears of each fault that was injected."""

    def __init__(
        self, transport: AsyncTransport, plan: FaultPlan, *, events: Events | None = None, device: str | None = None
    ) -> None:
        self._transport = transport
        self._injector = _Injector(plan, events, device)

    async def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """As the wrapped transport, but for what the plan has for this request."""
        response, tap = self._injector.inject(request, tap)
        if response is not None:
            return response
        return await self._transport.send(request, tap=tap)


class FaultyBlocking:
    """Around a transport for blocking code. `events` hears of each fault that was injected."""

    def __init__(
        self, transport: Transport, plan: FaultPlan, *, events: Events | None = None, device: str | None = None
    ) -> None:
        self._transport = transport
        self._injector = _Injector(plan, events, device)

    def send(self, request: Request, *, tap: Tap | None = None) -> Response:
        """As the wrapped transport, but for what the plan has for this request."""
        response, tap = self._injector.inject(request, tap)
        if response is not None:
            return response
        return self._transport.send(request, tap=tap)

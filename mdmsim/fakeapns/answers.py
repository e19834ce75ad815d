"""What providers ask, and what they are answered, as plain data."""

from __future__ import annotations

import json

import msgspec

from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.fault_names import Wire
from mdmsim.http import Headers


class PushRequest(msgspec.Struct, frozen=True):
    """A provider's request. Header names are lower case, pseudo-headers left out."""

    method: str
    path: str
    headers: Headers = ()
    payload: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What goes back. `wire`: the fault that the front carries out with it or in its place."""

    status: int
    headers: Headers
    body: bytes = b""
    wire: Wire | None = None


def refused(refusal: ApnsError, apns_id: str, wire: Wire | None = None) -> Answer:
    """A refusal in Apple's form: JSON with the reason, and with a timestamp where there is one."""
    body: dict[str, str | int] = {"reason": refusal.reason}
    if refusal.timestamp_ms is not None:
        body["timestamp"] = refusal.timestamp_ms
    encoded = json.dumps(body, separators=(",", ":")).encode()
    return Answer(refusal.status, (("apns-id", apns_id), ("content-type", "application/json")), encoded, wire)


def not_durable(answer: Answer) -> Answer:
    """What goes out when `durable` failed: the push may have been taken in or not, and nobody can promise it."""
    if answer.status != 200:
        return answer
    return refused(ApnsError.of("InternalServerError"), dict(answer.headers)["apns-id"], answer.wire)

"""What all endpoints of the web service share: the register, the faults, and one request that got as far as them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.fakedep.cursors import Cursors
from mdmsim.fakedep.errors import DepError, refuse
from mdmsim.fakedep.register import Register
from mdmsim.fakedep.server import MdmServer
from mdmsim.fakedep.settings import DepSettings
from mdmsim.faults import Fault, FaultPlan

SOURCE = "dep"

#: The faults that the service and its fronts carry out when a plan names them.
FAULTS: dict[str, str] = {
    "request.refused": "answer=DepError: the request is refused with that status and body; nothing happens",
    "session.expired": "the session ends: 401 UNAUTHORIZED",
    "session.forgotten": "the session is unknown from now on: 403 FORBIDDEN",
    "cursor.expired": "EXPIRED_CURSOR, whatever the cursor; never for a request without one",
    "cursor.invalid": "INVALID_CURSOR, whatever the cursor; never for a request without one",
    "cursor.exhausted": "EXHAUSTED_CURSOR, whatever the cursor; never for a request without one",
    "cursor.stuck": "the page comes with the cursor that was sent, and more_to_follow true",
    "sync.duplicated": "each operation of the page comes twice",
    "sync.reordered": "the operations of the page come in a random order",
    "sync.omitted": "an operation never comes (facts: serial, operation)",
    "record.sparse": "answer=list of keys, default all optional ones: a device's record lacks them (facts: serial)",
    "record.extended": "answer=object: a device's record has these keys besides (facts: serial)",
    "assign.refused": (
        "answer=FAILED, THROTTLED or NOT_ACCESSIBLE, or {status, retry_after_seconds}: the profile is not assigned to a"
        " device (facts: serial)"
    ),
    "assign.omitted": "the answer says nothing of a device, and nothing happens to it (facts: serial)",
    "assign.ignored": "SUCCESS, but nothing happens to the device (facts: serial)",
    "answer.slow": "answer=seconds, default 30: the answer comes late",
    "answer.cut": "the connection is dropped instead of the answer; the request counts",
    "answer.stalled": "the answer never comes; the request counts",
    "activation.refused": "answer=HTTP status, default 503: a device does not get its configuration (facts: serial)",
    "activation.withheld": "a device is told that it has no configuration (facts: serial)",
}


class DepRequest(msgspec.Struct, frozen=True):
    """An MDM server's request. `url`: as the client dialled it, absolute; header names compare without case."""

    method: str
    url: str
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


class Answer(msgspec.Struct, frozen=True):
    """What goes back. `wire`: "" for a plain answer, or the fault that the front carries out instead. `delay_ms`: before it."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    wire: str = ""
    delay_ms: int = 0


@dataclass(slots=True)
class Core:
    """The parts of the service."""

    clock: Clock
    events: Events
    faults: FaultPlan
    settings: DepSettings
    register: Register
    cursors: Cursors

    def emit(self, kind: str, **data: Any) -> None:
        self.events.emit(kind, source=SOURCE, **data)

    def draw(self, name: str, facts: Mapping[str, Any]) -> Fault | None:
        """The fault of that name to carry out now, told as an event."""
        if not self.faults.planned:
            return None
        fault = self.faults.draw(name, **facts)
        if fault is not None:
            self.emit("fault.injected", fault=fault.name, why=fault.why, target=dict(facts))
        return fault


@dataclass(slots=True)
class Call:
    """One request of a known server with an open session. `version`: its X-Server-Protocol-Version, 1 where absent."""

    endpoint: str
    method: str
    server: MdmServer
    version: int
    query: Mapping[str, str]
    raw_body: bytes
    facts: dict[str, Any] = field(default_factory=dict)

    def body(self) -> dict[str, Any]:
        """The JSON object in the body. Raises Refused with MALFORMED_REQUEST_BODY."""
        try:
            decoded = msgspec.json.decode(self.raw_body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise refuse("MALFORMED_REQUEST_BODY", f"not JSON: {error}") from None
        if not isinstance(decoded, dict):
            raise refuse("MALFORMED_REQUEST_BODY", "not a JSON object")
        return decoded


def serial_numbers(body: Mapping[str, Any], *, required: bool) -> list[str]:
    """The serial numbers under `devices`, each once. Raises Refused: DEVICE_ID_REQUIRED, MALFORMED_REQUEST_BODY."""
    found = body.get("devices")
    if found is None or found == []:
        if required:
            raise refuse("DEVICE_ID_REQUIRED", '"devices" is missing or empty')
        return []
    if not isinstance(found, list) or not all(isinstance(each, str) for each in found):
        raise refuse("MALFORMED_REQUEST_BODY", '"devices" is not an array of serial numbers')
    return list(dict.fromkeys(found))


def text(body: Mapping[str, Any], key: str) -> str | None:
    """A string, None where it is absent, null or empty. Raises Refused with MALFORMED_REQUEST_BODY."""
    found = body.get(key)
    if found is None or found == "":
        return None
    if not isinstance(found, str):
        raise refuse("MALFORMED_REQUEST_BODY", f'"{key}" is not a string')
    return found


def fault_error(fault: Fault) -> DepError:
    """What `request.refused` answers; 503 where the plan does not say."""
    return fault.answer if isinstance(fault.answer, DepError) else DepError(503, "", fault.why, 60)

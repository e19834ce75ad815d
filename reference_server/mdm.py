"""The two device-facing URLs: from an ASGI request to a check-in or a report, and back to a status.

This is the hot path, so it is plain ASGI, without routing or request objects. What gets which status is decided here
and in `binding`, and nowhere else.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.protocol.content_type import PLIST, is_checkin, is_connect
from reference_server.answers import send_answer, send_text
from reference_server.bodies import LARGE, LargeBodies, RawHeaders, Receive, Send, TooLarge, read_body
from reference_server.checkin import CheckIns, read_checkin
from reference_server.connect import Connects, read_report
from reference_server.errors import ClientGone, Refusal
from reference_server.identity import Sender, Senders, Trusted
from reference_server.logs import Log, level_of
from reference_server.settings import ContentTypeMode
from reference_server.storage.interface import IdentityStore
from reference_server.storage.records import Connected

CHECKIN_PATH = "/mdm/checkin"
CONNECT_PATH = "/mdm/connect"

#: Long reports in memory at once, of up to 17 MiB each.
LARGE_AT_ONCE = 8

_PLIST = PLIST.encode("ascii")
_ALLOW_PUT = ((b"allow", b"PUT"),)


@dataclass(slots=True)
class _Course:
    """How far a request came: what its log line and its event tell."""

    label: str | None = None
    enrollment_id: str | None = None
    command_uuid: str | None = None
    note: str | None = None
    connected: Connected | None = None
    finished: bool = False


class MdmEndpoint:
    """Answers CheckInURL and ServerURL."""

    def __init__(
        self,
        *,
        senders: Senders,
        trusted: Trusted,
        identities: IdentityStore,
        checkins: CheckIns,
        connects: Connects,
        clock: Clock,
        chance: Chance,
        log: Log,
        events: Events | None,
        max_body: int,
        content_type: ContentTypeMode,
    ) -> None:
        self._senders = senders
        self._trusted = trusted
        self._identities = identities
        self._checkins = checkins
        self._connects = connects
        self._clock = clock
        self._request_ids = chance
        self._log = log
        self._events = events
        self._max_body = max_body
        self._content_type = content_type
        self._large = LargeBodies(LARGE_AT_ONCE)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        request_id = self._request_ids.hex(8)
        started_ms = self._clock.now_ms()
        course = _Course()
        why: str | None = None
        served = b""
        try:
            served = await self._handle(scope, receive, course)
            status = 200
        except Refusal as refusal:
            status, why = refusal.status, refusal.why
        except TooLarge:
            status, why = 413, f"the body is larger than {self._max_body} bytes"
        except ClientGone:
            self._log.write("warning", "mdm", request_id=request_id, path=scope["path"], why="cut before its end")
            return
        except Exception:
            # A bug or a full disk: the device keeps its report and comes again.
            status, why = 500, "internal error"
            self._log.write("error", "exception", request_id=request_id, trace=traceback.format_exc())
        self._account(scope, course, status, why, request_id, started_ms)
        if why is not None:
            await send_text(send, status, request_id, why, extra=_ALLOW_PUT if status == 405 else ())
        elif served:
            await send_answer(send, 200, request_id, content_type=_PLIST, body=served)
        else:
            await send_answer(send, 200, request_id)

    async def _handle(self, scope: MutableMapping[str, Any], receive: Receive, course: _Course) -> bytes:
        """The body of the 200. Raises Refusal, TooLarge, ClientGone."""
        if scope["method"] != "PUT":
            raise Refusal(405, f"{scope['method']} is not what devices use: PUT")
        headers: RawHeaders = scope["headers"]
        checkin = _is_checkin(scope["path"], headers, optional=self._content_type == "optional")
        claim = self._senders.claim(scope, headers)

        async def known() -> None:
            await self._check_trust(claim.unproven())

        body = await read_body(headers, receive, self._max_body, self._large, check=known)
        sender = claim.prove(body)
        try:
            # Before the body is parsed: strangers do not choose how long that takes.
            await self._check_trust(sender)
        except Refusal:
            _label_for_the_log(course, body, checkin=checkin)
            raise
        if not checkin:
            report = read_report(body)
            course.label, course.enrollment_id = report.label, report.ids.key
            course.command_uuid = report.command_uuid
            connected = await self._connects.handle(report, body, sender.fingerprint)
            course.connected, course.note = connected, connected.note
            return connected.served or b""
        message = read_checkin(body)
        course.label, course.enrollment_id = f"checkin:{message.message_type}", message.ids.key
        course.finished = await self._checkins.handle(message, sender.fingerprint)
        return b""

    async def _check_trust(self, sender: Sender) -> None:
        try:
            self._trusted.check(sender)
        except Refusal:
            # A removed device is told so even when its identity has run out in the meantime.
            if await self._identities.is_removed(sender.fingerprint):
                raise Refusal(401, "the administrator removed the enrollment of this identity") from None
            raise

    def _account(
        self,
        scope: MutableMapping[str, Any],
        course: _Course,
        status: int,
        why: str | None,
        request_id: str,
        started_ms: int,
    ) -> None:
        """One line in the log, and the events, after everything is durable and before the answer goes out."""
        connected = course.connected
        served_uuid = connected.served_uuid if connected is not None else None
        self._log.write(
            level_of(status),
            "mdm",
            request_id=request_id,
            label=course.label or scope["path"],
            status=status,
            enrollment_id=course.enrollment_id,
            command_uuid=course.command_uuid,
            served=served_uuid,
            why=why,
            note=course.note,
            ms=self._clock.now_ms() - started_ms,
        )
        if self._events is None:
            return
        emit, enrollment_id = self._events.emit, course.enrollment_id
        label = course.label or ""
        if label.startswith("checkin:") or (not label and scope["path"] == CHECKIN_PATH):
            message = label.removeprefix("checkin:") or None
            emit(
                "server.checkin", source="server", message=message, enrollment_id=enrollment_id, status=status, why=why
            )
            if course.finished:
                emit("server.enrolled", source="server", enrollment_id=enrollment_id)
            if status == 200 and message == "CheckOut":
                emit("server.removed", source="server", enrollment_id=enrollment_id, why="checked out")
            return
        report = label.removeprefix("connect:") or None
        emit(
            "server.connect",
            source="server",
            report=report,
            enrollment_id=enrollment_id,
            status=status,
            command_uuid=course.command_uuid,
            served=served_uuid,
            why=why,
        )
        if connected is None:
            return
        if course.command_uuid is not None:
            emit(
                "server.command-result",
                source="server",
                enrollment_id=enrollment_id,
                command_uuid=course.command_uuid,
                request_type=connected.request_type,
                status=report,
            )
        if served_uuid is not None:
            emit(
                "server.command-served",
                source="server",
                enrollment_id=enrollment_id,
                command_uuid=served_uuid,
                request_type=connected.served_type,
            )


def _label_for_the_log(course: _Course, body: bytes, *, checkin: bool) -> None:
    """What a refused request was about, as far as it says so in few words."""
    if len(body) > LARGE:
        return
    with contextlib.suppress(Refusal):
        if checkin:
            message = read_checkin(body)
            course.label, course.enrollment_id = f"checkin:{message.message_type}", message.ids.key
        else:
            report = read_report(body)
            course.label, course.enrollment_id, course.command_uuid = report.label, report.ids.key, report.command_uuid


def _is_checkin(path: str, headers: RawHeaders, *, optional: bool) -> bool:
    """Check-in or connect, by URL and content type. Raises Refusal 400 for a content type that is neither.

    `optional`: a request without one is what its URL is for.
    """
    found = next((value for name, value in headers if name == b"content-type"), None)
    if found is None and optional:
        return path == CHECKIN_PATH
    content_type = (found or b"").decode("latin-1")
    # A profile without a CheckInURL sends both kinds to ServerURL; only the content type tells them apart.
    if is_checkin(content_type):
        return True
    if path == CONNECT_PATH and is_connect(content_type):
        return False
    raise Refusal(400, f"the content type {content_type[:80]!r} is not that of {path}")

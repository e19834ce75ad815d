"""The fake DEP itself: judges a request of an MDM server and answers it. Pure logic: no sockets, no waiting.

The order of the checks is not documented: method, User-Agent, session, terms, body, parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import MINUTE, SECOND, Clock
from mdmsim.events import Events
from mdmsim.fakedep.account import AccountEndpoints
from mdmsim.fakedep.core import FAULTS, SOURCE, Answer, Call, Core, DepRequest, fault_error
from mdmsim.fakedep.cursors import Cursors
from mdmsim.fakedep.devices import DeviceEndpoints
from mdmsim.fakedep.errors import DepError, Refused, refuse
from mdmsim.fakedep.login import Login
from mdmsim.fakedep.model import Device
from mdmsim.fakedep.portal import Portal
from mdmsim.fakedep.profiles import ProfileEndpoints
from mdmsim.fakedep.register import Register
from mdmsim.fakedep.server import MdmServer
from mdmsim.fakedep.sessions import HEADER, Session, Sessions
from mdmsim.fakedep.settings import DepSettings
from mdmsim.faults import FaultPlan
from mdmsim.http import find_header
from mdmsim.protocol.cloud_configuration import CloudConfiguration

__all__ = ["FAULTS", "SOURCE", "Answer", "DepRequest", "DepService"]

#: That spelling, without blank or hyphen, is what clients send and was seen in answers.
JSON_TYPE = "application/json;charset=UTF8"
_TEXT_TYPE = "text/plain;charset=UTF-8"

_Endpoint = Callable[[Call], Any]


class DepService:
    """One DEP. Everything is a plain call that returns at once."""

    def __init__(
        self,
        clock: Clock,
        chance: Chance,
        events: Events | None = None,
        faults: FaultPlan | None = None,
        settings: DepSettings | None = None,
    ) -> None:
        self.clock = clock
        self.events = events or Events(clock)
        self.faults = faults or FaultPlan(chance.stream("faults"))
        self.settings = settings or DepSettings()
        self.register = Register(clock, self.settings)
        cursors = Cursors(chance.stream("cursors").bytes(32), self.settings.cursor_length)
        self.core = Core(clock, self.events, self.faults, self.settings, self.register, cursors)
        self.portal = Portal(self.core, chance.stream("portal"))
        self.sessions = Sessions(clock, chance.stream("sessions"), self.settings)
        self._login = Login(self.core, self.sessions)
        self._deny = re.compile(self.settings.deny_user_agent) if self.settings.deny_user_agent is not None else None
        self._paces: dict[str, tuple[int, int]] = {}
        account, devices = AccountEndpoints(self.core), DeviceEndpoints(self.core)
        profiles = ProfileEndpoints(self.core, chance.stream("profiles"))
        self._endpoints: dict[str, dict[str, _Endpoint]] = {
            "/account": {"GET": account.account},
            "/server/devices": {"POST": devices.fetch},
            "/devices/sync": {"POST": devices.sync},
            "/devices": {"POST": devices.details},
            "/devices/disown": {"POST": devices.disown},
            "/device/activationlock": {"POST": devices.activation_lock},
            "/device/replacementDetails": {"GET": devices.replacement},
            "/profile": {"POST": profiles.define, "GET": profiles.read},
            "/profile/devices": {"POST": profiles.assign, "PUT": profiles.assign, "DELETE": profiles.remove},
            "/os-beta-enrollment/tokens": {"GET": account.beta_tokens},
            "/account-driven-enrollment/profile": {
                "POST": account.set_discovery,
                "GET": account.get_discovery,
                "DELETE": account.delete_discovery,
            },
        }

    # what an MDM server does

    def handle(self, request: DepRequest) -> Answer:
        """Judge one request and, when it is in order, do what it asks."""
        try:
            parts = urlsplit(request.url)
            url = urlunsplit((self.settings.external_scheme or parts.scheme, parts.netloc, parts.path, parts.query, ""))
            query = dict(parse_qsl(parts.query, keep_blank_values=True))
        except ValueError as error:
            return self._refusal(DepError(400, "", f"not a URL: {error}"), {"endpoint": "", "method": request.method})
        facts: dict[str, Any] = {"endpoint": parts.path, "method": request.method, "server": None}
        session: Session | None = None
        try:
            if parts.path == "/session":
                server = self._login.server(request.headers)
            else:
                session = self.sessions.find(find_header(request.headers, HEADER) or "")
                server = self.register.server_by_uuid(session.server) if session is not None else None
            facts["server"] = server.name if server is not None else None
            answer = self._answer(request, url, parts.path, query, facts, server, session)
        except Refused as refused:
            answer = self._refusal(refused.error, facts)
        if session is not None and self.sessions.is_open(session) and (token := self.sessions.renewal(session)):
            answer = msgspec.structs.replace(answer, headers=(*answer.headers, (HEADER, token)))
        return self._wire(answer, facts)

    # what a device does

    def cloud_configuration(
        self, serial: str, machine_info: Mapping[str, Any] | None = None
    ) -> CloudConfiguration | None:
        """What the device of that serial number gets at activation; None: it is not to enrol.

        The device's profile counts as pushed from then on. `machine_info`: what the device says of itself, for the
        event only. Faults that refuse are the front's: see `activation_status`.
        """
        facts = {"serial": serial}
        device = self.register.find_device(serial)
        server = self.register.server_by_uuid(device.server) if device is not None and device.server else None
        why = ""
        profile = None
        if device is None:
            why = "no organisation owns it"
        elif server is None:
            why = "it is assigned to no MDM server"
        elif device.profile_status not in ("assigned", "pushed") or device.profile_uuid is None:
            why = "no profile is assigned to it"
        else:
            profile = server.profiles.get(device.profile_uuid)
            if self.core.draw("activation.withheld", facts) is not None:
                why, profile = "fault", None
        if device is None or server is None or profile is None:
            self.core.emit("dep.configuration-absent", serial=serial, why=why)
            return None
        self.register.push_profile(device)
        organisation = self.register.organisations[server.organisation]
        self.core.emit(
            "dep.configuration-served",
            serial=serial,
            server=server.name,
            profile_uuid=profile.uuid,
            machine_info=dict(machine_info or {}),
        )
        return CloudConfiguration(
            serial_number=serial,
            profile_uuid=profile.uuid,
            profile=profile.definition,
            server_name=server.name,
            server_uuid=server.uuid,
            organisation={
                "name": organisation.name,
                "email": organisation.email,
                "phone": organisation.phone,
                "address": organisation.address,
            },
        )

    def activation_status(self, serial: str) -> int | None:
        """The HTTP status with which a fault refuses this device its configuration; None: none does."""
        fault = self.core.draw("activation.refused", {"serial": serial})
        if fault is None:
            return None
        return fault.answer if isinstance(fault.answer, int) else 503

    # what others look at and do

    def devices(self) -> list[Device]:
        """All devices of all organisations, in the order in which they were ordered."""
        return self.register.devices()

    def device(self, serial: str) -> Device:
        """Raises UnknownDevice."""
        return self.register.device(serial)

    def servers(self) -> list[MdmServer]:
        return list(self.register.servers())

    def expire_sessions(self, server: str | None = None) -> None:
        """All sessions, or one server's, are over: the next request gets 401. Raises UnknownServer."""
        self.sessions.expire(self.register.server(server).uuid if server is not None else None)

    def forget_sessions(self, server: str | None = None) -> None:
        """All sessions, or one server's, are unknown: the next request gets 403. Raises UnknownServer."""
        self.sessions.forget(self.register.server(server).uuid if server is not None else None)

    # inside

    def _answer(
        self,
        request: DepRequest,
        url: str,
        path: str,
        query: Mapping[str, str],
        facts: dict[str, Any],
        server: MdmServer | None,
        session: Session | None,
    ) -> Answer:
        if (fault := self.core.draw("request.refused", facts)) is not None:
            raise Refused(fault_error(fault))
        methods: Mapping[str, Any] | None = {"GET": None} if path == "/session" else self._endpoints.get(path)
        if methods is None:
            raise refuse("NOT_FOUND", f"no endpoint {path[:60]}")
        if request.method not in methods:
            raise Refused(DepError(405, "", f"{path} has no {request.method[:20]}", allow=", ".join(methods)))
        self._user_agent(request)
        if path == "/session":
            self._pace(server)
            token = self._login.open(request, url)
            return Answer(200, (("content-type", JSON_TYPE),), msgspec.json.encode({"auth_session_token": token}))
        server = self._session(server, session, facts)
        self._pace(server)
        self._allowed(server)
        call = Call(path, request.method, server, version(request), query, request.body, facts)
        value = methods[request.method](call)
        return Answer(200, (("content-type", JSON_TYPE),), msgspec.json.encode(value))

    def _user_agent(self, request: DepRequest) -> None:
        agent = (find_header(request.headers, "user-agent") or "").strip()
        if not agent:
            raise refuse("USER_AGENT_MISSING", "no User-Agent header")
        if self._deny is not None and self._deny.search(agent):
            raise refuse("USER_AGENT_INVALID", f"User-Agent {agent[:60]} is denied")

    def _session(self, server: MdmServer | None, session: Session | None, facts: dict[str, Any]) -> MdmServer:
        if session is None or server is None:
            raise refuse("FORBIDDEN", f"no {HEADER}, or one that was never handed out")
        if self.core.draw("session.forgotten", facts) is not None:
            self.sessions.forget(server.uuid)
            raise refuse("FORBIDDEN", "the session is forgotten: fault")
        if self.core.draw("session.expired", facts) is not None:
            self.sessions.expire(server.uuid)
        if not self.sessions.is_open(session):
            raise refuse("UNAUTHORIZED", "the session is over")
        return server

    def _allowed(self, server: MdmServer) -> None:
        if server.removed:
            raise refuse("ACCESS_DENIED", "the MDM server was removed in the portal")
        if self.register.organisations[server.organisation].terms_pending:
            raise refuse("T_C_NOT_SIGNED", "the organisation has not accepted the new terms")

    def _pace(self, server: MdmServer | None) -> None:
        most = self.settings.requests_per_minute
        if most is None or server is None:
            return
        now_ms = self.clock.now_ms()
        since_ms, count = self._paces.get(server.uuid, (now_ms, 0))
        if now_ms - since_ms >= MINUTE:
            since_ms, count = now_ms, 0
        self._paces[server.uuid] = (since_ms, count + 1)
        if count >= most:
            wait_s = -(-(since_ms + MINUTE - now_ms) // SECOND)
            raise Refused(DepError.of("TOO_MANY_REQUESTS", f"more than {most} a minute", retry_after_s=wait_s))

    def _refusal(self, error: DepError, facts: Mapping[str, Any]) -> Answer:
        self.core.emit("dep.refused", status=error.status, reason=error.body, why=error.why, **facts)
        headers: list[tuple[str, str]] = []
        body = error.body
        if body:
            headers.append(("content-type", JSON_TYPE if self.settings.quoted_errors else _TEXT_TYPE))
            if self.settings.quoted_errors:
                body = f'"{body}"'
        if error.retry_after_s is not None:
            headers.append(("retry-after", str(error.retry_after_s)))
        if error.allow is not None:
            headers.append(("allow", error.allow))
        return Answer(error.status, tuple(headers), body.encode())

    def _wire(self, answer: Answer, facts: Mapping[str, Any]) -> Answer:
        if not self.faults.planned:
            return answer
        if (fault := self.core.draw("answer.slow", facts)) is not None:
            seconds = fault.answer if isinstance(fault.answer, int | float) else 30
            answer = msgspec.structs.replace(answer, delay_ms=round(seconds * SECOND))
        for name in ("answer.cut", "answer.stalled"):
            if self.core.draw(name, facts) is not None:
                answer = msgspec.structs.replace(answer, wire=name)
        return answer


def version(request: DepRequest) -> int:
    """The protocol version that a client asks for; one that is absent or no number is the oldest."""
    text = (find_header(request.headers, "x-server-protocol-version") or "").strip()
    return int(text) if re.fullmatch("[0-9]{1,4}", text) else 1

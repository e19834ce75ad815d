"""Calls of Apple's Device Assignment Services for one server token: sessions, pages of devices, profiles.

Source: Apple, "Device Assignment Services"; the words of its refusals are listed there per endpoint.
"""

from __future__ import annotations

from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import anyio
import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, Clock, from_utc
from mdmsim.http import Outbound, Request, Response, TransportError, Trust
from reference_server.dep.oauth import authorization
from reference_server.dep.token import DepToken

T = TypeVar("T")

SESSION = "X-ADM-Auth-Session"
#: The newest that is documented; with it come THROTTLED results and all keys of a device.
PROTOCOL_VERSION = "10"
USER_AGENT = "mdmsim-reference-server/1"
#: As clients in the field spell it.
_JSON = "application/json;charset=UTF8"

#: Serial numbers per call that names some (Apple, "Assign a profile").
BATCH = 1000


class DepError(Exception):
    """A call that failed. `status` 0: no answer came. `reason`: Apple's word, or what happened.

    `retry_after_ms`: how long Apple wants to be left alone.
    """

    def __init__(self, status: int, reason: str, *, retry_after_ms: int | None = None) -> None:
        super().__init__(f"{status} {reason}" if status else reason)
        self.status = status
        self.reason = reason
        self.retry_after_ms = retry_after_ms


class Page(msgspec.Struct, frozen=True):
    """A page of devices, or of changes. A device is kept as it came, unknown keys included."""

    devices: list[dict[str, Any]]
    cursor: str = ""
    more_to_follow: bool = False


class Assigned(msgspec.Struct, frozen=True):
    """What became of an assignment, by serial number."""

    devices: dict[str, str] = {}
    retry_after_seconds: int = 0


class _Session(msgspec.Struct):
    auth_session_token: str


class _Defined(msgspec.Struct):
    profile_uuid: str


class _Details(msgspec.Struct):
    devices: dict[str, dict[str, Any]]


class DepClient:
    """One token's session. Calls may run at the same time; a session is opened once for all of them."""

    def __init__(
        self,
        token: DepToken,
        *,
        url: str,
        outbound: Outbound,
        clock: Clock,
        chance: Chance,
        trust: Trust,
        timeout_s: float,
    ) -> None:
        self.token = token
        self._url = url
        self._outbound = outbound
        self._clock = clock
        self._chance = chance
        self._trust = trust
        self._timeout_s = timeout_s
        self._session = ""
        self._opening = anyio.Lock()

    async def account(self) -> dict[str, Any]:
        return _decode(await self._call("GET", "/account"), dict[str, Any])

    async def fetch(self, cursor: str | None, limit: int) -> Page:
        """A page of all devices; the first without cursor."""
        return await self._page("/server/devices", cursor, limit)

    async def sync(self, cursor: str, limit: int) -> Page:
        """A page of what changed since the cursor."""
        return await self._page("/devices/sync", cursor, limit)

    async def _page(self, path: str, cursor: str | None, limit: int) -> Page:
        body: dict[str, Any] = {"limit": limit} | ({"cursor": cursor} if cursor is not None else {})
        return _decode(await self._call("POST", path, body), Page)

    async def details(self, serials: list[str]) -> dict[str, dict[str, Any]]:
        """The devices as they are now, by serial number, each with its `response_status`."""
        return _decode(await self._call("POST", "/devices", {"devices": serials}), _Details).devices

    async def define(self, definition: dict[str, Any]) -> str:
        """Define a profile, assigned to no device; its UUID. Profiles cannot be changed afterwards."""
        return _decode(await self._call("POST", "/profile", definition), _Defined).profile_uuid

    async def assign(self, profile_uuid: str, serials: list[str], *, method: str = "POST") -> Assigned:
        """Give devices a profile. `method`: POST as documented; PUT is what older services take."""
        body = {"profile_uuid": profile_uuid, "devices": serials}
        return _decode(await self._call(method, "/profile/devices", body), Assigned)

    async def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> bytes:
        """The body of a 200. Raises DepError. A session that ended is opened anew, once."""
        used = self._session or await self._open("")
        response = await self._send(method, path, body, used)
        if _session_is_over(response):
            used = await self._open(used)
            response = await self._send(method, path, body, used)
        renewed = response.header(SESSION)
        if renewed and self._session == used:
            self._session = renewed
        if response.status != 200:
            raise self._refusal(response)
        return response.body

    async def _open(self, ended: str) -> str:
        """A session other than the one that ended; whoever comes second takes the one that the first has opened."""
        async with self._opening:
            if self._session and self._session != ended:
                return self._session
            self._session = ""
            url = f"{self._url}/session"
            header = authorization(
                "GET",
                url,
                consumer=(self.token.consumer_key, self.token.consumer_secret),
                access=(self.token.access_token, self.token.access_secret),
                timestamp_s=self._clock.now_ms() // SECOND,
                nonce=self._chance.hex(16),
            )
            response = await self._exchange("GET", "/session", b"", (("Authorization", header),))
            if response.status != 200:
                raise self._refusal(response)
            self._session = _decode(response.body, _Session).auth_session_token
            if not self._session:
                raise DepError(200, "an empty session token")
            return self._session

    async def _send(self, method: str, path: str, body: dict[str, Any] | None, session: str) -> Response:
        data = b"" if body is None else msgspec.json.encode(body)
        return await self._exchange(method, path, data, ((SESSION, session),))

    async def _exchange(self, method: str, path: str, body: bytes, headers: tuple[tuple[str, str], ...]) -> Response:
        request = Request(
            method=method,
            url=f"{self._url}{path}",
            headers=(
                ("User-Agent", USER_AGENT),
                ("Accept", _JSON),
                ("Content-Type", _JSON),
                ("X-Server-Protocol-Version", PROTOCOL_VERSION),
                *headers,
            ),
            body=body,
            label=f"dep:{path.strip('/')}",
            trust=self._trust,
            timeout=self._timeout_s,
            max_redirects=0,
        )
        try:
            return await self._outbound.send(request)
        except TransportError as error:
            raise DepError(0, f"{type(error).__name__}: {error}") from None

    def _refusal(self, response: Response) -> DepError:
        return DepError(
            response.status, _word(response), retry_after_ms=_retry_after_ms(response, self._clock.now_ms())
        )


def _word(response: Response) -> str:
    """Apple's word for a refusal: the bare body, or a JSON string as its old simulator sends it."""
    return response.body[:200].decode("utf-8", "replace").strip().strip('"')[:120] or "no reason given"


def _session_is_over(response: Response) -> bool:
    # An expired session is 401, one that is unknown 403 FORBIDDEN; every other 403 has a word of its own.
    return response.status == 401 or (response.status == 403 and _word(response) == "FORBIDDEN")


def _retry_after_ms(response: Response, now_ms: int) -> int | None:
    """RFC 9110 section 10.2.3: seconds, or a date."""
    value = (response.header("Retry-After") or "").strip()
    if value.isascii() and value.isdigit() and len(value) < 9:
        return int(value) * SECOND
    try:
        at = parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return max(0, from_utc(at if at.tzinfo is not None else at.replace(tzinfo=UTC)) - now_ms)


def _decode(body: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise DepError(200, f"an answer that is not Apple's JSON: {error}") from None

"""SCEP at `/scep`: who gets an identity, and where that is written down. The messages themselves are `mdmsim.pki`'s.

A one-time challenge is good until as many devices have *finished* enrolling as it was made for: an attempt that
failed half-way, or whose answer was lost, does not burn it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qs

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, not_after_ms, serial
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.names import subject_text
from mdmsim.pki.scep.errors import FailInfo
from mdmsim.pki.scep.server import Answer, Request, ScepService, decode_message
from mdmsim.protocol.errors import Malformed
from reference_server.enrollment.profile import challenge_digest
from reference_server.errors import Refusal
from reference_server.settings import Settings
from reference_server.storage.interface import IdentityStore, ScepStore
from reference_server.storage.records import IssuedIdentity


class ScepStorage(ScepStore, IdentityStore, Protocol):
    """What SCEP needs of the storage."""


@dataclass(frozen=True, slots=True)
class ScepAnswer:
    """A complete answer with status 200. `why`: the reason of a failure that is told in SCEP's own terms."""

    content_type: str
    body: bytes
    operation: str
    why: str | None = None


class Scep:
    """Answers the SCEP operations of RFC 8894 with the settings' CA."""

    def __init__(
        self, settings: Settings, store: ScepStorage, clock: Clock, chance: Chance, *, events: Events | None
    ) -> None:
        # The CA only signs here; no key is ever made.
        authority = Authority.from_pem(identity_to_pem(settings.ca), keys=FreshKeys(), clock=clock, chance=chance)
        self._service = ScepService(authority, clock=clock, chance=chance, days=settings.scep_days)
        self._settings = settings
        self._store = store
        self._clock = clock
        self._events = events

    async def answer(self, method: str, raw_query: str, body: bytes) -> ScepAnswer:
        """The answer to one request. Raises Refusal 400 for anything that is not SCEP."""
        operation = self._operation(raw_query)
        try:
            answer = await self._answer(operation, method, raw_query, body)
        except Refusal as refusal:
            self._emit(operation, refusal.status, refusal.why)
            raise
        self._emit(operation, 200, answer.why)
        return answer

    def _operation(self, raw_query: str) -> str:
        try:
            values = parse_qs(raw_query, max_num_fields=50).get("operation", [])
        except ValueError:
            values = []
        if len(values) != 1:
            raise Refusal(400, "SCEP: the query must name one operation (RFC 8894 section 4.1)")
        return values[0]

    async def _answer(self, operation: str, method: str, raw_query: str, body: bytes) -> ScepAnswer:
        if operation == "PKIOperation":
            try:
                message = body if method == "POST" else decode_message(raw_query)
                request = self._service.read(message)
            except Malformed as error:
                raise Refusal(400, f"SCEP: {error}") from None
            return await self._certify(request)
        if method != "GET":
            raise Refusal(400, f"SCEP: {operation[:40]!r} by {method}; only PKIOperation is posted")
        if operation == "GetCACaps":
            return ScepAnswer("text/plain", self._service.ca_caps(), operation)
        if operation == "GetCACert":
            certificates = self._service.ca_cert()
            return ScepAnswer(certificates.content_type, certificates.body, operation)
        raise Refusal(400, f"SCEP: the operation {operation[:40]!r} is not offered")

    async def _certify(self, request: Request) -> ScepAnswer:
        service = self._service
        if request.refusal is not None:
            return _answered(service.answer_failure(request, request.refusal, log=request.why))
        if request.is_poll or request.csr is None:
            return _answered(service.answer_failure(request, FailInfo.BAD_CERT_ID, "nothing is pending here"))
        if not await self._may_have_one(request):
            text = "the challenge is missing, wrong or used up"
            return _answered(service.answer_failure(request, FailInfo.BAD_REQUEST, text))
        try:
            certificate = service.certify(request)
        except Malformed as error:
            return _answered(service.answer_failure(request, FailInfo.BAD_REQUEST, log=str(error)))
        answer = service.answer_issued(request, certificate)
        if answer.outcome == "issued":
            await self._write_down(request, certificate)
        return _answered(answer)

    async def _write_down(self, request: Request, certificate: bytes) -> None:
        one_time = self._settings.scep_challenge == "one-time"
        await self._store.issued(
            IssuedIdentity(
                identity=hashlib.sha256(certificate).hexdigest(),
                serial=f"{serial(certificate):x}",
                subject=subject_text(certificate),
                challenge=challenge_digest(request.challenge) if one_time and request.challenge else None,
                transaction_id=request.transaction_id,
                at_ms=self._clock.now_ms(),
                not_after_ms=not_after_ms(certificate),
            )
        )

    async def _may_have_one(self, request: Request) -> bool:
        challenge = request.challenge
        if request.renewal_of is not None and not challenge:
            # RFC 8894 section 2.3: the current certificate proves who asks.
            return await self._store.is_bound(hashlib.sha256(request.renewal_of).hexdigest())
        match self._settings.scep_challenge:
            case "none":
                return True
            case "static":
                expected = self._settings.scep_static_challenge or ""
                return hmac.compare_digest((challenge or "").encode(), expected.encode())
            case _:
                digest = challenge_digest(challenge or "")
                return await self._store.challenge_is_open(digest, now_ms=self._clock.now_ms())

    def _emit(self, operation: str, status: int, why: str | None) -> None:
        if self._events is not None:
            self._events.emit("server.scep", source="server", operation=operation[:40], status=status, why=why)


def _answered(answer: Answer) -> ScepAnswer:
    return ScepAnswer(answer.content_type, answer.body, "PKIOperation", answer.why or None)

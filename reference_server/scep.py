"""SCEP at `/scep`: who gets an identity, and where that is written down. The messages themselves are `mdmsim.pki`'s.

A one-time challenge is good until as many devices have *finished* enrolling as it was made for: an attempt that
failed half-way, or whose answer was lost, does not burn it.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from urllib.parse import parse_qs

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Events
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, not_after_ms, serial
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.names import subject_text
from mdmsim.pki.scep.errors import FailInfo
from mdmsim.pki.scep.message import MessageType
from mdmsim.pki.scep.server import Answer, Request, ScepService, decode_message
from mdmsim.protocol.errors import Malformed
from reference_server.enrollment.profile import challenge_digest
from reference_server.errors import Refusal
from reference_server.settings import Settings
from reference_server.storage.interface import ScepStore
from reference_server.storage.records import IssuedIdentity

#: What a device is told, whatever the reason: who tries out challenges learns nothing.
_NOT_OPEN = "the challenge is missing, wrong or used up"


@dataclass(frozen=True, slots=True)
class ScepAnswer:
    """A complete answer with status 200. `why`: the reason of a failure that is told in SCEP's own terms."""

    content_type: str
    body: bytes
    operation: str
    why: str | None = None


@dataclass(frozen=True, slots=True)
class _Right:
    """What a request rests on: the digest of a challenge of ours, or the identity that it renews; or on neither."""

    challenge: str | None = None
    renewal_of: str | None = None


class Scep:
    """Answers the SCEP operations of RFC 8894 with the settings' CA."""

    def __init__(
        self, settings: Settings, store: ScepStore, clock: Clock, chance: Chance, *, events: Events | None
    ) -> None:
        # The CA only signs here; no key is ever made.
        authority = Authority.from_pem(identity_to_pem(settings.ca), keys=FreshKeys(), clock=clock, chance=chance)
        self._service = ScepService(
            authority,
            clock=clock,
            chance=chance,
            days=settings.scep_days,
            # Nobody gets more than the enrollment profile asks for: it names this key size and no alternative names.
            least_key_bits=settings.scep_key_bits,
            alternative_names=False,
        )
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
        right = await self._right(request)
        if right is None:
            return _answered(service.answer_failure(request, FailInfo.BAD_REQUEST, _NOT_OPEN))
        try:
            certificate = service.certify(request)
        except Malformed as error:
            return _answered(service.answer_failure(request, FailInfo.BAD_REQUEST, log=str(error)))
        answer = service.answer_issued(request, certificate)
        # Asked again where it is written down: removal or another request may have come between.
        if answer.outcome == "issued" and not await self._write_down(request, certificate, right):
            return _answered(service.answer_failure(request, FailInfo.BAD_REQUEST, _NOT_OPEN))
        return _answered(answer)

    async def _write_down(self, request: Request, certificate: bytes, right: _Right) -> bool:
        return await self._store.issued(
            IssuedIdentity(
                identity=hashlib.sha256(certificate).hexdigest(),
                serial=f"{serial(certificate):x}",
                subject=subject_text(certificate),
                challenge=right.challenge,
                renewal_of=right.renewal_of,
                transaction_id=request.transaction_id,
                at_ms=self._clock.now_ms(),
                not_after_ms=not_after_ms(certificate),
            )
        )

    async def _right(self, request: Request) -> _Right | None:
        """What the request rests on; None if it rests on nothing."""
        challenge = request.challenge or ""
        if request.renewal_of is not None and (request.message_type is MessageType.RENEWAL_REQ or not challenge):
            # RFC 8894 section 2.3: the current certificate proves who asks. macOS renews by PKCSReq (step-ca's source).
            renewed = hashlib.sha256(request.renewal_of).hexdigest()
            return _Right(renewal_of=renewed) if await self._store.is_renewable(renewed) else None
        digest = challenge_digest(challenge)
        if await self._store.challenge_is_open(digest, now_ms=self._clock.now_ms()):
            return _Right(challenge=digest)
        mode, static = self._settings.scep_challenge, self._settings.scep_static_challenge or ""
        if mode == "none" or (mode == "static" and hmac.compare_digest(challenge.encode(), static.encode())):
            return _Right()
        return None

    def _emit(self, operation: str, status: int, why: str | None) -> None:
        if self._events is not None:
            self._events.emit("server.scep", source="server", operation=operation[:40], status=status, why=why)


def _answered(answer: Answer) -> ScepAnswer:
    return ScepAnswer(answer.content_type, answer.body, "PKIOperation", answer.why or None)

"""The calls that do something: tokens, certificates, keys, faults, connections, the log."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from mdmsim.fakeapns.admin.answered import (
    Blackout,
    Certificate,
    FaultKind,
    FaultKinds,
    FaultView,
    LogState,
    SigningKeyView,
    TokenMade,
    Told,
)
from mdmsim.fakeapns.admin.asked import Goaway, NewBlackout, NewLogLevel, NewSigningKey, NewToken
from mdmsim.fakeapns.admin.endpoints import Refused
from mdmsim.fakeapns.admin.looking import FrontView, token_bytes, whole_number
from mdmsim.fakeapns.admin.views import certificate_view, fault_view
from mdmsim.fakeapns.certificates import PushCertificate
from mdmsim.fakeapns.debug_log import DebugLog
from mdmsim.fakeapns.errors import REASONS, BadPushCertificate, BadSigningKey, UnknownToken
from mdmsim.fakeapns.fault_names import CATALOGUE, TLS_ALERTS
from mdmsim.fakeapns.fault_spec import FaultSpec, end_fault, plan_fault
from mdmsim.fakeapns.provider_tokens import SigningKey
from mdmsim.fakeapns.service import ApnsService
from mdmsim.faults import Fault
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.protocol.errors import Malformed


class Doing:
    """Handlers. `front`: None where there is none to tell anything."""

    def __init__(self, service: ApnsService, *, front: FrontView | None, log: DebugLog) -> None:
        self._service = service
        self._front = front
        self._log = log
        # A planned fault has no name of its own; it is numbered when it is first seen, whoever planned it.
        self._faults: dict[int, Fault] = {}
        self._last_fault = 0

    # tokens

    async def register_token(self, path: Any, query: Any, asked: NewToken) -> TokenMade:
        given = token_bytes(asked.token) if asked.token is not None else None
        try:
            if given is None:
                token = self._service.register(asked.device, asked.topic, asked.channel, asked.environment)
            else:
                token = given
                self._service.adopt(
                    asked.topic, token, device=asked.device, channel=asked.channel, environment=asked.environment
                )
        except ValueError as error:
            raise Refused(400, str(error)) from None
        await self._service.durable()
        return TokenMade(token=token.hex())

    async def retire_token(self, path: dict[str, Any], query: Any, body: Any) -> None:
        try:
            self._service.retire(path["topic"], token_bytes(path["token"]))
        except UnknownToken as error:
            raise Refused(404, str(error)) from None
        await self._service.durable()

    # who may push

    async def certificates(self, path: Any, query: Any, body: Any) -> list[Certificate]:
        return [certificate_view(one) for one in self._service.certificates.registered()]

    async def register_certificate(self, path: Any, query: Any, body: tuple[bytes, str]) -> Certificate:
        data = body[0]
        try:
            ders = certificates_from_pem(data) if b"-----BEGIN" in data else (data,)
            if not ders:
                raise Refused(400, "no certificate in the body: send PEM or DER")
            # Of a chain, the leaf comes first.
            self._service.register_certificate(ders[0])
        except (Malformed, BadPushCertificate) as error:
            raise Refused(400, f"{error}. Send a push certificate as PEM or DER.") from None
        await self._service.durable()
        return certificate_view(self._certificate(hashlib.sha256(ders[0]).hexdigest()))

    async def revoke_certificate(self, path: dict[str, Any], query: Any, body: Any) -> Certificate:
        self._service.revoke_certificate(self._certificate(path["id"]).der)
        await self._service.durable()
        return certificate_view(self._certificate(path["id"]))

    async def remove_certificate(self, path: dict[str, Any], query: Any, body: Any) -> None:
        self._service.remove_certificate(self._certificate(path["id"]).der)
        await self._service.durable()

    async def signing_keys(self, path: Any, query: Any, body: Any) -> list[SigningKeyView]:
        return [_key_view(key) for key in self._service.signing_keys.registered()]

    async def register_signing_key(self, path: Any, query: Any, asked: NewSigningKey) -> SigningKeyView:
        key = SigningKey(
            key_id=asked.key_id,
            team_id=asked.team_id,
            public_key=asked.key.encode("utf-8"),
            environments=asked.environments,
            topics=tuple(asked.topics) if asked.topics is not None else None,
            related=asked.related,
        )
        try:
            self._service.signing_keys.register(key)
        except BadSigningKey as error:
            raise Refused(400, str(error)) from None
        return _key_view(key)

    async def remove_signing_key(self, path: dict[str, Any], query: Any, body: Any) -> None:
        if path["key_id"] not in (key.key_id for key in self._service.signing_keys.registered()):
            raise Refused(404, f"key {path['key_id'][:20]}: none of that id is registered")
        self._service.signing_keys.remove(path["key_id"])

    # what goes wrong

    async def faults(self, path: Any, query: Any, body: Any) -> list[FaultView]:
        return [fault_view(number, fault) for number, fault in self._planned().items()]

    async def fault_kinds(self, path: Any, query: Any, body: Any) -> FaultKinds:
        kinds = [
            FaultKind(name=name, what=kind.what, why=kind.why, takes=list(kind.takes))
            for name, kind in CATALOGUE.items()
        ]
        return FaultKinds(faults=kinds, reasons=REASONS, tls_alerts=list(TLS_ALERTS))

    async def plan_fault(self, path: Any, query: Any, spec: FaultSpec) -> FaultView:
        if spec.device is not None:
            # Faults know devices by the names that their tokens carry; people know UDIDs and serial numbers, too.
            spec = msgspec.structs.replace(spec, device=self._service.tokens.device_called(spec.device))
        try:
            fault = plan_fault(self._service, spec)
        except ValueError as error:
            raise Refused(400, str(error)) from None
        return next(fault_view(number, one) for number, one in self._planned().items() if one is fault)

    async def end_fault(self, path: dict[str, Any], query: Any, body: Any) -> None:
        fault = self._planned().pop(whole_number(path["number"]), None)
        if fault is None:
            raise Refused(404, f"fault {path['number']}: none of that number is planned")
        end_fault(self._service, fault)

    async def blackout(self, path: Any, query: Any, body: Any) -> Blackout:
        darkness = self._service.darkness
        return Blackout(
            providers_until_ms=darkness.until_ms("providers"), devices_until_ms=darkness.until_ms("devices")
        )

    async def begin_blackout(self, path: Any, query: Any, asked: NewBlackout) -> Blackout:
        self._service.counts.faults["blackout"] += 1
        self._service.darkness.begin(asked.seconds, asked.side)
        return await self.blackout(path, query, asked)

    async def end_blackout(self, path: Any, query: Any, body: Any) -> None:
        self._service.darkness.end()

    async def goaway(self, path: Any, query: Any, asked: Goaway) -> Told:
        if self._front is None:
            raise Refused(501, "no HTTP/2 front runs beside this API that could send GOAWAY")
        try:
            told = self._front.goaway(
                asked.reason, asked.code, connections=asked.connections, last_stream=asked.last_stream
            )
        except ValueError as error:
            raise Refused(400, str(error)) from None
        return Told(connections=told)

    # the log

    async def log_level(self, path: Any, query: Any, body: Any) -> LogState:
        return LogState(
            level=self._log.level,
            usual=self._log.usual,
            file=str(self._log.file) if self._log.file is not None else None,
        )

    async def set_log_level(self, path: Any, query: Any, asked: NewLogLevel) -> LogState:
        self._log.set(asked.level)
        return await self.log_level(path, query, asked)

    def _certificate(self, fingerprint: str) -> PushCertificate:
        for one in self._service.certificates.registered():
            if hashlib.sha256(one.der).hexdigest() == fingerprint.lower():
                return one
        raise Refused(404, f"certificate {fingerprint[:20]}: none with that SHA-256 is registered")

    def _planned(self) -> dict[int, Fault]:
        """All planned faults by number: those of scenarios, the command line and tests, too."""
        planned = self._service.faults.planned
        self._faults = {number: fault for number, fault in self._faults.items() if any(one is fault for one in planned)}
        for fault in planned:
            if not any(one is fault for one in self._faults.values()):
                self._last_fault += 1
                self._faults[self._last_fault] = fault
        return self._faults


def _key_view(key: SigningKey) -> SigningKeyView:
    return SigningKeyView(
        key_id=key.key_id,
        team_id=key.team_id,
        environments=list(key.environments),
        topics=list(key.topics) if key.topics is not None else None,
        related=key.related,
    )

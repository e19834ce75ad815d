"""What the service has, as the admin API tells it."""

from __future__ import annotations

import hashlib
from typing import Any

from mdmsim.fakeapns.admin.answered import (
    Certificate,
    CourierView,
    FaultView,
    Latency,
    PendingView,
    ProviderView,
    TokenView,
    TransactionDetail,
    TransactionView,
)
from mdmsim.fakeapns.admin.search import device_of
from mdmsim.fakeapns.certificates import PushCertificate
from mdmsim.fakeapns.due import token_of
from mdmsim.fakeapns.fault_names import FAULTS, Detail
from mdmsim.fakeapns.fault_spec import Aim
from mdmsim.fakeapns.history import quantiles_ms
from mdmsim.fakeapns.journal import Histogram, Transaction
from mdmsim.fakeapns.masking import header_lines, payload_text
from mdmsim.fakeapns.provider import Provider
from mdmsim.fakeapns.session import Session, Slot
from mdmsim.fakeapns.storage import Push
from mdmsim.fakeapns.tokens import Tokens
from mdmsim.faults import Fault


def state_of(transaction: Transaction) -> str:
    """What became of a request, in a word: the furthest that it got."""
    if transaction.status == 0:
        return "unanswered"
    if transaction.status != 200:
        return "refused"
    for word in ("acted", "acknowledged"):
        if getattr(transaction, f"{word}_ms") is not None:
            return word
    if transaction.ended:
        return transaction.ended
    for word in ("delivered", "stored"):
        if getattr(transaction, f"{word}_ms") is not None:
            return word
    return "accepted"


def transaction_view(transaction: Transaction, tokens: Tokens) -> TransactionView:
    return TransactionView(**_transaction(transaction, tokens))


def transaction_detail(transaction: Transaction, tokens: Tokens, *, reveal: bool) -> TransactionDetail:
    return TransactionDetail(
        path=transaction.path,
        headers=header_lines(transaction.headers),
        payload=payload_text(transaction.payload, reveal=reveal),
        payload_size=len(transaction.payload),
        masked=not reveal,
        **_transaction(transaction, tokens),
    )


def _transaction(transaction: Transaction, tokens: Tokens) -> dict[str, Any]:
    same = (
        "number",
        "at_ms",
        "provider",
        "environment",
        "method",
        "topic",
        "apns_id",
        "status",
        "reason",
        "why",
        "fault",
        "push",
        "expires_ms",
        "stored_ms",
        "delivered_ms",
        "acknowledged_ms",
        "acted_ms",
        "ended",
        "ended_ms",
    )
    return {name: getattr(transaction, name) for name in same} | {
        "token": token_of(transaction),
        "device": device_of(transaction, tokens),
        "state": state_of(transaction),
    }


def token_view(slot: Slot, now_ms: int) -> TokenView:
    one = slot.registration
    return TokenView(
        topic=one.topic,
        token=one.token.hex(),
        device=one.device,
        channel=one.channel,
        environment=one.environment,
        generation=one.generation,
        registered_ms=one.registered_ms,
        retired_ms=one.retired_ms,
        listening=slot.session.name if slot.session is not None else None,
        pending=is_pending(slot, now_ms),
        accepted_ms=slot.accepted_ms,
        delivered_ms=slot.delivered_ms,
        acted_ms=slot.acted_ms,
    )


def is_pending(slot: Slot, now_ms: int) -> bool:
    return slot.kept is not None and slot.kept.expires_ms > now_ms


def pending_view(slot: Slot, push: Push, *, reveal: bool) -> PendingView:
    return PendingView(
        topic=push.topic,
        token=push.token.hex(),
        device=slot.registration.device,
        apns_id=push.apns_id,
        accepted_ms=push.accepted_ms,
        expires_ms=push.expires_ms,
        listening=slot.session.name if slot.session is not None else None,
        held=slot.held is push,
        payload=payload_text(push.payload, reveal=reveal),
        payload_size=len(push.payload),
    )


def provider_view(provider: Provider, told: Any = None) -> ProviderView:
    """`told`: what the front knows of the connection; None where it knows nothing."""
    names = ("certificate", "tls", "alpn", "requests", "open_streams", "received", "sent")
    return ProviderView(
        number=provider.number,
        peer=provider.peer,
        environment=provider.environment,
        opened_ms=provider.opened_ms,
        topic=provider.known.topic if provider.known is not None else None,
        accepted=provider.accepted,
        refused=provider.refused,
        refusal=provider.refusal.reason if provider.refusal is not None else None,
        **{name: getattr(told, name, None) for name in names},
    )


def courier_view(session: Session) -> CourierView:
    return CourierView(
        name=session.name,
        opened_ms=session.opened_ms,
        subscriptions=session.subscriptions,
        in_flight=session.in_flight,
    )


def certificate_view(one: PushCertificate) -> Certificate:
    return Certificate(
        id=hashlib.sha256(one.der).hexdigest(),
        topic=one.topic,
        topics=list(one.topics),
        environments=list(one.environments),
        not_before_ms=one.not_before_ms,
        not_after_ms=one.not_after_ms,
        revoked=one.revoked,
    )


def fault_view(number: int, fault: Fault) -> FaultView:
    parameters: dict[str, str | float | bool] = {}
    if isinstance(fault.answer, Detail):
        detail, usual = fault.answer, Detail()
        parameters = {
            name: getattr(detail, name)
            for name in detail.__struct_fields__
            if getattr(detail, name) != getattr(usual, name)
        }
    return FaultView(
        number=number,
        name=fault.name,
        what=FAULTS.get(fault.name, ""),
        why=fault.why,
        rate=fault.rate,
        after=fault.after,
        every=fault.every,
        times=fault.times,
        aim=dict(fault.match.wanted) if isinstance(fault.match, Aim) else {},
        parameters=parameters,
        considered=fault.considered,
        injected=fault.injected,
        over=fault.times is not None and fault.injected >= fault.times,
    )


def latency_view(histogram: Histogram) -> Latency:
    p50, p95, p99 = quantiles_ms(histogram)
    return Latency(count=histogram.count, p50_ms=p50, p95_ms=p95, p99_ms=p99)

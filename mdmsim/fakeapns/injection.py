"""Draws the planned faults: which happen to a push, and how they are told."""

from __future__ import annotations

from typing import Any

from mdmsim.events import Events
from mdmsim.fakeapns.checks import Judgement
from mdmsim.fakeapns.darkness import Darkness
from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.fault_names import Detail, Wire
from mdmsim.fakeapns.journal import Counts
from mdmsim.faults import Fault, FaultPlan

SOURCE = "apns"

#: Faults that happen on the wire before anything is looked at, and those that take the place of a 200.
_BEFORE = ("connection.reset", "stream.refused", "goaway")
_INSTEAD = ("answer.cut", "answer.stalled", "answer.slow", "streams.limited")

_NO_DETAIL = Detail()


def detail_of(fault: Fault) -> Detail:
    """The parameters of a planned fault."""
    return fault.answer if isinstance(fault.answer, Detail) else _NO_DETAIL


class Injection:
    """Faults of one service. `facts`: topic, token (hex), apns_id, device, environment, for the rules to match."""

    def __init__(self, plan: FaultPlan, counts: Counts, events: Events, darkness: Darkness) -> None:
        self._plan = plan
        self._counts = counts
        self._events = events
        self._darkness = darkness

    @property
    def planned(self) -> bool:
        """Whether any fault is planned at all."""
        return bool(self._plan.planned)

    def draw(self, name: str, facts: dict[str, Any]) -> Fault | None:
        """The fault of that name that happens now, counted and told; None for none."""
        fault = self._plan.draw(name, **facts)
        if fault is not None:
            self._counts.faults[name] += 1
            self._events.emit("fault.injected", source=SOURCE, fault=fault.name, why=fault.why, target=dict(facts))
        return fault

    def wire(self, name: str, facts: dict[str, Any]) -> Wire | None:
        """As `draw`, as what a front is to do."""
        if (fault := self.draw(name, facts)) is None:
            return None
        detail = detail_of(fault)
        return Wire(name, detail.seconds, detail.reason, detail.code, detail.processed)

    def before(self, facts: dict[str, Any]) -> Wire | None:
        """What happens to the connection before a request is looked at."""
        if (fault := self.draw("blackout", facts)) is not None:
            detail = detail_of(fault)
            self._darkness.begin(detail.seconds, detail.side, owner=id(fault))
            if detail.side != "devices":
                return Wire("connection.reset")
        for name in _BEFORE:
            if (wire := self.wire(name, facts)) is not None:
                return wire
        return None

    def instead(self, facts: dict[str, Any]) -> Wire | None:
        """What happens in place of a plain 200; of several the first, though all are drawn."""
        drawn = [wire for name in _INSTEAD if (wire := self.wire(name, facts)) is not None]
        return drawn[0] if drawn else None

    def refusal(self, facts: dict[str, Any], judgement: Judgement) -> tuple[str, ApnsError] | None:
        """The fault and refusal that a good push gets."""
        for name in ("certificate.expired", "certificate.revoked"):
            if judgement.provider.certificate is not None and self.draw(name, facts) is not None:
                judgement.why = f"fault: the push certificate counts as {name.partition('.')[2]}"
                return name, ApnsError.of("BadCertificate")
        if (fault := self.draw("push.refused", facts)) is None:
            return None
        judgement.why = f"fault: {fault.why}"
        wish = fault.answer
        refusal = wish if isinstance(wish, ApnsError) else ApnsError.of("InternalServerError")
        if isinstance(wish, Detail) and wish.reason:
            refusal = ApnsError(wish.status, wish.reason) if wish.status else ApnsError.of(wish.reason)
        if refusal.status == 410 and refusal.timestamp_ms is None:
            refusal = ApnsError(refusal.status, refusal.reason, judgement.now_ms)
        return fault.name, refusal

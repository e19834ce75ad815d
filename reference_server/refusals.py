"""Refusal rules in memory: every request asks, so none of them may cost a query."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from reference_server.errors import Refusal
from reference_server.storage.records import RefusalRule

Moment = Literal["authenticate", "tokenupdate", "other"]


class Refusals:
    """The rules in force. False when there are none, which is nearly always."""

    def __init__(self, rules: Iterable[RefusalRule] = ()) -> None:
        self._rules = tuple(rules)

    def __bool__(self) -> bool:
        return bool(self._rules)

    def replace(self, rules: Iterable[RefusalRule]) -> None:
        self._rules = tuple(rules)

    def check(self, enrollment_id: str, serial: str | None, moment: Moment) -> None:
        """Raise a 401 Refusal if a rule names this device at this moment."""
        for rule in self._rules:
            named = (rule.udid is not None and rule.udid.lower() == enrollment_id.lower()) or (
                rule.serial is not None and rule.serial == serial
            )
            if named and rule.at in ("any", moment):
                raise Refusal(401, f"refused by rule {rule.id} at {rule.at}")

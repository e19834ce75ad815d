"""Pushes as a test looks at them: what APNs was sent, with its verdicts, and what a device heard."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from mdmsim.fakeapns.journal import Step, Transaction
from mdmsim.http import Headers, find_header


class ReceivedPush(msgspec.Struct, frozen=True, kw_only=True):
    """A push request as it arrived, and the verdict.

    `status` is 0 where a fault kept it from being judged. `reason` is Apple's word, empty for 200; `why` says in words
    what was found; `fault` is the name of an injected one. `token` is hex, in small letters, empty where the path has
    none. `headers` as they came, without the pseudo-headers; `connection` counts providers' connections from 1.
    """

    status: int
    reason: str
    why: str
    fault: str
    apns_id: str
    topic: str
    token: str
    device: str
    payload: bytes
    method: str
    path: str
    headers: Headers
    environment: str
    connection: int

    @property
    def accepted(self) -> bool:
        return self.status == 200

    def header(self, name: str) -> str | None:
        """The first value of that header; None where there is none."""
        return find_header(self.headers, name)


class HeardPush(msgspec.Struct, frozen=True):
    """A push as a device hears it: the payload is what the provider sent, byte for byte."""

    topic: str
    token: str
    payload: bytes

    @property
    def json(self) -> Any:
        """The payload, decoded. Raises ValueError where it is no JSON."""
        return json.loads(self.payload)


class Received:
    """Every push request so far, oldest first. Filled in the fake's loop, read and waited for in any other thread."""

    def __init__(self) -> None:
        self._pushes: list[ReceivedPush] = []
        self._changed = threading.Condition()

    def all(self) -> list[ReceivedPush]:
        with self._changed:
            return list(self._pushes)

    def wait_for(self, matches: Callable[[ReceivedPush], bool], timeout: float) -> ReceivedPush:
        """The first that matches, seen already or still to come. Raises TimeoutError after `timeout` seconds."""

        def found() -> ReceivedPush | None:
            return next((push for push in self._pushes if matches(push)), None)

        with self._changed:
            push = self._changed.wait_for(found, timeout)
            if push is None:
                raise TimeoutError(f"no such push within {timeout:g} s; {verdicts(self._pushes)}")
            return push

    def notice(self, step: Step, transaction: Transaction, at_ms: int) -> None:
        """What a journal tells its watchers."""
        if step not in ("accepted", "refused"):
            return
        push = ReceivedPush(
            status=transaction.status,
            reason=transaction.reason,
            why=transaction.why,
            fault=transaction.fault,
            apns_id=transaction.apns_id,
            topic=transaction.topic,
            token=transaction.token.hex(),
            device=transaction.device,
            payload=transaction.payload,
            method=transaction.method,
            path=transaction.path,
            headers=transaction.headers,
            environment=transaction.environment,
            connection=transaction.provider,
        )
        with self._changed:
            self._pushes.append(push)
            self._changed.notify_all()


def verdicts(pushes: Sequence[ReceivedPush]) -> str:
    """The last few verdicts, for people."""
    if not pushes:
        return "APNs was sent nothing"
    said = ", ".join(f"{push.status} {push.reason or push.why}".strip() for push in pushes[-5:])
    return f"APNs was sent {len(pushes)}, answered {said}"

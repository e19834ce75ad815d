"""Pushes: `{"mdm": push magic}` to APNs, by the ladder, until a device has taken everything that is queued for it."""

from __future__ import annotations

from dataclasses import dataclass

import anyio
import msgspec

from mdmsim.clock import SECOND, Clock
from mdmsim.events import Events
from mdmsim.http import Outbound, Request, Response, TransportError, Trust
from mdmsim.protocol.content_type import JSON
from mdmsim.protocol.mdm_push import build_payload
from reference_server.health import Health, sleep_until_woken
from reference_server.logs import Log
from reference_server.settings import Settings
from reference_server.storage.interface import PushStore
from reference_server.storage.records import PushTarget

JOB = "pushes"
#: Pushes on their way at once. APNs allows 1,000 streams per connection; a stalled APNs must not cost as many tasks.
AT_ONCE = 100

#: Refusals that no later push with the same token can mend (Apple, "Handling notification responses from APNs").
_HOPELESS = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic"})


@dataclass(frozen=True, slots=True)
class PushAnswer:
    """What APNs said. `status` 0: it was not reached, and `reason` says why."""

    status: int
    reason: str | None
    apns_id: str | None


class _Reason(msgspec.Struct):
    reason: str = ""


_decode_reason = msgspec.json.Decoder(_Reason).decode


class Pushes:
    """Sends pushes: those that are due, in the background, and single ones when asked to."""

    def __init__(
        self,
        settings: Settings,
        store: PushStore,
        outbound: Outbound,
        clock: Clock,
        *,
        health: Health,
        log: Log,
        events: Events | None,
    ) -> None:
        self._settings = settings
        self._trust = Trust(anchors=settings.apns_anchors, system=not settings.apns_anchors)
        self._store = store
        self._outbound = outbound
        self._clock = clock
        self._health = health
        self._log = log
        self._events = events
        self._wakeup: anyio.Event | None = None
        self._asleep_until: int | None = None

    def wake(self, due_ms: int) -> None:
        """Say that a push is due then. Costs nothing unless the job sleeps longer than that."""
        if self._wakeup is not None and (self._asleep_until is None or due_ms < self._asleep_until):
            self._wakeup.set()

    async def run(self) -> None:
        """The background job: push what is due, sleep until the next is, for ever."""
        free = anyio.Semaphore(AT_ONCE)
        async with anyio.create_task_group() as group:
            while True:
                self._wakeup, self._asleep_until = anyio.Event(), None
                for target in await self._store.due(now_ms=self._clock.now_ms(), limit=AT_ONCE):
                    await free.acquire()
                    group.start_soon(self._push_and_release, target, free)
                due_ms = await self._store.next_due_ms()
                self._health.well(JOB)
                if due_ms is None or due_ms > self._clock.now_ms():
                    self._asleep_until = due_ms
                    await sleep_until_woken(self._clock, due_ms, self._wakeup)

    async def _push_and_release(self, target: PushTarget, free: anyio.Semaphore) -> None:
        try:
            await self.push(target)
        finally:
            free.release()

    async def push(self, target: PushTarget) -> PushAnswer:
        """Send one push and keep APNs' answer."""
        if self._settings.apns_url is None:
            return PushAnswer(0, "no APNs is set: apns_url", None)
        try:
            answer = _read(await self._outbound.send(self._request(target, self._settings.apns_url)))
        except TransportError as error:
            # An address that failed may be told in full, and a push's is the token.
            said = f"{type(error).__name__}: {error}".replace(target.token.hex(), "(token)")
            answer = PushAnswer(0, said, None)
        await self._store.pushed(
            target,
            status=answer.status,
            reason=answer.reason,
            stop=answer.status == 400 and answer.reason in _HOPELESS,
            # 410: the token is gone for good (Unregistered, ExpiredToken); only a TokenUpdate brings another.
            dead=answer.status == 410,
            now_ms=self._clock.now_ms(),
        )
        self._log.write(
            "info" if answer.status == 200 else "warning",
            "push",
            enrollment_id=target.enrollment_id,
            status=answer.status,
            why=answer.reason,
            attempt=target.attempt,
            apns_id=answer.apns_id,
        )
        if self._events is not None:
            self._events.emit(
                "server.push-sent",
                source="server",
                enrollment_id=target.enrollment_id,
                status=answer.status,
                reason=answer.reason,
                attempt=target.attempt,
            )
        return answer

    def _request(self, target: PushTarget, apns_url: str) -> Request:
        # Apple, "Sending notification requests to APNs"; MDM pushes are certificate only.
        expiration = self._clock.now_ms() // SECOND + self._settings.push_expiration_s
        return Request(
            method="POST",
            url=f"{apns_url}/3/device/{target.token.hex()}",
            headers=(
                ("apns-topic", target.topic),
                ("apns-push-type", "mdm"),
                ("apns-priority", "10"),
                ("apns-expiration", str(expiration)),
                ("content-type", JSON),
            ),
            body=build_payload(target.push_magic),
            label="push",
            identity=self._settings.push,
            trust=self._trust,
            timeout=self._settings.push_timeout_s,
            max_redirects=0,
        )


def _read(response: Response) -> PushAnswer:
    reason: str | None = None
    if response.status != 200:
        try:
            reason = _decode_reason(response.body).reason[:80] or None
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            reason = "an answer that is not APNs' JSON"
    apns_id = response.header("apns-id")
    return PushAnswer(response.status, reason, apns_id[:80] if apns_id is not None else None)

"""One device's life in a load test: it enrols, hears pushes, connects; flows run to their end in its own greenlet."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, TypeVar

from mdmsim.clock import SECOND
from mdmsim.device.device import Device, Work
from mdmsim.device.errors import DeviceError
from mdmsim.device.flow import Flow
from mdmsim.device.flows.connect import drain_queue
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.scep import ScepFailed
from mdmsim.device.flows.server import ServerSaidNo
from mdmsim.device.flows.wake import guarded, next_flow
from mdmsim.device.power import set_network
from mdmsim.device.store import Push
from mdmsim.fakeapns.errors import UNKNOWN_TOKEN, CourierError, CourierRefused
from mdmsim.http import OwnLimit, Request, Response, TransportError
from mdmsim.load.meanings import ExchangeFailed
from mdmsim.transport.driver import run_flow_blocking

if TYPE_CHECKING:
    from mdmsim.fakeapns.courier.blocking import BlockingCourier
    from mdmsim.load.crew import Crew

T = TypeVar("T")

#: Seconds until a person tries again after an enrollment that failed; doubled each time, up to the second.
TRY_AGAIN = 5.0
TRY_AGAIN_AT_MOST = 60.0


class Gone(Exception):
    """The device is not enrolled any more, and will not enrol again by itself."""


class Life:
    """A device and its place in the crew; also what its flows' driver needs (`BlockingIO`). One greenlet drives it."""

    def __init__(self, crew: Crew, device: Device) -> None:
        self.crew = crew
        self.device = device
        self.driven = True
        self.left = False
        self._wake = threading.Event()
        self._pushed_at: float | None = None
        self._registered: frozenset[tuple[str, bytes]] = frozenset()
        self._subscribed: frozenset[tuple[str, bytes]] = frozenset()
        #: Whether the enrollment under way failed for the generator's own limits, which are counted apart.
        self._not_sent = False
        self._leave = False
        self._back_ms: int | None = None
        self._next_ms: int | None = None

    def __repr__(self) -> str:
        return f"<Life of {self.device!r}>"

    @property
    def enrolled(self) -> bool:
        """Enrolled, and the server has its push token."""
        enrollment = self.device.state.enrollment
        return enrollment is not None and enrollment.confirmed

    # --- what a driver needs ------------------------------------------------------------------------------------

    def send(self, request: Request) -> Response:
        """Send and report. A server may push the moment it has the token, so the courier must know it before."""
        self.sync()
        pushed_at = None
        if request.label == "connect:Idle":
            pushed_at, self._pushed_at = self._pushed_at, None
        try:
            response = self.crew.exchange(request)
        except OwnLimit:
            self._not_sent = True
            raise
        if pushed_at is not None and response.is_success:
            self.crew.report("device", "push:to-idle", (time.perf_counter() - pushed_at) * 1000, 0, None)
            if self.crew.courier is not None:
                self.crew.courier.acted(sorted(self._subscribed))
        return response

    def pause(self, seconds: float) -> None:
        self._wake.clear()
        self._wake.wait(seconds)

    def save(self) -> None:
        self.device.save()

    # --- what a device does -------------------------------------------------------------------------------------

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow. Raises what it raises."""
        return run_flow_blocking(flow, self)

    def enroll(self) -> None:
        """Enrol, trying again as a person would until it works. Every try is reported as `device:enrolled`."""
        wait = TRY_AGAIN
        while not self.enrolled:
            with self.crew.enrolling:
                self._not_sent = False
                began = time.perf_counter()
                error = self._try_to_enroll()
                if not self._not_sent:
                    self.crew.report("device", "device:enrolled", (time.perf_counter() - began) * 1000, 0, error)
            if error is not None:
                self.pause(wait)
                wait = min(2 * wait, TRY_AGAIN_AT_MOST)
        self.left = False
        self.sync()

    def _try_to_enroll(self) -> ExchangeFailed | None:
        from mdmsim.load.crew import NoProfile

        device = self.device
        try:
            if not device.enrolled:
                self.run(install_profile(device, self.crew.profile(self)))
            else:  # installed, but TokenUpdate did not get through: the device tries that again by itself
                self.run(_at_once(device))
        except (DeviceError, ServerSaidNo, NoProfile) as refusal:
            return ExchangeFailed(_short(refusal))
        except TransportError as failure:
            return ExchangeFailed(f"{type(failure).__name__}: no enrollment profile came")
        if self.enrolled:
            return None
        return ExchangeFailed("the profile is installed, TokenUpdate was not accepted")

    def connect(self) -> None:
        """Connect now and obey until the server's queue is empty. Raises Gone."""
        self._must_be_enrolled()
        self.run(guarded(self.device, "connect", _drained(self.device)))
        self._must_be_enrolled()

    def listen(self, seconds: float) -> None:
        """Live for that long: hear pushes, retry what failed, be away when that is asked for. Raises Gone."""
        device, clock = self.device, self.crew.clock
        end = clock.now_ms() + round(seconds * SECOND)
        while True:
            self._wake.clear()
            self._come_and_go()
            flow = next_flow(device)
            if flow is not None:
                self.run(flow)
                self._must_be_enrolled()
                continue
            device.save()
            self.sync()
            now = clock.now_ms()
            if now >= end:
                return
            until = [end]
            if self._back_ms is not None:
                until.append(self._back_ms)
            if (wake := device.next_wake_ms()) is not None:
                # A wake that is due and leads to nothing must not become a loop without end.
                until.append(max(wake, now + SECOND))
            self._wake.wait(max(0, min(until) - now) / SECOND)

    def pace(self, seconds: float) -> None:
        """Live until that long after the last call; the first call waits for a share of it, so that devices spread."""
        now = self.crew.clock.now_ms()
        step = round(seconds * SECOND)
        if self._next_ms is None:
            self._next_ms = now + round(self.device.draw().random() * step)
        else:
            self._next_ms = max(self._next_ms + step, now)
        self.listen((self._next_ms - now) / SECOND)

    def _must_be_enrolled(self) -> None:
        if not self.device.enrolled:
            if not self.left:
                self.left = True
                gone = ExchangeFailed("the enrollment ended, and the device removed its profile")
                self.crew.report("device", "device:unenrolled", 0.0, 0, gone)
            raise Gone(self.device.device_id)

    # --- coming and going ---------------------------------------------------------------------------------------

    def wake_up(self) -> None:
        """A device from the store: whatever it was doing when the last run ended, it is on and has a network."""
        self.device.change(_present)

    def go_away(self) -> None:
        """Lose the network, as soon as what is under way is done."""
        self._leave = True
        self._wake.set()

    def come_back(self, at_ms: int) -> None:
        """Have the network again at that time."""
        self._back_ms = at_ms
        self._wake.set()

    def _come_and_go(self) -> None:
        device, now = self.device, self.crew.clock.now_ms()
        if self._leave:
            self._leave = False
            device.change(lambda work: set_network(work, up=False))
        if self._back_ms is not None and now >= self._back_ms:
            self._back_ms = None
            device.change(lambda work: set_network(work, up=True))
            self.crew.tracker.back(device.device_id, now)

    # --- pushes -------------------------------------------------------------------------------------------------

    def pushed(self, push: Push) -> None:
        """A push came, on the courier's greenlet."""
        if self._pushed_at is None:
            self._pushed_at = time.perf_counter()
        self.device.pushed(push)
        self._wake.set()

    def sync(self) -> None:
        """Tell the courier what changed: tokens to listen for, tokens to keep, tokens that are gone."""
        device = self.device
        registered, subscribed = device.registrations(), device.subscriptions()
        if registered == self._registered and subscribed == self._subscribed:
            return
        new, gone = subscribed - self._subscribed, self._subscribed - subscribed
        retired = self._registered - registered
        self._registered, self._subscribed = registered, subscribed
        courier = self.crew.courier
        if courier is None:
            return
        self.crew.route(self, registered)
        began = time.perf_counter()
        try:
            if gone:
                courier.unsubscribe(sorted(gone))
            for topic, token in sorted(retired):
                _retire(courier, topic, token)
            for channel, tokens in device.by_channel(new).items():
                courier.subscribe(tokens, device.device_id, channel)
        except CourierError as error:
            failed = ExchangeFailed(f"the courier failed: {error}")
            self.crew.report("device", "push:subscribe", (time.perf_counter() - began) * 1000, 0, failed)


def _retire(courier: BlockingCourier, topic: str, token: bytes) -> None:
    try:
        courier.retire(topic, token)
    except CourierRefused as refusal:
        # A fake that was started again without a store knows the token as little as one that retired it.
        if refusal.reason != UNKNOWN_TOKEN:
            raise


def _drained(device: Device) -> Flow[None]:
    yield from drain_queue(device)


def _at_once(device: Device) -> Flow[None]:
    """The retry that a device has planned, without waiting for its time."""
    device.change(_due)
    flow = next_flow(device)
    if flow is not None:
        yield from flow


def _due(work: Work) -> None:
    for voice in work.state.channels.values():
        for reason in voice.wakes:
            voice.wakes[reason] = work.now_ms


def _present(work: Work) -> None:
    set_network(work, up=True)
    work.state.unlocked_since_boot = True


def _short(error: Exception) -> str:
    """The innermost reason: equal causes have equal texts. What a server or the network did is told as it was met."""
    if isinstance(error, DeviceError) and isinstance(error.__cause__, ServerSaidNo | ScepFailed | TransportError):
        return f"nothing was installed: {error.__cause__}"[:200]
    if isinstance(error, DeviceError) and error.chain:
        inner = error.chain[-1]
        return f"nothing was installed: {inner.domain} {inner.code}: {inner.localized}"[:200]
    return str(error)[:200]

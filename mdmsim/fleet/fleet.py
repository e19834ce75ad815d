"""A fleet: devices with a transport and a courier, woken by pushes, by their own wakes and by people.

One task watches the earliest wake of all; a device costs a task only while it acts. One flow at a time per device.
A bug in one device does not end the others: it is an event at once, and an exception when the fleet ends.
"""

from __future__ import annotations

import heapq
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Protocol, TypeVar

import trio

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, Clock
from mdmsim.device.device import Behaviour, Device, Work
from mdmsim.device.flow import Flow
from mdmsim.device.flows.install import install_profile
from mdmsim.device.flows.wake import next_flow
from mdmsim.device.personas import Persona
from mdmsim.device.state import DEVICE_CHANNEL, DeviceState
from mdmsim.device.store import DeviceStore
from mdmsim.events import Events
from mdmsim.fakeapns.errors import UNKNOWN_TOKEN, CourierRefused
from mdmsim.http import ConnectFailed, ExchangeCut, Request, Response
from mdmsim.pki.keys import KeySource
from mdmsim.transport.driver import run_flow

T = TypeVar("T")

Registration = tuple[str, bytes]


class Sender(Protocol):
    """What carries a device's requests."""

    async def send(self, request: Request) -> Response:
        """Raises TransportError when no complete answer came."""


class Courier(Protocol):
    """Where push tokens are subscribed; pushes come back through the function it was made with."""

    async def subscribe(
        self, tokens: Sequence[Registration], device: str = "", channel: str | None = None, /
    ) -> Sequence[Registration]:
        """Deliver pushes for these from now on; returns those that were refused.

        `device`: whose they are, and of which `channel`.
        """

    async def unsubscribe(self, tokens: Sequence[Registration], /) -> object:
        """Deliver none for these any more; they are kept for when the device listens again."""

    async def retire(self, topic: str, token: bytes, /) -> object:
        """This token is gone for good. Raises CourierRefused ("unknown-token") where nobody knows it."""

    def acted(self, tokens: Sequence[Registration], /) -> object:
        """The devices of these connected to their servers after the last push."""

    def call(self, device: str, names: Sequence[str], /) -> object:
        """Other names of a device: its UDID and its serial number."""


class DeviceKilled(Exception):
    """The device was killed in the middle of what a person had it do; it has restarted from its last saved state."""


class DeviceFailed(Exception):
    """A device ended with an error that is no part of its life: a bug. The text names the device and the error."""


class Member:
    """One device of a fleet and what surrounds it. `device` is replaced when the device is killed and restarted."""

    def __init__(self, device: Device, sender: Sender) -> None:
        self.device = device
        self.sender = sender
        self.lock = trio.Lock()
        self.pushed = trio.Event()
        self.acting = False
        self.doing: trio.CancelScope | None = None
        """What it does now, for itself or for a person; cancelling it kills the device."""
        self.quiet = trio.Event()
        self.exchange: trio.CancelScope | None = None
        """Its request that is on its way; cancelled when the network or the power goes."""
        self.syncing = trio.Lock()
        self.subscribed: frozenset[Registration] = frozenset()
        self.known: frozenset[Registration] = frozenset()
        """What the courier ever heard of: those must be retired when they are gone for good, the others need not."""
        self.heard: set[Registration] = set()
        """Those a push came for that the device has not acted upon: it connects to its server, and then they are told."""
        self.scheduled: set[int] = set()
        """The times (ms) at which the fleet will look after it: one entry of the heap each."""
        self.failure: Exception | None = None


class Fleet:
    """Devices that live: enter it as an async context manager, and they hear pushes and wake by themselves."""

    def __init__(
        self,
        *,
        store: DeviceStore,
        clock: Clock,
        chance: Chance,
        keys: KeySource,
        events: Events,
        sender_for: Callable[[str], Sender],
        behaviour: Behaviour | None = None,
    ) -> None:
        self.store = store
        self.clock = clock
        self.chance = chance
        self.keys = keys
        self.events = events
        self.behaviour = behaviour or Behaviour()
        self.members: dict[str, Member] = {}
        self.courier: Courier | None = None
        self._sender_for = sender_for
        self._routes: dict[Registration, str] = {}
        self._heap: list[tuple[int, str]] = []
        self._earlier = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._failures: list[tuple[str, Exception]] = []

    # --- members ------------------------------------------------------------------------------------------------

    def add(self, device_id: str, persona: Persona, **state: Any) -> Device:
        """A new device, out of the box. `state`: fields of DeviceState to start with. Raises ValueError for a known id."""
        if device_id in self.members or self.store.load(device_id) is not None:
            raise ValueError(f'there is a device "{device_id}" already')
        fields: dict[str, Any] = {
            "supervised": persona.supervised,
            "passcode": persona.passcode or "",
            "device_name": persona.device_name,
        }
        fields.update(state)
        device = Device(DeviceState(device_id=device_id, persona=persona, **fields), store=self.store, **self._around())
        device.save()
        self.members[device_id] = Member(device, self._sender_for(device_id))
        return device

    def load(self, device_id: str) -> Device:
        """A device from the store becomes a member. Raises KeyError if it was never saved."""
        device = Device.load(device_id, store=self.store, **self._around())
        member = self.members.get(device_id)
        if member is None:
            member = self.members[device_id] = Member(device, self._sender_for(device_id))
        member.device = device
        member.failure = None
        self.poke(device_id)  # at least the courier must hear what it listens for
        return device

    def _around(self) -> dict[str, Any]:
        return {
            "clock": self.clock,
            "chance": self.chance,
            "keys": self.keys,
            "events": self.events,
            "behaviour": self.behaviour,
        }

    def __getitem__(self, device_id: str) -> Device:
        return self.members[device_id].device

    # --- pushes -------------------------------------------------------------------------------------------------

    def on_push(self, topic: str, token: bytes, payload: bytes) -> None:
        """The courier's function: count the push for its device, and wake it. Unknown tokens are dropped."""
        device_id = self._routes.get((topic, token))
        if device_id is None:
            return
        push = self.store.pushed(device_id, DEVICE_CHANNEL, payload)
        member = self.members[device_id]
        member.device.pushed(push)
        member.heard.add((topic, token))
        member.pushed.set()
        self.poke(device_id)

    async def sync(self, member: Member) -> None:
        """Tell the courier what changed: tokens to listen for, tokens to keep, tokens that are gone.

        When it returns the courier knows: it may be called while another task is about to tell it the same.
        """
        registered, subscribed = member.device.registrations(), member.device.subscriptions()
        if subscribed == member.subscribed and member.known <= registered and not member.syncing.locked():
            return
        async with member.syncing:
            while True:
                registered, subscribed = member.device.registrations(), member.device.subscriptions()
                for registration in registered:
                    self._routes[registration] = member.device.device_id
                if self.courier is None or (subscribed == member.subscribed and member.known <= registered):
                    return
                # Noted one by one, after each was said: whoever is killed here says the rest again.
                if gone := member.subscribed - subscribed:
                    await self.courier.unsubscribe(sorted(gone))
                    member.subscribed -= gone
                for topic, token in sorted(member.known - registered):
                    await self._retire(topic, token)
                    member.known -= {(topic, token)}
                if new := subscribed - member.subscribed:
                    for channel, tokens in member.device.by_channel(new).items():
                        await self.courier.subscribe(tokens, member.device.device_id, channel)
                    persona = member.device.persona
                    self.courier.call(member.device.device_id, (persona.udid, persona.serial))
                    member.subscribed |= new
                    member.known |= new

    async def _retire(self, topic: str, token: bytes) -> None:
        if self.courier is None:
            return
        try:
            await self.courier.retire(topic, token)
        except CourierRefused as refusal:
            # A fake that was started again without a store knows the token as little as one that retired it.
            if refusal.reason != UNKNOWN_TOKEN:
                raise

    def acted(self, member: Member) -> None:
        """A device got an answer from its server: what the last pushes asked for is done."""
        heard, member.heard = member.heard & member.subscribed, set()
        if heard and self.courier is not None:
            self.courier.acted(sorted(heard))

    # --- living -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wake devices when their time comes, until cancelled. Raises DeviceFailed then if a device failed meanwhile."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                for member in self.members.values():
                    self.poke(member.device.device_id)
                task_status.started()
                await self._watch()
        finally:
            self._nursery = None
            if self._failures:
                self._raise_failures()

    async def _watch(self) -> None:
        while True:
            self._start_due()
            self._earlier = trio.Event()
            if not self._heap:
                await self._earlier.wait()
                continue
            delay = max(0, self._heap[0][0] - self.clock.now_ms()) / SECOND
            with trio.move_on_after(delay):
                await self._earlier.wait()

    def _raise_failures(self) -> None:
        device_id, error = self._failures[0]
        others = f" ({len(self._failures) - 1} more failed after it)" if len(self._failures) > 1 else ""
        raise DeviceFailed(f"device {device_id} ended with {type(error).__name__}: {error}{others}") from error

    def _start_due(self) -> None:
        now = self.clock.now_ms()
        while self._heap and self._heap[0][0] <= now:
            at_ms, device_id = heapq.heappop(self._heap)
            member = self.members.get(device_id)
            if member is None:
                continue
            member.scheduled.discard(at_ms)
            if not member.acting and member.failure is None and self._nursery is not None:
                member.acting = True
                self._nursery.start_soon(self._act, member)

    def poke(self, device_id: str) -> None:
        """Something changed for this device: look at once whether it wants to act."""
        self._look_at(device_id, self.clock.now_ms())

    def _schedule(self, device: Device) -> None:
        wake = device.next_wake_ms()
        if wake is not None:
            self._look_at(device.device_id, wake)

    def _look_at(self, device_id: str, at_ms: int) -> None:
        member = self.members.get(device_id)
        if member is None or at_ms in member.scheduled:
            return
        member.scheduled.add(at_ms)
        heapq.heappush(self._heap, (at_ms, device_id))
        self._earlier.set()

    async def _act(self, member: Member) -> None:
        try:
            await self._alive(member, lambda: self._do_due(member))
        except DeviceKilled:
            return  # it restarted, and was poked
        except Exception as error:
            self._failed(member, error)
            return
        finally:
            member.acting = False
        self._schedule(member.device)

    async def _do_due(self, member: Member) -> None:
        while True:
            member.pushed = trio.Event()
            flow = next_flow(member.device)
            if flow is None:
                break
            await run_flow(flow, MemberIO(self, member))
        member.device.save()
        await self.sync(member)

    def _failed(self, member: Member, error: Exception) -> None:
        """A bug ended what this device did: it does nothing more by itself until it is loaded or killed."""
        member.failure = error
        self._failures.append((member.device.device_id, error))
        where = traceback.extract_tb(error.__traceback__)[-1]
        self.events.emit(
            "device.failed",
            source="fleet",
            device=member.device.device_id,
            error=f"{type(error).__name__}: {error}",
            where=f"{where.filename.rpartition('/')[2]}:{where.lineno} {where.name}",
        )

    async def _alive(self, member: Member, act: Callable[[], Awaitable[T]]) -> T:
        """Have the device do something, nothing else meanwhile. Raises DeviceKilled when it is killed over it."""
        async with member.lock:
            member.quiet = trio.Event()
            try:
                with trio.CancelScope() as member.doing:
                    return await act()
                self._restart(member)
            finally:
                member.doing = None
                member.quiet.set()
        raise DeviceKilled(f"{member.device.device_id} was killed")

    async def perform(self, device_id: str, make: Callable[[Device], Flow[T]]) -> T:
        """Have a device carry out a flow that a person started, after whatever it is doing; return its value.

        Raises what the flow raises, and DeviceKilled when the device is killed in the middle of it.
        """
        member = self.members[device_id]

        async def act() -> T:
            try:
                return await run_flow(make(member.device), MemberIO(self, member))
            finally:
                await self.sync(member)

        try:
            return await self._alive(member, act)
        finally:
            self.poke(device_id)

    async def install(self, device_id: str, profile: bytes) -> None:
        """A person installs a profile on the device. Raises DeviceError when nothing was installed."""
        await self.perform(device_id, lambda device: install_profile(device, profile))

    async def change(self, device_id: str, apply: Callable[[Work], None]) -> None:
        """A person does something to the device that needs no network: unlock it, switch it on.

        Counts at once, also in the middle of a flow; a device that is gone by it (off, no network) loses the exchange
        that is on its way.
        """
        member = self.members[device_id]
        try:
            member.device.change(apply)
        finally:
            member.device.save()
            if member.exchange is not None and not member.device.reachable:
                member.exchange.cancel()
            self.poke(device_id)
        if not member.lock.locked():
            await self.sync(member)

    async def kill(self, device_id: str) -> None:
        """End whatever the device is doing, as a crash would, and start it anew from its last saved state."""
        member = self.members[device_id]
        dying = member.device
        while member.device is dying:
            if member.doing is None:
                self._restart(member)
            else:
                member.doing.cancel()
                await member.quiet.wait()

    def _restart(self, member: Member) -> None:
        self.load(member.device.device_id)


class MemberIO:
    """What a driver needs to run one member's flows."""

    def __init__(self, fleet: Fleet, member: Member) -> None:
        self._fleet = fleet
        self._member = member

    async def send(self, request: Request) -> Response:
        # A server may push the moment it has the token, so the courier must know it before TokenUpdate goes out.
        await self._fleet.sync(self._member)
        if not self._member.device.reachable:
            raise ConnectFailed(f"{request.label} {request.url}: the device is off or has no network")
        with trio.CancelScope() as self._member.exchange:
            try:
                response = await self._member.sender.send(request)
                if request.label.startswith("connect:"):
                    self._fleet.acted(self._member)
                return response
            finally:
                self._member.exchange = None
        raise ExchangeCut(f"{request.label} {request.url}: the device was switched off or lost its network", sent=True)

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._member.pushed.wait()
        self._member.pushed = trio.Event()  # a push cuts one pause short, not all that follow

    def save(self) -> None:
        self._member.device.save()

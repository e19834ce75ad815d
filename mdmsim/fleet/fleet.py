"""A fleet: devices with a transport and a courier, woken by pushes, by their own wakes and by people.

One task watches the earliest wake of all; a device costs a task only while it acts. One flow at a time per device.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
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
from mdmsim.http import Request, Response
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

    async def subscribe(self, tokens: Sequence[Registration], /) -> Sequence[Registration]:
        """Deliver pushes for these from now on; returns those that were refused."""

    async def unsubscribe(self, tokens: Sequence[Registration], /) -> object:
        """Deliver none for these any more; they are kept for when the device listens again."""

    async def retire(self, topic: str, token: bytes, /) -> object:
        """This token is gone for good."""


class Member:
    """One device of a fleet and what surrounds it. `device` is replaced when the device is killed and restarted."""

    def __init__(self, device: Device, sender: Sender) -> None:
        self.device = device
        self.sender = sender
        self.lock = trio.Lock()
        self.pushed = trio.Event()
        self.acting: trio.CancelScope | None = None
        self.registered: frozenset[Registration] = frozenset()
        self.subscribed: frozenset[Registration] = frozenset()
        self.quiet = trio.Event()
        self.quiet.set()


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
            self.members[device_id] = Member(device, self._sender_for(device_id))
        else:
            member.device = device
        self._schedule(device)
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
        member.pushed.set()
        self.poke(device_id)

    async def sync(self, member: Member) -> None:
        """Tell the courier what changed: tokens to listen for, tokens to keep, tokens that are gone."""
        # Again after each telling: a person may have changed the device meanwhile, and nobody else would notice.
        while (now := (member.device.registrations(), member.device.subscriptions())) != (
            member.registered,
            member.subscribed,
        ):
            await self._tell(member, *now)

    async def _tell(
        self, member: Member, registered: frozenset[Registration], subscribed: frozenset[Registration]
    ) -> None:
        new, gone = subscribed - member.subscribed, member.subscribed - subscribed
        retired = member.registered - registered
        member.registered, member.subscribed = registered, subscribed
        for registration in registered:
            self._routes[registration] = member.device.device_id
        if self.courier is None:
            return
        if gone:
            await self.courier.unsubscribe(sorted(gone))
        for topic, token in sorted(retired):
            await self.courier.retire(topic, token)
        if new:
            await self.courier.subscribe(sorted(new))

    # --- living -------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wake devices when their time comes, until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for member in self.members.values():
                self._schedule(member.device)
            task_status.started()
            try:
                while True:
                    self._start_due()
                    self._earlier = trio.Event()
                    if not self._heap:
                        await self._earlier.wait()
                        continue
                    delay = max(0, self._heap[0][0] - self.clock.now_ms()) / SECOND
                    with trio.move_on_after(delay):
                        await self._earlier.wait()
            finally:
                self._nursery = None

    def _start_due(self) -> None:
        now = self.clock.now_ms()
        while self._heap and self._heap[0][0] <= now:
            _, device_id = heapq.heappop(self._heap)
            member = self.members.get(device_id)
            if member is not None and member.acting is None and self._nursery is not None:
                member.acting = trio.CancelScope()
                member.quiet = trio.Event()
                self._nursery.start_soon(self._act, member)

    def poke(self, device_id: str) -> None:
        """Something changed for this device: look at once whether it wants to act."""
        heapq.heappush(self._heap, (self.clock.now_ms(), device_id))
        self._earlier.set()

    def _schedule(self, device: Device) -> None:
        wake = device.next_wake_ms()
        if wake is not None:
            heapq.heappush(self._heap, (wake, device.device_id))
            self._earlier.set()

    async def _act(self, member: Member) -> None:
        scope = member.acting
        if scope is None:
            return
        try:
            with scope:
                await self._do_due(member)
        finally:
            if member.acting is scope:
                member.acting = None
                member.quiet.set()
        if not scope.cancelled_caught:
            self._schedule(member.device)

    async def _do_due(self, member: Member) -> None:
        async with member.lock:
            while True:
                member.pushed = trio.Event()
                flow = next_flow(member.device)
                if flow is None:
                    break
                await run_flow(flow, MemberIO(self, member))
            member.device.save()
            await self.sync(member)

    async def perform(self, device_id: str, make: Callable[[Device], Flow[T]]) -> T:
        """Have a device carry out a flow that a person started, after whatever it is doing; return its value."""
        member = self.members[device_id]
        async with member.lock:
            try:
                return await run_flow(make(member.device), MemberIO(self, member))
            finally:
                with trio.CancelScope(shield=True):
                    await self.sync(member)
                self._schedule(member.device)

    async def install(self, device_id: str, profile: bytes) -> None:
        """A person installs a profile on the device. Raises DeviceError when nothing was installed."""
        await self.perform(device_id, lambda device: install_profile(device, profile))

    async def change(self, device_id: str, apply: Callable[[Work], None]) -> None:
        """A person does something to the device that needs no network: unlock it, switch it on."""
        member = self.members[device_id]
        try:
            member.device.change(apply)
        finally:
            member.device.save()
        if not member.lock.locked():
            await self.sync(member)
        self.poke(device_id)

    async def kill(self, device_id: str) -> None:
        """End whatever the device is doing, as a crash would, and start it anew from its last saved state."""
        member = self.members[device_id]
        if member.acting is not None:
            scope, quiet = member.acting, member.quiet
            scope.cancel()
            await quiet.wait()
        self.load(device_id)


class MemberIO:
    """What a driver needs to run one member's flows."""

    def __init__(self, fleet: Fleet, member: Member) -> None:
        self._fleet = fleet
        self._member = member

    async def send(self, request: Request) -> Response:
        # A server may push the moment it has the token, so the courier must know it before TokenUpdate goes out.
        await self._fleet.sync(self._member)
        return await self._member.sender.send(request)

    async def pause(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._member.pushed.wait()

    def save(self) -> None:
        self._member.device.save()

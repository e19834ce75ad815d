"""One simulated device: holds its state, changes it all or nothing, and says what it wants to do next.

It does no I/O, reads no clock and draws no chance of its own: all come in. What it does on the network are flows
(`mdmsim.device.flows`), carried out by a driver.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.device.personas import Persona
from mdmsim.device.state import (
    DEVICE_CHANNEL,
    Channel,
    DeviceState,
    IdentityRef,
    Undelivered,
    copied,
    decode,
    encode,
)
from mdmsim.device.store import DeviceStore, Push
from mdmsim.events import Event, Events
from mdmsim.http import Identity, Trust
from mdmsim.pki.keys import KeySource
from mdmsim.protocol.checkin import Ids

#: The source under which a device publishes what happened to it.
SOURCE = "device"

#: Retry ladder after a failure: one minute doubling to an hour (our choice; Apple documents no schedule).
FIRST_RETRY_MS = 60_000
LONGEST_RETRY_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Behaviour:
    """What a user may want otherwise, for all devices of a world.

    `allow_http`: accept `http://` to loopback as ServerURL and CheckInURL, which no real device does. `system_roots`: trust the machine's
    certificate store besides the profile's own anchors. `anchors`: DER certificates trusted as if they came with the
    system. `boot_seconds`: how long a restart takes. `token_update_on_passcode`: a changed passcode, which makes a new
    unlock token, is followed by a TokenUpdate (not documented by Apple). `signature_attributes`: Mdm-Signature with
    signed attributes, as the iPhone simulator sends it; real devices send none (captured). `push_token_on_update`: how
    probable it is, 0 to 1, that APNs gives a device a new push token when its system is updated. `session_commands`: how
    many commands of one session a device answers before the session is called endless, and ended.
    """

    allow_http: bool = False
    system_roots: bool = False
    anchors: tuple[bytes, ...] = ()
    boot_seconds: int = 45
    token_update_on_passcode: bool = True
    token_update_when_configured: bool = True
    activation_url: str | None = None
    passcode_minutes: int = 60
    signature_attributes: bool = False
    push_token_on_update: float = 0.0
    session_commands: int = 1000


class Noted(Exception):
    """A change did not come about, but that it was tried is an event: somebody typed a wrong passcode."""


@dataclass(frozen=True, slots=True)
class Wish:
    """Something a device wants to do by itself, when, and on which channel.

    `reason`: remove-expired, setup, leave, install, token-update, push, connect.
    """

    reason: str
    at_ms: int
    channel: str = DEVICE_CHANNEL


class Work:
    """A change to a device in the making: a copy of its state, and what is needed to fill it. Commit it or drop it."""

    def __init__(self, device: Device) -> None:
        self.state = copied(device.state)
        self.store = device.store
        self.chance = device.chance
        self.keys = device.keys
        self.behaviour = device.behaviour
        self.now_ms = device.clock.now_ms()

    @property
    def persona(self) -> Persona:
        return self.state.persona

    def emit(self, kind: str, **data: Any) -> None:
        """Note an event, to be published once this change is committed and saved."""
        self.state.event_seq += 1
        self.state.outbox.append({"kind": kind, "at_ms": self.now_ms, "seq": self.state.event_seq, "data": data})

    def draw(self) -> Chance:
        """A stream of chance that no earlier draw used; counted in the state, so a restart goes on with the next."""
        self.state.draws += 1
        return self.chance.stream(f"draw/{self.state.draws}")

    def wake(self, reason: str, at_ms: int, channel: str = DEVICE_CHANNEL) -> None:
        self.state.channel(channel).wakes[reason] = at_ms

    def retry(self, reason: str, why: str, channel: str = DEVICE_CHANNEL) -> None:
        """Try again later: one minute after the first failure, doubling to an hour. Without an enrollment never."""
        if self.state.enrollment is None:
            return
        voice = self.state.channel(channel)
        wait = min(FIRST_RETRY_MS << min(voice.attempts, 10), LONGEST_RETRY_MS)
        voice.attempts += 1
        voice.wakes[reason] = self.now_ms + wait
        self.emit("device.retry-scheduled", at_ms=self.now_ms + wait, reason=why, attempt=voice.attempts)


class Device:
    """A device and its surroundings. Raises UnreadableState from `load` when the stored bytes are no device's."""

    def __init__(
        self,
        state: DeviceState,
        *,
        store: DeviceStore,
        clock: Clock,
        chance: Chance,
        keys: KeySource,
        events: Events,
        behaviour: Behaviour | None = None,
    ) -> None:
        self.state = state
        self.store = store
        self.clock = clock
        self.chance = chance.stream(f"device/{state.device_id}")
        self.keys = keys
        self.events = events
        self.behaviour = behaviour or Behaviour()
        self._saved: bytes | None = None
        self._identities: dict[IdentityRef, Identity] = {}
        self._pushes: dict[str, Push] = {}

    @classmethod
    def load(cls, device_id: str, *, store: DeviceStore, **surroundings: Any) -> Device:
        """The device as it was last saved, with its unpublished events published. Raises KeyError if never saved."""
        data = store.load(device_id)
        if data is None:
            raise KeyError(device_id)
        device = cls(decode(data), store=store, **surroundings)
        device._saved = data
        for channel in device.state.channels:
            if push := store.last_push(device_id, channel):
                device._pushes[channel] = push
        device._publish()
        return device

    def __repr__(self) -> str:
        return (
            f"<Device {self.device_id} {self.persona.product_name} {self.persona.platform} {self.persona.os_version}>"
        )

    @property
    def device_id(self) -> str:
        return self.state.device_id

    @property
    def persona(self) -> Persona:
        return self.state.persona

    @property
    def enrolled(self) -> bool:
        return self.state.enrollment is not None

    @property
    def ids(self) -> Ids:
        """How the device names itself to its server."""
        return Ids(udid=self.persona.udid)

    # --- changing the state -------------------------------------------------------------------------------------

    def work(self) -> Work:
        """A change in the making. Nothing counts until `commit`."""
        return Work(self)

    def commit(self, work: Work) -> None:
        """Make a change the device's state. It is on disk, and its events are out, after the next `save`."""
        self.state = work.state

    def change(self, apply: Callable[[Work], None]) -> None:
        """Carry out one change that needs no network: all of it or, when it raises, nothing (of Noted, its events)."""
        work = self.work()
        try:
            apply(work)
        except Noted:
            self.commit(work)
            raise
        self.commit(work)

    def save(self) -> None:
        """Store the state if it changed, then publish the events that were committed with it. A driver's checkpoint."""
        data = encode(self.state)
        if data != self._saved:
            self.store.save(self.device_id, data)
            self._saved = data
        if self.state.outbox:
            self._publish()

    def _publish(self) -> None:
        outbox, self.state.outbox = self.state.outbox, []
        self.events.publish(
            Event(
                kind=entry["kind"],
                at_ms=entry["at_ms"],
                seq=entry["seq"],
                data=entry["data"],
                source=SOURCE,
                device=self.device_id,
            )
            for entry in outbox
        )

    def draw(self) -> Chance:
        """A stream of chance that no earlier draw used, for values that are needed before a change is committed."""
        self.state.draws += 1
        return self.chance.stream(f"draw/{self.state.draws}")

    # --- identity and trust -------------------------------------------------------------------------------------

    def identity(self, ref: IdentityRef) -> Identity:
        """Certificate and key as bytes, for a request."""
        known = self._identities.get(ref)
        if known is None:
            known = Identity(certificate=self.store.get(ref.certificate), key=self.store.get(ref.key))
            self._identities = {ref: known}  # one at a time: a device has one identity but for a renewal
        return known

    def trust(self, anchors: list[str], pins: list[str] | None = None) -> Trust:
        """What a connection accepts: the system's roots, and the anchors that came with profiles (given by hash).

        An enrollment over `http://` was allowed when it was made, and stays so.
        """
        enrollment = self.state.enrollment
        own = (self.store.get(digest) for digest in (*self.state.trusted, *anchors))
        return Trust(
            anchors=tuple(dict.fromkeys((*self.behaviour.anchors, *own))),
            system=self.behaviour.system_roots,
            pins=tuple(self.store.get(digest) for digest in pins or ()),
            allow_http=self.behaviour.allow_http
            or (enrollment is not None and enrollment.server_url.startswith("http://")),
        )

    # --- pushes -------------------------------------------------------------------------------------------------

    def pushed(self, push: Push, channel: str = DEVICE_CHANNEL) -> None:
        """Told by the courier's side: a push came. Heard by the next flow, even if one is under way."""
        known = self._pushes.get(channel)
        if known is None or push.number > known.number:
            self._pushes[channel] = push

    def unheard(self, channel: str = DEVICE_CHANNEL) -> Push | None:
        """The last push if it was not heard yet."""
        push = self._pushes.get(channel)
        voice = self.state.channels.get(channel)
        return push if push is not None and push.number > (voice.heard if voice else 0) else None

    def registrations(self) -> frozenset[tuple[str, bytes]]:
        """Topic and push token of every channel that has them, whether or not the device listens now."""
        enrollment = self.state.enrollment
        if enrollment is None:
            return frozenset()
        return frozenset((enrollment.topic, v.push_token) for v in self.state.channels.values() if v.push_token)

    def by_channel(self, registrations: Iterable[tuple[str, bytes]]) -> dict[str, list[tuple[str, bytes]]]:
        """Registrations by the channel that has them, in order. Those that none has any more go to the device's."""
        names = {voice.push_token: name for name, voice in self.state.channels.items()}
        found: dict[str, list[tuple[str, bytes]]] = {}
        for topic, token in sorted(registrations):
            found.setdefault(names.get(token, DEVICE_CHANNEL), []).append((topic, token))
        return found

    def subscriptions(self) -> frozenset[tuple[str, bytes]]:
        """The registrations that the courier should deliver to now: none while off, behind a PIN or without network."""
        return self.registrations() if self.reachable else frozenset()

    @property
    def reachable(self) -> bool:
        """Whether packets could reach the device.

        Before the first unlock a device that has only Wi-Fi has no network: it cannot read the Wi-Fi password
        (Apple: Shut Down Device).
        """
        state = self.state
        if not (state.present and state.network):
            return False
        needs_unlock = state.persona.platform in ("ios", "ipados") and bool(state.passcode)
        return state.unlocked_since_boot or not needs_unlock or state.persona.is_cellular

    # --- reports ------------------------------------------------------------------------------------------------

    def voice(self, channel: str = DEVICE_CHANNEL) -> Channel:
        return self.state.channel(channel)

    def undelivered(self, channel: str = DEVICE_CHANNEL) -> Undelivered | None:
        return self.voice(channel).undelivered

    # --- what next ----------------------------------------------------------------------------------------------

    def wishes(self) -> list[Wish]:
        """All that the device wants to do by itself, now or later; of those that are due the first goes first.

        The one place that decides this: what is due here is a flow, and what is not is no wake. Commands are carried
        out one after the other, so while one waits for a CA its channel neither connects nor hears pushes; and an
        enrollment that was just replaced tells its tokens before it reports.
        """
        state = self.state
        if not state.present:
            return []
        removals = [p.removal_ms for p in state.profiles if p.removal_ms is not None]
        found = [Wish("remove-expired", min(removals))] if removals else []  # needs no network
        if not self.reachable:
            return found
        now = self.clock.now_ms()
        if state.leaving is not None:
            return [*found, Wish("leave", now)]
        if state.setup == "welcome":
            return [*found, Wish("setup", state.setup_due_ms)] if state.setup_due_ms is not None else found
        if state.installation is not None:
            found.append(Wish("install", state.installation.due_ms))
        at_work = state.installation is not None and state.installation.command is not None
        for channel, voice in state.channels.items():
            telling = voice.wakes.get("token-update") if state.enrollment is not None else None
            if telling is not None:
                found.append(Wish("token-update", telling, channel))
            if at_work and channel == DEVICE_CHANNEL:
                continue
            if self.unheard(channel) is not None:
                found.append(Wish("push", now, channel))
            connect = voice.wakes.get("connect")
            if connect is None or state.enrollment is None or (telling is not None and not state.enrollment.confirmed):
                continue
            found.append(Wish("connect", connect, channel))
        return found

    def next_wake_ms(self) -> int | None:
        """When the device next wants to act by itself (world time, ms); None while only a push or a person can wake it."""
        wakes = [wish.at_ms for wish in self.wishes()]
        if self.state.boot_ms is not None:
            wakes.append(self.state.boot_ms)
        return min(wakes, default=None)

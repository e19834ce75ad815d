"""The push tokens that there are: which device holds which, for what topic, channel and environment."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from mdmsim.chance import Chance
from mdmsim.clock import MINUTE
from mdmsim.fakeapns.aliases import Aliases
from mdmsim.fakeapns.session import Slot
from mdmsim.fakeapns.storage import Registration


class Tokens:
    """All registrations with their slots, retired ones included. `chance` is what new tokens are drawn from.

    Asked by the checks; see `Registry` there. `limit`: pushes that a token may get in a minute, None for any number.
    """

    def __init__(self, chance: Chance, *, limit: int | None = None) -> None:
        self._chance = chance
        self._limit = limit
        # By topic first: there are few topics and many tokens, and a pair as the key would cost a tuple for each.
        self._by_topic: dict[str, dict[bytes, Slot]] = {}
        self._count = 0
        # The newest token of each topic, channel and environment. Nearly always there is one: no tuple for that either.
        self._by_device: dict[str, Slot | tuple[Slot, ...]] = {}
        self._aliases = Aliases()
        #: Which minute it is, and what each token got in it.
        self._minute = 0
        self._pushed: dict[Slot, int] = {}

    def __iter__(self) -> Iterator[Slot]:
        """All slots, by topic, oldest first."""
        for slots in self._by_topic.values():
            yield from slots.values()

    def __len__(self) -> int:
        return self._count

    def slot(self, topic: str, token: bytes) -> Slot | None:
        slots = self._by_topic.get(topic)
        return slots.get(token) if slots is not None else None

    def registration(self, topic: str, token: bytes) -> Registration | None:
        slot = self.slot(topic, token)
        return slot.registration if slot is not None else None

    def topics(self, token: bytes) -> tuple[str, ...]:
        """The topics that this token is or was registered for."""
        return tuple(topic for topic, slots in self._by_topic.items() if token in slots)

    def known_topics(self) -> tuple[str, ...]:
        """All topics that any token was registered for."""
        return tuple(self._by_topic)

    def of_device(self, device: str, topic: str, channel: str, environment: str) -> Slot | None:
        """The slot of that device's newest token."""
        for slot in self._of_device(device):
            known = slot.registration
            if (known.topic, known.channel, known.environment) == (topic, channel, environment):
                return slot
        return None

    def draw(self, device: str, topic: str, channel: str, environment: str, generation: int) -> bytes:
        """32 bytes, from the seed and these names alone, so that order does not matter."""
        names = [device, topic, channel, str(generation)]
        if environment != "production":
            names.append(environment)
        return self._chance.stream("\0".join(names)).bytes(32)

    def install(self, registration: Registration) -> Slot:
        """Take a registration in, in place of any older one of the same topic and token."""
        slots = self._by_topic.setdefault(registration.topic, {})
        slot = slots.get(registration.token)
        if slot is None:
            slot = slots[registration.token] = Slot(registration)
            self._count += 1
        else:
            slot.registration = registration
        if registration.device:
            self._name(slot, registration)
        return slot

    def _name(self, slot: Slot, registration: Registration) -> None:
        device = registration.device
        latest = self.of_device(device, registration.topic, registration.channel, registration.environment)
        if latest is None or _age(latest.registration) <= _age(registration):
            # The slot itself may be there for what it was before, if its token is now of another environment.
            others = tuple(one for one in self._of_device(device) if one is not latest and one is not slot)
            self._by_device[device] = (*others, slot) if others else slot

    def _of_device(self, device: str) -> tuple[Slot, ...]:
        known = self._by_device.get(device, ())
        return (known,) if isinstance(known, Slot) else known

    def call(self, device: str, aliases: Iterable[str], *, room: int | None = None) -> int:
        """Other names of a device (UDID, serial number), for whoever looks for it by one of them: `Aliases.call`."""
        return self._aliases.call(device, aliases, room=room)

    def device_called(self, name: str) -> str:
        """The device of that alias; the name itself where it is none."""
        return self._aliases.device(name) or name

    def holder(self, token: bytes) -> str:
        """The device that has this token, for whatever topic; empty where none is known."""
        slots = (slots[token] for slots in self._by_topic.values() if token in slots)
        return next((slot.registration.device for slot in slots if slot.registration.device), "")

    def aliases(self, device: str) -> list[str]:
        """Other names of that device, in order."""
        return sorted(self._aliases.names(device))

    def too_many(self, topic: str, token: bytes, now_ms: int) -> bool:
        """Count a push; whether it is one too many for this minute."""
        slot = self.slot(topic, token)
        if slot is None or self._limit is None:
            return False
        if self._minute != now_ms // MINUTE:
            self._minute = now_ms // MINUTE
            self._pushed.clear()
        count = self._pushed.get(slot, 0)
        self._pushed[slot] = count + 1
        return count >= self._limit

    def forgive(self, topic: str, token: bytes) -> None:
        """The push that was counted last did not happen: a fault came before it."""
        if (slot := self.slot(topic, token)) is not None and self._pushed.get(slot):
            self._pushed[slot] -= 1


def _age(registration: Registration) -> tuple[int, int]:
    # The same however the registrations are loaded: later tokens of a device are newer.
    return registration.generation, registration.registered_ms

"""Enrolling many devices, some at a time, and what became of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import trio

from mdmsim.cli.enrollment.keys_ahead import KeysAhead
from mdmsim.cli.enrollment.meanings import SYSTEMS
from mdmsim.cli.enrollment.obstacle import Obstacle, Stopped
from mdmsim.cli.enrollment.obstacles import of_device, of_exchange
from mdmsim.cli.enrollment.profile import POOL_BITS, Facts
from mdmsim.cli.enrollment.source import Refused, Source
from mdmsim.cli.enrollment.witness import Witness
from mdmsim.cli.exits import NOT_CARRIED_OUT
from mdmsim.clock import Clock
from mdmsim.device.device import Device
from mdmsim.device.errors import DeviceError, NotSimulated
from mdmsim.device.personas import Persona
from mdmsim.events import Event
from mdmsim.fakeapns.errors import CourierError
from mdmsim.fleet.fleet import Fleet
from mdmsim.http import TransportError

Result = Literal["enrolled", "unconfirmed", "waiting", "refused", "unreachable", "not-simulated"]

#: How kinds of devices are called in ids.
PREFIXES = {"iphone": "iphone", "ipad": "ipad", "appletv": "tv"}


@dataclass(frozen=True, slots=True)
class Newcomer:
    """A device to be: its id in the store, and what it is."""

    device_id: str
    persona: Persona

    @property
    def description(self) -> str:
        """`iPhone 15, iOS 18.1`."""
        persona = self.persona
        return f"{persona.marketing_name}, {SYSTEMS[persona.platform]} {persona.os_version}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one device. `steps`: what went well. `unconfirmed`: installed, TokenUpdate not yet accepted.

    `not_simulated`: payloads of the profile that were left out.
    """

    newcomer: Newcomer
    result: Result
    steps: tuple[str, ...]
    took_ms: int
    obstacle: Obstacle | None = None
    not_simulated: tuple[str, ...] = ()


def _note_left_out(event: Event, device_id: str, left_out: list[str]) -> None:
    if event.kind == "device.not-simulated" and event.device == device_id:
        left_out.append(event.data["what"])


def new_ids(kinds: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    """An id for each kind, such as `iphone-01`, counting on from those that are known."""
    highest: dict[str, int] = {}
    for device_id in known:
        prefix, _, number = device_id.rpartition("-")
        if number.isdigit():
            highest[prefix] = max(highest.get(prefix, 0), int(number))
    for kind in kinds:
        prefix = PREFIXES.get(kind, "mac")
        highest[prefix] = highest.get(prefix, 0) + 1
        yield f"{prefix}-{highest[prefix]:02d}"


class Rollout:
    """Takes newcomers through `install_profile`. `told`: called with each outcome, in the order in which they come."""

    def __init__(
        self,
        fleet: Fleet,
        source: Source,
        keys: KeysAhead,
        clock: Clock,
        *,
        facts: Facts,
        told: Callable[[Outcome], None],
        forget: bool,
    ) -> None:
        self._fleet = fleet
        self._source = source
        self._keys = keys
        self._clock = clock
        self._facts = facts
        self._told = told
        self._forget = forget
        self._reserve = 2 if facts.key_bits == POOL_BITS else 1
        self.outcomes: list[Outcome] = []

    async def run(self, newcomers: Sequence[Newcomer], *, concurrency: int, first_profile: bytes | None) -> None:
        """Enrol them all, so many at a time. `first_profile`: what was fetched for the first of them already."""
        queue = iter(newcomers)
        fetched = {newcomers[0].device_id: first_profile} if first_profile is not None and newcomers else {}

        async def work() -> None:
            for newcomer in queue:
                await self._keys.reserve(self._reserve)
                outcome = await self._enrol(newcomer, fetched.pop(newcomer.device_id, None))
                self.outcomes.append(outcome)
                self._told(outcome)

        async with trio.open_nursery() as nursery:
            for _ in range(min(concurrency, len(newcomers))):
                nursery.start_soon(work)

    async def _enrol(self, newcomer: Newcomer, profile: bytes | None) -> Outcome:
        began = self._clock.now_ms()
        trusted = [self._fleet.store.put(der) for der in self._fleet.behaviour.anchors]
        device = self._fleet.add(newcomer.device_id, newcomer.persona, trusted=trusted)
        member = self._fleet.members[newcomer.device_id]
        witness = Witness(member.sender)
        member.sender = witness
        result: Result = "refused"
        obstacle: Obstacle | None = None
        left_out: list[str] = []
        unsubscribe = device.events.subscribe(lambda event: _note_left_out(event, newcomer.device_id, left_out))
        try:
            if profile is None:
                profile = await self._source.profile(newcomer.persona, witness)
            await self._fleet.install(newcomer.device_id, profile)
            result, obstacle = await self._judge(device, witness)
        except (DeviceError, Refused, TransportError) as error:
            facts = None if isinstance(error, Refused | TransportError) else self._facts
            obstacle = await of_exchange(witness.last, facts, self._clock) if witness.last is not None else None
            if obstacle is None:
                obstacle = (
                    of_device(error, witness.last, self._facts, newcomer.persona.platform)
                    if isinstance(error, DeviceError)
                    else Obstacle(str(error))
                )
            result = "unreachable" if obstacle.code == NOT_CARRIED_OUT else "refused"
            if isinstance(error, NotSimulated):
                result, left_out = "not-simulated", []
        except Stopped as stopped:
            obstacle = stopped.obstacle
        except CourierError as error:
            obstacle = Obstacle(f"The courier: {error}.", advice="check --courier", code=NOT_CARRIED_OUT)
            result = "unreachable"
        finally:
            unsubscribe()
            self._tidy(device)
        took = self._clock.now_ms() - began
        steps = (*witness.steps, *(f"not simulated: {what}" for what in left_out))
        return Outcome(newcomer, result, steps, took, obstacle, tuple(left_out))

    async def _judge(self, device: Device, witness: Witness) -> tuple[Result, Obstacle | None]:
        """What came of an installation that the device itself was content with."""
        state = device.state
        if state.enrollment is not None and state.enrollment.confirmed:
            return "enrolled", None
        if state.installation is not None:
            minutes = max(0, state.installation.due_ms - self._clock.now_ms()) // 60_000
            return "waiting", Obstacle(
                "The CA has not decided yet: it left the request pending.",
                seen=f"the profile's RetryDelay says to ask again in {minutes} min",
                advice="approve the request at the CA, or give the SCEP payload a RetryDelay of a minute or less",
            )
        last = witness.last
        if last is not None and last.request.label == "checkin:CheckOut":
            # The device was disowned at TokenUpdate and has said goodbye since.
            last = witness.refusal or last
        obstacle = await of_exchange(last, self._facts, self._clock) if last is not None else None
        result: Result = "refused" if state.enrollment is None else "unconfirmed"
        return result, obstacle or Obstacle("TokenUpdate was not accepted.")

    def _tidy(self, device: Device) -> None:
        """Keep what is enrolled, or on its way; forget a device that is as it came out of the box."""
        if device.state.enrollment is None and device.state.installation is None:
            self._fleet.store.delete(device.device_id)
            self._fleet.members.pop(device.device_id, None)
        elif self._forget:
            self._fleet.members.pop(device.device_id, None)

"""One case while it runs: the world, the devices by the names of the story, what was queued, and how steps wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import trio

from mdmsim.chance import Chance
from mdmsim.clock import SECOND
from mdmsim.device.device import Device
from mdmsim.device.personas import Persona
from mdmsim.device.power import set_network
from mdmsim.device.state import DEVICE_CHANNEL
from mdmsim.events import KINDS, Event
from mdmsim.faults import Fault
from mdmsim.report.activity import not_simulated
from mdmsim.report.model import Grade
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.model import Case, DeviceSpec, Step, Steps
from mdmsim.scenario.registry import STEPS, Outcome, title_of
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.target.adapter import Adapter, AdapterError, ApiUnreachable, NotOffered
from mdmsim.world.world import World

#: How devices are called in reports, by kind.
SHORT = {"iphone": "iphone", "ipad": "ipad", "mac-intel": "mac", "mac-t2": "mac", "mac-silicon": "mac", "appletv": "tv"}

SYSTEMS = {"ios": "iOS", "ipados": "iPadOS", "macos": "macOS", "tvos": "tvOS"}

#: How long an expectation waits when it does not say: world time, so in process it costs nothing.
PATIENCE_MS = 30 * SECOND


@dataclass(slots=True)
class Queued:
    """A command that a step queued. `seen`: place in the log up to which its reports were looked at."""

    device: str
    command_uuid: str
    request_type: str
    seen: int


@dataclass(frozen=True, slots=True)
class Token:
    """Where pushes for a device went, kept after the device has given it up."""

    topic: str
    token: bytes
    push_magic: str


class Names:
    """Gives each device of a world a name of its own: iphone-01, mac-02."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def next(self, persona_kind: str) -> str:
        short = SHORT.get(persona_kind, persona_kind)
        number = self._numbers[short] = self._numbers.get(short, 0) + 1
        return f"{short}-{number:02d}"


def described(persona: Persona) -> str:
    """`iPhone 15, iOS 18.1`."""
    return f"{persona.marketing_name}, {SYSTEMS.get(persona.platform, persona.platform)} {persona.os_version}"


@dataclass(slots=True)
class Run:
    """What steps act on. `mark`: place in the log where the last step that acted began."""

    world: World
    adapter: Adapter
    case: Case
    names: Names
    chance: Chance
    devices: dict[str, list[str]] = field(default_factory=dict)
    commands: dict[str, list[Queued]] = field(default_factory=dict)
    tokens: dict[str, Token] = field(default_factory=dict)
    faults: dict[str, Callable[[], Awaitable[None]]] = field(default_factory=dict)
    """What is going wrong, by the name that ends it: what to call for that."""
    planned: list[Fault] = field(default_factory=list)
    apns_faults: list[int] = field(default_factory=list)
    dep_faults: list[int] = field(default_factory=list)
    passcodes: dict[str, str] = field(default_factory=dict)
    backups: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """What was backed up, by the name of the backup and the device."""
    remembered: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    """What devices had told the server when a step took note of it, by that name and the device."""
    apple_account: str = ""
    """The server's account at Apple's device enrollment service, once it has one; also its name in the portal."""
    mark: int = 0
    begin: int = 0
    opened: int = 0
    draws: int = 0
    server_stopped: bool = False
    telling: tuple[str, str] = ("", "")
    """Number and place of the step that is being told: what nested ones are told under."""
    refused: list[str] = field(default_factory=list)
    _stop_noting: Callable[[], None] | None = None

    # --- devices ------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make the devices of the story and begin to take notes."""
        self.opened = self.place()
        for name, spec in self.case.scenario.text.devices.items():
            self.devices[name] = [self.add_device(spec) for _ in range(spec.count)]
        self.note()

    def note(self) -> None:
        """Begin to take notes of what happens."""
        self._stop_noting = self.world.events.subscribe(self._note)
        self.begin = self.mark = self.place()

    async def close(self) -> None:
        """Leave the world as it was found: no faults, the server up, and the devices of this case silent."""
        for fault in self.planned:
            self.world.wire.remove(fault)
        for number in self.apns_faults:
            await self.world.apns.end_fault(number)
        for number in self.dep_faults:
            assert self.world.dep is not None
            await self.world.dep.end_fault(number)
        if self._stop_noting is not None:
            self._stop_noting()
            self._stop_noting = None
        if self.server_stopped:
            await self.world.control.start()
        for udid in self.refused:
            try:
                await self.adapter.allow(udid=udid)
            except AdapterError:
                continue  # the verdict is in; a server that cannot forget this device harms no other case
        if self.world.kind == "live":  # other cases follow in the same world
            for ids in self.devices.values():
                for device_id in ids:
                    await self.silence(device_id)

    def add_device(self, spec: DeviceSpec) -> str:
        """A fresh device as the story describes it; its name in this world. Raises ScenarioError."""
        from mdmsim.device.personas import PersonaError, kind_of

        kind = spec.kind or self.case.platform
        try:
            device_id = self.names.next(kind_of(kind))
            device = self.world.add_device(
                device_id,
                kind,
                os_version=spec.os,
                supervised=bool(spec.supervised),
                passcode=spec.passcode,
                model=spec.model,
                state={"can_erase_content": spec.erasable},
            )
        except PersonaError as error:
            raise ScenarioError(self.case.where, f"there is no such device: {error}") from None
        self.passcodes[device_id] = device.state.passcode
        return device_id

    async def silence(self, device_id: str) -> None:
        """Take a device off the network for good, so that it does not retry into the next case."""
        if self.world.fleet[device_id].state.network:
            await self.world.fleet.change(device_id, lambda work: set_network(work, up=False))

    def ids(self, name: str) -> list[str]:
        """The devices of that name or group."""
        return self.devices[name]

    def device(self, device_id: str) -> Device:
        return self.world.fleet[device_id]

    def udid(self, device_id: str) -> str:
        """The enrollment id by which the server knows the device."""
        return self.world.fleet[device_id].persona.udid

    def described(self) -> dict[str, str]:
        """Every device of the story: its name in this world and what it is."""
        return {i: described(self.device(i).persona) for ids in self.devices.values() for i in ids}

    def draw(self) -> Chance:
        """A stream of chance that no earlier step of this case used."""
        self.draws += 1
        return self.chance.stream(f"step/{self.draws}")

    def _note(self, event: Event) -> None:
        """Remember push tokens: a device forgets them with its enrollment, the courier may still deliver to them."""
        if event.device is not None and event.device in self.world.fleet.members:
            device = self.device(event.device)
            voice, enrollment = device.state.channels.get(DEVICE_CHANNEL), device.state.enrollment
            if voice is not None and enrollment is not None and voice.push_token:
                self.tokens[event.device] = Token(enrollment.topic, voice.push_token, voice.push_magic)

    # --- events -------------------------------------------------------------------------------------------------

    def place(self) -> int:
        """The present end of the log."""
        return len(self.world.log.events)

    def since(self, place: int, matches: Callable[[Event], bool]) -> list[Event]:
        """The events from that place on that match, oldest first."""
        return [event for event in self.world.log.events[place:] if matches(event)]

    def concerns(self, event: Event, device_id: str) -> bool:
        """Whether an event is about that device, by what its kind says it is about (see `mdmsim.events.Kind`)."""
        if event.device is not None:
            return event.device == device_id
        subject = KINDS[event.kind].subject
        told = event.data.get(subject) if subject is not None else None
        if subject == "enrollment_id":
            return bool(told == self.udid(device_id))
        if subject in ("serial", "serial_number", "serials", "results"):
            serial = self.device(device_id).persona.serial
            return told == serial if isinstance(told, str) else serial in (told or ())
        if subject == "device":  # a fault of APNs or DEP says in its target whom it hit
            target = event.data.get("target")
            return isinstance(target, Mapping) and (
                target.get("device") == device_id or target.get("serial") == self.device(device_id).persona.serial
            )
        known = self.tokens.get(device_id)
        voice = self.device(device_id).state.channels.get(DEVICE_CHANNEL)
        tokens = [known.token.hex()] if known else []
        if voice is not None and voice.push_token:
            tokens.append(voice.push_token.hex())
        return (told.hex() if isinstance(told, bytes) else told) in tokens if told else False

    async def wait_for(
        self, matches: Callable[[Event], bool], *, within_ms: int, since: int
    ) -> tuple[Event, int] | None:
        """The first match from that place on and the place after it, waiting at most that long; None without one."""
        event = await self.world.wait_for(matches, within_ms=within_ms, since=since)
        if event is None:
            return None
        events = self.world.log.events
        return event, next(i for i in range(since, len(events)) if events[i] is event) + 1

    async def until(self, problem: Callable[[], Awaitable[str | None]], *, within_ms: int) -> str | None:
        """Look again after whatever happens until there is no problem; the last problem if one is left."""
        happened = trio.Event()

        def notice(_: Event) -> None:
            happened.set()

        unsubscribe = self.world.events.subscribe(notice)
        deadline = trio.current_time() + within_ms / SECOND
        try:
            while True:
                happened = trio.Event()
                found = await problem()
                if found is None:
                    return None
                with trio.move_on_at(deadline) as scope:
                    await happened.wait()
                if scope.cancelled_caught:
                    return await problem()
        finally:
            unsubscribe()

    def number_of(self, exchange: Event) -> int | None:
        """Which of the case's exchanges this is, counted as reports do: from 0, in the order in which they began."""
        exchanges = self.since(self.opened, lambda event: event.kind == "exchange")
        exchanges.sort(key=lambda event: int(event.data["started_ms"]))
        return next((number for number, event in enumerate(exchanges) if event is exchange), None)

    # --- steps --------------------------------------------------------------------------------------------------

    async def act(self, step: Step) -> Outcome | None:
        """Carry out one step, silently. Raises StepFailed, NotApplicable, ScenarioError, AdapterError."""
        step_type = STEPS[step.name]
        if not step_type.expects:
            self.mark = self.place()
        try:
            return await step_type.action(self, step.arguments)
        except StepFailed as failure:
            failure.where = failure.where or step.where
            if (why := self.not_simulated(self._concerned(step))) is not None:
                raise NotApplicable(f"{why} Without it {failure}") from failure
            raise
        except NotOffered as error:
            raise NotApplicable(str(error)) from error

    def _concerned(self, step: Step) -> set[str]:
        """The devices that a step is about; all of them where it names none."""
        name = getattr(step.arguments, "device", None) or getattr(step.arguments, "to", None)
        if name in self.devices:
            return set(self.ids(name))
        queued = self.commands.get(getattr(step.arguments, "command", ""))
        if queued is not None:
            return {command.device for command in queued}
        return {device_id for ids in self.devices.values() for device_id in ids}

    def not_simulated(self, devices: Collection[str], command_uuid: str | None = None) -> str | None:
        """What the story asked these devices for and mdmsim does not simulate, as a sentence; None where there is nothing.

        Only the story's own commands: what a server sends by itself to every device must not excuse its faults.
        `command_uuid`: only whether that command itself is simulated, not what it installs.
        """
        own = {queued.command_uuid for commands in self.commands.values() for queued in commands}
        for event in self.world.log.events[self.opened :]:
            what = not_simulated(event) if event.device in devices else None
            uuid = event.data.get("command_uuid")
            if command_uuid is not None and (uuid != command_uuid or event.kind != "device.command-answered"):
                continue
            if what is not None and uuid in own:
                return f"{what} is not simulated ({event.device}; see mdmsim schema coverage)."
        return None

    async def tell(self, steps: Steps, number: str = "") -> None:
        """Carry out steps one after the other, each with its events for the report. Raises what the first bad one raised."""
        for position, step in enumerate(steps, 1):
            await self.report(
                f"{number}{position}",
                title_of(step.name, step.arguments),
                step.where,
                lambda step=step: self.act(step),  # type: ignore[misc]
            )

    async def report(
        self, number: str, title: str, where: str, action: Callable[[], Awaitable[Outcome | None]]
    ) -> None:
        """Carry out one thing between step.started and step.finished."""
        emit, case = self.world.events.emit, self.case.id
        emit("step.started", source="scenario", case=case, step=number, title=title, where=where)
        told: Mapping[str, Any]
        self.telling = (number, where)
        try:
            outcome = await action()
        except Exception as error:
            grade, told = judged(error)
            if isinstance(error, StepFailed) and error.proof is not None:
                told = {**told, "exchange": self.number_of(error.proof)}
            emit(
                "step.finished",
                source="scenario",
                case=case,
                step=number,
                title=title,
                grade=grade.value,
                **{"where": where, **told},
            )
            raise
        told = {} if outcome is None else {"expected": outcome.expected, "observed": outcome.observed}
        emit(
            "step.finished",
            source="scenario",
            case=case,
            step=number,
            grade=Grade.PASSED.value,
            **{"where": where, **told},
        )

    def queued(self, name: str) -> Sequence[Queued]:
        """The commands that a step queued under that name, one per device."""
        return self.commands[name]


def judged(error: Exception) -> tuple[Grade, dict[str, Any]]:
    """The grade for what a step raised, and what is told about it."""
    if isinstance(error, StepFailed):
        told = {"expected": error.expected, "observed": error.observed}
        if error.where:
            told["where"] = error.where
        return Grade.FAILED, told
    if isinstance(error, NotApplicable):
        return Grade.NOT_APPLICABLE, {"expected": "a world that can do this", "observed": str(error)}
    if isinstance(error, ApiUnreachable):
        return Grade.ERROR, {"expected": "an administrator's API that answers", "observed": str(error)}
    if isinstance(error, AdapterError):
        return Grade.FAILED, {"expected": "the server does what its administrator asks", "observed": str(error)}
    if isinstance(error, ScenarioError):
        return Grade.ERROR, {"expected": "a scenario that can be played", "observed": error.what, "where": error.where}
    return Grade.ERROR, {"expected": "the step to run to its end", "observed": f"{type(error).__name__}: {error}"}

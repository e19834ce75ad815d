"""Devices and their server for plain Python: no async, no YAML, the same steps.

    with open_world() as world:
        phone = world.device("iphone")
        phone.enroll()

Time is virtual and stands still between calls, unless the world is live. Every word of the scenarios' vocabulary is
there as `world.step(name, ...)`; what is used most has a method of its own. What does not go as told raises StepFailed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock
from mdmsim.device.personas import Persona
from mdmsim.device.state import DeviceState
from mdmsim.events import Event
from mdmsim.http import Trust
from mdmsim.pki.keys import KeySource, SharedKeys
from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import ScenarioError
from mdmsim.scenario.load import converter
from mdmsim.scenario.loops import FrozenLoop, LiveLoop, Loop
from mdmsim.scenario.model import DeviceSpec, Scenario, ScenarioText, Step
from mdmsim.scenario.registry import Outcome, steps
from mdmsim.scenario.run import Names, Run
from mdmsim.scenario.runner import DEFAULT_SEED, reference_adapter
from mdmsim.scenario.steps.control import Wait
from mdmsim.scenario.steps.enrolling import install
from mdmsim.scenario.steps.shared import chain_text
from mdmsim.scenario.typed import Hint
from mdmsim.scenario.verdict import StepFailed
from mdmsim.scenario.yaml_tree import Entry, Mapping, Node, Scalar, Sequence
from mdmsim.target.adapter import CommandStatus
from mdmsim.world import world as simulated
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import ServerFacts

T = TypeVar("T")

WHERE = "Python"


class World:
    """A universe to write tests in: make devices, talk to the server, let time pass."""

    def __init__(self, loop: Loop[Run]) -> None:
        self._loop = loop
        self.server = Server(self)

    def call(self, job: Callable[[Run], Awaitable[T]]) -> T:
        """Run an async function on the world's insides: for what this class has no method for."""
        return self._loop.call(job)

    def _look(self, at: Callable[[Run], T]) -> T:
        async def job(run: Run) -> T:
            return at(run)

        return self._loop.call(job)

    def device(
        self,
        kind: str = "iphone",
        *,
        os: str | None = None,
        model: str | None = None,
        supervised: bool = False,
        passcode: str | bool | None = None,
    ) -> Device:
        """A new device out of the box; see `DeviceSpec` for the words. Raises ScenarioError for one that cannot exist."""
        try:
            spec = DeviceSpec(kind=kind, os=os, model=model, supervised=supervised, passcode=passcode)
        except ValueError as error:
            raise ScenarioError(WHERE, str(error)) from None

        def add(run: Run) -> str:
            device_id = run.add_device(spec)
            run.devices[device_id] = [device_id]
            return device_id

        return Device(self, self._look(add))

    def step(self, name: str, /, **arguments: Any) -> Outcome | None:
        """Carry out one step of the vocabulary, with its arguments as in YAML.

        Devices are given as such or by name; `for` and `as` are written `for_` and `as_`. Raises StepFailed when it did
        not go as told, ScenarioError for words that the step does not know.
        """
        keys = {key.removesuffix("_"): value for key, value in arguments.items()}
        written = Mapping(1, (Entry(name, 1, _node(keys)),))
        parsed: Step = converter(WHERE).value(written, Step, "step", Hint())

        async def act(run: Run) -> Outcome | None:
            return await run.act(parsed)

        __tracebackhide__ = True  # pytest shows the line of the test, not the machinery
        try:
            return self._loop.call(act)
        except StepFailed as failure:
            raise failure.with_traceback(None) from None

    def wait(self, duration: str) -> None:
        """Let world time pass: `30s`, `5m`, `30d`. In process it costs nothing."""
        self.step("wait", for_=duration)

    @property
    def events(self) -> list[Event]:
        """Everything that has happened so far, oldest first."""
        return self._look(lambda run: list(run.world.log.events))

    @property
    def now_ms(self) -> int:
        """World time in milliseconds since 1970-01-01 UTC."""
        return self._look(lambda run: run.world.clock.now_ms())

    def close(self) -> None:
        """End the world. May be called again."""
        self._loop.close()


@dataclass(frozen=True, slots=True, eq=False)
class Device:
    """One simulated device of a world, in the hands of a test."""

    world: World
    name: str

    def __repr__(self) -> str:
        return f"<Device {self.name}>"

    @property
    def state(self) -> DeviceState:
        """All that the device knows, as it is now. For reading only."""
        return self.world._look(lambda run: run.device(self.name).state)

    @property
    def persona(self) -> Persona:
        return self.state.persona

    @property
    def udid(self) -> str:
        return self.persona.udid

    @property
    def enrolled(self) -> bool:
        return self.state.enrollment is not None

    @property
    def profiles(self) -> list[str]:
        """The identifiers of all its profiles, the enrollment's too."""
        return [profile.identifier for profile in self.state.profiles]

    @property
    def requests(self) -> list[tuple[str, int | None]]:
        """What it has sent so far: labels such as `checkin:TokenUpdate`, and the status of each answer (None: none came)."""
        sent = [event for event in self.world.events if event.kind == "exchange" and event.device == self.name]
        return [(event.data["label"], event.data["status"]) for event in sent]

    def enroll(self, profile: bytes | None = None, **arguments: Any) -> None:
        """Install the server's enrollment profile, or one given as bytes; arguments as in the step `enroll`.

        A profile of your own server needs a live world, or a server that the world can reach.
        """
        __tracebackhide__ = True
        if profile is None:
            self.world.step("enroll", device=self, **arguments)
            return

        async def job(run: Run) -> tuple[str, list[dict[str, Any]]]:
            return await install(run, self.name, profile)

        outcome, chain = self.world.call(job)
        if outcome != "enrolled":
            raise StepFailed(f"{self.name} ends up enrolled", f"{outcome}: {chain_text(chain)}" if chain else outcome)

    def lock(self) -> None:
        self.world.step("lock", device=self)

    def unlock(self, passcode: str | None = None) -> None:
        """Type a passcode, the right one unless told otherwise. Raises StepFailed when the device stays locked."""
        __tracebackhide__ = True
        self.world.step("unlock", device=self, passcode=passcode)

    def new_push_token(self) -> None:
        """APNs gives it a new push token, which it tells its server. Raises StepFailed where it is not enrolled."""
        __tracebackhide__ = True
        self.world.step("new_push_token", device=self)

    def update_os(self, version: str | None = None) -> None:
        """Install a release, the newest that the model runs by default. Raises StepFailed for one that it cannot run."""
        __tracebackhide__ = True
        self.world.step("update_os", device=self, version=version)

    def push(self) -> None:
        """The courier delivers a push, whatever the server knows of it."""
        self.world.step("deliver_push", device=self)


@dataclass(frozen=True, slots=True, eq=False)
class Command:
    """A command that was queued."""

    server: Server
    device: Device
    name: str

    def expect(self, status: str = "Acknowledged", **arguments: Any) -> CommandStatus:
        """Wait for the device's next answer to it and return what the server has on record; as step `expect_command`."""
        __tracebackhide__ = True
        self.server.world.step("expect_command", command=self.name, status=status, **arguments)
        return self.status

    @property
    def status(self) -> CommandStatus:
        """What the server has on record at this moment."""

        async def job(run: Run) -> CommandStatus:
            queued = run.queued(self.name)[0]
            return await run.adapter.command(run.udid(queued.device), queued.command_uuid)

        return self.server.world.call(job)


@dataclass(frozen=True, slots=True, eq=False)
class Server:
    """The world's MDM server, as its administrator sees it."""

    world: World

    @property
    def facts(self) -> ServerFacts:
        """Its addresses, API key, push topic and root certificates."""
        return self.world._look(lambda run: run.world.server)

    @property
    def trust(self) -> Trust:
        """How to judge its certificate."""
        return Trust(anchors=self.facts.anchors)

    def queue(self, device: Device, request_type: str, *, push: bool = True, **keys: Any) -> Command:
        """Queue a command; `keys` are the command's own, in Apple's words."""

        def name(run: Run) -> str:
            return f"command-{len(run.commands) + 1}"

        chosen = self.world._look(name)
        self.world.step("queue", to=device, command=request_type, keys=keys, push=push, as_=chosen)
        return Command(self, device, chosen)

    def record(self, device: Device) -> dict[str, Any] | None:
        """The server's record of a device's enrollment; None where it has none."""

        async def job(run: Run) -> dict[str, Any] | None:
            record = await run.adapter.device(run.udid(device.name))
            return dict(record) if record is not None else None

        return self.world.call(job)

    def push(self, device: Device) -> None:
        """Have the server push now. Raises StepFailed unless APNs takes it."""
        __tracebackhide__ = True
        self.world.step("push", to=device)

    def remove(self, device: Device) -> None:
        """End the device's enrollment: it is answered 401 from now on."""
        self.world.step("server", do="remove", device=device)


@contextmanager
def open_world(*, seed: int | str = DEFAULT_SEED, live: bool = False, keys: KeySource | None = None) -> Iterator[World]:
    """A world with reference server and fake APNs: in process with virtual time, or `live` with processes and sockets.

    `keys`: where private keys come from (default: a few shared ones, so that tests are quick).
    """
    world = World(_live(seed, keys) if live else _in_process(seed, keys))
    try:
        yield world
    finally:
        world.close()


_KEYS = SharedKeys(8)


def _in_process(seed: int | str, keys: KeySource | None) -> Loop[Run]:
    @asynccontextmanager
    async def resource(clock: VirtualClock) -> AsyncIterator[Run]:
        async with in_process_world(clock, seed=seed, keys=keys or _KEYS) as world:
            yield _run(world)

    return FrozenLoop(resource, seed=seed)


def _live(seed: int | str, keys: KeySource | None) -> Loop[Run]:
    from mdmsim.world.live import live_world

    @asynccontextmanager
    async def resource() -> AsyncIterator[Run]:
        async with live_world(seed=seed, keys=keys or _KEYS) as world:
            yield _run(world)

    return LiveLoop(resource)


def _run(world: simulated.World) -> Run:
    """What steps act on, for a story that is written as it goes along."""
    steps()
    nothing = Step("wait", Wait(for_=Duration("0s")), WHERE, 1)
    text = ScenarioText(
        scenario="python", title="A test in Python", devices={"nobody": DeviceSpec(kind="iphone")}, steps=(nothing,)
    )
    (case,) = Scenario(text, WHERE, 1).cases
    run = Run(
        world=world, adapter=reference_adapter(world), case=case, names=Names(), chance=Chance(world.seed).stream(WHERE)
    )
    run.note()
    return run


def _node(value: Any) -> Node:
    """A Python value as if it had been written in YAML."""
    if isinstance(value, Device):
        value = value.name
    if isinstance(value, dict):
        return Mapping(1, tuple(Entry(str(key), 1, _node(entry)) for key, entry in value.items()))
    if isinstance(value, list | tuple):
        return Sequence(1, tuple(_node(entry) for entry in value))
    return Scalar(1, value, str(value), isinstance(value, str | bytes))

"""The run behind `mdmsim enroll`: profile, store, keys, devices, and the last lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.cli.enrollment.keys_ahead import KeysAhead
from mdmsim.cli.enrollment.obstacle import Obstacle, Stopped
from mdmsim.cli.enrollment.obstacles import of_exchange
from mdmsim.cli.enrollment.profile import POOL_BITS, Facts
from mdmsim.cli.enrollment.recorder import Recorder
from mdmsim.cli.enrollment.rollout import Newcomer, Outcome, Rollout, new_ids
from mdmsim.cli.enrollment.source import Fetched, Given, Refused, reader, source_of, whose_mistake
from mdmsim.cli.enrollment.telling import Teller, as_json, profile_lines, verdict
from mdmsim.cli.enrollment.witness import Witness
from mdmsim.cli.exits import FAILED, NOT_CARRIED_OUT, PASSED
from mdmsim.cli.output import json_line, line
from mdmsim.cli.progress import Bar
from mdmsim.cli.running import run_trio
from mdmsim.clock import Clock, WallClock
from mdmsim.device.device import Behaviour
from mdmsim.device.personas import kind_of, kinds_for, make_persona
from mdmsim.events import Events
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fleet.fleet import Fleet, Sender
from mdmsim.fleet.lock import StoreLock
from mdmsim.fleet.store import SqliteStore
from mdmsim.http import TransportError, Trust
from mdmsim.pki.key_pool import KeyPool
from mdmsim.transport.descriptors import make_room
from mdmsim.transport.kept import KEEP
from mdmsim.transport.recording import Recording
from mdmsim.transport.trio_client import TrioTransport


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """What was asked for; see `mdmsim enroll --help`. `anchors`: DER."""

    profile: str
    count: int = 1
    platforms: tuple[str, ...] = ("ios",)
    store: Path
    concurrency: int = 8
    anchors: tuple[bytes, ...] = ()
    allow_http: bool = False
    allow_hosts: frozenset[str] = frozenset()
    courier: tuple[str, int] | None = None
    seed: str | None = None
    report: Path | None = None
    as_json: bool = False


def carry_out(wishes: Wishes) -> int:
    """Enrol; the exit code. Raises what `mdmsim.cli.failures` knows."""
    kinds = list(islice(_in_turn(wishes.platforms), wishes.count))
    seed: int | str = wishes.seed if wishes.seed is not None else Chance.of_machine().randint(1, 999_999)
    trust = Trust(anchors=wishes.anchors, system=True, allow_http=wishes.allow_http)
    source = source_of(wishes.profile, trust=trust, allow_hosts=wishes.allow_hosts)
    run = _Run(wishes, source, seed)
    if isinstance(source, Given):
        run.read(source.data)  # a wrong file leaves no store behind
    with StoreLock(wishes.store), SqliteStore(wishes.store) as store:
        return run_trio(lambda: run.enrol(kinds, store))


def _in_turn(platforms: Sequence[str]) -> Iterator[str]:
    """A kind of device for each that is made: platforms take turns, and so do the kinds of a platform, usual first."""
    wheels = []
    for platform in platforms:
        usual = kind_of(platform)
        wheels.append(cycle((usual, *(kind for kind in kinds_for(platform) if kind != usual))))
    while True:
        for wheel in wheels:
            yield next(wheel)


class _Run:
    """One enrollment of devices, from the profile to the verdict."""

    def __init__(self, wishes: Wishes, source: Given | Fetched, seed: int | str) -> None:
        self._wishes = wishes
        self._source = source
        self._seed = seed
        self._clock: Clock = WallClock()
        self._stream = sys.stderr if wishes.as_json else sys.stdout
        self._read = reader(allow_hosts=wishes.allow_hosts)

    def read(self, data: bytes) -> Facts:
        """What the profile asks for. Raises Stopped."""
        return self._read(data, self._source.where, whose_mistake(self._source))

    async def enrol(self, kinds: Sequence[str], store: SqliteStore) -> int:
        """Enrol a device of each kind; the exit code."""
        wishes, clock, chance = self._wishes, self._clock, Chance(self._seed)
        began = clock.now_ms()
        newcomers = [
            Newcomer(device_id, make_persona(kind, chance=chance.stream(f"persona/{device_id}")))
            for device_id, kind in zip(new_ids(kinds, store.device_ids()), kinds, strict=True)
        ]
        events = Events(clock)
        recorder = Recorder(events, clock, self._seed) if wishes.report is not None else None
        async with AsyncExitStack() as stack:
            # Where the system allows fewer open files, fewer idle connections are kept.
            fits = make_room(KEEP + wishes.concurrency)
            keep = KEEP if fits is None else max(1, fits - wishes.concurrency)
            transport = stack.enter_context(TrioTransport(allow_hosts=wishes.allow_hosts, keep=keep))

            def sender_for(device_id: str) -> Sender:
                return Recording(transport, events, clock=clock, device=device_id) if recorder else transport

            facts, first = await self._look(newcomers[0], sender_for)
            for text in profile_lines(self._source.where, facts):
                line(text, stream=self._stream)
            per_device = 2 if facts.key_bits == POOL_BITS else 1
            keys = stack.enter_context(KeysAhead(KeyPool(), per_device * len(newcomers)))
            fleet = Fleet(
                store=store,
                clock=clock,
                chance=chance.stream("fleet"),
                keys=keys,
                events=events,
                sender_for=sender_for,
                behaviour=Behaviour(allow_http=wishes.allow_http, system_roots=True, anchors=wishes.anchors),
            )
            if wishes.courier is not None:
                host, port = wishes.courier
                courier = CourierClient(host, port, on_push=fleet.on_push, chance=chance.stream("courier"))
                fleet.courier = await stack.enter_async_context(courier)
            bar = stack.enter_context(Bar("enrolling", len(newcomers), stream=self._stream))
            teller = Teller(bar, newcomers)

            def told(outcome: Outcome) -> None:
                teller(outcome)
                if recorder is not None:
                    recorder.finished(outcome)

            rollout = Rollout(fleet, self._source, keys, clock, facts=facts, told=told, forget=wishes.courier is None)
            if recorder is not None:
                recorder.expect(newcomers)
            await rollout.run(newcomers, concurrency=wishes.concurrency, first_profile=first)
        for text in teller.repeated():
            line(text, stream=self._stream)
        self._finish(rollout.outcomes, facts, clock.now_ms() - began, recorder)
        return _code(rollout.outcomes)

    async def _look(self, first: Newcomer, sender_for: Callable[[str], Sender]) -> tuple[Facts, bytes | None]:
        """The profile's facts, and for a URL the profile of the first device. Raises Stopped for what stops them all."""
        witness = Witness(sender_for(first.device_id))
        try:
            data = await self._source.profile(first.persona, witness)
        except (Refused, TransportError):
            last = witness.last
            obstacle = await of_exchange(last, None, self._clock) if last is not None else None
            raise Stopped(obstacle or Obstacle(f"{self._source.where}: no profile came.")) from None
        return self.read(data), data if isinstance(self._source, Fetched) else None

    def _finish(self, outcomes: Sequence[Outcome], facts: Facts, took_ms: int, recorder: Recorder | None) -> None:
        wishes, store = self._wishes, str(self._wishes.store)
        report = None
        if recorder is not None and wishes.report is not None:
            report = recorder.write(wishes.report, facts.server_url or self._source.where)
        if wishes.as_json:
            json_line(as_json(outcomes, facts, where=self._source.where, store=store, seed=self._seed))
            return
        said = verdict(outcomes, took_ms=took_ms, store=store, seed=self._seed)
        line(said + (f"      report: {report}" if report is not None else ""))
        if any(outcome.result == "enrolled" for outcome in outcomes) and wishes.courier is None:
            line("  next: let your server push to them: docs/testing-your-own-server.md")


def _code(outcomes: Sequence[Outcome]) -> int:
    """A refusal outweighs a server that could not be reached: it is an answer to the question that was asked."""
    codes = {outcome.obstacle.code for outcome in outcomes if outcome.obstacle is not None}
    return FAILED if FAILED in codes else NOT_CARRIED_OUT if codes else PASSED

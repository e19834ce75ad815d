"""Runs cases: each in a world of its own in virtual time, or all in one live world, and says what became of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from mdmsim.chance import Chance
from mdmsim.clock import VirtualClock
from mdmsim.device.device import Behaviour
from mdmsim.events import Events, Observer
from mdmsim.http import Trust
from mdmsim.pki.key_pool import KeyPool
from mdmsim.pki.keys import KeySource
from mdmsim.report.collector import Collector
from mdmsim.report.model import Case as CaseResult
from mdmsim.report.model import Grade
from mdmsim.scenario.model import Case, Scenario
from mdmsim.scenario.needs import lacking
from mdmsim.scenario.run import Names, Run, judged
from mdmsim.scenario.verdict import NotApplicable, StepFailed
from mdmsim.target.adapter import Adapter
from mdmsim.target.reference import ReferenceAdapter
from mdmsim.transport.determinism import run_virtual
from mdmsim.transport.groups import only
from mdmsim.world.inprocess import in_process_world
from mdmsim.world.world import START_MS, World

#: The seed where none was asked for: runs are repeatable unless someone wants otherwise.
DEFAULT_SEED = 2026

#: What stands behind the title of a case that runs in process although the others are live.
IN_PROCESS = " (in process, in virtual time)"


def cases_of(scenarios: Iterable[Scenario]) -> list[Case]:
    """Every case of these scenarios, in their order."""
    return [case for scenario in scenarios for case in scenario.cases]


def seed_of(case: Case, asked: int | str | None) -> int | str:
    """The seed to play a case with: the one asked for, else the scenario's own, else the default."""
    own = case.scenario.text.seed
    return asked if asked is not None else own if own is not None else DEFAULT_SEED


def reference_adapter(world: World) -> Adapter:
    """The administrator of the world's own server."""
    facts = world.server
    return ReferenceAdapter(world.outbound, facts.url, facts.api_key, Trust(anchors=facts.anchors))


def run_in_process(
    case: Case,
    *,
    seed: int | str | None = None,
    keys: KeySource | None = None,
    observers: Sequence[Observer] = (),
    among_live: bool = False,
) -> CaseResult:
    """Play one case in a world of its own, in virtual time; its result, whatever happens. Starts a trio run.

    `keys`: where private keys come from (default: the pool on disk). `observers` see every event of the case.
    `among_live`: the other cases of the run are live, so this one says that it is not.
    """
    seed = seed_of(case, seed)
    collector = Collector()
    watching: list[Observer] = [collector, *observers]
    at_ms, broken = START_MS, None

    async def play(clock: VirtualClock) -> None:
        nonlocal at_ms, broken
        events: Events | None = None
        try:
            async with in_process_world(clock, seed=seed, keys=keys or KeyPool(), **_wishes(case)) as world:
                events = _watched(world.events, watching)
                replay, remark = case.replay(seed, live=False), IN_PROCESS if among_live else ""
                await run_case(case, world, reference_adapter(world), replay=replay, remark=remark)
        except Exception as error:
            alone = only(error) if isinstance(error, BaseExceptionGroup) else error
            if not isinstance(alone, Exception):
                raise
            broken = f"{type(alone).__name__}: {alone}"
            _crashed(case, broken, events or _watched(Events(clock), watching), started=bool(collector.cases))
        finally:
            at_ms = clock.now_ms()

    run_virtual(play, seed=seed, start_ms=START_MS)
    result = collector.close(at_ms)[0]
    if broken is not None and result.ok:  # it broke while it was taken down, after the verdict
        result.grade, result.expected, result.observed = Grade.ERROR, _SOUND_WORLD, broken
    return result


def _watched(events: Events, observers: Sequence[Observer]) -> Events:
    for observer in observers:
        events.subscribe(observer)
    return events


#: Which of the reference server's settings a key under `server` sets, where it is that simple.
_SETTINGS = {
    "scep_challenge": "scep_challenge",
    "scep_static_challenge": "scep_static_challenge",
    "login": "automated_login",
    "users": "users",
    "minimum_os": "automated_minimum_os",
    "device_configured": "device_configured",
    "identity": "profile_identity",
}


def _wishes(case: Case) -> dict[str, Any]:
    """What the scenario wants otherwise of the world."""
    wishes: dict[str, Any] = {}
    text = case.scenario.text
    if text.server is not None:
        settings: dict[str, Any] = {}
        if text.server.first_commands:
            settings["first_commands"] = tuple({"RequestType": name} for name in text.server.first_commands)
        for field, setting in _SETTINGS.items():
            value = getattr(text.server, field)
            if value is not None:
                settings[setting] = value
        wishes["server_settings"] = settings
    if text.behaviour is not None:
        behaviour: dict[str, Any] = {}
        if text.behaviour.boot is not None:
            behaviour["boot_seconds"] = text.behaviour.boot.ms // 1000
        if text.behaviour.push_token_on_update is not None:
            behaviour["push_token_on_update"] = text.behaviour.push_token_on_update
        wishes["behaviour"] = Behaviour(**behaviour)
    return wishes


_SOUND_WORLD = "a world that runs to the end of the case"


def _crashed(case: Case, broken: str, events: Events, *, started: bool) -> None:
    """The world itself broke: grade the case as an error, whether or not it had begun."""
    if not started:
        _started(case, events, {}, replay=None)
    events.emit(
        "case.finished",
        source="scenario",
        case=case.id,
        grade=Grade.ERROR.value,
        expected=_SOUND_WORLD,
        observed=broken,
    )


def _started(case: Case, events: Events, devices: dict[str, str], *, replay: str | None, remark: str = "") -> None:
    events.emit(
        "case.started",
        source="scenario",
        case=case.id,
        title=case.scenario.text.title + remark,
        platform=case.platform,
        story=case.scenario.story,
        where=case.where,
        devices=devices,
        **({"replay": replay} if replay else {}),
    )


async def run_case(
    case: Case, world: World, adapter: Adapter, *, replay: str, names: Names | None = None, remark: str = ""
) -> None:
    """Play a case in a world that runs. Its verdict is in the events; raises nothing but what ends the world.

    `names`: shared by the cases of one world, so that no two devices are called the same. `remark`: goes behind the
    title in reports.
    """
    chance = Chance(world.seed).stream(f"case/{case.id}")
    run = Run(world=world, adapter=adapter, case=case, names=names or Names(), chance=chance)
    grade, told = Grade.PASSED, dict[str, Any]()
    started = False
    try:
        if (why := lacking(case, world.abilities | adapter.abilities)) is not None:
            raise NotApplicable(why)
        run.open()
        _started(case, world.events, run.described(), replay=replay, remark=remark)
        started = True
        await run.tell(case.scenario.text.steps)
    except Exception as error:
        grade, told = judged(error)
        if started and isinstance(error, StepFailed):
            told = {}  # the failed step says it all, and which exchange proves it
    if not started:
        _started(case, world.events, {}, replay=replay, remark=remark)
    for event in run.since(run.opened, lambda event: event.kind == "device.failed" and started):
        # Our own bug: whatever the story saw or missed after it says nothing about the server.
        seen = f"{event.device}: {event.data['error']} ({event.data['where']})"
        grade, told = Grade.ERROR, {"expected": "simulated devices without a bug", "observed": seen}
        break
    # Not in a `finally`: a case that is cancelled has no verdict, and whoever collects events sees that it has none.
    world.events.emit("case.finished", source="scenario", case=case.id, grade=grade.value, **told)
    await run.close()


def run_cases(
    cases: Sequence[Case],
    *,
    seed: int | str | None = None,
    live: bool = False,
    keys: KeySource | None = None,
    observers: Sequence[Observer] = (),
    on_ready: Callable[[str, str, float], None] | None = None,
    directory: Path | None = None,
) -> list[CaseResult]:
    """Play cases one after the other; their results in the same order. Blocks; starts trio runs of its own.

    `live`: against server processes on loopback, all cases in one world; those that cannot be live run in process.
    `observers` see every event as it happens. `on_ready`: called with (name, URL, seconds) as each server answers.
    """
    from mdmsim.scenario.live import LiveSession

    keys = keys or KeyPool()
    results: list[CaseResult] = []
    session: LiveSession | None = None
    try:
        for case in cases:
            if not live or case.scenario.in_process_only:
                results.append(run_in_process(case, seed=seed, keys=keys, observers=observers, among_live=live))
                continue
            if session is None:
                chosen = seed if seed is not None else DEFAULT_SEED
                session = LiveSession(
                    seed=chosen, keys=keys, observers=observers, on_ready=on_ready, directory=directory
                )
            results.append(session.run(case))
    finally:
        if session is not None:
            session.close()
    return results

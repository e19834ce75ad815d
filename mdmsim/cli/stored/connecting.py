"""The run behind `mdmsim connect`: stored devices act now, and stay where they are told to listen."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.rollout import Newcomer
from mdmsim.cli.enrollment.telling import Teller
from mdmsim.cli.exits import NOT_CARRIED_OUT, Mistake
from mdmsim.cli.output import json_line, line
from mdmsim.cli.progress import Bar
from mdmsim.cli.running import run_trio, until_told
from mdmsim.cli.stored.account import condition_of, from_now
from mdmsim.cli.stored.acting import act_now, wake_up
from mdmsim.cli.stored.crew import Crew, Surroundings, code_of, crew, facts_of, obstacle_of, subject_of
from mdmsim.cli.stored.listening import Listener
from mdmsim.cli.stored.opening import chosen, driven
from mdmsim.cli.stored.visit import WORDS, Result, Visit
from mdmsim.device.device import Device
from mdmsim.fleet.store import SqliteStore

#: What keeps a device from acting, after "it".
ABSENCES = {
    "off": "is off",
    "restarting": "restarts",
    "behind-pin": "is behind a PIN",
    "no-network": "has no network",
    "before-first-unlock": "was not unlocked since it started, so it has no Wi-Fi",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes(Surroundings):
    """What was asked for; see `mdmsim connect --help`."""

    listen: bool = False


def carry_out(wishes: Wishes) -> int:
    """Have the devices act; the exit code. Raises what `mdmsim.cli.failures` knows."""
    with driven(wishes.store) as store:
        ids = chosen(store, wishes.devices)
        if not ids:
            raise Mistake(f"{wishes.store}: there are no devices in it. mdmsim enroll makes some.")
        return run_trio(lambda: _connect(wishes, store, ids), serving=wishes.listen)


async def _connect(wishes: Wishes, store: SqliteStore, ids: list[str]) -> int:
    stream = sys.stderr if wishes.as_json else sys.stdout
    async with crew(wishes, store, ids) as devices:
        began = devices.clock.now_ms()
        if kept := trusted_at_enroll(devices):
            line(f"  trusting {', '.join(kept)}, as enroll --trust said", stream=stream)
        with Bar("connecting", len(ids), stream=stream) as bar:
            teller = Teller(bar, devices.newcomers, WORDS)
            visits = await devices.each(
                lambda newcomer: _visit(devices, newcomer, named=bool(wishes.devices)),
                teller,
                concurrency=wishes.concurrency,
            )
        for text in teller.repeated():
            line(text, stream=stream)
        code = code_of(visits)
        took_ms = devices.clock.now_ms() - began
        if wishes.as_json:
            json_line(
                {
                    "store": str(wishes.store),
                    "connected": sum(visit.result == "connected" for visit in visits),
                    "failed": sum(visit.obstacle is not None for visit in visits),
                    "answered": sum(len(visit.answered) for visit in visits),
                    "devices": [visit.as_json() for visit in visits],
                }
            )
        else:
            line(_verdict(visits, took_ms, str(wishes.store)))
        if wishes.listen:
            await _listen(devices, len(ids))
        return code


def trusted_at_enroll(devices: Crew) -> list[str]:
    """The subjects of the CAs that `mdmsim enroll --trust` named for these devices."""
    fleet = devices.fleet
    digests = dict.fromkeys(digest for member in fleet.members.values() for digest in member.device.state.trusted)
    return [subject_of(fleet.store.get(digest)) for digest in digests]


async def _listen(devices: Crew, count: int) -> None:
    line(f"  listening for pushes to {count} device{'' if count == 1 else 's'}. Ctrl-C ends it.")
    devices.fleet.events.subscribe(Listener(devices.newcomers))
    async with trio.open_nursery() as nursery:
        await nursery.start(devices.fleet.run)
        await until_told()


async def _visit(devices: Crew, newcomer: Newcomer, *, named: bool) -> Visit:
    """One device's turn. A device that was `named` is expected to be able to act."""
    clock, device_id = devices.clock, newcomer.device_id
    member = devices.fleet.members[device_id]
    began = clock.now_ms()
    wake_up(member.device)
    await devices.fleet.sync(member)  # the courier hears what it listens for, though it should send nothing
    why = _absence(member.device)
    if why is not None:
        obstacle = Obstacle(f"It {why}.", code=NOT_CARRIED_OUT) if named else None
        return Visit(newcomer, "absent", (why,), clock.now_ms() - began, obstacle=obstacle)
    facts = facts_of(member.device)
    turn = await devices.turn(device_id, act_now)
    result: Result = "connected"
    obstacle = None
    if turn.failures:
        obstacle = await obstacle_of(*turn.failures[0], facts, clock)
        result = "unreachable" if obstacle.code == NOT_CARRIED_OUT else "refused"
    diary = turn.diary
    return Visit(
        newcomer,
        result,
        diary.steps,
        clock.now_ms() - began,
        tuple(diary.answered),
        diary.ended,
        obstacle,
        tuple(diary.not_simulated),
    )


def _absence(device: Device) -> str | None:
    """Why a device has nothing to do now; None if it has."""
    state, condition = device.state, condition_of(device)
    if not device.reachable and condition is not None:
        wait = from_now(state.boot_ms - device.clock.now_ms()) if state.boot_ms is not None else ""
        return f"{ABSENCES[condition]}{f' and is back {wait}' if wait else ''}"
    if state.enrollment is None and state.installation is None and state.leaving is None:
        return "stands in Setup Assistant" if condition == "setup-assistant" else "is not enrolled"
    return None


def _verdict(visits: Sequence[Visit], took_ms: int, store: str) -> str:
    """The last line."""
    good = sum(visit.result == "connected" for visit in visits)
    bad = sum(visit.obstacle is not None for visit in visits)
    absent = len(visits) - good - bad
    answered = sum(len(visit.answered) for visit in visits)
    parts = [f"{good} connected", f"{bad} not" if bad else "", f"{absent} absent" if absent else ""]
    commands = f"{answered} command{'' if answered == 1 else 's'} answered"
    said = ", ".join(part for part in (*parts, commands) if part)
    return f"  {'✗' if bad else '✓'} {said} in {took_ms / 1000:.1f} s      store: {store}"

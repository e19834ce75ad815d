"""The run behind `mdmsim remove`: a person removes the enrollment profile, erases the device, or forgets about it."""

from __future__ import annotations

import sys
from dataclasses import dataclass

from mdmsim.cli.enrollment.obstacle import Obstacle
from mdmsim.cli.enrollment.rollout import Newcomer
from mdmsim.cli.enrollment.telling import Teller
from mdmsim.cli.exits import FAILED, Mistake
from mdmsim.cli.output import json_line, line
from mdmsim.cli.progress import Bar
from mdmsim.cli.running import run_trio
from mdmsim.cli.stored.acting import Note, wake_up
from mdmsim.cli.stored.crew import Crew, Surroundings, code_of, crew
from mdmsim.cli.stored.opening import chosen, driven
from mdmsim.cli.stored.visit import Result, Visit
from mdmsim.device.device import Device
from mdmsim.device.erase import erase
from mdmsim.device.flow import Flow
from mdmsim.device.flows.unenroll import leave_by_user
from mdmsim.device.state import UnreadableState, decode
from mdmsim.fleet.store import SqliteStore

WORDS = {"refused": "was not removed", "absent": "was not removed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes(Surroundings):
    """What was asked for; see `mdmsim remove --help`."""

    forget: bool = False
    erase: bool = False


def carry_out(wishes: Wishes) -> int:
    """Take the devices away; the exit code. Raises what `mdmsim.cli.failures` knows."""
    if not wishes.devices:
        raise Mistake("mdmsim remove: which devices? Name them as mdmsim devices lists them.")
    with driven(wishes.store) as store:
        ids = chosen(store, wishes.devices)
        return run_trio(lambda: _remove(wishes, store, ids))


async def _remove(wishes: Wishes, store: SqliteStore, ids: list[str]) -> int:
    stream = sys.stderr if wishes.as_json else sys.stdout
    alive, broken = _readable(store, ids) if wishes.forget else (ids, [])
    async with crew(wishes, store, alive) as devices:
        with Bar("removing", max(1, len(alive)), stream=stream) as bar:
            teller = Teller(bar, devices.newcomers, WORDS) if alive else None

            def told(visit: Visit) -> None:
                if teller is not None:
                    teller(visit)

            visits = await devices.each(
                lambda newcomer: _take_away(devices, newcomer, wishes), told, concurrency=wishes.concurrency
            )
    gone = [visit.newcomer.device_id for visit in visits if visit.obstacle is None] if wishes.forget else []
    for device_id in (*gone, *broken):
        store.delete(device_id)
    if wishes.as_json:
        json_line(
            {
                "store": str(wishes.store),
                "removed": sum(visit.ended is not None for visit in visits),
                "failed": sum(visit.obstacle is not None for visit in visits),
                "forgotten": [*gone, *broken],
                "devices": [visit.as_json() for visit in visits],
            }
        )
        return code_of(visits)
    bad = sum(visit.obstacle is not None for visit in visits)
    good = len(visits) - bad + len(broken)
    forgotten = f", {len(gone) + len(broken)} forgotten" if wishes.forget else ""
    verdict = f"{good} done{forgotten}" + (f", {bad} not" if bad else "")
    line(f"  {'✗' if bad else '✓'} {verdict}      store: {wishes.store}")
    return code_of(visits)


def _readable(store: SqliteStore, ids: list[str]) -> tuple[list[str], list[str]]:
    """Those whose state can be read, and those of which nothing is left but to forget them."""
    broken = []
    for device_id in ids:
        try:
            decode(store.load(device_id) or b"")
        except UnreadableState:
            broken.append(device_id)
    return [device_id for device_id in ids if device_id not in broken], broken


async def _take_away(devices: Crew, newcomer: Newcomer, wishes: Wishes) -> Visit:
    """One device: what a person does who has it in hand."""
    clock, device_id = devices.clock, newcomer.device_id
    began = clock.now_ms()
    member = devices.fleet.members[device_id]
    wake_up(member.device)

    def visit(result: Result, *steps: str, ended: str | None = None, obstacle: Obstacle | None = None) -> Visit:
        return Visit(newcomer, result, steps, clock.now_ms() - began, (), ended, obstacle)

    state = member.device.state
    if wishes.erase:
        enrolled = state.enrollment is not None
        await devices.fleet.change(device_id, lambda work: erase(work, by="user"))
        return visit("connected", "erased, without CheckOut", ended="erased" if enrolled else None)
    if state.enrollment is None:
        member.device.save()
        return visit("absent", "was not enrolled")
    if not state.enrollment.removable:
        why = Obstacle(
            "Its enrollment cannot be removed on the device: it came by automated enrollment as not removable.",
            advice="remove it at the server, or add --erase",
            code=FAILED,
        )
        return visit("connected", "forgotten") if wishes.forget else visit("refused", obstacle=why)
    if not state.present:
        why = Obstacle(
            "It is off, or behind a PIN: nobody can remove anything there.", advice="add --erase", code=FAILED
        )
        return visit("connected", "forgotten as it is") if wishes.forget else visit("refused", obstacle=why)

    def make(device: Device, note: Note) -> Flow[None]:
        return leave_by_user(device)

    turn = await devices.turn(device_id, make)
    return visit("connected", "enrollment removed", _goodbye(turn.diary.checkout), ended=turn.diary.ended)


def _goodbye(checkout: dict[str, object] | None) -> str:
    """What became of CheckOut, which is sent once and never again."""
    if checkout is None:
        return "no CheckOut (the profile does not ask for it)"
    if checkout["delivered"]:
        return "CheckOut"
    status = checkout["status"]
    return f"CheckOut answered {status}" if status is not None else "CheckOut did not get through"

"""The same story once for every request that it holds, with a fault at exactly that request.

Which requests there are comes from a recording of a clean run, never from a list that someone wrote.
"""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated

import trio

from mdmsim.events import Event
from mdmsim.scenario.model import Steps
from mdmsim.scenario.names import check_label
from mdmsim.scenario.registry import STEPS, Outcome, step
from mdmsim.scenario.run import Queued, Run
from mdmsim.scenario.steps.faults import FaultName, plan
from mdmsim.scenario.steps.requests import label_of
from mdmsim.scenario.steps.shared import DeviceName, words
from mdmsim.scenario.typed import Arguments, about
from mdmsim.scenario.verdict import StepFailed
from mdmsim.target.adapter import AdapterError

Answer = int | float | None

_STEPS = about("What happens, step by step", example="[{enroll: {device: phone}}]")


class ForEachRequest(Arguments, frozen=True, kw_only=True):
    """Record a clean run of the steps in `during`, then run them again on a fresh device for each recorded request.

    Each time the fault strikes at exactly that request; what comes after it in `during` is left out, and the steps in
    `then` say what must be so. `before` is played each time, neither recorded nor disturbed.
    """

    device: DeviceName
    requests: Annotated[tuple[str, ...], about("Which of its requests: labels or patterns", example='["checkin:*"]')]
    fault: Annotated[FaultName, about("What goes wrong")] = "answer.status"
    answer: Annotated[
        int | float | tuple[int, ...] | None,
        about("What the fault needs, e.g. a status; a list of them: all of it once for each", example="401"),
    ] = None
    times: Annotated[int | None, about("How often from that request on; null: always", minimum=1)] = 1
    before: Annotated[Steps, about("What is played first, undisturbed")] = ()
    during: Annotated[Steps, _STEPS]
    then: Annotated[Steps, about("What must be so after the fault")]

    def __post_init__(self) -> None:
        for pattern in self.requests:
            check_label(pattern)
        if not self.requests:
            raise ValueError('"requests" is empty. Name some, e.g. ["checkin:*", "connect:*"].')
        for name, steps in (("during", self.during), ("then", self.then)):
            if not steps:
                raise ValueError(f'"{name}" is empty. Say what happens there, step by step.')
        statuses = self.answers
        if not statuses:
            raise ValueError('"answer" is an empty list. Give at least one, e.g. "answer: [403, 500]".')
        if self.fault == "answer.status" and not all(isinstance(s, int) and 100 <= s <= 599 for s in statuses):
            raise ValueError('"answer.status" needs "answer", a status from 100 to 599, e.g. "answer: 401".')

    @property
    def answers(self) -> tuple[Answer, ...]:
        """What the fault is given, one round for each."""
        return self.answer if isinstance(self.answer, tuple) else (self.answer,)


def _title(arguments: ForEachRequest) -> str:
    answers = " or ".join(str(answer) for answer in arguments.answers)
    what = f"answer {answers}" if arguments.fault == "answer.status" else arguments.fault
    return f"{what} at every {' and '.join(arguments.requests)} of {arguments.device} in turn"


@step("for_each_request", ForEachRequest, title=_title)
async def for_each_request(run: Run, arguments: ForEachRequest) -> Outcome:
    scene, (place, where) = _Scene.take(run), run.telling
    recorded = await _record(run, arguments)
    if not recorded:
        raise StepFailed(f"a clean run with requests {words(arguments.requests)}", "the recording holds none")
    rounds = [(answer, number, label) for answer in arguments.answers for number, label in enumerate(recorded)]
    for position, (answer, number, label) in enumerate(rounds, 1):
        await _fresh(run, arguments.device)
        what = _what(arguments, answer)

        async def once(answer: Answer = answer, number: int = number, label: str = label) -> Outcome:
            return await _disturbed(run, arguments, answer, number, label)

        title = f"{what} at request {number + 1} of {len(recorded)}: {label}"
        await run.report(f"{place}.{position}", title, where, once)
    scene.restore(run)
    return Outcome(f"the same after each of {len(recorded)} requests", words(recorded))


def _what(arguments: ForEachRequest, answer: Answer) -> str:
    return str(answer) if arguments.fault == "answer.status" else arguments.fault


@dataclass(frozen=True, slots=True)
class _Scene:
    """What the nested runs must not leave behind: what later steps know by name."""

    commands: dict[str, list[Queued]]
    begin: int

    @classmethod
    def take(cls, run: Run) -> _Scene:
        return cls(dict(run.commands), run.begin)

    def restore(self, run: Run) -> None:
        run.commands, run.begin = dict(self.commands), self.begin


async def _fresh(run: Run, name: str) -> None:
    """A new device takes the part; the one that had it is taken off the network."""
    for device_id in run.ids(name):
        await run.silence(device_id)
    spec = run.case.scenario.text.devices[name]
    run.devices[name] = [run.add_device(spec) for _ in range(spec.count)]
    run.begin = run.mark = run.place()


async def _record(run: Run, arguments: ForEachRequest) -> list[str]:
    """Play it once without any fault; the labels of the requests in question, in order."""
    ids = run.ids(arguments.device)
    for nested in arguments.before:
        await run.act(nested)
    place = run.place()
    for nested in arguments.during:
        await run.act(nested)
    return [label_of(event) for event in run.since(place, lambda event: _counts(event, ids, arguments))]


def _counts(event: Event, ids: list[str], arguments: ForEachRequest) -> bool:
    if event.kind != "exchange" or event.device not in ids:
        return False
    return any(fnmatchcase(label_of(event), pattern) for pattern in arguments.requests)


async def _disturbed(run: Run, arguments: ForEachRequest, answer: Answer, number: int, label: str) -> Outcome:
    """Play it with the fault at one request, then look."""
    for nested in arguments.before:
        await run.act(nested)
    ids = run.ids(arguments.device)
    fault = plan(
        run,
        arguments.fault,
        devices=ids,
        labels=arguments.requests,
        answer=answer,
        after=number,
        times=arguments.times,
        why="a story is told once for every request in it",
    )
    struck: list[str] = []
    strike = trio.Event()

    def notice(event: Event) -> None:
        if event.kind == "fault.injected" and event.device in ids:
            struck.append(str(event.data.get("target")))
            strike.set()

    unsubscribe = run.world.events.subscribe(notice)
    run.mark = place = run.place()
    try:
        await _until_struck(run, arguments.during, strike)
    finally:
        unsubscribe()
    if not struck:
        raise StepFailed(f"request {number + 1} is {label} again", "this time the device did not send it")
    if struck[0] != label:
        raise StepFailed(f"request {number + 1} is {label} again", f"this time it was {struck[0]}")
    run.mark = place
    for nested in arguments.then:
        await run.act(nested)
    run.world.wire.remove(fault)
    return Outcome(f"{_what(arguments, answer)} at {label}", f"as told, {fault.injected} times")


async def _until_struck(run: Run, steps: Steps, strike: trio.Event) -> None:
    """Play steps until the fault has struck. A step that acts is left to end; one that only waits is cut short."""
    for nested in steps:
        if strike.is_set():
            return
        failure: Exception | None = None
        completed = False
        seen = [(queued, queued.seen) for group in run.commands.values() for queued in group]
        async with trio.open_nursery() as nursery:
            if STEPS[nested.name].expects or nested.name in ("wait", "query"):
                nursery.start_soon(_cancel_after, strike, nursery.cancel_scope)
            try:
                await run.act(nested)
                completed = True
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
        if not completed:  # what a step saw that was cut short is for `then` to see
            for queued, place in seen:
                queued.seen = place
        if failure is not None and not (strike.is_set() and isinstance(failure, StepFailed | AdapterError)):
            raise failure


async def _cancel_after(strike: trio.Event, scope: trio.CancelScope) -> None:
    await strike.wait()
    scope.cancel()

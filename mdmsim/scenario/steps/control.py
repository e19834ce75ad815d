"""Time, repetition, and steps that are for some platforms only."""

from __future__ import annotations

from typing import Annotated

import msgspec

from mdmsim.scenario.durations import Duration
from mdmsim.scenario.errors import did_you_mean
from mdmsim.scenario.model import KIND_WORDS, Steps, is_of_platform
from mdmsim.scenario.registry import Outcome, step
from mdmsim.scenario.run import Run
from mdmsim.scenario.typed import Arguments, about

_STEPS = about("What happens, step by step", example="[{wait: {for: 1d}}]")


def _some(steps: Steps) -> None:
    if not steps:
        raise ValueError('"steps" is empty. Say what happens, or leave the step out.')


class Wait(Arguments, frozen=True, kw_only=True):
    """Time passes."""

    for_: Annotated[Duration, about("How long", example="10m")] = msgspec.field(name="for")


@step("wait", Wait, title=lambda a: f"{a.for_} pass")
async def wait(run: Run, arguments: Wait) -> None:
    await run.world.sleep(arguments.for_.ms)


class Repeat(Arguments, frozen=True, kw_only=True):
    """The same steps several times over. An expectation after it counts from the beginning of the repetition."""

    times: Annotated[int, about("How often", minimum=1, example="30")]
    steps: Annotated[Steps, _STEPS]

    def __post_init__(self) -> None:
        _some(self.steps)


@step("repeat", Repeat, title=lambda a: f"{a.times} times: {len(a.steps)} steps")
async def repeat(run: Run, arguments: Repeat) -> Outcome:
    place = run.mark
    for _ in range(arguments.times):
        for nested in arguments.steps:
            await run.act(nested)
    run.mark = place
    return Outcome(f"{arguments.times} times", f"{arguments.times} times")


class OnlyOn(Arguments, frozen=True, kw_only=True):
    """Steps for some of the scenario's platforms; on the others nothing happens."""

    platforms: Annotated[tuple[str, ...], about("Where they are played", example="[ios, ipados]")]
    steps: Annotated[Steps, _STEPS]

    def __post_init__(self) -> None:
        _some(self.steps)
        if not self.platforms:
            raise ValueError('"platforms" is empty: its steps would never be played. Name some, e.g. [ios, macos].')
        for word in self.platforms:
            if word not in KIND_WORDS:
                raise ValueError(f'"platforms" has "{word}". {did_you_mean(word, KIND_WORDS)}')


@step("only_on", OnlyOn, title=lambda a: f"on {' and '.join(a.platforms)}", expects=True)
async def only_on(run: Run, arguments: OnlyOn) -> Outcome | None:
    if not any(is_of_platform(run.case.platform, word) for word in arguments.platforms):
        return Outcome(f"only on {', '.join(arguments.platforms)}", "nothing to do here")
    for nested in arguments.steps:
        await run.act(nested)
    return None

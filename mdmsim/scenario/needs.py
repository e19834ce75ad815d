"""What a case needs of its world and of the server's adapter, derived from its steps before anything is sent."""

from __future__ import annotations

from collections.abc import Iterator

from mdmsim.scenario.model import Case, Step, Steps, inner, is_of_platform
from mdmsim.scenario.registry import STEPS
from mdmsim.scenario.steps.control import OnlyOn
from mdmsim.scenario.steps.pushes import DeliverPush
from mdmsim.world.abilities import Ability

#: What to do about it, for what an option decides.
_ADVICE = {
    Ability.LIVE: "run it with --live",
    Ability.VIRTUAL_TIME: "it runs in process only",
    Ability.OWN_SERVER: "it runs in process only",
}


def lacking(case: Case, abilities: frozenset[Ability]) -> str | None:
    """Why a case cannot be played with these abilities, in words; None when it can."""
    for ability, step in needs_of(case):
        if ability not in abilities:
            who = f'step "{step.name}" ({step.where})' if step is not None else "this case"
            return f"{who} needs {ability}: {_ADVICE.get(ability, 'there is none here')}"
    return None


def needs_of(case: Case) -> list[tuple[Ability, Step | None]]:
    """Every ability that a case needs, with the step that needs it; None for what the scenario itself says."""
    text = case.scenario.text
    needed: list[tuple[Ability, Step | None]] = [
        (Ability.LIVE if word == "live" else Ability.VIRTUAL_TIME, None) for word in text.needs
    ]
    if text.server is not None or text.behaviour is not None:
        needed.append((Ability.OWN_SERVER, None))
    played = list(_played(text.steps, case.platform))
    needed += [(ability, step) for step in played for ability in STEPS[step.name].needs(step.arguments)]
    if any(isinstance(step.arguments, DeliverPush) for step in played):
        # The story wakes its devices itself: they come whether or not the server's pushes reach them.
        needed = [(ability, step) for ability, step in needed if ability is not Ability.PUSHES]
    return needed


def _played(steps: Steps, platform: str) -> Iterator[Step]:
    """Every step that is played on that platform, nested ones after the step that holds them."""
    for step in steps:
        arguments = step.arguments
        if isinstance(arguments, OnlyOn) and not any(is_of_platform(platform, word) for word in arguments.platforms):
            continue
        yield step
        for nested in inner(arguments):
            yield from _played(nested, platform)

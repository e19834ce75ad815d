"""The vocabulary of scenarios: every step by its name, with its typed arguments and what it does."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar

from mdmsim.scenario.typed import Arguments
from mdmsim.world.abilities import Ability

if TYPE_CHECKING:
    from mdmsim.scenario.run import Run

A = TypeVar("A", bound=Arguments)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a step that passed looked for and saw, for the report."""

    expected: str
    observed: str


Action = Callable[["Run", Any], Awaitable["Outcome | None"]]


@dataclass(frozen=True, slots=True)
class StepType:
    """One word of the vocabulary. `expects`: it only looks, so what happens next is not counted from it.

    `needs`: what it needs of the world and of the server's adapter, by its arguments.
    """

    name: str
    arguments: type[Arguments]
    action: Action
    expects: bool
    title: Callable[[Any], str]
    needs: Callable[[Any], Iterable[Ability]]

    @property
    def summary(self) -> str:
        """The first paragraph of what the arguments say about themselves."""
        return " ".join((self.arguments.__doc__ or "").strip().split("\n\n")[0].split())


STEPS: dict[str, StepType] = {}

#: Which modules hold steps: importing them fills the registry.
MODULES = (
    "enrolling",
    "apple",
    "setup",
    "secrets",
    "commands",
    "pushes",
    "profiles",
    "people",
    "servers",
    "faults",
    "apns_faults",
    "dep_faults",
    "events",
    "requests",
    "devices",
    "control",
    "every_request",
)


def step(
    name: str,
    arguments: type[A],
    *,
    title: Callable[[A], str],
    expects: bool = False,
    needs: Callable[[A], Iterable[Ability]] = lambda _: (),
) -> Callable[[Callable[[Run, A], Awaitable[Outcome | None]]], Callable[[Run, A], Awaitable[Outcome | None]]]:
    """Register an async function of a `Run` and its arguments as the step of that name.

    `title`: the step in a few words, for reports. `expects`: for steps that only look. `needs`: see `StepType`.
    """

    def register(
        action: Callable[[Run, A], Awaitable[Outcome | None]],
    ) -> Callable[[Run, A], Awaitable[Outcome | None]]:
        if name in STEPS:
            raise ValueError(f'there is a step "{name}" already')
        STEPS[name] = StepType(name, arguments, action, expects, title, needs)
        return action

    return register


def steps() -> dict[str, StepType]:
    """Every step by name, sorted; the first call imports the modules that hold them."""
    for module in MODULES:
        import_module(f"mdmsim.scenario.steps.{module}")
    return dict(sorted(STEPS.items()))


def title_of(name: str, arguments: Arguments) -> str:
    """A step in a few words."""
    return STEPS[name].title(arguments)

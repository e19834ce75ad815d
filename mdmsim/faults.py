"""Faults with a name, a reason and a seed: what a fake or a transport does wrong, only because it was asked to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mdmsim.chance import Chance


# Two faults with the same rule are two faults.
@dataclass(slots=True, eq=False)
class Fault:
    """One planned fault. `injected` counts how often it was carried out, `considered` how often it could have been."""

    name: str
    why: str
    rate: float = 1.0
    after: int = 0
    every: int = 1
    times: int | None = None
    answer: Any = None
    match: Callable[[Mapping[str, Any]], bool] | None = None
    considered: int = 0
    injected: int = 0


@dataclass(slots=True)
class FaultPlan:
    """The faults planned at one place, drawn in the order in which they were added.

    One plan per fake or transport, each with a stream of chance of its own, so that a fault added here leaves the
    draws elsewhere as they were.
    """

    chance: Chance
    planned: list[Fault] = field(default_factory=list)

    def add(
        self,
        name: str,
        *,
        why: str,
        rate: float = 1.0,
        after: int = 0,
        every: int = 1,
        times: int | None = None,
        answer: Any = None,
        match: Callable[[Mapping[str, Any]], bool] | None = None,
    ) -> Fault:
        """Plan a fault.

        `rate`: probability each time it could happen (0 to 1). `after`: how many occasions pass first. `every`:
        then each n-th occasion. `times`: how often at most. `answer`: what the injecting place understands.
        `match`: which occasions count at all, judged by the facts that `draw` is given. `why`: what the peer may
        rely on; a fault without a reason is a bug in the fake. Raises ValueError with the allowed range.
        """
        if not why.strip():
            raise ValueError(f'fault "{name}" has no "why": say what the peer may rely on')
        if not 0 <= rate <= 1:
            raise ValueError(
                f'rate={rate} for fault "{name}": a rate lies between 0 and 1. For five percent write 0.05.'
            )
        if after < 0 or every < 1 or (times is not None and times < 1):
            raise ValueError(
                f'fault "{name}": after={after}, every={every}, times={times}: after is 0 or more, every and times 1 or more'
            )
        fault = Fault(name=name, why=why, rate=rate, after=after, every=every, times=times, answer=answer, match=match)
        self.planned.append(fault)
        return fault

    def remove(self, fault: Fault) -> None:
        """End a fault; one that is not planned any more is left alone."""
        if fault in self.planned:
            self.planned.remove(fault)

    def draw(self, name: str, **facts: Any) -> Fault | None:
        """The fault of that name to carry out on this occasion, counted as injected; None for none."""
        for fault in self.planned:
            if fault.name != name or (fault.match is not None and not fault.match(facts)):
                continue
            fault.considered += 1
            if fault.times is not None and fault.injected >= fault.times:
                continue
            occasion = fault.considered - fault.after
            if occasion < 1 or (occasion - 1) % fault.every:
                continue
            if fault.rate < 1 and not self.chance.happens(fault.rate):
                continue
            fault.injected += 1
            return fault
        return None

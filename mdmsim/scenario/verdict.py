"""How a step says that it did not go as told."""

from __future__ import annotations

from mdmsim.events import Event
from mdmsim.printable import printable_lines


class StepFailed(Exception):
    """What was expected and what was seen.

    `proof`: the exchange that shows it, where it is not simply the last one. `where`: `file:line` of the step, a nested
    one's own.
    """

    def __init__(self, expected: str, observed: str, *, proof: Event | None = None, where: str | None = None) -> None:
        super().__init__(printable_lines(f"expected {expected}; seen: {observed}"))
        self.expected = expected
        self.observed = observed
        self.proof = proof
        self.where = where


class NotApplicable(Exception):
    """The step asks for something that this world or server cannot do; the case is not judged."""

    def __init__(self, why: str) -> None:
        super().__init__(printable_lines(why))

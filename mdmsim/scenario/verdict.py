"""How a step says that it did not go as told."""

from __future__ import annotations


class StepFailed(Exception):
    """What was expected and what was seen. `where`: `file:line` of the nested step that failed, if it was one."""

    def __init__(self, expected: str, observed: str, *, where: str | None = None) -> None:
        super().__init__(f"expected {expected}; seen: {observed}")
        self.expected = expected
        self.observed = observed
        self.where = where


class NotApplicable(Exception):
    """The step asks for something that this world or server cannot do; the case is not judged."""

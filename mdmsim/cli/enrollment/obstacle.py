"""What stands between a device and its enrollment, in the user's terms."""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.cli.exits import FAILED, CommandFailed
from mdmsim.device.errors import Chain


@dataclass(frozen=True, slots=True)
class Obstacle:
    """`what`: one sentence. `seen`: the exchange that shows it. `meaning`: what Apple's documentation says of it.

    `advice`: what to do. `code`: FAILED when the server or the profile refuses, NOT_CARRIED_OUT when no one answers.
    `chain`: the error chain of a device that refused the profile.
    """

    what: str
    seen: str | None = None
    meaning: str | None = None
    advice: str | None = None
    code: int = FAILED
    chain: Chain = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """What there is to tell besides `what`, labelled, in order."""
        every = (("seen", self.seen), ("means", self.meaning), ("do", self.advice))
        return [(label, text) for label, text in every if text]

    def text(self) -> str:
        """All of it, for a message that stands alone."""
        return "\n".join([self.what, *(f"    {label:<8}{text}" for label, text in self.rows)])


class Stopped(CommandFailed):
    """An obstacle that no device will get past."""

    def __init__(self, obstacle: Obstacle) -> None:
        super().__init__(obstacle.text())
        self.obstacle = obstacle
        self.code = obstacle.code

"""What can be wrong with a scenario, told so that its author finds it in ten seconds."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ScenarioError(Exception):
    """The author's mistake. `where` is `file:line` (or a file, or an option); `what` says what, and what to do."""

    def __init__(self, where: str, what: str) -> None:
        super().__init__(f"{where}: {what}")
        self.where = where
        self.what = what


class WrongKey(ValueError):
    """A key that cannot be where it stands. `path`: the keys that lead to it from its step's mapping, list items left out."""

    def __init__(self, what: str, path: tuple[str, ...]) -> None:
        super().__init__(what)
        self.path = path


def nearest(word: str, allowed: Iterable[str]) -> str | None:
    """The allowed word that was probably meant; None when nothing comes near."""
    by_lower = {candidate.lower(): candidate for candidate in allowed}
    close = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def did_you_mean(word: str, allowed: Iterable[str], *, say: str = "Allowed") -> str:
    """`Did you mean "push"?` where a word comes near, else the whole list of allowed words."""
    words = list(allowed)
    meant = nearest(word, words)
    if meant is not None:
        return f'Did you mean "{meant}"?'
    return f"{say}: {', '.join(words)}." if words else f"{say}: none."


def excerpt(text: str, *, longest: int = 60) -> str:
    """A value as shown in a message: one line, cut where it is long."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"

"""Why a load test does not begin, or cannot be judged."""

from __future__ import annotations

#: Exit codes, as everywhere in mdmsim: passed; a criterion not met; the user's mistake; not carried out; cut short.
PASSED = 0
FAILED = 1
MISTAKE = 2
NOT_CARRIED_OUT = 3
INTERRUPTED = 130


class LoadError(Exception):
    """The message says what, where and what to do. `code`: the exit code, MISTAKE or NOT_CARRIED_OUT."""

    def __init__(self, message: str, *, code: int = MISTAKE) -> None:
        super().__init__(message)
        self.code = code

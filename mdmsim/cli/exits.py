"""Exit codes, and the two errors that a command raises to end with one."""

from __future__ import annotations

#: All passed.
PASSED = 0
#: A check, a scenario or a gate failed; a server refused.
FAILED = 1
#: The user's mistake: one message, no traceback.
MISTAKE = 2
#: The run could not be carried out: server unreachable, port taken.
NOT_CARRIED_OUT = 3
#: Ctrl-C.
INTERRUPTED = 130


class CommandFailed(Exception):
    """A command cannot go on. The message says what, where and what to do; `code` is the exit code."""

    code = NOT_CARRIED_OUT


class Mistake(CommandFailed):
    """What the user asked for cannot be: a wrong option, a file that is none."""

    code = MISTAKE


class Interrupted(BaseException):
    """Ctrl-C or SIGTERM came, and everything was put down in good order.

    `code`: a server that is told to stop has done its duty (0); anything else was cut short (130).
    """

    def __init__(self, code: int = INTERRUPTED) -> None:
        super().__init__("interrupted")
        self.code = code

"""The command `mdmsim`: thin layers over the library, one module per family of subcommands.

`main` is the console entry. Nothing heavy is imported before a command knows that it needs it.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

__all__ = ["main"]

_INTERRUPTED = 130


def main() -> int:
    """Run the command line of this process; the exit code (docs/command-line.md)."""
    # As long as no command has opened anything, Ctrl-C has nothing to put down. A KeyboardInterrupt in the middle of an
    # import would not do: Python turns it into other errors there. Commands take the signal over when they begin.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from mdmsim.cli.entry import run

    return run()


def _leave(number: int, frame: FrameType | None) -> None:
    os.write(2, b"interrupted\n")
    os._exit(_INTERRUPTED)

"""How far a run is: one line that changes on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from mdmsim.load.figures import Account

#: Seconds between lines where there is no terminal.
QUIET = 5.0


class Progress:
    """Tells of a run. `wanted`: devices."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._terminal = self._stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        self._told = 0.0
        self._width = 0

    def at(self, seconds: float, account: Account, wanted: int, failures: int) -> None:
        """So far it is."""
        if not self._terminal and seconds - self._told < QUIET:
            return
        self._told = seconds
        parts = [f"{seconds:4.0f} s", f"{account.enrolled} of {wanted} enrolled"]
        if account.asked:
            parts.append(f"{account.answered} of {account.asked} commands answered")
        parts.append(f"{account.exchanges} exchanges")
        if failures:
            parts.append(f"{failures} failed")
        line = "  " + "   ".join(parts)
        if self._terminal:
            self._stream.write(f"\r{line:<{self._width}}")
            self._width = len(line)
        else:
            self._stream.write(f"{line}\n")
        self._stream.flush()

    def done(self) -> None:
        """Leave the line."""
        if self._terminal and self._width:
            self._stream.write("\r" + " " * self._width + "\r")
            self._stream.flush()

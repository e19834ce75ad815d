"""The log: one JSON object a line, with request and enrollment ids, and never a secret.

Secrets are kept out where lines are made: no header, no body, no token, push magic or challenge is ever handed to
`Log.write`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import msgspec

from mdmsim.clock import SECOND, Clock, iso
from mdmsim.printable import printable_json

_encode = msgspec.json.Encoder().encode
_logger = logging.getLogger("reference_server")


def to_logging(line: bytes) -> None:
    """The default sink: the standard library's logger `reference_server`, which is silent unless configured."""
    if _logger.isEnabledFor(logging.INFO):
        _logger.info(line.decode())


class Log:
    """Writes log lines to `sink`, each without its line feed."""

    def __init__(self, clock: Clock, sink: Callable[[bytes], None] = to_logging) -> None:
        self._clock = clock
        self._sink = sink
        self._second = -1
        self._second_text = ""

    def write(self, level: str, message: str, **fields: Any) -> None:
        """One line: `at`, `level`, `message`, and the fields that are not None."""
        line = {"at": self._now(), "level": level, "message": message}
        line.update((key, value) for key, value in fields.items() if value is not None)
        self._sink(printable_json(_encode(line)))

    def _now(self) -> str:
        # A busy server writes hundreds of lines in a second, and a date takes longer to spell than to store.
        second, ms = divmod(self._clock.now_ms(), SECOND)
        if second != self._second:
            self._second, self._second_text = second, iso(second * SECOND)[:-4]
        return f"{self._second_text}{ms:03d}Z"


def level_of(status: int) -> str:
    """The level of a line about an answer with that status."""
    return "info" if status < 400 else "warning" if status < 500 else "error"

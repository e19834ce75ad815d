"""What a proxy logs of the requests that it refuses: bounded, however often clients try, and safe to print."""

from __future__ import annotations

import logging

from mdmsim.printable import printable

#: Lines of one run. A server that dials the same wrong host for weeks needs a dozen.
MOST_LINES = 1000
#: Characters of a line.
LONGEST = 1000


class RefusalLog:
    """Each text is logged the first time, and the 10th, 100th and so on; after `MOST_LINES` nothing is any more."""

    def __init__(self, log: logging.Logger) -> None:
        self._log = log
        self._times: dict[str, int] = {}
        self._lines = 0

    def note(self, text: str) -> None:
        """A request was refused, in these words."""
        if self._lines >= MOST_LINES:
            return
        text = printable(text[:LONGEST])
        times = self._times[text] = self._times.get(text, 0) + 1
        if times > 1 and times != 10 ** (len(str(times)) - 1):
            return
        self._lines += 1
        self._log.warning("%s", text if times == 1 else f"{text} ({times} times)")
        if self._lines == MOST_LINES:
            self._log.warning("this was line %d: more refusals are counted, and not logged", MOST_LINES)
            self._times.clear()

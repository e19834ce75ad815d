"""How far something is: a bar on a terminal, now and then a line where there is none."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import TYPE_CHECKING, TextIO

import trio

from mdmsim.cli.output import is_plain, line
from mdmsim.printable import printable

if TYPE_CHECKING:
    from mdmsim.pki.key_pool import Filling, KeyPool

#: Seconds between two looks at work that other processes do.
LOOK = 0.1
#: Without a terminal, this many lines tell of the whole way; of a short one none.
LINES = 10
SHORT = 20


class Bar:
    """`total` steps of one kind. Lines may be printed through it while it stands."""

    def __init__(self, title: str, total: int, *, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stdout
        self._title, self._total = title, total
        self._told = 0
        self._plain = is_plain(self._stream)

    def __enter__(self) -> Bar:
        if not self._plain:
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            console = Console(file=self._stream, highlight=False, markup=False, emoji=False, soft_wrap=True)
            self._progress = Progress(
                TextColumn("  {task.description}", markup=False),
                BarColumn(bar_width=30),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
                transient=True,
            )
            self._task = self._progress.add_task(self._title, total=self._total)
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not self._plain:
            self._progress.stop()

    def at(self, done: int) -> None:
        """So many of `total` are done."""
        if not self._plain:
            self._progress.update(self._task, completed=min(done, self._total))
        elif self._total > SHORT and (tenth := done * LINES // max(1, self._total)) > self._told:
            self._told = tenth
            line(f"  {self._title}: {done} of {self._total}", stream=self._stream)

    def say(self, text: str, *, style: str = "") -> None:
        """A line that stays."""
        if self._plain:
            line(text, stream=self._stream)
        else:
            self._progress.console.print(printable(text), style=style or None)


async def making_keys(pool: KeyPool, filling: Filling, count: int, *, stream: TextIO | None = None) -> None:
    """Show how the pool fills, until its workers are done."""
    with Bar("making RSA keys", count, stream=stream) as bar:
        bar.at(pool.available())
        while filling.running:
            await trio.sleep(LOOK)
            bar.at(pool.available())

"""Many small jobs, each in a process of its own that is forked from this one, several at a time."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

#: Seconds without any job's end after which those that run are ended.
PATIENCE = 300.0

#: How often a job is tried that crashes or hangs: a busy machine may end one. A defect that makes its test hang does so
#: each time.
ATTEMPTS = 2


def forked(jobs: Iterable[Job], do: Callable[[Job], Result], *, at_once: int) -> Iterator[tuple[Job, Result | None]]:
    """Each job with what `do` made of it in a process of its own, as they end; None for one that crashes or hangs again.

    This process must run a single thread, and must not have imported what the jobs want to import anew.
    """
    fork = multiprocessing.get_context("fork")
    waiting = [(job, 1) for job in jobs]
    running: dict[Connection, tuple[Job, int, multiprocessing.process.BaseProcess]] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            job, attempt = waiting.pop(0)
            here, there = fork.Pipe(duplex=False)
            process = fork.Process(target=_work, args=(do, job, there))
            process.start()
            there.close()
            running[here] = job, attempt, process
        ready = wait(list(running), timeout=PATIENCE)
        for end in ready or list(running):
            assert isinstance(end, Connection)
            job, attempt, process = running.pop(end)
            try:
                result = end.recv() if ready else None
            except EOFError:
                result = None
            process.kill()
            process.join()
            if result is None and attempt < ATTEMPTS:
                waiting.append((job, attempt + 1))
            else:
                yield job, result


def _work(do: Callable[[Job], Result], job: Job, end: Connection) -> None:
    silent = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(silent, number)
    end.send(do(job))
    end.close()

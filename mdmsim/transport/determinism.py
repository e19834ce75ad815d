"""Runs in virtual time that come out the same for the same seed.

trio shuffles the tasks that are ready, on purpose. Two private switches of its scheduler make the order a function of
a seed: `_ALLOW_DETERMINISTIC_SCHEDULING` sorts the tasks before the shuffle, and `_r` is what shuffles. Either alone
gives other transcripts. This is the one place that touches them; a test notices when trio changes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import TypeVar

import trio
import trio.testing

from mdmsim.clock import VirtualClock
from mdmsim.transport.groups import only

T = TypeVar("T")
_SWITCH = "_ALLOW_DETERMINISTIC_SCHEDULING"


def scheduler() -> ModuleType:
    """trio's scheduler module. Raises RuntimeError when this trio has not got what a repeatable run needs."""
    module: ModuleType | None = getattr(trio._core, "_run", None)
    if module is None or not hasattr(module, _SWITCH) or not hasattr(getattr(module, "_r", None), "seed"):
        raise RuntimeError(
            f"trio {trio.__version__} schedules in a way that mdmsim cannot make repeatable: "
            f"install a version from mdmsim's constraints file"
        )
    return module


@contextmanager
def repeatable(seed: int | str) -> Iterator[None]:
    """Inside, trio runs that are started schedule as the seed says; afterwards trio is as it was."""
    module = scheduler()
    switch, state = getattr(module, _SWITCH), module._r.getstate()
    setattr(module, _SWITCH, True)
    module._r.seed(seed)
    try:
        yield
    finally:
        setattr(module, _SWITCH, switch)
        module._r.setstate(state)


def run_virtual(main: Callable[[VirtualClock], Awaitable[T]], *, seed: int | str, start_ms: int) -> T:
    """Run `main` under trio in virtual time that begins at `start_ms`, and return its value.

    Time jumps as soon as every task waits, so no thread may be at work meanwhile. An exception that is alone in its
    groups comes out bare.
    """
    mock = trio.testing.MockClock(autojump_threshold=0)
    with repeatable(seed):
        try:
            return trio.run(main, VirtualClock(mock, start_ms), clock=mock)
        except BaseExceptionGroup as group:
            raise only(group) from None

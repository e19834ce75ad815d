"""What an exception means to whoever typed the command: one message, and an exit code.

Told by names, because importing every module that can fail would make `mdmsim --help` slow.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator

from mdmsim.cli.exits import INTERRUPTED, MISTAKE, NOT_CARRIED_OUT

#: Errors of the library that are no bugs, by class; subclasses count as well, the nearest entry wins.
CODES: dict[str, int] = {
    "mdmsim.cli.exits.CommandFailed": NOT_CARRIED_OUT,
    "mdmsim.device.personas.persona.PersonaError": MISTAKE,
    "mdmsim.device.state.UnreadableState": MISTAKE,
    "mdmsim.fakeapns.errors.CourierError": NOT_CARRIED_OUT,
    "mdmsim.fleet.lock.StoreBusy": NOT_CARRIED_OUT,
    "mdmsim.fleet.store.StoreError": MISTAKE,
    "mdmsim.http.TransportError": NOT_CARRIED_OUT,
    "mdmsim.report.write.ReportError": MISTAKE,
    "mdmsim.scenario.errors.ScenarioError": MISTAKE,
    "mdmsim.startup.InUse": NOT_CARRIED_OUT,
    "mdmsim.startup.PortTaken": NOT_CARRIED_OUT,
    "mdmsim.startup.ServeError": MISTAKE,
    "mdmsim.target.adapter.AdapterError": NOT_CARRIED_OUT,
    "mdmsim.target.file.TargetError": MISTAKE,
    "mdmsim.world.processes.ProcessFailed": NOT_CARRIED_OUT,
    "reference_server.serve.PortTaken": NOT_CARRIED_OUT,
    "reference_server.settings.BadSettings": MISTAKE,
    "reference_server.storage.migrations.TooNew": MISTAKE,
}

#: What the machine has against it: the port, not a file.
_NETWORK = (errno.EADDRINUSE, errno.EADDRNOTAVAIL)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors in a group, however deep; an error that is no group is its own."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def explain(error: BaseException) -> tuple[str, int] | None:
    """The message and the exit code; None for what should not have happened. Of a group the gravest is told."""
    told = []
    for leaf in leaves(error):
        if _is_interrupt(leaf):
            return "interrupted", INTERRUPTED
        known = _explain(leaf)
        if known is None:
            return None
        told.append(known)
    return max(told, key=lambda entry: entry[1]) if told else None


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is behind it: Python turns a KeyboardInterrupt into other errors in some places."""
    while error is not None:
        if isinstance(error, KeyboardInterrupt):
            return True
        error = error.__cause__
    return False


def _explain(error: BaseException) -> tuple[str, int] | None:
    for kind in type(error).__mro__:
        code = CODES.get(f"{kind.__module__}.{kind.__qualname__}")
        if code is not None:
            message = str(getattr(error, "of_option", error))
            return message, int(getattr(error, "code", code)) if kind.__name__ == "CommandFailed" else code
    if isinstance(error, OSError) and error.errno is not None:
        return _of_the_machine(error)
    return None


def _of_the_machine(error: OSError) -> tuple[str, int]:
    what = (error.strerror or os.strerror(error.errno or 0)).lower()
    if error.errno in _NETWORK:
        return f"{what}: choose another port, or 0 for any free one", NOT_CARRIED_OUT
    where = f"{error.filename}: " if error.filename else ""
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{what}. Name a place that you may write to.", MISTAKE
    if error.errno == errno.ENOSPC:
        return f"{where}{what}. Make room, or name another place.", NOT_CARRIED_OUT
    return f"{where}{what}", MISTAKE if error.filename else NOT_CARRIED_OUT

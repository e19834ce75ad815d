"""Open files of this process: whether so many connections fit, and errors that say that this machine has no more."""

from __future__ import annotations

import errno
import resource
import socket
from collections.abc import Iterator

from mdmsim.http import OwnLimit

#: Open files beside connections: listeners, stores, logs, modules that are being imported.
SPARE = 256

#: No descriptor for this process or the machine, no memory, no local port left.
_OWN = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL})
#: What the resolver says when it cannot open a file or has no memory.
_OWN_RESOLVER = frozenset({socket.EAI_SYSTEM, socket.EAI_MEMORY})


def make_room(connections: int) -> int | None:
    """Raise this process's limit of open files, where the system allows it, until so many connections fit.

    The number of connections that fit where these do not, at least 0; None where they do.
    """
    wanted = connections + SPARE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return None
    most = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    except (OSError, ValueError):
        # Some systems have a limit below the one they tell.
        most = soft
    return None if most >= wanted else max(0, most - SPARE)


def most_files() -> int:
    """How far this process's limit of open files may be raised."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[1]


def own_limit(error: BaseException, where: str) -> OwnLimit | None:
    """What to raise for an error that this machine's own limits are behind; None for any other error."""
    for cause in _causes(error):
        if isinstance(cause, socket.gaierror):
            if cause.errno in _OWN_RESOLVER:
                return OwnLimit(f"no connection to {where} could be opened: {cause.strerror}")
        elif isinstance(cause, OSError) and cause.errno in _OWN:
            return OwnLimit(f"no connection to {where} could be opened: {cause.strerror or cause}")
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what is behind it, the members of groups included."""
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for cause in (*inner, error.__cause__):
        if isinstance(cause, BaseException):
            yield from _causes(cause)

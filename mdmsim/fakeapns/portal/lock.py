"""One process at a time has a portal's file: another one would write its own list over this one's."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mdmsim.startup import InUse, ServeError


@contextmanager
def portal_lock(portal: Path) -> Iterator[None]:
    """Held from entering to leaving, on a file beside the portal's; it never waits.

    Not on the portal's own file, which is replaced at every change. The kernel drops it with the process that held it,
    however that ended. Raises InUse, ServeError where the folder takes no file.
    """
    if portal.exists() and not portal.is_file():
        raise ServeError(f"{portal}: not what the portal keeps (it is no file). Name another file for the portal.")
    beside = portal.with_name(f".{portal.name}.lock")
    try:
        descriptor = os.open(beside, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ServeError(f"{portal}: cannot be written ({error.strerror}). Name another file for the portal.") from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InUse(
                f"{portal}: another process has this portal open. End that one, or name another file for the portal."
            ) from None
        except OSError:
            pass  # a file system without locks, such as some network mounts
        # The file stays: removing it would let two processes lock two files of one name.
        yield
    finally:
        os.close(descriptor)

"""Opening a store that must be there, and finding the devices that were named."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.cli.exits import CommandFailed, Mistake
from mdmsim.clock import Clock
from mdmsim.device.device import Device
from mdmsim.device.state import UnreadableState
from mdmsim.events import Events
from mdmsim.fleet.lock import StoreLock
from mdmsim.fleet.store import SqliteStore
from mdmsim.pki.keys import FreshKeys


def existing(path: Path) -> SqliteStore:
    """The store in that file, to read; none is made where there is none. Raises Mistake, StoreError."""
    if not path.exists():
        raise Mistake(f"{path}: no such store. mdmsim enroll makes one; name another with --store.")
    return SqliteStore(path)


@contextmanager
def driven(path: Path) -> Iterator[SqliteStore]:
    """The store in that file, for this process alone to drive its devices. Raises Mistake, StoreBusy, StoreError."""
    existing(path).close()  # before a lock file is left where there is nothing to lock
    with StoreLock(path), SqliteStore(path) as store:
        yield store


def chosen(store: SqliteStore, wanted: Sequence[str]) -> list[str]:
    """The ids that were named, each once; all of them when none was named. Raises Mistake for one that is not there."""
    known = store.device_ids()
    for device_id in wanted:
        if device_id not in known:
            near = difflib.get_close_matches(device_id, known, n=1)
            hint = f'Did you mean "{near[0]}"?' if near else f"mdmsim devices --store {store.path} lists them."
            raise Mistake(f'{store.path}: there is no device "{device_id}". {hint}')
    return list(dict.fromkeys(wanted)) or known


def read(device_id: str, store: SqliteStore, clock: Clock) -> Device:
    """A device to look at; nothing of it is changed. Raises CommandFailed where its state cannot be read."""
    try:
        return Device.load(
            device_id, store=store, clock=clock, chance=Chance(0), keys=FreshKeys(), events=Events(clock)
        )
    except UnreadableState as error:
        raise CommandFailed(
            f"{store.path}: {device_id}: {error}. mdmsim remove {device_id} --forget drops it from the store."
        ) from None

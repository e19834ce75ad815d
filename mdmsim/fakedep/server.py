"""One MDM server as the portal knows it: its devices in the order of their assignment, its profiles, its log of changes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import islice

from mdmsim.clock import DAY
from mdmsim.fakedep.model import Change, Device, Operation, Profile, ServerToken

#: Changes are forgotten this long after every cursor before them has expired.
_MARGIN_MS = DAY


class MdmServer:
    """An MDM server. `uuid`: 32 capital hex digits (captured: /account). `certificate`: DER, for its token files."""

    def __init__(self, uuid: str, name: str, organisation: str, admin: str, certificate: bytes | None) -> None:
        self.uuid = uuid
        self.name = name
        self.organisation = organisation
        self.admin = admin
        self.certificate = certificate
        self.removed = False
        #: Newest last. Renewed ones are kept as long as they still mean something.
        self.tokens: list[ServerToken] = []
        self.profiles: dict[str, Profile] = {}
        # Serial number to (position, device). Positions grow with each assignment, so the order is theirs.
        self._devices: dict[str, tuple[int, Device]] = {}
        self._order: list[tuple[int, str]] = []
        self._changes: list[Change] = []
        self._first = 1  # the sequence of _changes[0]
        self._sequence = 0

    def __repr__(self) -> str:
        return f"MdmServer({self.name!r}, {len(self._devices)} devices)"

    # devices

    @property
    def count(self) -> int:
        """How many devices are assigned to it."""
        return len(self._devices)

    def __iter__(self) -> Iterator[Device]:
        return iter([device for _, device in self._devices.values()])

    def get(self, serial_number: str) -> Device | None:
        """The device of that serial number, if it is assigned to this server."""
        found = self._devices.get(serial_number)
        return found[1] if found is not None else None

    def page(self, after: int, limit: int) -> tuple[list[tuple[int, Device]], bool]:
        """Up to `limit` devices behind that position, in order of assignment, and whether more follow."""
        found: list[tuple[int, Device]] = []
        devices = self._devices
        for position, serial_number in islice(self._order, bisect_right(self._order, (after, "\U0010ffff")), None):
            here = devices.get(serial_number)
            if here is None or here[0] != position:
                continue
            if len(found) == limit:
                return found, True
            found.append(here)
        return found, False

    def add(self, device: Device, at_ms: int, operation: Operation = "added") -> None:
        """The device is assigned to this server from now on."""
        sequence = self._log(operation, device, at_ms)
        self._devices[device.serial_number] = (sequence, device)
        self._order.append((sequence, device.serial_number))
        if len(self._order) > 64 + 2 * len(self._devices):
            self._order = [(position, serial) for serial, (position, _) in self._devices.items()]

    def change(self, device: Device, at_ms: int) -> None:
        """The device, one of this server's, is now as given."""
        position, _ = self._devices[device.serial_number]
        self._devices[device.serial_number] = (position, device)
        self._log("modified", device, at_ms)

    def drop(self, device: Device, at_ms: int) -> None:
        """The device is not this server's any more; `device` is how the log shows it."""
        del self._devices[device.serial_number]
        self._log("deleted", device, at_ms)

    # changes

    @property
    def sequence(self) -> int:
        """The sequence number of the latest change; 0: there was none."""
        return self._sequence

    def remembers(self, after: int) -> bool:
        """Whether no change behind that sequence number was forgotten."""
        return after + 1 >= self._first

    def changes(self, after: int, limit: int, keep: Callable[[Change], bool]) -> tuple[list[Change], int, bool]:
        """Up to `limit` changes behind that sequence number that `keep` lets through, the last number looked at, and
        whether more follow."""
        found: list[Change] = []
        at = after
        for change in islice(self._changes, max(0, after + 1 - self._first), None):
            if len(found) == limit:
                return found, at, True
            at = change.sequence
            if keep(change):
                found.append(change)
        return found, at, False

    def forget_before(self, at_ms: int) -> None:
        """Let go of changes older than that, for which every cursor has expired."""
        if not self._changes or self._changes[0].at_ms >= at_ms - _MARGIN_MS:
            return
        gone = 0
        while gone < len(self._changes) and self._changes[gone].at_ms < at_ms:
            gone += 1
        del self._changes[:gone]
        self._first += gone

    def _log(self, operation: Operation, device: Device, at_ms: int) -> int:
        self._sequence += 1
        self._changes.append(Change(self._sequence, operation, at_ms, device))
        return self._sequence

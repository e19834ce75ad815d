"""Other names of devices (UDID, serial number), for people who look for a device by one of them.

Anybody who may speak to the courier can tell them, so what they take is bounded, and the oldest go first.
"""

from __future__ import annotations

from collections.abc import Iterable

#: Bytes that all names together may take, and those that one courier connection told; counted as `_size` does. Of
#: devices with a UDID and a serial number that is room for some 1,000,000, and 250,000.
IN_ALL = 256 << 20
PER_CONNECTION = 64 << 20


class Aliases:
    """Devices by their other names. A name leads to the device that was told to have it last."""

    def __init__(self, limit: int = IN_ALL) -> None:
        self._limit = limit
        self._device: dict[str, str] = {}
        # In the order in which they were told last.
        self._names: dict[str, tuple[str, ...]] = {}
        self._size = 0

    def call(self, device: str, names: Iterable[str], *, room: int | None = None) -> int:
        """These are the other names of that device, in place of what was told before.

        Returns by how many bytes that grew. Where it were more than `room`, nothing is noted, and it is 0.
        """
        told = tuple(dict.fromkeys(names))
        before = self._names.get(device, ())
        grown = (_size(device, told) if told else 0) - (_size(device, before) if before else 0)
        if room is not None and grown > room:
            return 0
        self._forget(device)
        for name in told:
            if (other := self._device.get(name)) is not None:
                self._take_from(other, name)
            self._device[name] = device
        if told:
            self._names[device] = told
            self._size += _size(device, told)
        while self._size > self._limit:
            self._forget(next(iter(self._names)))
        return grown

    def device(self, name: str) -> str | None:
        """The device of that name."""
        return self._device.get(name)

    def names(self, device: str) -> tuple[str, ...]:
        """Other names of that device, as they were told."""
        return self._names.get(device, ())

    def _forget(self, device: str) -> None:
        names = self._names.pop(device, None)
        if names is not None:
            self._size -= _size(device, names)
            for name in names:
                del self._device[name]

    def _take_from(self, device: str, name: str) -> None:
        names = self._names[device]
        left = tuple(one for one in names if one != name)
        self._size -= _size(device, names)
        if left:
            self._names[device] = left
            self._size += _size(device, left)
        else:
            del self._names[device]


def _size(device: str, names: tuple[str, ...]) -> int:
    """About what they take, each with what surrounds it in memory."""
    return sum(len(name.encode()) + 64 for name in (device, *names))

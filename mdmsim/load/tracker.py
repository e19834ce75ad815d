"""Commands on their way: asked for by the administrator's API, answered by devices, and how late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

#: Answers kept that came before the API had told which command it was.
EARLY = 4096

#: What a device says when it will do it later.
NOT_NOW = "NotNow"


@dataclass(slots=True)
class _Open:
    device_id: str
    since_ms: int


class Tracker:
    """Counts commands. `answered`: called with the milliseconds that one took and the status it was answered with.

    A command is late from the moment when it was asked for, or from when its device was back where it was away.
    """

    def __init__(self, answered: Callable[[int, str], None]) -> None:
        self._tell = answered
        self._open: dict[str, _Open] = {}
        self._by_device: dict[str, set[str]] = {}
        self._early: dict[str, tuple[int, str]] = {}
        self._devices: set[str] = set()
        self.asked = 0
        self.answered = 0
        self.not_asked = 0

    def ask(self, device_id: str, command_uuid: str, since_ms: int) -> None:
        """The server has taken a command. Its answer may have come before this was known."""
        self.asked += 1
        self._devices.add(device_id)
        early = self._early.pop(command_uuid, None)
        if early is not None:
            self._finish(early[0] - since_ms, early[1])
            return
        self._open[command_uuid] = _Open(device_id, since_ms)
        self._by_device.setdefault(device_id, set()).add(command_uuid)

    def refused(self, device_id: str) -> None:
        """The server has not taken it: this device will not get it."""
        self.asked += 1
        self.not_asked += 1
        self._devices.add(device_id)
        self._by_device.setdefault(device_id, set()).add("")

    def delivered(self, command_uuid: str, status: str, now_ms: int) -> None:
        """The server has taken a device's report."""
        if status == NOT_NOW:
            return
        known = self._open.pop(command_uuid, None)
        if known is None:
            self._early[command_uuid] = (now_ms, status)
            if len(self._early) > EARLY:
                del self._early[next(iter(self._early))]
            return
        mine = self._by_device[known.device_id]
        mine.discard(command_uuid)
        if not mine:
            del self._by_device[known.device_id]
        self._finish(now_ms - known.since_ms, status)

    def back(self, device_id: str, now_ms: int) -> None:
        """The device has a network again: from now on its commands are late."""
        for command_uuid in self._by_device.get(device_id, ()):
            if command_uuid in self._open:
                self._open[command_uuid].since_ms = now_ms

    def _finish(self, took_ms: int, status: str) -> None:
        self.answered += 1
        self._tell(max(0, took_ms), status)

    @property
    def asked_devices(self) -> int:
        return len(self._devices)

    @property
    def behind(self) -> list[str]:
        """Devices with commands that are not answered."""
        return list(self._by_device)

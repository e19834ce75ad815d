"""Where devices are kept: one row each, large contents once by hash. The in-memory form; SQLite's is in `fleet`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Push:
    """The last push that the courier delivered for a channel. `number` counts them all, from 1."""

    number: int
    payload: bytes


class BlobStore(Protocol):
    """Contents by their SHA-256: profiles, certificates, private keys."""

    def put(self, content: bytes) -> str:
        """Keep the content and return its hash (hex). The same content is kept once."""

    def get(self, digest: str) -> bytes:
        """The content of that hash. Raises KeyError where it was never put."""


class DeviceStore(BlobStore, Protocol):
    """The state of devices, their pushes and their contents."""

    def save(self, device_id: str, state: bytes) -> None:
        """Keep this state; durable when the call returns."""

    def load(self, device_id: str) -> bytes | None:
        """The last saved state; None for a device that was never saved."""

    def device_ids(self) -> list[str]:
        """All that were saved, in the order in which they were first saved."""

    def delete(self, device_id: str) -> None:
        """Forget a device and its pushes; its contents may stay. A device that is not there is no error."""

    def pushed(self, device_id: str, channel: str, payload: bytes) -> Push:
        """Count a push for that channel. Only the courier's side calls this; saving a state never touches it."""

    def last_push(self, device_id: str, channel: str) -> Push | None:
        """The last counted push; None when there was none."""


@dataclass(slots=True)
class MemoryStore:
    """A `DeviceStore` in this process's memory: in-process worlds, unit tests, a REPL."""

    states: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    pushes: dict[tuple[str, str], Push] = field(default_factory=dict)

    def put(self, content: bytes) -> str:
        digest = hashlib.sha256(content).hexdigest()
        self.blobs[digest] = content
        return digest

    def get(self, digest: str) -> bytes:
        return self.blobs[digest]

    def save(self, device_id: str, state: bytes) -> None:
        self.states[device_id] = state

    def load(self, device_id: str) -> bytes | None:
        return self.states.get(device_id)

    def device_ids(self) -> list[str]:
        return list(self.states)

    def delete(self, device_id: str) -> None:
        self.states.pop(device_id, None)
        for key in [key for key in self.pushes if key[0] == device_id]:
            del self.pushes[key]

    def pushed(self, device_id: str, channel: str, payload: bytes) -> Push:
        before = self.pushes.get((device_id, channel))
        push = Push(number=before.number + 1 if before else 1, payload=payload)
        self.pushes[device_id, channel] = push
        return push

    def last_push(self, device_id: str, channel: str) -> Push | None:
        return self.pushes.get((device_id, channel))

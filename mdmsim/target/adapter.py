"""What a scenario asks of a server's administrator, whatever the server is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class AdapterError(Exception):
    """The server's API did not do what was asked: what, where, and what it answered."""


class NotOffered(AdapterError):
    """This server has no way to do that; a check that needs it is not applicable."""


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """What the server knows of one command. `status` is of its last report, None before the first."""

    command_uuid: str
    request_type: str
    state: str
    status: str | None = None
    response: Mapping[str, Any] = field(default_factory=dict)
    error_chain: tuple[Mapping[str, Any], ...] = ()
    served: int = 0
    not_now: int = 0
    results: int = 0


class Adapter(Protocol):
    """Ways to make a server act. Ids are enrollment ids: the UDID of a device. All raise AdapterError."""

    name: str

    async def enrollment_profile(self, **changes: Any) -> bytes:
        """A profile that enrols one device by hand. `changes`: keys to set otherwise; NotOffered where it cannot."""

    async def queue(self, device: str, request_type: str, keys: Mapping[str, Any], *, push: bool = True) -> str:
        """Queue a command and return its CommandUUID; the server pushes unless told not to."""

    async def command(self, device: str, command_uuid: str) -> CommandStatus:
        """What became of a command."""

    async def device(self, device: str) -> Mapping[str, Any] | None:
        """The server's record of an enrollment; None where it has none."""

    async def push(self, device: str) -> int:
        """Push now; the status that APNs answered, 0 when it was not reached."""

    async def remove(self, device: str) -> None:
        """End the enrollment on the server: its identity is refused from now on."""

    async def refuse(self, *, udid: str, at: str) -> None:
        """Answer 401 to this device from now on: at `authenticate`, `tokenupdate` or `any`."""

    async def allow(self, *, udid: str) -> None:
        """Take back every refusal of this device."""

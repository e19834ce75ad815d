"""What a scenario asks of a server's administrator, whatever the server is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from mdmsim.printable import printable_lines
from mdmsim.world.abilities import Ability


class AdapterError(Exception):
    """The server's API did not do what was asked: what, where, and what it answered."""

    def __init__(self, text: str) -> None:
        super().__init__(printable_lines(text))


class ApiUnreachable(AdapterError):
    """The server's API did not answer, or does not take our key: nothing was learned about the server.

    An error of the run, never a verdict on the server.
    """


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
    """Ways to make a server act. Ids are enrollment ids: the UDID of a device. All raise AdapterError.

    `account` is the server's own name for an account at Apple's device enrollment service.
    """

    name: str
    abilities: frozenset[Ability]
    """What it offers; a method of any other ability raises NotOffered."""

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

    async def renew_enrollment(self, device: str, **changes: Any) -> str:
        """Have the device install a fresh enrollment profile over the one it has; the CommandUUID."""

    async def clear_passcode(self, device: str, *, token: bytes | None = None) -> str:
        """Queue ClearPasscode with the unlock token that the server keeps, or another; the CommandUUID."""

    async def add_dep_account(self, account: str) -> bytes:
        """A new account; the certificate (PEM) to upload to Apple's portal."""

    async def set_dep_token(self, account: str, content: bytes) -> None:
        """Take the token file (.p7m) that the portal gave out."""

    async def remove_dep_account(self, account: str) -> None:
        """Forget the account, its token and its devices; nothing changes at Apple."""

    async def sync_dep(self, account: str) -> None:
        """Ask Apple now which devices there are."""

    async def assign_dep_profile(
        self, account: str, profile: str, keys: Mapping[str, Any], serials: Sequence[str]
    ) -> Mapping[str, int]:
        """Define a profile at Apple, if it changed, and let devices have it; how many by Apple's word (SUCCESS, ...)."""

    async def dep_device(self, account: str, serial: str) -> Mapping[str, Any] | None:
        """What the server knows of a device at Apple; None if it knows none of that serial number."""


class AppleDevicesNotOffered:
    """For adapters of servers whose API knows nothing of Apple's device enrollment service."""

    name: str

    def _nothing_of_apple(self) -> NoReturn:
        raise NotOffered(f"the adapter {self.name} has no way to Apple's device enrollment service")

    async def add_dep_account(self, account: str) -> bytes:
        self._nothing_of_apple()

    async def set_dep_token(self, account: str, content: bytes) -> None:
        self._nothing_of_apple()

    async def remove_dep_account(self, account: str) -> None:
        self._nothing_of_apple()

    async def sync_dep(self, account: str) -> None:
        self._nothing_of_apple()

    async def assign_dep_profile(
        self, account: str, profile: str, keys: Mapping[str, Any], serials: Sequence[str]
    ) -> Mapping[str, int]:
        self._nothing_of_apple()

    async def dep_device(self, account: str, serial: str) -> Mapping[str, Any] | None:
        self._nothing_of_apple()

"""What Apple's device enrollment service needs of the storage, in the manner of `storage/interface.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from reference_server.storage.dep_records import (
    AutomatedRecord,
    DepAccount,
    DepChanges,
    DepDevice,
    DepPlace,
    DepProfile,
    DepSecrets,
    DeviceUser,
)


class DepAccountStore(Protocol):
    """Accounts, as the administrator sees them."""

    async def add_dep_account(self, name: str, *, certificate: bytes, key: bytes, now_ms: int) -> bool:
        """False if there is one of that name."""

    async def remove_dep_account(self, name: str) -> bool:
        """With all that is known of its devices; False if there was none."""

    async def dep_accounts(self) -> list[DepAccount]: ...

    async def dep_account(self, name: str) -> DepAccount | None: ...

    async def dep_secrets(self, name: str) -> DepSecrets | None: ...

    async def set_dep_token(
        self, name: str, token: bytes, *, consumer_key: str, expires_ms: int | None, anew: bool, now_ms: int
    ) -> None:
        """`anew`: it is another server entry's, so that devices and place in the list are forgotten."""

    async def dep_profiles(self, name: str) -> list[DepProfile]: ...

    async def set_dep_profile(self, account: str, profile: str, wishes: dict[str, Any] | None) -> None: ...

    async def dep_want(self, account: str, profile: str, serials: Sequence[str] | None) -> None:
        """Let devices (None: all) have that profile from now on. Raises ApiProblem for one that the account lacks."""

    async def dep_devices(self, account: str, *, gone: bool | None, after: str, limit: int) -> list[DepDevice]:
        """Devices with a serial number above `after`, by serial number."""

    async def dep_device(self, account: str, serial: str) -> DepDevice | None: ...


class DepRoundStore(Protocol):
    """What a round with Apple reads and writes. Each method is one durable transaction."""

    async def dep_secrets(self, name: str) -> DepSecrets | None: ...

    async def dep_due(self, *, now_ms: int, guard_ms: int) -> list[str]:
        """Accounts whose round is due; each is put off to `guard_ms`, should the round never come to its end."""

    async def dep_next_ms(self) -> int | None:
        """When the next round is due; None if no account has a token."""

    async def dep_hurry(self, name: str, *, now_ms: int) -> None:
        """The account's next round is due now, unless the last one failed: then Apple is left alone as planned."""

    async def dep_done(self, name: str, *, now_ms: int, next_ms: int) -> None: ...

    async def dep_failed(self, name: str, reason: str, *, now_ms: int, next_ms: int) -> None: ...

    async def dep_place(self, name: str) -> DepPlace | None: ...

    async def keep_dep_account(self, name: str, account: dict[str, Any], *, now_ms: int) -> None:
        """What Apple says of the account."""

    async def dep_start_over(self, name: str) -> None:
        """The full list is read from its beginning."""

    async def dep_page(
        self, name: str, devices: Sequence[dict[str, Any]], *, cursor: str, fetched: bool, now_ms: int
    ) -> DepChanges:
        """Keep a page and the cursor behind it, together. `fetched`: it was the last of a full list."""

    async def dep_fetch_is_over(self, name: str, *, now_ms: int) -> None: ...

    async def dep_accounts(self) -> list[DepAccount]: ...

    async def dep_profiles(self, name: str) -> list[DepProfile]: ...

    async def dep_defined(
        self, account: str, profile: str, uuid: str, definition: dict[str, Any], *, now_ms: int
    ) -> None:
        """Apple knows this definition, under this UUID; it is the profile's from now on."""

    async def dep_unassigned(self, account: str, profile: str, uuid: str, *, now_ms: int, limit: int) -> list[str]:
        """Serial numbers of devices that are to have the profile and do not."""

    async def dep_assigned(
        self, account: str, results: Iterable[tuple[str, str]], *, uuid: str, now_ms: int, retry_ms: int
    ) -> None:
        """Keep Apple's results, by serial number. What failed is tried again at `retry_ms`."""

    async def dep_read_back(
        self, account: str, details: dict[str, dict[str, Any]], *, uuid: str, retry_ms: int
    ) -> None:
        """What Apple says of devices just assigned; it counts for more than the results did."""


class AutomatedStore(Protocol):
    """What the automated enrollment endpoint asks."""

    async def dep_enrollable(self, serial: str) -> dict[str, Any] | None:
        """The definition that a device has its profile by; empty where that is not known here. None: not our device."""

    async def device_user(self, serial: str) -> DeviceUser | None:
        """How that device gets its user; None: as the server's settings say."""

    async def set_device_user(self, serial: str, chosen: DeviceUser | None) -> None: ...

    async def keep_automated(self, record: AutomatedRecord) -> None: ...

    async def automated(self, serial: str) -> AutomatedRecord | None:
        """What was given out to that device last."""

"""Automated enrollment: which device gets its enrollment profile in Setup Assistant, and what the others are told.

Source: other/machineinfo.yaml and mdm/errors/*.yaml of Apple's schema; Apple, "Authenticating through web views".
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

from mdmsim.clock import Clock
from mdmsim.events import Events
from reference_server.enrollment.login import Login, Visitor
from reference_server.enrollment.machine_info import MachineInfo, read_machine_info
from reference_server.enrollment.os_versions import update_needed
from reference_server.enrollment.profile import Profiles, ProfileWishes
from reference_server.errors import LoginNeeded, Refusal
from reference_server.settings import Settings
from reference_server.storage.dep_interface import AutomatedStore
from reference_server.storage.dep_records import AutomatedRecord
from reference_server.storage.records import ChallengeTerms

#: mdm/errors/unrecognized.device.yaml, mdm/errors/softwareupdate.required.yaml
UNRECOGNIZED = "com.apple.unrecognized.device"
UPDATE_REQUIRED = "com.apple.softwareupdate.required"


class CodedRefusal(Refusal):
    """A 403 that the device acts on: `answer` is its JSON."""

    def __init__(self, code: str, why: str, *, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(403, why)
        self.answer: dict[str, Any] = {"code": code, "description": why, "message": message}
        if details is not None:
            self.answer["details"] = details


class Automated:
    """Gives profiles to devices that the factory vouches for and that Apple says are ours."""

    def __init__(
        self,
        settings: Settings,
        store: AutomatedStore,
        profiles: Profiles,
        login: Login,
        clock: Clock,
        *,
        events: Events | None,
    ) -> None:
        self._settings = settings
        self._store = store
        self._profiles = profiles
        self._login = login
        self._clock = clock
        self._events = events

    async def by_post(self, body: bytes, authorization: str | None, method: str, target: str) -> bytes:
        """The profile for a signed MachineInfo. `target`: path and query that were asked for. Raises Refusal."""
        info: MachineInfo | None = None
        try:
            info = self._read(body)
            await self._admit(info)
            user = await self._assigned_user(info.serial)
            if user is None:
                user = self._signed_in(authorization, method, target)
            profile = await self._profile(info.serial, info.udid, user)
        except Refusal as refusal:
            self._tell(info, refusal)
            raise
        self._tell(info, None)
        return profile

    def _signed_in(self, authorization: str | None, method: str, target: str) -> str | None:
        """Who signed in, None where nobody must. Raises Refusal."""
        mode = self._settings.automated_login
        if mode == "web":
            raise Refusal(403, "whoever enrols here must sign in at the web address of the device's profile")
        if mode == "none":
            return None
        user, why, stale = self._login.check(authorization, method, target)
        if user is None:
            raise LoginNeeded(why, self._login.challenge(stale=stale))
        return user

    async def _assigned_user(self, serial: str) -> str | None:
        """The user whom the device was assigned to beforehand: nobody has to sign in for it."""
        chosen = await self._store.device_user(serial)
        return chosen.user if chosen is not None else None

    async def without_login(self, visitor: Visitor) -> bytes | None:
        """The profile for a device that opened the web login and has its user already; None if somebody must sign in."""
        user = await self._assigned_user(visitor.serial)
        return await self._given(visitor, user) if user is not None else None

    async def visit(self, header: str | None) -> Visitor:
        """The device that opens the web login, by its header of MachineInfo. Raises Refusal."""
        info: MachineInfo | None = None
        try:
            if not header:
                raise Refusal(400, "the header x-apple-aspen-deviceinfo is missing")
            try:
                data = base64.b64decode("".join(header.split()), validate=True)
            except (binascii.Error, ValueError):
                raise Refusal(400, "the header x-apple-aspen-deviceinfo is not base64") from None
            info = self._read(data)
            await self._admit(info)
        except Refusal as refusal:
            self._tell(info, refusal)
            raise
        return Visitor(serial=info.serial, udid=info.udid, at_ms=self._clock.now_ms())

    async def sign_in(self, visitor: Visitor, name: str, password: str) -> bytes | None:
        """The profile for a device whose user signed in; None for a wrong name or password. Raises Refusal."""
        if not self._login.is_user(name, password):
            self._emit(visitor.serial, visitor.udid, 401, "wrong name or password")
            return None
        return await self._given(visitor, name)

    async def _given(self, visitor: Visitor, user: str) -> bytes:
        try:
            profile = await self._profile(visitor.serial, visitor.udid, user)
        except Refusal as refusal:
            self._emit(visitor.serial, visitor.udid, refusal.status, refusal.why)
            raise
        self._emit(visitor.serial, visitor.udid, 200, None)
        return profile

    def _read(self, data: bytes) -> MachineInfo:
        return read_machine_info(data, self._settings.automated_anchors, at_ms=self._clock.now_ms())

    async def _admit(self, info: MachineInfo) -> None:
        await self._definition(info.serial)
        needed = update_needed(info, self._settings.automated_minimum_os)
        # A device that could not follow the demand is let in as it is: refused, it would be managed by nobody.
        if needed is not None and info.can_update:
            raise CodedRefusal(
                UPDATE_REQUIRED,
                f"{info.serial} runs {info.os_version} and must be updated to {needed} first",
                message=f"Update to {needed} to go on.",
                details={"OSVersion": needed},
            )

    async def _definition(self, serial: str) -> dict[str, Any]:
        definition = await self._store.dep_enrollable(serial)
        if definition is None:
            raise CodedRefusal(
                UNRECOGNIZED,
                f"the serial number {serial!r} is not among the devices that Apple names",
                message="This device is not managed here.",
            )
        return definition

    async def _profile(self, serial: str, udid: str, user: str | None) -> bytes:
        # Apple, "Profile": is_mdm_removable is true unless it is said otherwise.
        removable = (await self._definition(serial)).get("is_mdm_removable") is not False
        minted = await self._profiles.mint(
            ProfileWishes(removal_disallowed=True if not removable else None), ChallengeTerms(owner=udid, user=user)
        )
        await self._store.keep_automated(
            AutomatedRecord(serial_number=serial, udid=udid, removable=removable, at_ms=self._clock.now_ms())
        )
        return minted.content

    def _tell(self, info: MachineInfo | None, refusal: Refusal | None) -> None:
        serial, udid = (info.serial, info.udid) if info is not None else (None, None)
        self._emit(serial, udid, refusal.status if refusal else 200, refusal.why if refusal else None)

    def _emit(self, serial: str | None, udid: str | None, status: int, why: str | None) -> None:
        if self._events is not None:
            self._events.emit(
                "server.automated", source="server", serial_number=serial, udid=udid, status=status, why=why
            )

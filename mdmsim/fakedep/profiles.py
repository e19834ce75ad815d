"""Endpoints about profiles: define, read, assign, remove."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mdmsim.chance import Chance
from mdmsim.fakedep.core import Call, Core, serial_numbers, text
from mdmsim.fakedep.errors import DepError, Refused, refuse
from mdmsim.fakedep.model import Profile
from mdmsim.fakedep.profile_rules import check

_RESULTS = ("FAILED", "THROTTLED", "NOT_ACCESSIBLE")


class ProfileEndpoints:
    """Each method answers one call with a JSON value, or raises Refused."""

    def __init__(self, core: Core, chance: Chance) -> None:
        self._core = core
        self._uuids = chance

    def define(self, call: Call) -> Any:
        """A new profile, always with a UUID of its own: profiles never change. Apple, "Define a Profile"."""
        body = call.body()
        warnings = check(body, refuse_empty=self._core.settings.refuse_empty_strings)
        serials = serial_numbers(body, required=False)
        definition = {key: value for key, value in body.items() if key not in ("devices", "profile_uuid")}
        profile = Profile(self._uuids.uuid().hex.upper(), definition, self._core.clock.now_ms())
        call.server.profiles[profile.uuid] = profile
        self._core.emit(
            "dep.profile-defined",
            server=call.server.name,
            profile_uuid=profile.uuid,
            profile_name=body["profile_name"],
            warnings=warnings,
        )
        # The answer of this endpoint knows no THROTTLED.
        results, _ = self._assign(call, profile, serials, throttled="FAILED")
        return {"profile_uuid": profile.uuid, "devices": results}

    def read(self, call: Call) -> Any:
        """A profile as it was defined. Apple, "Get a Profile"."""
        profile = self._profile(call, call.query.get("profile_uuid"))
        self._core.emit("dep.profile-read", server=call.server.name, profile_uuid=profile.uuid)
        return {"profile_uuid": profile.uuid, **profile.definition}

    def assign(self, call: Call) -> Any:
        """Assign a profile to devices. Apple, "Assign a Profile"."""
        body = call.body()
        serials = serial_numbers(body, required=True)
        profile = self._profile(call, text(body, "profile_uuid"))
        # Older clients do not know the word (version 9), or how long to wait (version 10).
        results, wait_s = self._assign(call, profile, serials, "THROTTLED" if call.version >= 9 else "FAILED")
        answer: dict[str, Any] = {"profile_uuid": profile.uuid, "devices": results}
        if wait_s is not None and call.version >= 10:
            answer["retry_after_seconds"] = wait_s
        return answer

    def remove(self, call: Call) -> Any:
        """Take whatever profile they have from devices; a `profile_uuid` in the body means nothing. Apple, "Remove a Profile"."""
        results: dict[str, str] = {}
        for serial in serial_numbers(call.body(), required=True):
            device = call.server.get(serial)
            if device is None:
                results[serial] = "NOT_ACCESSIBLE"
            else:
                self._core.register.remove_profile(device)
                results[serial] = "SUCCESS"
        self._core.emit("dep.unassigned", server=call.server.name, results=results)
        return {"devices": results}

    # inside

    def _profile(self, call: Call, asked: str | None) -> Profile:
        if not asked:
            raise refuse("PROFILE_UUID_REQUIRED", "no profile_uuid")
        profile = call.server.profiles.get(asked.replace("-", "").upper())
        if profile is None:
            reason = self._core.settings.unknown_profile
            status = 404 if reason == "NOT_FOUND" else 400
            raise Refused(DepError(status, reason, f"this server defined no profile {asked[:40]}"))
        return profile

    def _assign(
        self, call: Call, profile: Profile, serials: list[str], throttled: str
    ) -> tuple[dict[str, str], int | None]:
        core, get = self._core, call.server.get
        assign: Callable[..., object] = core.register.assign_profile
        results: dict[str, str] = {}
        wait_s: int | None = None
        for serial in serials:
            device = get(serial)
            if device is None:
                results[serial] = "NOT_ACCESSIBLE"
                continue
            results[serial] = "SUCCESS"
            if core.faults.planned:
                facts = {**call.facts, "serial": serial}
                if (fault := core.draw("assign.refused", facts)) is not None:
                    word, seconds = _result(fault.answer)
                    if word == "THROTTLED":
                        wait_s = max(wait_s or 0, seconds)
                        word = throttled
                    results[serial] = word
                    continue
                if core.draw("assign.omitted", facts) is not None:
                    del results[serial]
                    continue
                if core.draw("assign.ignored", facts) is not None:
                    continue
            assign(device, profile)
        if serials:
            core.emit("dep.assigned", server=call.server.name, profile_uuid=profile.uuid, results=results)
        return results, wait_s


def _result(answer: Any) -> tuple[str, int]:
    """What a fault wants a device's result to be, and how many seconds to wait."""
    seconds = 3600
    if isinstance(answer, dict):
        seconds = int(answer.get("retry_after_seconds", seconds))
        answer = answer.get("status")
    return (answer if answer in _RESULTS else "FAILED"), seconds

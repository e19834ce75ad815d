"""When a device says NotNow, and what must change before it asks again by itself.

Source: Apple, "Handling NotNow status responses", and the archived MDM Protocol Reference. On a passcode-locked iPhone
InstallProfile and SecurityInfo are NotNow (reported by developers); before the first unlock everything outside the
list below is. On a Mac in Power Nap everything but a few is.
"""

from __future__ import annotations

from mdmsim.device.state import DeviceState

#: Never answered NotNow on iOS (the current list; CertificateList was on the archived one).
NEVER_ON_IOS = frozenset(
    {
        "DeviceInformation",
        "ProfileList",
        "DeviceLock",
        "EraseDevice",
        "ClearPasscode",
        "ProvisioningProfileList",
        "InstalledApplicationList",
        "Restrictions",
    }
)

#: NotNow on iOS whenever a passcode-locked screen protects the data they need.
WHILE_LOCKED_ON_IOS = frozenset({"InstallProfile", "SecurityInfo"})

#: Carried out by a Mac even in Power Nap.
IN_POWER_NAP = frozenset(
    {
        "DeleteUser",
        "DeviceLock",
        "EraseDevice",
        "RestartDevice",
        "ShutDownDevice",
        "UserList",
        "ActivationLockBypassCode",
        "ClearActivationLockBypassCode",
        "UnlockUserAccount",
    }
)


def stands_in_the_way(state: DeviceState, condition: str) -> bool:
    """Whether a condition that `not_now` named still holds."""
    match condition:
        case "power-nap":
            return state.power_nap
        case "locked":
            return bool(state.passcode) and state.screen_locked
        case _:
            return bool(state.passcode) and not state.unlocked_since_boot


def not_now(state: DeviceState, request_type: str) -> str | None:
    """The condition that must end first (first-unlock, locked, power-nap); None if the command can be carried out."""
    platform = state.persona.platform
    if platform == "macos":
        return "power-nap" if state.power_nap and request_type not in IN_POWER_NAP else None
    if platform == "tvos" or not state.passcode:
        return None
    if not state.unlocked_since_boot and request_type not in NEVER_ON_IOS:
        return "first-unlock"
    if state.screen_locked and request_type in WHILE_LOCKED_ON_IOS:
        return "locked"
    return None

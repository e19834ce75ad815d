"""The changing side of a device's inventory, read off its state."""

from __future__ import annotations

from mdmsim.device.personas import Facts, is_supervised
from mdmsim.device.state import DeviceState


def facts_of(state: DeviceState, now_ms: int) -> Facts:
    """What inventory answers and availability depend on. A person who installs a profile by hand approves it."""
    enrollment = state.enrollment
    return Facts(
        now_ms=now_ms,
        supervised=True if state.supervised else None,
        dep=enrollment.dep if enrollment else False,
        passcode_present=bool(state.passcode),
        device_name=state.device_name or None,
    )


def supervised(state: DeviceState, now_ms: int) -> bool:
    """Whether the device counts as supervised now; a Mac since 11 does once its enrollment was approved."""
    return is_supervised(state.persona, facts_of(state, now_ms))

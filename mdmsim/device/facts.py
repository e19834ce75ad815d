"""The changing side of a device's inventory, read off its state."""

from __future__ import annotations

from dataclasses import replace

from mdmsim.device.passcode_policy import complies, policy_of
from mdmsim.device.personas import Facts, is_supervised
from mdmsim.device.state import DeviceState
from mdmsim.device.store import BlobStore


def facts_of(state: DeviceState, now_ms: int) -> Facts:
    """What inventory answers and availability depend on. A person who installs a profile by hand approves it."""
    enrollment = state.enrollment
    return Facts(
        now_ms=now_ms,
        supervised=_supervised(state),
        dep=enrollment.dep if enrollment else False,
        user_approved=enrollment is not None,
        awaiting_configuration=enrollment.awaiting if enrollment else False,
        multi_user=enrollment.multi_user if enrollment else False,
        passcode_present=bool(state.passcode),
        device_name=state.device_name or None,
    )


def _supervised(state: DeviceState) -> bool | None:
    if state.supervised:
        return True
    enrollment, persona = state.enrollment, state.persona
    if persona.is_mac and persona.at_least("11.0"):  # goes by the approval, however it was enrolled before
        return None
    return False if enrollment is not None and enrollment.dep and not enrollment.supervises else None


def security_facts_of(state: DeviceState, now_ms: int, store: BlobStore) -> Facts:
    """The same with what the installed profiles say of the passcode; costs reading them."""
    follows = complies(policy_of(state, store), state.passcode)
    return replace(facts_of(state, now_ms), passcode_compliant_with_profiles=follows)


def supervised(state: DeviceState, now_ms: int) -> bool:
    """Whether the device counts as supervised now; a Mac since 11 does once its enrollment was approved."""
    return is_supervised(state.persona, facts_of(state, now_ms))

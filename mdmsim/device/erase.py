"""Erasing: everything that was not built in goes, and the device stands in Setup Assistant as on its first day.

No CheckOut is sent (Apple, MDM Best Practices). Identifiers stay; identity, push token, profiles, passcode and user data
do not. Without someone who walks it, a device goes on by itself only with Return to Service, or with auto advance where
it is wired to a network.
"""

from __future__ import annotations

from mdmsim.device.applications import apps_of
from mdmsim.device.device import Work
from mdmsim.device.power import restart
from mdmsim.device.state import Channel, Erasure, PinLock


def erase(work: Work, *, by: str, how: Erasure | None = None) -> None:
    """Erase the device now, and restart it into Setup Assistant."""
    state = work.state
    how = how or Erasure()
    enrolled = state.enrollment is not None
    state.profiles, state.keychain = [], []
    state.enrollment = state.leaving = state.installation = None
    # The courier counts on, so a push of before the erase stays heard.
    state.channels = {name: Channel(heard=voice.heard) for name, voice in state.channels.items()}
    # Supervision that came with automated enrollment goes, and comes back with the next one.
    state.supervised = work.persona.supervised
    state.passcode = ""
    state.passcode_deadline_ms = None
    state.screen_locked, state.unlocked_since_boot = False, True
    state.lock_message = state.lock_phone = ""
    state.pin_lock = state.pin_pending = None
    state.power_nap = False
    state.device_name = ""
    state.apps = apps_of(work.persona, work.draw(), fresh=True)
    state.cloud_configuration = ""
    state.erasing = None
    state.setup = "welcome"
    state.return_to_service = how if how.return_to_service else None
    state.setup_due_ms, state.setup_attempts = None, 0
    if how.pin:  # a Mac without security chip: its firmware asks for the PIN before anything starts
        state.pin_lock = PinLock(pin=how.pin)
    work.emit("device.erased", by=by, how=how.method)
    if enrolled:
        work.emit("device.unenrolled", reason="erased", url="", status=None)
    restart(work, why="erase")

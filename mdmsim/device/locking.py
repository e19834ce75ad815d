"""Screen lock, passcode and the PIN that stands before a locked Mac: what commands and people change."""

from __future__ import annotations

from mdmsim.clock import MINUTE
from mdmsim.device.device import Noted, Work
from mdmsim.device.passcode_policy import complies, policy_of
from mdmsim.device.power import boot, poll_after, restart, resume_pending, shut_down
from mdmsim.device.tokens import renew_unlock_token


class WrongPasscode(Noted):
    """What was typed is not the passcode or PIN; the device stays locked."""


def lock_screen(work: Work, *, by: str, message: str = "", phone: str = "") -> None:
    """Lock the screen. Message and phone number stand on the lock screen of a device that has a passcode."""
    work.state.screen_locked = True
    work.state.lock_message, work.state.lock_phone = message, phone
    work.emit("device.locked", by=by, pin=False, message=message)


def unlock_screen(work: Work, passcode: str = "") -> None:
    """Someone types the passcode (none: just wakes the screen). Raises WrongPasscode; the attempt is an event then too.

    A NotNow that waited for this makes the device poll by itself.
    """
    state = work.state
    if not state.present:
        raise WrongPasscode("the device is off or behind a PIN")
    if state.passcode and passcode != state.passcode:
        work.emit("device.lock-refused", by="passcode")
        raise WrongPasscode("that is not the passcode")
    was_first = not state.unlocked_since_boot
    state.screen_locked = False
    state.unlocked_since_boot = True
    state.lock_message = state.lock_phone = ""
    work.emit("device.unlocked", by="passcode")
    poll_after(work, "locked", "first-unlock")
    if was_first:  # Wi-Fi is back only now on devices without a cellular network
        resume_pending(work)


def set_passcode(work: Work, passcode: str) -> None:
    """A person sets, changes or (empty) removes the passcode. On iOS this makes a new unlock token."""
    work.state.passcode = passcode
    renew_unlock_token(work)
    if not passcode:
        was_first, work.state.unlocked_since_boot = not work.state.unlocked_since_boot, True
        work.state.screen_locked = False
        poll_after(work, "locked", "first-unlock")
        if was_first:
            resume_pending(work)
    follows = complies(policy_of(work.state, work.store), passcode)
    work.state.passcode_deadline_ms = None if follows else work.now_ms + work.behaviour.passcode_minutes * MINUTE
    work.emit("device.passcode-changed", present=bool(passcode), compliant=follows)


def clear_passcode(work: Work) -> None:
    """Take the passcode away, as ClearPasscode does. Where a profile requires one, the user has an hour to set it.

    Source: Apple, MDM Best Practices, "Passcode Policy Compliance".
    """
    set_passcode(work, "")


def apps_open(work: Work) -> bool:
    """Whether apps can be opened: not once the hour for setting a required passcode has passed."""
    deadline = work.state.passcode_deadline_ms
    return deadline is None or work.now_ms < deadline


def engage_pin_lock(work: Work) -> None:
    """Go behind the PIN that a command left: an Intel Mac shuts down behind its firmware, Apple silicon restarts.

    Source: Apple, Profile Manager help (Intel); Device Lock command documentation (Apple silicon).
    """
    lock = work.state.pin_pending
    if lock is None:
        return
    work.state.pin_pending = None
    work.state.pin_lock = lock
    work.emit("device.locked", by="command", pin=True, message=lock.message)
    if work.persona.is_apple_silicon:
        restart(work, why="DeviceLock")
    else:
        shut_down(work, why="DeviceLock")


def enter_pin(work: Work, pin: str) -> None:
    """Someone starts the Mac and types the PIN. Raises WrongPasscode, and the attempt is an event; it stays locked."""
    lock = work.state.pin_lock
    if lock is None:
        raise WrongPasscode("no PIN is asked for")
    if pin != lock.pin:
        work.emit("device.lock-refused", by="pin")
        raise WrongPasscode("that is not the PIN")
    work.state.pin_lock = None
    work.emit("device.unlocked", by="pin")
    if work.state.power == "off":
        work.state.boot_ms = work.now_ms
        boot(work)
    else:
        resume_pending(work)

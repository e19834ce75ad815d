"""DeviceLock (mdm/commands/device.lock.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device import errors
from mdmsim.device.commands.keys import optional
from mdmsim.device.commands.registry import after_report, handles
from mdmsim.device.device import Work
from mdmsim.device.locking import lock_screen
from mdmsim.device.state import PinLock
from mdmsim.protocol.connect import Command

#: A Mac's lock PIN has six digits (mdm/commands/device.lock.yaml, PIN; Apple, Device Lock).
PIN_DIGITS = 6


@handles("DeviceLock")
def device_lock(work: Work, command: Command) -> dict[str, Any]:
    """Lock: a Mac goes behind its PIN once the report is out, anything with a screen lock locks at once."""
    message = optional(command, "Message", str) or ""
    phone = optional(command, "PhoneNumber", str) or ""
    pin = optional(command, "PIN", str)
    if work.persona.is_mac:
        return _lock_mac(work, command, pin, message, phone)
    if not work.state.passcode:
        # Captured on iOS: without a passcode the answer says so even if the command carried no message.
        work.state.screen_locked = True
        work.emit("device.locked", by="command", pin=False, message="")
        return {"MessageResult": "NoPasscodeSet"}
    lock_screen(work, by="command", message=message, phone=phone)
    return {"MessageResult": "Success"} if message or phone else {}


def _lock_mac(work: Work, command: Command, pin: str | None, message: str, phone: str) -> dict[str, Any]:
    persona = work.persona
    if pin is None:
        if persona.needs_pin_for_lock:
            raise errors.missing_key(persona, command.request_type, "PIN")
        lock_screen(work, by="command", message=message, phone=phone)
        return {}
    if len(pin) != PIN_DIGITS or not (pin.isascii() and pin.isdigit()):
        # Which code a Mac gives here was never captured; 97 is its code for an argument that is not there or not right.
        raise errors.client(persona, 97, f"PIN must have {PIN_DIGITS} digits <{errors.CLIENT}:97>")
    work.state.pin_pending = PinLock(pin=pin, message=message, phone=phone)
    after_report(work, "pin-lock")
    return {}

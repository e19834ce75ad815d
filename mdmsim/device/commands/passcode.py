"""ClearPasscode (mdm/commands/passcode.clear.yaml)."""

from __future__ import annotations

import hmac
from typing import Any

from mdmsim.device import errors
from mdmsim.device.commands.keys import required
from mdmsim.device.commands.registry import handles
from mdmsim.device.device import Work
from mdmsim.device.locking import clear_passcode
from mdmsim.protocol.connect import Command

#: MCPasscodeErrorDomain: the passcode cannot be cleared (Apple's table of codes; likely for a wrong token).
CANNOT_CLEAR = 5013


@handles("ClearPasscode")
def clear(work: Work, command: Command) -> dict[str, Any]:
    """Remove the passcode at once, if the unlock token is this device's own and current."""
    token = required(work, command, "UnlockToken", bytes)
    own = work.state.channel().unlock_token
    if not own or not hmac.compare_digest(token, own):
        text = "The passcode cannot be cleared."
        raise errors.DeviceError((errors.item(work.persona, "MCPasscodeErrorDomain", CANNOT_CLEAR, text),))
    clear_passcode(work)
    return {}

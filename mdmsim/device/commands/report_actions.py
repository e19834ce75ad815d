"""What a command leaves to be done once its report was sent: lock behind a PIN, restart, give up the enrollment.

DESIGN: the action waits for the sending only, not for the answer; a device killed in between sends the report again
and acts then.
"""

from __future__ import annotations

from collections.abc import Callable

from mdmsim.device.device import Device, Work
from mdmsim.device.erase import erase
from mdmsim.device.flows.unenroll import decide_to_leave
from mdmsim.device.locking import engage_pin_lock
from mdmsim.device.power import restart, shut_down
from mdmsim.device.state import DEVICE_CHANNEL

#: The actions that end an enrollment.
ERASE, UNENROLL = "erase", "unenroll"

ACTIONS: dict[str, Callable[[Work], None]] = {
    ERASE: lambda work: erase(work, by="command", how=work.state.erasing),
    "shut-down": lambda work: shut_down(work, why="ShutDownDevice"),
    "restart": lambda work: restart(work, why="RestartDevice"),
    "pin-lock": engage_pin_lock,
    UNENROLL: lambda work: decide_to_leave(work, reason="command"),
}


def run_after_report(device: Device, channel: str = DEVICE_CHANNEL) -> bool:
    """Carry out the pending action, if there is one; whether there was."""
    action = device.voice(channel).after_report
    if action is None:
        return False

    def act(work: Work) -> None:
        work.state.channel(channel).after_report = None
        ACTIONS[action](work)

    device.change(act)
    return True

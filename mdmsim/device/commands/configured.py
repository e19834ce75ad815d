"""DeviceConfigured (mdm/commands/device.configured.yaml)."""

from __future__ import annotations

from typing import Any

import msgspec

from mdmsim.device import errors
from mdmsim.device.commands.registry import handles
from mdmsim.device.device import Work
from mdmsim.protocol.connect import Command


@handles("DeviceConfigured")
def device_configured(work: Work, command: Command) -> dict[str, Any]:
    """Release a device that waits in Setup Assistant; one that does not wait answers an error (which, is our choice)."""
    enrollment = work.state.enrollment
    if enrollment is None or not enrollment.awaiting:
        raise errors.mdm(work.persona, 12011, "The device is not awaiting configuration.")
    work.state.enrollment = msgspec.structs.replace(enrollment, awaiting=False)
    work.state.setup = "done"
    work.emit("device.configured")
    if work.behaviour.token_update_when_configured:
        work.wake("token-update", work.now_ms)
    return {}

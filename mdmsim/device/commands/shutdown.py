"""ShutDownDevice (mdm/commands/device.shutdown.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device.commands.registry import after_report, handles
from mdmsim.device.device import Work
from mdmsim.protocol.connect import Command


@handles("ShutDownDevice")
def shut_down_device(work: Work, command: Command) -> dict[str, Any]:
    """Shut down right after the report was sent; only a person switches the device on again."""
    after_report(work, "shut-down")
    return {}

"""RestartDevice (mdm/commands/device.restart.yaml)."""

from __future__ import annotations

from typing import Any

from mdmsim.device.commands.keys import optional
from mdmsim.device.commands.registry import after_report, handles
from mdmsim.device.device import Work
from mdmsim.protocol.connect import Command


@handles("RestartDevice")
def restart_device(work: Work, command: Command) -> dict[str, Any]:
    """Restart, right after the report was sent. Keys for kernel caches and users change nothing here but must be sound."""
    optional(command, "RebuildKernelCache", bool)
    optional(command, "KextPaths", list)
    optional(command, "NotifyUser", bool)
    after_report(work, "restart")
    return {}

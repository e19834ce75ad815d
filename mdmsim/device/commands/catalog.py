"""Which modules hold command handlers: importing them fills the registry."""

from __future__ import annotations

from importlib import import_module

MODULES = (
    "information",
    "profiles",
    "certificates",
    "applications",
    "lock",
    "passcode",
    "restart",
    "shutdown",
    "erase",
    "configured",
)


def load() -> None:
    """Import every module of handlers; a second call does nothing."""
    for module in MODULES:
        import_module(f"mdmsim.device.commands.{module}")

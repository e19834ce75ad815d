"""The HTTP/2 libraries that the front can run on: h2, and jh2, which has the same interface."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any


class NoEngine(ValueError):
    """The library is not installed."""


@dataclass(frozen=True, slots=True)
class Engine:
    """One library's modules. They are looked up by name, so both libraries look the same from here."""

    name: str
    config: Any
    connection: Any
    events: Any
    exceptions: Any
    settings: Any


@cache
def engine(name: str) -> Engine:
    """The library of that name, "h2" or "jh2". Raises NoEngine where it is not installed."""
    try:
        modules = [
            import_module(f"{name}.{module}") for module in ("config", "connection", "events", "exceptions", "settings")
        ]
    except ImportError:
        raise NoEngine(f'http2="{name}": {name} is not installed. Install mdmsim[fast], or take "h2".') from None
    return Engine(name, *modules)

"""Reading a command's keys: what is missing or of the wrong type gets the answer that a device gives."""

from __future__ import annotations

from typing import Any, TypeVar

from mdmsim.device.device import Work
from mdmsim.device.errors import CommandFormat, missing_key
from mdmsim.protocol.connect import Command

T = TypeVar("T")


def optional(command: Command, key: str, kind: type[T]) -> T | None:
    """The value of a key, None where it is absent. Raises CommandFormat for a value of another type."""
    value: Any = command.keys.get(key)
    if value is None:
        return None
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise CommandFormat(f"{key} of {command.request_type} is a {type(value).__name__}, not a {kind.__name__}")
    return value


def required(work: Work, command: Command, key: str, kind: type[T]) -> T:
    """The value of a key that must be there. Raises what the platform answers where it is not."""
    value = optional(command, key, kind)
    if value is None:
        raise missing_key(work.persona, command.request_type, key)
    return value

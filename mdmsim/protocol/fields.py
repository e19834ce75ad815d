"""Taking typed keys out of a parsed dictionary, with the errors that say which key, what was found and what is allowed."""

from __future__ import annotations

from typing import Any

from mdmsim.protocol.errors import Malformed, Problem
from mdmsim.protocol.plist import kind_of


class Fields:
    """The keys of one dictionary from outside. Each `take` removes a key; `rest()` is what nobody asked for.

    Each method raises Malformed for a value of the wrong type; the `required_` ones for a missing or empty one too.
    """

    __slots__ = ("_values", "what", "where")

    def __init__(self, what: str, values: dict[str, Any], *, where: str = "") -> None:
        self.what = what
        #: Path of the dictionary inside the message, such as "Command." or "ErrorChain[0].".
        self.where = where
        self._values = dict(values)

    def error(self, key: str, reason: str, problem: Problem = "value") -> Malformed:
        """The error for that key, to be raised by the caller."""
        return Malformed(self.what, f"{self.where}{key} {reason}", key=key, problem=problem)

    def take(self, key: str) -> Any:
        """The value as it is; None when absent (a plist holds no None)."""
        return self._values.pop(key, None)

    def rest(self) -> dict[str, Any]:
        """The keys that were not taken."""
        return self._values

    def string(self, key: str) -> str | None:
        value = self._values.pop(key, None)
        if value is None or isinstance(value, str):
            return value
        raise self._wrong(key, value, "a string")

    def required_string(self, key: str) -> str:
        value = self.string(key)
        if not value:
            raise self._absent(key, value, "a string")
        return value

    def data(self, key: str) -> bytes | None:
        value = self._values.pop(key, None)
        if value is None or isinstance(value, bytes):
            return value
        raise self._wrong(key, value, "data")

    def required_data(self, key: str) -> bytes:
        value = self.data(key)
        if not value:
            raise self._absent(key, value, "data")
        return value

    def boolean(self, key: str) -> bool | None:
        value = self._values.pop(key, None)
        if value is None or isinstance(value, bool):
            return value
        raise self._wrong(key, value, "a boolean")

    def integer(self, key: str) -> int | None:
        value = self._values.pop(key, None)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self._wrong(key, value, "an integer")

    def required_integer(self, key: str) -> int:
        value = self.integer(key)
        if value is None:
            raise self.error(key, "is missing; it must be an integer", "missing")
        return value

    def integer_or_leave(self, key: str) -> int | None:
        """An integer; None for anything else, which is left for `rest()`."""
        value = self._values.get(key)
        return self.integer(key) if isinstance(value, int) and not isinstance(value, bool) else None

    def dictionary(self, key: str) -> dict[str, Any] | None:
        value = self._values.pop(key, None)
        if value is None or isinstance(value, dict):
            return value
        raise self._wrong(key, value, "a dictionary")

    def required_dictionary(self, key: str) -> dict[str, Any]:
        value = self.dictionary(key)
        if value is None:
            raise self.error(key, "is missing; it must be a dictionary", "missing")
        return value

    def array(self, key: str) -> list[Any] | None:
        value = self._values.pop(key, None)
        if value is None or isinstance(value, list):
            return value
        raise self._wrong(key, value, "an array")

    def strings(self, key: str) -> tuple[str, ...]:
        """The strings of an array; none when it is absent."""
        items = self.array(key) or []
        for number, item in enumerate(items):
            if not isinstance(item, str):
                raise self.error(f"{key}[{number}]", f"is {kind_of(item)}; it must be a string", "type")
        return tuple(items)

    def dictionaries(self, key: str) -> tuple[dict[str, Any], ...] | None:
        """The dictionaries of an array; None when it is absent."""
        items = self.array(key)
        if items is None:
            return None
        for number, item in enumerate(items):
            if not isinstance(item, dict):
                raise self.error(f"{key}[{number}]", f"is {kind_of(item)}; it must be a dictionary", "type")
        return tuple(items)

    def _absent(self, key: str, value: str | bytes | None, wanted: str) -> Malformed:
        if value is None:
            return self.error(key, f"is missing; it must be {wanted}", "missing")
        return self.error(key, f"is empty; it must be {wanted} of at least one byte")

    def _wrong(self, key: str, value: Any, wanted: str) -> Malformed:
        return self.error(key, f"is {kind_of(value)}; it must be {wanted}", "type")


class DeviceFields(Fields):
    """Keys as devices take them: any number stands for any other, and for a boolean; to Apple's readers all are NSNumber.

    Seen on macOS: `<integer>1</integer>` for a boolean (microsoft/mdatp-xplat issue 257).
    """

    __slots__ = ()

    def boolean(self, key: str) -> bool | None:
        value = self._values.get(key)
        if isinstance(value, int | float):
            self._values[key] = bool(value)
        return super().boolean(key)

    def integer(self, key: str) -> int | None:
        value = self._values.get(key)
        if isinstance(value, bool) or (isinstance(value, float) and value.is_integer()):
            self._values[key] = int(value)
        return super().integer(key)

    def integer_or_leave(self, key: str) -> int | None:
        value = self._values.get(key)
        return (
            self.integer(key) if isinstance(value, int) or (isinstance(value, float) and value.is_integer()) else None
        )

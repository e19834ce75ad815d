"""What typer has against a value on the command line, in the words of this project.

By names and texts only: typer carries a click of its own, and versions differ in who judges values.
"""

from __future__ import annotations

import re
from typing import Any


def usage_text(error: Any) -> str:
    """The message of a usage error: option, value, what is allowed."""
    text: str = getattr(error, "format_message", error.__str__)()
    parameter = getattr(error, "param", None)
    said = str(getattr(error, "message", ""))
    if type(error).__name__ != "BadParameter" or parameter is None:
        return text
    takes = _choices(said) or _number(said, parameter)
    if takes is None:
        return text.replace("Value error, ", "")
    name = "/".join(parameter.opts) if parameter.opts[0].startswith("-") else (parameter.metavar or parameter.name)
    return f"{name}{_value(error, said)}: takes {takes}"


def _choices(said: str) -> str | None:
    found = re.search(r"is not one of (.*?)\.?$", said)
    if found is None:
        return None
    *first, last = re.findall(r"'([^']*)'", found[1]) or [found[1]]
    return f"{', '.join(first)} or {last}" if first else last


def _number(said: str, parameter: Any) -> str | None:
    if not re.search(r"integer|valid number|valid float|in the range|(greater|less) than", said):
        return None
    declared = getattr(getattr(parameter, "type_descriptor", None), "annotation", None)
    older = getattr(parameter, "type", None)
    is_float = declared is float or getattr(older, "name", "").startswith("float") or "valid number" in said
    low, high = (
        next((bound for holder in (parameter, older) if (bound := getattr(holder, name, None)) is not None), None)
        for name in ("min", "max")
    )
    kind = "a number" if is_float else "a whole number"
    if low is not None and high is not None:
        return f"{kind} from {low} to {high}"
    return f"{kind}, {low} or more" if low is not None else f"{kind}, at most {high}" if high is not None else kind


def _value(error: Any, said: str) -> str:
    """What was written, with a blank before; nothing where that cannot be told."""
    judged = getattr(error.__cause__, "errors", None)
    if callable(judged):
        try:
            return f" {judged()[0]['input']}"
        except (LookupError, TypeError):
            return ""
    found = re.match(r"'([^']*)' is not|(\S+) is not in", said)
    return f" {found[1] or found[2]}" if found is not None else ""

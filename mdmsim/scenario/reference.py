"""The reference of steps in `docs/writing-a-scenario.md`, made from the registry so that it cannot be out of date.

`python -m mdmsim.scenario.reference docs/writing-a-scenario.md` writes it anew.
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import msgspec

from mdmsim.scenario.durations import Duration
from mdmsim.scenario.model import BehaviourSettings, DeviceSpec, ScenarioText, ServerSettings, Step
from mdmsim.scenario.registry import STEPS, steps
from mdmsim.scenario.typed import Arguments, Field, fields_of

BEGIN, END = "<!-- reference: begin -->", "<!-- reference: end -->"

_WORDS: dict[Any, str] = {
    str: "text",
    int: "number",
    float: "number",
    bool: "true, false",
    Duration: "duration",
    Any: "anything",
}


def reference() -> str:
    """The Markdown of every key of a scenario and of every step."""
    parts = ["### A scenario\n", _table(ScenarioText), "### A device\n", _table(DeviceSpec)]
    parts += ["### `server` and `behaviour`\n", _table(ServerSettings), _table(BehaviourSettings)]
    names = steps()
    parts.append("### Steps\n")
    for name in names:
        parts += [f"#### `{name}`\n", _text(STEPS[name].arguments), _table(STEPS[name].arguments)]
        parts += [part for nested in _nested(STEPS[name].arguments) for part in nested]
    return "\n".join(parts)


def _text(arguments: type[Arguments]) -> str:
    paragraphs = (arguments.__doc__ or "").strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs) + "\n"


def _nested(arguments: type[Arguments]) -> list[tuple[str, str]]:
    """Structs inside a step, each with its own table."""
    found: list[tuple[str, str]] = []
    for field in fields_of(arguments):
        for part in _parts(field.type):
            if isinstance(part, type) and issubclass(part, Arguments):
                found.append((f"`{field.key}`: {_text(part)}", _table(part)))
    return found


def _parts(declared: Any) -> list[Any]:
    inner = [part for part in get_args(declared) if part is not Ellipsis]
    return [declared, *(nested for part in inner for nested in _parts(part))]


def _table(arguments: type[Arguments]) -> str:
    rows = ["| key | what | value | default |", "| --- | --- | --- | --- |"]
    for field in fields_of(arguments):
        example = f", e.g. `{field.hint.example}`" if field.hint.example else ""
        rows.append(
            f"| `{field.key}` | {field.hint.description}{example} | {_kind(field.type)} | {_default(arguments, field)} |"
        )
    return "\n".join(rows) + "\n"


def _kind(declared: Any) -> str:
    origin = get_origin(declared)
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_kind(part) for part in get_args(declared) if part is not type(None)))
    if origin is Literal:
        return ", ".join(f"`{word}`" for word in get_args(declared))
    if origin is tuple:
        item = get_args(declared)[0]
        return "steps" if item is Step else f"list of {_kind(item)}"
    if origin is dict:
        return "mapping"
    if isinstance(declared, type) and issubclass(declared, Arguments):
        return "mapping"
    return _WORDS.get(declared, "text")


def _default(arguments: type[Arguments], field: Field) -> str:
    if field.required:
        return "needed"
    described = next(entry for entry in msgspec.structs.fields(arguments) if entry.name == field.name)
    default = described.default
    if default is msgspec.NODEFAULT or default in (None, "", ()):
        return ""
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def renewed(page: str) -> str:
    """A page with the reference between its marks made anew. Raises ValueError for a page without marks."""
    before, found, rest = page.partition(BEGIN)
    _, closed, after = rest.partition(END)
    if not found or not closed:
        raise ValueError(f"the page has no place for the reference: put {BEGIN} and {END} around it")
    return f"{before}{BEGIN}\n\n{reference()}\n{END}{after}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(renewed(path.read_text(encoding="utf-8")), encoding="utf-8")

"""A JSON Schema of scenario files, made from the same structs that read them: for editors, committed as a file.

`python -m mdmsim.scenario.json_schema` prints it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from mdmsim.scenario.durations import PATTERN, Duration
from mdmsim.scenario.model import ID, KIND_WORDS, ScenarioText, Step
from mdmsim.scenario.registry import steps
from mdmsim.scenario.typed import Arguments

_REF = "#/$defs/{name}"


def _hook(declared: type) -> dict[str, Any]:
    if declared is Duration:
        return {
            "type": "string",
            "pattern": PATTERN,
            "description": "A whole number and a unit: 500ms, 30s, 5m, 2h, 30d",
        }
    if declared is Step:
        return {"$ref": _REF.format(name="step")}
    raise NotImplementedError(f"no JSON Schema for {declared!r}")


def schema() -> dict[str, Any]:
    """The schema of a scenario file: one scenario, or a list of them."""
    known = steps()
    types: list[type[Arguments]] = [ScenarioText, *(step.arguments for step in known.values())]
    (scenario, *arguments), components = msgspec.json.schema_components(types, schema_hook=_hook, ref_template=_REF)
    one_of = [
        {
            "type": "object",
            "description": step.summary,
            "properties": {name: reference},
            "required": [name],
            "additionalProperties": False,
        }
        for (name, step), reference in zip(known.items(), arguments, strict=True)
    ]
    components["step"] = {"description": "One thing that happens: its name is the only key.", "oneOf": one_of}
    described = components["ScenarioText"]["properties"]
    described["scenario"]["pattern"] = "^" + ID.pattern.replace(r"\Z", "$")
    described["platforms"]["items"] = {"enum": list(KIND_WORDS)}
    components["DeviceSpec"]["properties"]["kind"] = {
        **components["DeviceSpec"]["properties"]["kind"],
        "anyOf": [{"enum": list(KIND_WORDS)}, {"type": "null"}],
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mdmsim scenarios",
        "oneOf": [scenario, {"type": "array", "items": scenario}],
        "$defs": _plain(components),
    }


def _plain(value: Any) -> Any:
    """Without what only this program reads."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items() if key != "hint"}
    if isinstance(value, list):
        return [_plain(entry) for entry in value]
    return value


def schema_json() -> str:
    """The schema as text, as it is committed."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_json())

"""The JSON Schema for editors and the registry are one thing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mdmsim.scenario.json_schema import schema, schema_json
from mdmsim.scenario.registry import steps
from mdmsim.scenario.typed import fields_of

COMMITTED = Path(__file__).parents[2] / "scenarios" / "schema.json"


def of_step(whole: dict[str, Any], name: str) -> dict[str, Any]:
    entry = next(e for e in whole["$defs"]["step"]["oneOf"] if e["required"] == [name])
    found: dict[str, Any] = whole["$defs"][entry["properties"][name]["$ref"].rpartition("/")[2]]
    return found


def test_the_committed_schema_is_up_to_date() -> None:
    assert COMMITTED.read_text() == schema_json(), "run: python -m mdmsim.scenario.json_schema > scenarios/schema.json"


def test_the_schema_has_every_step_and_no_other() -> None:
    assert [entry["required"][0] for entry in schema()["$defs"]["step"]["oneOf"]] == list(steps())


def test_the_schema_of_a_step_has_the_keys_that_the_loader_takes() -> None:
    whole = schema()
    for name, step in steps().items():
        described = of_step(whole, name)
        assert set(described["properties"]) == {field.key for field in fields_of(step.arguments)}
        assert set(described.get("required", [])) == {
            field.key for field in fields_of(step.arguments) if field.required
        }
        assert described["additionalProperties"] is False


def test_every_argument_of_every_step_says_what_it_is() -> None:
    for name, step in steps().items():
        assert step.summary, name
        for field in fields_of(step.arguments):
            assert field.hint.description, f"{name}: {field.key}"


def test_every_reference_in_the_schema_leads_somewhere() -> None:
    text = schema_json()
    whole = json.loads(text)
    for part in text.split('"$ref": "')[1:]:
        assert part.partition('"')[0].removeprefix("#/$defs/") in whole["$defs"]

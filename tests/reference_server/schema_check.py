"""As much of JSON Schema as the OpenAPI document uses, so that answers can be held against it."""

from __future__ import annotations

from typing import Any

_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def violations(document: dict[str, Any], schema: dict[str, Any], value: Any, where: str = "$") -> list[str]:
    """What is wrong with a value; properties that the schema does not know count as wrong."""
    if "$ref" in schema:
        schema = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    if "anyOf" in schema:
        each = [violations(document, option, value, where) for option in schema["anyOf"]]
        return [] if any(not found for found in each) else each[0]
    if "enum" in schema:
        return [] if value in schema["enum"] else [f"{where}: {value!r} is none of {schema['enum']}"]
    if "type" not in schema:
        return []
    kind = schema["type"]
    if not isinstance(value, _TYPES[kind]) or (isinstance(value, bool) and kind in ("integer", "number")):
        return [f"{where}: {value!r} is no {kind}"]
    found: list[str] = []
    if kind == "array":
        for number, item in enumerate(value):
            found += violations(document, schema.get("items", {}), item, f"{where}[{number}]")
    if kind == "object" and "properties" in schema:
        found += [f"{where}.{key}: missing" for key in schema.get("required", ()) if key not in value]
        for key, item in value.items():
            if key in schema["properties"]:
                found += violations(document, schema["properties"][key], item, f"{where}.{key}")
            else:
                found.append(f"{where}.{key}: not described")
    return found

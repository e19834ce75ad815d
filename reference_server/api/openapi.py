"""The OpenAPI 3.1 document, made from the table of calls and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from reference_server.api.endpoints import PREFIX, Endpoint
from reference_server.api.models import Problem

_ABOUT = """The reference MDM server of mdmsim, from the administrator's side.

Send the key with every call: `Authorization: Bearer <key>`. Bodies and answers are JSON; times are milliseconds since
1970, of the server's own clock. A device is named by its `id`: its UDID, or the EnrollmentID where it has none.

A first round: `POST /api/v1/profiles` makes an enrollment profile (or have devices fetch `GET /enroll`), `GET
/api/v1/devices` shows who enrolled, `POST /api/v1/devices/{id}/commands` queues a command and pushes, and `GET
/api/v1/devices/{id}/commands/{uuid}` has the answer in `results` once its `state` says so.

A refused call answers with a `Problem`: `error` is a word that programs may compare and that does not change, `what`,
`where` and `hint` are for people. Every answer has an `X-Request-Id`, which the server's log repeats."""

_EITHER = {
    "CommandOrder": ("request_type", "plist"),
    "CommandOrders": ("request_type", "plist"),
    "RefusalOrder": ("udid", "serial"),
    "DepTokenOrder": ("content", "plain"),
}
_TAGS = {
    "devices": "Enrollments: who they are, ending one, pushing to one",
    "commands": "The queues: what is to be done, and what devices answered",
    "profiles": "Enrollment profiles",
    "refusals": "Devices that are answered 401 by rule",
    "dep": "Automated enrollment: accounts at Apple, the devices it names, the profiles they get there",
    "server": "The server itself; no key needed",
}
_PLACEHOLDERS = {
    ("devices", "id"): "The device's `id`",
    ("commands", "uuid"): "The command's `command_uuid`",
    ("refusals", "id"): "The rule's `id`",
    ("dep", "name"): "The account's `name`",
    ("devices", "serial"): "The device's `serial_number`",
    ("profiles", "profile"): "The profile's `name`; `default` is what devices get unless told otherwise",
}
_TEMPLATE = "#/components/schemas/{name}"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_REASONS = {
    400: "The call is not right",
    401: "The key is missing or wrong",
    404: "There is no such thing",
    409: "Not in this state",
    413: "The body is too large",
    502: "Another server, which is needed for this, refused or could not be reached",
}


def server_version() -> str:
    """The version of this distribution; "0" in a tree that was never installed."""
    try:
        return version("mdmsim")
    except PackageNotFoundError:
        return "0"


def describe(endpoints: Sequence[Endpoint], *, title: str, url: str) -> dict[str, Any]:
    """The document, as JSON can carry it."""
    types = [t for e in endpoints for t in (e.reply, e.body, e.query) if t is not None]
    _, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_TEMPLATE)
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas)
    for name, either in _EITHER.items():
        if name in schemas:
            schemas[name]["oneOf"] = [_given(schemas[name], one, either) for one in either]
    paths |= _open_paths()
    queries = {e.query.__name__ for e in endpoints if e.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": server_version(), "description": _ABOUT},
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": _TAGS.get(name, f"Calls about {name}")} for name in _tags(paths)],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {
                "bearer": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "The key that the server was started with",
                }
            },
        },
    }


def _tags(paths: dict[str, dict[str, Any]]) -> list[str]:
    """All tags in use, those with a text of their own first."""
    used = {tag for each in paths.values() for operation in each.values() for tag in operation["tags"]}
    return [*(name for name in _TAGS if name in used), *sorted(used.difference(_TAGS))]


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    words = endpoint.path.split("/")
    tag = "commands" if "commands" in words else words[1]
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary, "tags": [tag]}
    parameters: list[dict[str, Any]] = [
        {
            "name": name,
            "in": "path",
            "required": True,
            "description": _placeholder(words, name),
            "schema": {"type": "string"},
        }
        for name in _PLACEHOLDER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        properties = schemas[endpoint.query.__name__]["properties"]
        for name, schema in properties.items():
            words_about = {"description": schema["description"]} if "description" in schema else {}
            parameters.append({"name": name, "in": "query", "schema": schema, **words_about})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None:
        operation["requestBody"] = {"required": not endpoint.body_optional, "content": _content(endpoint.body)}
    done: dict[str, Any] = {"description": "Done"}
    if endpoint.reply is not None:
        done["content"] = _content(endpoint.reply)
    operation["responses"] = {str(endpoint.status): done} | {
        str(status): {"description": _REASONS[status], "content": _content(Problem)}
        for status in sorted({400, 401, 413, *endpoint.problems})
    }
    return operation


def _placeholder(words: list[str], name: str) -> str:
    """What a placeholder of a path stands for. `words`: the path's."""
    collection = words[words.index(f"{{{name}}}") - 1]
    return _PLACEHOLDERS.get((collection, name), f"The `{name}` of one of the {collection}")


def _given(schema: dict[str, Any], one: str, either: tuple[str, ...]) -> dict[str, Any]:
    """That `one` is given and the others are not."""
    options = schema["properties"][one].get("anyOf", [])
    value = next((option for option in options if option.get("type") != "null"), {"type": "string"})
    least = {} if "contentEncoding" in value else {"minLength": 1}
    others = {name: {"type": "null"} for name in either if name != one}
    return {"required": [one], "properties": {one: {**value, **least}, **others}}


def _open_paths() -> dict[str, dict[str, Any]]:
    """What needs no key, for people, devices and machines that watch over the server."""

    def get(name: str, summary: str, media_type: str, others: dict[str, Any] | None = None) -> dict[str, Any]:
        answer = {"content": {media_type: {"schema": {"type": "object"} if media_type.endswith("json") else {}}}}
        responses = {"200": {"description": "Done", **answer}, **(others or {})}
        return {
            "get": {"operationId": name, "summary": summary, "tags": ["server"], "security": [], "responses": responses}
        }

    json = {"content": {"application/json": {"schema": {"type": "object"}}}}
    unwell = {"503": {"description": "Not now: `troubles` says why", **json}}
    refused = {
        "401": {"description": "The token, or name and password, are missing or wrong (setting enroll_access)"},
        "403": {"description": "Profiles are for programs on the server's machine only (setting enroll_access)"},
        "429": {"description": "Too many profiles are outstanding (setting enroll_limit); see Retry-After"},
    }
    return {
        f"{PREFIX}/openapi.json": get("describe", "This document", "application/json"),
        "/enroll": get(
            "enroll", "A new enrollment profile, for one device", "application/x-apple-aspen-config", refused
        ),
        "/healthz": get("health", "Whether the process answers", "application/json"),
        "/readyz": get("readiness", "Whether it can do its work", "application/json", unwell),
        "/version": get("version", "What runs here", "application/json"),
    }


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _TEMPLATE.format(name=kind.__name__)}}}

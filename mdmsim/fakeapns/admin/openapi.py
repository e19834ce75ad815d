"""The OpenAPI 3.1 document of the admin API, made from the table of calls and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from mdmsim.fakeapns.admin.answered import Problem
from mdmsim.fakeapns.admin.endpoints import Endpoint
from mdmsim.fakeapns.admin.table import TAGS

_ABOUT = """The fake APNs from inside: what providers sent and what became of it, tokens, faults.

Send the key with every call: `Authorization: Bearer <key>`. Answers are JSON; times are milliseconds since 1970, of the
fake's own clock. A refused call answers with a `Problem`. `/` is a page for people that shows the same."""

_TEMPLATE = "#/components/schemas/{name}"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_PLACEHOLDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "topic": ("The token's topic", {"type": "string"}),
    "token": ("The token, in hex", {"type": "string"}),
    "number": ("Its `number`", {"type": "integer"}),
    "id": ("The certificate's `id`", {"type": "string"}),
    "key_id": ("The key's `key_id`", {"type": "string"}),
}
_REASONS = {
    400: "The call is not right",
    401: "The key is missing or wrong",
    404: "There is no such thing",
    413: "The body is too large",
    500: "It was done, and would not survive a crash",
    501: "This fake cannot",
    503: "What it is told would not survive a crash",
}


def describe(endpoints: Sequence[Endpoint], *, url: str = "/") -> dict[str, Any]:
    """The document, as JSON can carry it."""
    types = [t for e in endpoints for t in (e.reply, e.body, e.query) if t not in (None, str)]
    described, schemas = msgspec.json.schema_components([*types, Problem], ref_template=_TEMPLATE)
    schema_of = dict(zip(map(_key, types), described, strict=False))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in endpoints:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schema_of, schemas)
    paths["/openapi.json"] = {"get": _plain("describe", "This document", "application/json", {"type": "object"})}
    paths["/"] = {"get": _plain("page", "A page for people, which shows all this", "text/html", {"type": "string"})}
    queries = {e.query.__name__ for e in endpoints if e.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": "mdmsim fake APNs: admin API", "version": _version(), "description": _ABOUT},
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "The key that the fake told at its start"}
            },
        },
    }


def _version() -> str:
    try:
        return version("mdmsim")
    except PackageNotFoundError:
        return "0"


def _operation(endpoint: Endpoint, schema_of: dict[str, Any], schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": [endpoint.tag],
    }
    if endpoint.open:
        operation["security"] = []
    parameters: list[dict[str, Any]] = []
    for name in _PLACEHOLDER.findall(endpoint.path):
        text, schema = _PLACEHOLDERS[name]
        parameters.append({"name": name, "in": "path", "required": True, "description": text, "schema": schema})
    if endpoint.query is not None:
        for name, schema in schemas[endpoint.query.__name__]["properties"].items():
            # The description of a value that may be left out stands inside of what it may be.
            text = schema.get("description") or next(
                (one["description"] for one in schema.get("anyOf", ()) if "description" in one), ""
            )
            parameters.append({"name": name, "in": "query", "description": text, "schema": schema})
    if parameters:
        operation["parameters"] = parameters
    if endpoint.body is not None or endpoint.raw:
        content = {kind: {"schema": {"type": "string"}} for kind in endpoint.raw}
        if endpoint.body is not None:
            content["application/json"] = {"schema": schema_of[_key(endpoint.body)]}
        operation["requestBody"] = {"required": True, "content": content}
    done: dict[str, Any] = {"description": "Done"}
    if endpoint.reply is str:
        done["content"] = {"text/plain": {"schema": {"type": "string"}}}
    elif endpoint.reply is not None:
        done["content"] = {"application/json": {"schema": schema_of[_key(endpoint.reply)]}}
    refusals = {*endpoint.problems, *(() if endpoint.open else (400, 401))}
    if endpoint.body is not None or endpoint.raw:
        refusals.add(413)
    if endpoint.method in ("POST", "DELETE"):
        refusals.add(500)
    problem = {"application/json": {"schema": {"$ref": _TEMPLATE.format(name=Problem.__name__)}}}
    if endpoint.open:
        problem = done.get("content", problem)
    operation["responses"] = {str(endpoint.status): done} | {
        str(status): {"description": _REASONS[status], "content": problem} for status in sorted(refusals)
    }
    return operation


def _key(kind: Any) -> str:
    return str(kind)


def _plain(name: str, summary: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["whole"],
        "security": [],
        "responses": {"200": {"description": "Done", "content": {media_type: {"schema": schema}}}},
    }

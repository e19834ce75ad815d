"""The OpenAPI 3.1 document, made from the table of calls and their types."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import msgspec

from reference_server.api.endpoints import PREFIX, Endpoint
from reference_server.api.models import Problem

_TEMPLATE = "#/components/schemas/{name}"
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_REASONS = {
    400: "The call is not right",
    401: "The key is missing or wrong",
    404: "There is no such thing",
    409: "Not in this state",
    413: "The body is too large",
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
    paths[f"{PREFIX}/openapi.json"] = {
        "get": {
            "operationId": "describe",
            "summary": "This document",
            "security": [],
            "responses": {"200": {"description": "OpenAPI 3.1", "content": {"application/json": {"schema": {}}}}},
        }
    }
    queries = {e.query.__name__ for e in endpoints if e.query is not None}
    return {
        "openapi": "3.1.0",
        "info": {"title": title, "version": server_version()},
        "servers": [{"url": url}],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "schemas": {name: schema for name, schema in schemas.items() if name not in queries},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {"operationId": endpoint.name, "summary": endpoint.summary}
    parameters: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in _PLACEHOLDER.findall(endpoint.path)
    ]
    if endpoint.query is not None:
        properties = schemas[endpoint.query.__name__]["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in properties.items()]
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


def _content(kind: type) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _TEMPLATE.format(name=kind.__name__)}}}

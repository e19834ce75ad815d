"""`transcript.har`: every exchange of the run in HTTP Archive 1.2, for the tools that people have for that format.

Made from the same cleaned document as the other files: secrets are masked, binary bodies are described, not copied. A case
is a page; an exchange's label is its comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from mdmsim.clock import from_utc, iso
from mdmsim.report.decode import PROLOG
from mdmsim.report.document import Document

VERSION = "1.2"

#: What the format wants where a figure is not known.
UNKNOWN = -1


def render_har(document: Document) -> str:
    """The text of `transcript.har`, line feed included."""
    pages: list[dict[str, Any]] = []
    entries: list[dict[str, Any]] = []
    for case in document.cases:
        pages.append(
            {
                "startedDateTime": case["started"],
                "id": case["id"],
                "title": f"{case['title']} ({case['grade']})",
                "pageTimings": {},
            }
        )
        entries.extend(_entry(case, exchange) for exchange in case["exchanges"])
    log = {
        "version": VERSION,
        "creator": {"name": "mdmsim", "version": str(document.run["version"])},
        "pages": pages,
        "entries": entries,
        "comment": f"seed {document.run['seed']}; replay: {document.run['command']}",
    }
    return json.dumps({"log": log}, indent=1, ensure_ascii=False) + "\n"


def _entry(case: Mapping[str, Any], exchange: Mapping[str, Any]) -> dict[str, Any]:
    request, response = exchange["request"], exchange["response"]
    said = [exchange["label"], exchange["device"] or "", exchange["error"] or "", exchange["fault"] or ""]
    sent, came = _text(request["body"]), _text(response["body"])
    return {
        "pageref": case["id"],
        "startedDateTime": _moment(case, exchange),
        "time": exchange["took_ms"],
        "request": {
            "method": exchange["method"],
            "url": exchange["url"],
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _headers(request["headers"]),
            "queryString": _query(exchange["url"]),
            "headersSize": UNKNOWN,
            "bodySize": _size(request["body"]),
            **({"postData": {"mimeType": _header(request["headers"], "content-type"), "text": sent}} if sent else {}),
        },
        "response": {
            # 0 stands for "no answer" in this format.
            "status": exchange["status"] or 0,
            "statusText": exchange["error_class"] or "",
            "httpVersion": "HTTP/1.1",
            "cookies": [],
            "headers": _headers(response["headers"]),
            "content": {
                "size": _size(response["body"]),
                "mimeType": _header(response["headers"], "content-type"),
                **({"text": came} if came else {}),
            },
            "redirectURL": "",
            "headersSize": UNKNOWN,
            "bodySize": _size(response["body"]),
        },
        "cache": {},
        "timings": {"send": 0, "wait": exchange["took_ms"], "receive": 0},
        **({"connection": str(exchange["connection"])} if exchange["connection"] is not None else {}),
        "comment": " · ".join(part for part in said if part),
    }


def _moment(case: Mapping[str, Any], exchange: Mapping[str, Any]) -> str:
    return iso(from_utc(datetime.fromisoformat(case["started"])) + int(exchange["at_ms"]))


def _headers(pairs: Iterable[Iterable[str]]) -> list[dict[str, str]]:
    return [{"name": name, "value": str(value)} for name, value in pairs]


def _header(pairs: Iterable[Iterable[str]], wanted: str) -> str:
    return next((str(value) for name, value in pairs if name.lower() == wanted), "")


def _query(url: str) -> list[dict[str, str]]:
    return [{"name": n, "value": v} for n, v in parse_qsl(urlsplit(url).query, keep_blank_values=True)]


def _size(body: Mapping[str, Any] | None) -> int:
    return int(body["bytes"]) if body else 0


def _text(body: Mapping[str, Any] | None) -> str:
    """The body as sent where that can be shown, else what it says, else what it is."""
    if not body:
        return ""
    if body.get("raw"):
        return (PROLOG if body.get("prolog") else "") + str(body["raw"])
    if "tree" in body:
        return json.dumps(body["tree"], indent=1, ensure_ascii=False, default=str)
    return str(body["about"])

"""The whole report as plain values, clean of secrets: what `report.json` holds and the page is made from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mdmsim.clock import iso
from mdmsim.events import Event
from mdmsim.report.activity import not_simulated_in
from mdmsim.report.decode import decode_body, decode_headers, decode_url
from mdmsim.report.diagram import draw, is_told, token_text
from mdmsim.report.model import Case, Run, counts, passed
from mdmsim.report.redact import Redactor
from mdmsim.report.tree import Tree

#: Version of the layout of `report.json`; goes up when a reader of the last one would stumble.
SCHEMA = 1


@dataclass(slots=True)
class Document:
    """`run` and `cases` are what `report.json` holds; `diagrams` belong to the cases, in the same order."""

    run: dict[str, Any]
    cases: list[dict[str, Any]]
    diagrams: list[dict[str, Any]]


def build(run: Run, cases: Sequence[Case]) -> Document:
    """Decode, describe and clean everything. The same run and seed give the same document."""
    redactor = Redactor()
    tokens = _tokens(cases)
    for token in tokens:
        redactor.learn(token)
    views, diagrams = [], []
    for case in cases:
        redactor.learn_from([event.data for event in case.events if event.kind != "exchange"])
        exchanges = [_exchange(case.events[position], case, redactor) for position in case.exchanges]
        diagram = draw(case, exchanges, tokens)
        views.append(_case(case, exchanges, redactor))
        diagrams.append({"lanes": diagram.lanes, "rows": diagram.rows})
    # Cleaned last: a secret may turn up before the place where its key gives it away.
    return Document(
        run=redactor.clean(_run(run, cases)), cases=redactor.clean(views), diagrams=redactor.clean(diagrams)
    )


def _run(run: Run, cases: Sequence[Case]) -> dict[str, Any]:
    numbers = counts(list(cases))
    return {
        "version": run.version,
        "seed": run.seed,
        "target": run.target,
        "mode": run.mode,
        "started": iso(run.started_ms),
        "ended": iso(run.ended_ms),
        "duration_ms": run.duration_ms,
        "command": run.command,
        "passed": passed(cases),
        "counts": {grade.value: number for grade, number in numbers.items()},
    }


def _case(case: Case, exchanges: list[dict[str, Any]], redactor: Redactor) -> dict[str, Any]:
    return {
        "id": case.id,
        "story": case.story,
        "title": case.title,
        "platform": case.platform,
        "level": case.level,
        "grade": case.grade.value,
        "requirement": case.requirement,
        "source": case.source,
        "expected": case.expected,
        "observed": case.observed,
        "where": case.where,
        "replay": case.replay,
        "started": iso(case.started_ms),
        "duration_ms": case.duration_ms,
        "devices": dict(case.devices),
        "proof": case.proof,
        "not_simulated": not_simulated_in([case]),
        "steps": [
            {
                "title": step.title,
                "grade": step.grade.value,
                "expected": step.expected,
                "observed": step.observed,
                "where": step.where,
                "at_ms": max(0, step.at_ms - case.started_ms),
            }
            for step in case.steps
        ],
        "exchanges": exchanges,
        "events": [_event(event, case, redactor) for event in case.events if is_told(event)],
    }


def _event(event: Event, case: Case, redactor: Redactor) -> dict[str, Any]:
    data = dict(event.data)
    if isinstance(fingerprint := data.get("fingerprint"), str):
        data["fingerprint"] = redactor.thumbprint(fingerprint)
    payload = data.pop("payload", None)
    shown = Tree(redactor).build(data)
    if payload is not None:  # what a push carried: JSON with the push magic in it
        body = payload.encode() if isinstance(payload, str) else payload
        decoded = (decode_body(body, redactor) or {}) if isinstance(body, bytes) else {}
        shown["payload"] = decoded.get("tree", decoded.get("about")) if decoded else Tree(redactor).build(payload)
    return {
        "at_ms": max(0, event.at_ms - case.started_ms),
        "kind": event.kind,
        "source": event.source,
        "device": event.device,
        "data": shown,
    }


def _exchange(event: Event, case: Case, redactor: Redactor) -> dict[str, Any]:
    data = event.data
    sent, came = _bytes(data.get("request_body")), _bytes(data.get("response_body"))
    status, identity = data.get("status"), data.get("identity")
    started, ended = data.get("started_ms"), data.get("ended_ms")
    started = started if isinstance(started, int) else event.at_ms
    ended = ended if isinstance(ended, int) else event.at_ms
    request = {
        "headers": decode_headers(_pairs(data.get("request_headers")), redactor, body=sent),
        "body": decode_body(sent, redactor),
    }
    return {
        "label": str(data.get("label") or data.get("method") or "exchange"),
        "device": event.device,
        "method": str(data.get("method") or ""),
        "url": decode_url(str(data.get("url") or ""), redactor),
        "redirects": [[str(status), decode_url(str(url), redactor)] for status, url in _pairs(data.get("hops"))],
        "status": status if isinstance(status, int) else None,
        "error": str(data["error"]) if data.get("error") else None,
        "error_class": str(data["error_class"]) if data.get("error_class") else None,
        "fault": str(data["fault"]) if data.get("fault") else None,
        "at_ms": max(0, started - case.started_ms),
        "took_ms": max(0, ended - started),
        # After the headers: a signature among them shows whose certificate it is.
        "identity": _identity(str(identity), redactor) if identity else None,
        "connection": data.get("connection"),
        "request": request,
        "response": {
            "headers": decode_headers(_pairs(data.get("response_headers")), redactor),
            "body": decode_body(came, redactor),
        },
    }


def _identity(fingerprint: str, redactor: Redactor) -> str:
    alias = redactor.thumbprint(fingerprint)
    subject = redactor.subjects.get(alias)
    return f"{subject} ({alias})" if subject else alias


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _pairs(value: object) -> Iterable[tuple[str, str]]:
    if not isinstance(value, list | tuple):
        return []
    return [(str(pair[0]), str(pair[1])) for pair in value if isinstance(pair, list | tuple) and len(pair) == 2]


def _tokens(cases: Sequence[Case]) -> dict[str, str]:
    """Push token in hex to device name, over the whole run: a device keeps its token from case to case."""
    found: dict[str, str] = {}
    for case in cases:
        for event in case.events:
            if event.kind == "device.token-updated" and event.device and event.data.get("push_token"):
                found[token_text(event.data["push_token"])] = event.device
    return found


def learned(case: Case) -> tuple[Redactor, list[dict[str, Any]]]:
    """A redactor that knows the secrets of one case, and the case's exchanges as described."""
    redactor = Redactor()
    redactor.learn_from([event.data for event in case.events if event.kind != "exchange"])
    return redactor, [_exchange(case.events[position], case, redactor) for position in case.exchanges]

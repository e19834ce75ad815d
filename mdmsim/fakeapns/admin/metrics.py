"""The service's numbers in Prometheus' text format, version 0.0.4. Names are stable; docs/looking-inside-apns.md has them.

The format is written here and not by a library: the numbers are the service's own, and a library would keep them twice
or bring the process's numbers along. A test reads it with the parser of the official client.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from mdmsim.fakeapns.admin.answered import Topic
from mdmsim.fakeapns.journal import BUCKETS, Histogram
from mdmsim.fakeapns.service import ApnsService

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


def exposition(service: ApnsService, topics: Sequence[Topic], connections: Mapping[str, int]) -> str:
    """All metrics. `connections`: the front's counters, with `providers` and `couriers` for those that are open."""
    counts = service.counts
    lines: list[str] = []

    def metric(name: str, kind: str, what: str, values: Iterable[tuple[Labels, int]]) -> None:
        lines.append(f"# HELP mdmsim_apns_{name} {what}")
        lines.append(f"# TYPE mdmsim_apns_{name} {kind}")
        lines.extend(f"mdmsim_apns_{name}{_labels(labels)} {value}" for labels, value in values)

    metric(
        "pushes_total",
        "counter",
        "Requests of providers, by verdict and by Apple's reason where they were refused.",
        [
            ({"verdict": "accepted", "reason": ""}, counts.accepted),
            *(({"verdict": "refused", "reason": reason}, count) for reason, count in sorted(counts.reasons.items())),
        ],
    )
    for name, what in (
        ("delivered", "Pushes handed to a device's connection."),
        ("acknowledged", "Pushes that a device's process said it has."),
        ("acted", "Pushes after which the device connected to its server."),
        ("expired", "Accepted pushes that were dropped undelivered because their time was over."),
        ("superseded", "Accepted pushes in whose place a newer one came."),
    ):
        metric(f"{name}_total", "counter", what, [({}, getattr(counts, name))])
    faults = sorted(counts.faults.items())
    metric("faults_total", "counter", "Injected faults, by name.", [({"fault": name}, count) for name, count in faults])
    metric("planned_faults", "gauge", "Faults that are planned.", [({}, len(service.faults.planned))])
    by_topic = [({"topic": topic.topic}, topic) for topic in topics]
    metric(
        "tokens", "gauge", "Active tokens, by topic.", [(label, one.tokens - one.retired) for label, one in by_topic]
    )
    metric("retired_tokens", "gauge", "Retired tokens, by topic.", [(label, one.retired) for label, one in by_topic])
    metric(
        "listening_tokens",
        "gauge",
        "Tokens with a device at the other end.",
        [(label, one.listening) for label, one in by_topic],
    )
    metric(
        "pending_pushes",
        "gauge",
        "Pushes that are kept for devices.",
        [(label, one.pending) for label, one in by_topic],
    )
    open_now = {name: connections[name] for name in ("providers", "couriers") if name in connections}
    metric("connections", "gauge", "Open connections.", [({"of": name}, count) for name, count in open_now.items()])
    ended = [({"how": name}, count) for name, count in sorted(connections.items()) if name not in open_now]
    metric("front_total", "counter", "What providers' connections met, by word: accepted, and how each ended.", ended)
    dark = [({"side": side}, int(service.darkness.over(side))) for side in ("providers", "devices")]
    metric("blackout", "gauge", "1 while that side cannot be reached.", dark)
    metric("requests_remembered", "gauge", "Requests that can be looked at.", [({}, len(service.journal))])
    for name, what, histogram in (
        ("delivery_seconds", "From accepted to handed to the device's connection.", counts.delivery),
        ("acting_seconds", "From accepted to the device's connection to its server.", counts.acting),
    ):
        lines.append(f"# HELP mdmsim_apns_{name} {what}")
        lines.append(f"# TYPE mdmsim_apns_{name} histogram")
        lines.extend(_histogram(f"mdmsim_apns_{name}", histogram))
    return "\n".join(lines) + "\n"


def _histogram(name: str, histogram: Histogram) -> Iterable[str]:
    up_to = 0
    for bound, count in zip(BUCKETS, histogram.counts, strict=False):
        up_to += count
        yield f'{name}_bucket{{le="{bound}"}} {up_to}'
    yield f'{name}_bucket{{le="+Inf"}} {histogram.count}'
    yield f"{name}_sum {histogram.total_ms / 1000}"
    yield f"{name}_count {histogram.count}"


def _labels(labels: Labels) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items()) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")

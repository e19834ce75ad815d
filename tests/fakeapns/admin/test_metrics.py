from __future__ import annotations

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from mdmsim.fakeapns.admin.census import census
from mdmsim.fakeapns.admin.metrics import exposition
from tests.fakeapns.support import TOPIC, Bench

pytestmark = pytest.mark.anyio


async def _read(bench: Bench, connections: dict[str, int] | None = None) -> dict[tuple[str, str], float]:
    """By name and labels, as Prometheus' own client reads them."""
    text = exposition(bench.service, await census(bench.service), connections or {})
    return {
        (
            sample.name.removeprefix("mdmsim_apns_"),
            ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items())),
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_what_happened_is_counted_under_stable_names(bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    gone = bench.service.register("mac-2", TOPIC)
    bench.service.faults.add("push.lost", why="a test", after=2)
    device = bench.device()
    device.session.subscribe([(TOPIC, token)])
    bench.push(token)
    bench.clock.advance(30)
    device.hear()
    bench.clock.advance(300)
    device.session.acted([(TOPIC, token)])
    bench.push(gone)
    bench.push(token)
    bench.push("zz")
    read = await _read(bench, {"providers": 3, "couriers": 1, "handshake-failed": 7})
    assert {
        ("pushes_total", "reason=,verdict=accepted"): 3,
        ("pushes_total", "reason=BadDeviceToken,verdict=refused"): 1,
        ("delivered_total", ""): 1,
        ("acknowledged_total", ""): 1,
        ("acted_total", ""): 1,
        ("expired_total", ""): 0,
        ("superseded_total", ""): 0,
        ("faults_total", "fault=push.lost"): 1,
        ("planned_faults", ""): 1,
        ("tokens", f"topic={TOPIC}"): 2,
        ("retired_tokens", f"topic={TOPIC}"): 0,
        ("listening_tokens", f"topic={TOPIC}"): 1,
        ("pending_pushes", f"topic={TOPIC}"): 1,
        ("connections", "of=providers"): 3,
        ("connections", "of=couriers"): 1,
        ("front_total", "how=handshake-failed"): 7,
        ("blackout", "side=providers"): 0,
        ("requests_remembered", ""): 4,
        ("delivery_seconds_bucket", "le=0.025"): 0,
        ("delivery_seconds_bucket", "le=0.05"): 1,
        ("delivery_seconds_bucket", "le=+Inf"): 1,
        ("delivery_seconds_sum", ""): 0.03,
        ("acting_seconds_count", ""): 1,
        ("acting_seconds_sum", ""): 0.33,
    }.items() <= read.items()


async def test_labels_may_hold_anything(bench: Bench) -> None:
    topic = 'a "topic"\\with\nall'
    bench.service.adopt(topic, bytes(32))
    assert (await _read(bench))["tokens", f"topic={topic}"] == 1


async def test_they_come_with_prometheus_content_type(admin: httpx.AsyncClient) -> None:
    answer = await admin.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert list(text_string_to_metric_families(answer.text))

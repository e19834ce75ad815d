"""The courier without sockets in a blackout: as deaf as those that have a connection."""

from __future__ import annotations

import pytest

from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench

pytestmark = pytest.mark.anyio


async def test_it_hears_what_was_pushed_meanwhile_when_the_blackout_is_over(bench: Bench) -> None:
    heard: list[bytes] = []
    async with LocalCourier(bench.service, on_push=lambda *push: heard.append(push[2])) as courier:
        token = await courier.register("mac-1", TOPIC)
        await courier.subscribe([(TOPIC, token)], "mac-1")
        plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, side="devices"))
        bench.push(token)
        assert heard == []
        bench.clock.advance(60_000)
        bench.service.timers.fire()
        assert heard == [PAYLOAD]


async def test_a_request_waits_for_the_end_of_the_blackout(bench: Bench) -> None:
    async with LocalCourier(bench.service, on_push=lambda *push: None) as courier:
        plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, side="devices"))
        began = bench.clock.now_ms()
        await courier.register("mac-1", TOPIC)
        assert bench.clock.now_ms() == began + 60_000


async def test_a_token_that_was_retired_meanwhile_is_lost(bench: Bench) -> None:
    lost: list[tuple[str, bytes]] = []
    async with LocalCourier(
        bench.service, on_push=lambda *push: None, on_lost=lambda *pair: lost.append(pair)
    ) as courier:
        token = await courier.register("mac-1", TOPIC)
        await courier.subscribe([(TOPIC, token)])
        plan_fault(bench.service, FaultSpec(name="blackout", seconds=60, side="devices"))
        bench.service.retire(TOPIC, token)
        bench.service.darkness.end()
        assert lost == [(TOPIC, token)]

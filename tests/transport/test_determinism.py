from __future__ import annotations

import pytest
import trio
from trio._core import _run

from mdmsim.clock import VirtualClock
from mdmsim.transport import determinism
from mdmsim.transport.determinism import repeatable, run_virtual


async def transcript(clock: VirtualClock) -> tuple[str, ...]:
    """What 12 tasks do that are ready at the same times: an order that only the scheduler decides."""
    lines: list[str] = []

    async def one(name: int) -> None:
        for step in range(6):
            lines.append(f"{name}.{step}@{clock.now_ms()}")
            await clock.sleep_until(clock.now_ms() + 1000)

    async with trio.open_nursery() as nursery:
        for name in range(12):
            nursery.start_soon(one, name)
    return tuple(lines)


def test_the_same_seed_gives_the_same_transcript() -> None:
    assert len({run_virtual(transcript, seed=41, start_ms=0) for _ in range(5)}) == 1


def test_another_seed_gives_another_transcript() -> None:
    assert len({run_virtual(transcript, seed=seed, start_ms=0) for seed in (1, "2", 3)}) == 3


@pytest.mark.parametrize("missing", ["switch", "seed"])
def test_both_of_trios_switches_are_needed(missing: str) -> None:
    """If this fails, trio has changed: look at what `determinism` touches before going on."""

    def half(_: int) -> tuple[str, ...]:
        state = _run._r.getstate()
        try:
            with repeatable(41):
                if missing == "switch":
                    _run._ALLOW_DETERMINISTIC_SCHEDULING = False  # type: ignore[misc]
                else:
                    _run._r.seed()
                mock = trio.testing.MockClock(autojump_threshold=0)
                return trio.run(transcript, VirtualClock(mock, 0), clock=mock)
        finally:
            _run._r.setstate(state)

    assert len({half(n) for n in range(6)}) > 1


def test_trio_is_left_as_it_was() -> None:
    switch, state = _run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate()
    run_virtual(transcript, seed=1, start_ms=0)
    assert (switch, state) == (_run._ALLOW_DETERMINISTIC_SCHEDULING, _run._r.getstate())


def test_a_month_takes_no_time_and_begins_where_it_was_told() -> None:
    async def main(clock: VirtualClock) -> tuple[int, int]:
        began = clock.now_ms()
        await clock.sleep_until(began + 30 * 86_400_000)
        return began, clock.now_ms()

    assert run_virtual(main, seed=1, start_ms=1_767_225_600_000) == (1_767_225_600_000, 1_769_817_600_000)


def test_an_exception_comes_out_of_its_groups() -> None:
    async def main(clock: VirtualClock) -> None:
        async def fail() -> None:
            raise LookupError("here")

        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            inner.start_soon(fail)
            outer.start_soon(trio.sleep, 1)

    with pytest.raises(LookupError, match="here"):
        run_virtual(main, seed=1, start_ms=0)


def test_a_trio_without_the_switches_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(_run, "_ALLOW_DETERMINISTIC_SCHEDULING")
    with pytest.raises(RuntimeError, match="constraints file"):
        run_virtual(transcript, seed=1, start_ms=0)


def test_it_is_the_only_module_that_knows_trios_inside() -> None:
    assert determinism.scheduler() is _run

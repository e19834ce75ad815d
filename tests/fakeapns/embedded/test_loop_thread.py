"""A trio loop for callers that have none, or one of another kind."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import pytest
import trio

from mdmsim.fakeapns.embedded.loop_thread import LoopThread


async def idle(task_status: trio.TaskStatus[None]) -> None:
    task_status.started()
    await trio.sleep_forever()


@pytest.fixture
def loop() -> Iterator[LoopThread]:
    made = LoopThread(idle, "the loop")
    made.start()
    yield made
    made.close()


async def seven() -> int:
    await trio.lowlevel.checkpoint()
    return 7


def test_a_call_runs_in_the_loop_and_returns_its_value(loop: LoopThread) -> None:
    assert loop.call(seven) == 7


def test_a_call_raises_what_it_raised_in_the_loop_and_the_loop_goes_on(loop: LoopThread) -> None:
    async def wrong() -> None:
        raise LookupError("nothing there")

    with pytest.raises(LookupError, match="nothing there"):
        loop.call(wrong)
    assert loop.call(seven) == 7


def test_calls_come_from_inside_loops_of_any_kind(loop: LoopThread) -> None:
    async def caller() -> int:
        return loop.call(seven)

    assert [anyio.run(caller, backend=kind) for kind in ("asyncio", "trio")] == [7, 7]


def test_calls_from_many_threads_all_come_back(loop: LoopThread) -> None:
    answers: list[int] = []
    threads = [threading.Thread(target=lambda: answers.append(loop.call(seven))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [7] * 20


def test_what_stands_in_the_way_of_the_start_is_raised_and_no_thread_is_left() -> None:
    async def broken(task_status: trio.TaskStatus[None]) -> None:
        async with trio.open_nursery():
            raise LookupError("no such place")

    before = threading.active_count()
    loop = LoopThread(broken, "the loop")
    with pytest.raises(LookupError, match="no such place"):
        loop.start()
    assert threading.active_count() == before


def test_a_closed_loop_says_so_and_closes_again() -> None:
    loop = LoopThread(idle, "the loop")
    loop.start()
    loop.close()
    loop.close()
    with pytest.raises(RuntimeError, match="the loop is closed"):
        loop.call(seven)


def test_a_call_that_is_open_when_the_loop_is_closed_comes_back(loop: LoopThread) -> None:
    begun = threading.Event()
    said: list[str] = []

    async def endless() -> None:
        begun.set()
        await trio.sleep_forever()

    def call() -> None:
        try:
            loop.call(endless)
        except RuntimeError as error:
            said.append(str(error))

    caller = threading.Thread(target=call)
    caller.start()
    begun.wait(10)
    loop.close()
    caller.join(10)
    assert said == ["the loop was closed during the call"]


def test_a_loop_that_died_is_no_secret() -> None:
    die = trio.Event()

    async def dies(task_status: trio.TaskStatus[None]) -> None:
        task_status.started()
        await die.wait()
        raise LookupError("it broke")

    loop = LoopThread(dies, "the loop")
    loop.start()

    async def kill() -> None:
        die.set()

    loop.call(kill)
    with pytest.raises(LookupError, match="it broke"):
        loop.close()

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import anyio
import pytest
import trio

from mdmsim.device.flow import Flow, exchange, pause
from mdmsim.http import ConnectFailed, Request, Response
from mdmsim.transport import driver

REQUEST = Request("PUT", "https://mdm.example.test/", label="connect:Idle")


@dataclass
class Log:
    """An IO that writes down what was asked of it; answers come from a list."""

    answers: list[Response | BaseException] = field(default_factory=list)
    events: list[str] = field(default_factory=list)

    def save(self) -> None:
        self.events.append("save")

    def _next(self, what: str) -> Response:
        self.events.append(what)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class BlockingLog(Log):
    def send(self, request: Request) -> Response:
        return self._next(f"send {request.label}")

    def pause(self, seconds: float) -> None:
        self.events.append(f"pause {seconds:g}")


class AsyncLog(Log):
    async def send(self, request: Request) -> Response:
        await anyio.lowlevel.checkpoint()
        return self._next(f"send {request.label}")

    async def pause(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.events.append(f"pause {seconds:g}")


Run = Callable[[Flow[Any], list[Response | BaseException]], tuple[Any, Log]]


def run_blocking(flow: Flow[Any], answers: list[Response | BaseException]) -> tuple[Any, Log]:
    io = BlockingLog(answers)
    return _outcome(lambda: driver.run_flow_blocking(flow, io)), io


def _run_async(backend: str) -> Run:
    def run(flow: Flow[Any], answers: list[Response | BaseException]) -> tuple[Any, Log]:
        io = AsyncLog(answers)
        return _outcome(lambda: anyio.run(driver.run_flow, flow, io, backend=backend)), io

    return run


def _outcome(call: Callable[[], Any]) -> Any:
    try:
        return call()
    except Exception as error:
        return error


@pytest.fixture(params=["trio", "asyncio", "blocking"])
def run(request: pytest.FixtureRequest) -> Run:
    return run_blocking if request.param == "blocking" else _run_async(request.param)


def test_the_two_drivers_differ_by_await_only() -> None:
    _, _, awaiting = inspect.getsource(driver.run_flow).partition('"""\n    try:')
    _, _, blocking = inspect.getsource(driver.run_flow_blocking).partition('"""\n    try:')
    assert awaiting.replace("await ", "") == blocking


def test_the_flows_value_comes_back(run: Run) -> None:
    def flow() -> Flow[int]:
        return (yield from exchange(REQUEST)).status

    assert run(flow(), [Response(204)])[0] == 204


def test_state_is_saved_before_everything_that_leaves_and_at_the_end(run: Run) -> None:
    def flow() -> Flow[None]:
        yield from exchange(REQUEST)
        yield from pause(3)
        yield from exchange(REQUEST)

    _, log = run(flow(), [Response(200), Response(200)])
    assert log.events == ["save", "send connect:Idle", "save", "pause 3", "save", "send connect:Idle", "save"]


def test_a_transport_error_is_thrown_into_the_flow_where_it_waits(run: Run) -> None:
    def flow() -> Flow[str]:
        try:
            yield from exchange(REQUEST)
        except ConnectFailed as error:
            yield from pause(60)
            return f"retry after: {error}"
        return "no error"

    assert run(flow(), [ConnectFailed("down")])[0] == "retry after: down"


def test_a_transport_error_that_the_flow_does_not_catch_comes_out(run: Run) -> None:
    def flow() -> Flow[None]:
        yield from exchange(REQUEST)

    error, log = run(flow(), [ConnectFailed("down")])
    assert type(error) is ConnectFailed and log.events[-1] == "save"


@pytest.mark.parametrize("answer", [Response(200), ConnectFailed("down"), KeyError("a bug")])
def test_the_flow_is_closed_and_then_saved_whatever_happens(run: Run, answer: Response | BaseException) -> None:
    closed: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield from exchange(REQUEST)
        finally:
            closed.append("closed")

    _, log = run(flow(), [answer])
    assert (closed, log.events) == (["closed"], ["save", "send connect:Idle", "save"])


def test_a_bug_in_the_io_is_not_thrown_into_the_flow(run: Run) -> None:
    caught: list[BaseException] = []

    def flow() -> Flow[None]:
        try:
            yield from exchange(REQUEST)
        except Exception as error:
            caught.append(error)

    error, _ = run(flow(), [KeyError("a bug")])
    assert type(error) is KeyError and not caught


def test_a_flow_that_wants_nothing_is_saved_once(run: Run) -> None:
    def flow() -> Flow[int]:
        yield from ()
        return 7

    value, log = run(flow(), [])
    assert (value, log.events) == (7, ["save"])


def test_what_a_flow_raises_comes_out_after_a_save(run: Run) -> None:
    def flow() -> Flow[None]:
        yield from exchange(REQUEST)
        raise LookupError("unenrolled")

    error, log = run(flow(), [Response(401)])
    assert (type(error), log.events[-1]) == (LookupError, "save")


def test_a_cancelled_flow_is_closed_and_saved() -> None:
    seen: list[str] = []

    def flow() -> Flow[None]:
        try:
            yield from pause(60)
        except BaseException as error:
            seen.append(type(error).__name__)
            raise

    class Stuck(AsyncLog):
        async def pause(self, seconds: float) -> None:
            await trio.sleep_forever()

    io = Stuck()

    async def main() -> None:
        with trio.move_on_after(0.01):
            await driver.run_flow(flow(), io)

    trio.run(main)
    assert (seen, io.events) == (["GeneratorExit"], ["save", "save"])


def test_a_failed_save_lets_nothing_leave() -> None:
    class Full(BlockingLog):
        def save(self) -> None:
            raise OSError("disk full")

    def flow() -> Flow[None]:
        yield from exchange(REQUEST)

    io = Full([Response(200)])
    with pytest.raises(OSError, match="disk full"):
        driver.run_flow_blocking(flow(), io)
    assert io.events == []

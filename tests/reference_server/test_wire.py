"""Limits of size and time on the wire, with a clock by hand: nobody sends or waits without end."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from reference_server import wire
from reference_server.wire import protocol_that_tells, watch_all

PUT = b"PUT /mdm/connect HTTP/1.1\r\nHost: x\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n\r\n"


class Loop:
    """An event loop that only knows the time; what it is asked to run never runs."""

    def __init__(self) -> None:
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def create_task(self, work: Any) -> Any:
        work.close()
        return self

    def add_done_callback(self, _: Any) -> None:
        return None

    def call_later(self, *_: Any) -> Any:
        return self

    def cancel(self) -> None:
        return None


class Transport:
    """What was written, and how it ended."""

    def __init__(self) -> None:
        self.written = b""
        self.end: str | None = None

    def get_extra_info(self, name: str) -> Any:
        return ("192.0.2.1", 5000) if name == "peername" else None

    def write(self, data: bytes) -> None:
        assert self.end is None
        self.written += data

    def close(self) -> None:
        self.end = self.end or "closed"

    def abort(self) -> None:
        self.end = "aborted"

    def is_closing(self) -> bool:
        return self.end is not None

    def pause_reading(self) -> None:
        return None

    def resume_reading(self) -> None:
        return None


class Wire:
    """One connection to a server whose application never answers by itself."""

    def __init__(self) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            return None

        self.loop, self.transport = Loop(), Transport()
        self.told: list[tuple[int, str, str | None]] = []
        config = uvicorn.Config(app, loop="none", ws="none", lifespan="off", log_config=None)
        config.load()
        state = ServerState()
        tell: Callable[..., None] = lambda *told: self.told.append(told)  # noqa: E731
        self.protocol = protocol_that_tells(tell)(config, state, {}, self.loop)  # type: ignore[arg-type]
        self.protocol.connection_made(self.transport)

    def say(self, data: bytes) -> None:
        assert not self.transport.is_closing()
        self.protocol.data_received(data)

    def wait(self, seconds: float) -> None:
        for _ in range(int(seconds)):
            self.loop.now += 1
            watch_all([self.protocol], self.loop.now)

    def answer(self) -> None:
        """As uvicorn does when the application has sent its answer."""
        self.protocol.cycle.response_started = self.protocol.cycle.response_complete = True
        self.protocol.on_response_complete()

    @property
    def status(self) -> int | None:
        return int(self.transport.written[9:12]) if self.transport.written else None

    @property
    def open(self) -> bool:
        return not self.transport.is_closing()


@pytest.fixture
def connection() -> Wire:
    return Wire()


@pytest.mark.parametrize(("method", "content"), [(b"PUT", True), (b"HEAD", False)])
def test_a_refusal_while_the_body_comes_has_no_content_after_head(
    connection: Wire, method: bytes, content: bool
) -> None:
    connection.say(CHUNKED.replace(b"PUT", method))
    connection.wait(int(wire.LIMITS.body) + 1)
    assert connection.status == 408
    assert bool(connection.transport.written.partition(b"\r\n\r\n")[2]) is content


def test_a_connection_that_says_nothing_is_closed(connection: Wire) -> None:
    connection.wait(wire.KEEP_ALIVE_S)
    assert connection.open
    connection.wait(2)
    assert connection.transport.end == "closed"


def test_blank_lines_do_not_keep_a_connection(connection: Wire) -> None:
    for _ in range(wire.KEEP_ALIVE_S + 1):
        connection.say(b"\r\n")
        connection.wait(1)
    assert not connection.open


def test_headers_that_drip_are_408_with_a_reason(connection: Wire) -> None:
    connection.say(PUT)
    for _ in range(int(wire.LIMITS.head)):
        connection.say(b"x: y\r\n")
        connection.wait(1)
    assert connection.open
    connection.wait(1)
    assert connection.status == 408
    assert connection.told == [(408, "its headers were not complete after 20 s", "192.0.2.1")]


def test_a_body_that_drips_is_408(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 100000\r\n\r\n")
    for _ in range(int(wire.LIMITS.body) + 1):
        connection.say(b"x")
        connection.wait(1)
    assert connection.status == 408


def test_a_body_over_a_slow_radio_is_read(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 1000000\r\n\r\n")
    for _ in range(500):
        connection.protocol.cycle.body.clear()
        connection.protocol.flow.read_paused = False
        connection.say(b"x" * 1000)
        connection.wait(1)
    assert connection.open and connection.status is None


def test_a_body_that_the_application_does_not_read_is_not_the_clients_fault(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    assert connection.protocol.flow.read_paused
    connection.wait(300)
    assert connection.open


def test_an_application_may_take_its_time(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 1\r\n\r\nx")
    connection.wait(300)
    assert connection.open


def test_a_refused_peer_that_does_not_hang_up_is_dropped(connection: Wire) -> None:
    connection.say(b"nonsense\r\n\r\n")
    assert (connection.status, connection.transport.end) == (400, "closed")
    assert connection.told == [(400, "not HTTP/1.1", "192.0.2.1")]
    connection.wait(wire.PARTING_S + 1)
    assert connection.transport.end == "aborted"


def test_trailers_are_not_headers(connection: Wire) -> None:
    connection.say(CHUNKED + b"1\r\nx\r\n0\r\nMdm-Signature: forged\r\n\r\n")
    assert [name for name, _ in connection.protocol.scope["headers"]] == [b"host", b"transfer-encoding"]


@pytest.mark.parametrize(
    "piece", [b"X-More: " + b"y" * 1000 + b"\r\n", b"y" * 1000], ids=["many trailers", "one long trailer"]
)
def test_endless_trailers_are_refused(connection: Wire, piece: bytes) -> None:
    connection.say(CHUNKED + b"1\r\nx\r\n0\r\nX: ")
    for _ in range(2 * wire.MAX_HEAD // len(piece)):
        if connection.open:
            connection.say(piece)
    assert connection.status == 400
    assert connection.told[0][1] == "the chunks or trailers are too large"


def test_an_endless_chunk_extension_is_refused(connection: Wire) -> None:
    connection.say(CHUNKED + b"1;")
    for _ in range(2 * wire.MAX_HEAD // 1000):
        if connection.open:
            connection.say(b"y" * 1000)
    assert connection.status == 400


def test_a_body_in_chunks_of_one_byte_is_legal(connection: Wire) -> None:
    connection.say(CHUNKED)
    for _ in range(1000):
        connection.say(b"1\r\nx\r\n" * 200)
    assert connection.open


def test_headers_without_end_are_431(connection: Wire) -> None:
    connection.say(PUT + b"Mdm-Signature: ")
    for _ in range(130):
        if connection.open:
            connection.say(b"A" * 1024)
    assert connection.status == 431


def test_a_refused_body_is_read_on_for_a_while_so_that_the_answer_arrives(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 100000000\r\n\r\n")
    connection.answer()
    connection.say(b"x" * 2**20)
    connection.wait(wire.LINGER_S)
    assert connection.open
    connection.wait(1)
    assert connection.transport.end == "aborted"


def test_a_refused_body_is_not_read_for_ever(connection: Wire) -> None:
    connection.say(CHUNKED)
    connection.answer()
    for _ in range(40):
        if connection.open:
            connection.say(b"100000\r\n" + b"x" * 2**20 + b"\r\n")
    assert connection.transport.end == "aborted"


def test_a_refused_body_that_ends_leaves_a_connection_that_can_go_on(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 10\r\n\r\n12345")
    connection.answer()
    connection.say(b"67890")
    connection.wait(60)
    assert connection.open
    connection.say(PUT + b"Content-Length: 1\r\nA: b\r\n\r\n")
    assert (b"a", b"b") in connection.protocol.scope["headers"]


def test_an_answer_to_a_pipelined_request_does_not_spoil_the_next(connection: Wire) -> None:
    connection.say(PUT + b"Content-Length: 1\r\n\r\nx" + PUT)
    connection.answer()
    connection.say(b"A: b\r\nContent-Length: 1\r\n\r\n")
    assert (b"a", b"b") in connection.protocol.scope["headers"]

"""The protocol as docs/courier.md describes it, spoken with another MessagePack library and nothing of ours."""

from __future__ import annotations

import struct
from typing import Any

import pytest
import trio

from mdmsim.fakeapns.courier.server import CourierServer
from tests.fakeapns.support import PAYLOAD, TOPIC, Bench, serving

msgpack = pytest.importorskip("msgpack")

pytestmark = pytest.mark.anyio


class Program:
    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._received = b""

    async def send(self, **message: Any) -> None:
        body = msgpack.packb(message)
        await self._stream.send_all(struct.pack(">I", len(body)) + body)

    async def receive(self) -> dict[str, Any]:
        with trio.fail_after(10):
            head = await self._exactly(4)
            message = msgpack.unpackb(await self._exactly(struct.unpack(">I", head)[0]))
        assert isinstance(message, dict)
        return message

    async def _exactly(self, count: int) -> bytes:
        while len(self._received) < count:
            self._received += await self._stream.receive_some(65536)
        data, self._received = self._received[:count], self._received[count:]
        return data


async def test_a_program_that_only_read_the_page_hears_its_pushes(bench: Bench) -> None:
    async with (
        serving(CourierServer(bench.service).serve) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        program = Program(stream)
        await program.send(kind="hello", version=1)
        hello = await program.receive()
        assert (hello["kind"], hello["version"], hello["epoch"], hello["keep_alive"]) == (
            "hello",
            1,
            bench.service.epoch,
            30.0,
        )
        await program.send(kind="register", id=1, device="mac-1", topic=TOPIC)
        answer = await program.receive()
        token = answer["token"]
        assert answer == {"kind": "register", "id": 1, "token": bench.service.register("mac-1", TOPIC)}
        await program.send(kind="subscribe", id=2, topics={TOPIC: [token, b"short"]})
        assert await program.receive() == {"kind": "subscribe", "id": 2, "refused": {TOPIC: [b"short"]}}
        bench.push(token)
        push = await program.receive()
        assert (push["kind"], push["topic"], push["token"], push["payload"]) == ("push", TOPIC, token, PAYLOAD)
        await program.send(kind="ack", numbers=[push["number"]])
        await program.send(kind="ping", id=3)
        assert await program.receive() == {"kind": "ping", "id": 3, "reply": True}
        assert bench.service.pending() == []
        await program.send(kind="retire", id=4, topic=TOPIC, token=b"x" * 32)
        error = await program.receive()
        assert (error["kind"], error["id"], error["reason"]) == ("error", 4, "unknown-token")
        await program.send(kind="unsubscribe", id=5, topics={TOPIC: [token]})
        assert (await program.receive())["id"] == 5
        await program.send(kind="telegram")
        assert (await program.receive())["reason"] == "bad-frame"

"""A client that sends whatever it likes: the server never raises, and no push of another connection is lost."""

from __future__ import annotations

import struct
from typing import Any

import msgspec
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mdmsim.chance import Chance
from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.client_core import Answered, Broken, Happening, Heard, Lost
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.courier.server_core import Conversation
from tests.fakeapns.courier.test_ends import Wire, _the_provider
from tests.fakeapns.support import OTHER_TOPIC, TOPIC, Bench, serving

#: A token that both want, and one that only the victim knows.
SHARED, PRIVATE = b"s" * 32, b"p" * 32

_fine_names = st.sampled_from([TOPIC, OTHER_TOPIC, "d", "device", "victim", "\0", "\U0001f34e" * 255])
_fine_others = st.sampled_from([b"o" * 32, b"q" * 32, b"a", b"a" * 100])
_names = st.one_of(_fine_names, st.text(max_size=12), st.just("x" * 256))
_others = st.one_of(_fine_others, st.sampled_from([b"", b"a" * 101]), st.binary(max_size=31))
_numbers = st.sampled_from([-1, 0, 1, 2**63 - 1, 2**64 - 1])


def _maps(
    names: st.SearchStrategy[str],
    others: st.SearchStrategy[bytes],
    numbers: st.SearchStrategy[int],
    environments: list[str],
    wild: bool,
) -> st.SearchStrategy[dict[str, Any]]:
    """Maps of every kind that a client may send, and others. `wild`: any key may be missing."""
    tokens = st.one_of(st.just(SHARED), others)
    topics = st.dictionaries(names, st.lists(tokens, max_size=4), max_size=3)
    labels = st.dictionaries(names, st.lists(names, max_size=5), max_size=3)
    environment = st.sampled_from(environments)

    def one(kind: str, **keys: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
        own = {"kind": st.just(kind)}
        return st.fixed_dictionaries(own, optional=keys) if wild else st.fixed_dictionaries({**own, **keys})

    shared = st.just({TOPIC: [SHARED]})
    # The shared token is not retired: then it would be gone for good, and rightly so.
    return st.one_of(
        one("register", id=numbers, device=names, topic=names, channel=names, environment=environment),
        one("retire", id=numbers, topic=names, token=others),
        one("subscribe", id=numbers, topics=topics, devices=labels, channels=labels, environment=environment),
        one("subscribe", id=numbers, topics=shared),
        one("unsubscribe", id=numbers, topics=shared),
        one("unsubscribe", id=numbers, topics=topics),
        one("ack", numbers=st.lists(numbers, max_size=5)),
        one("acted", topics=topics),
        one("called", devices=labels),
        one("ping", id=numbers, reply=st.booleans()),
    )


_fine = _maps(_fine_names, _fine_others, st.sampled_from([0, 1, 2**63 - 1]), ["production", "sandbox"], wild=False)
_wild = st.one_of(
    _maps(_names, _others, _numbers, ["production", "another"], wild=True),
    st.just({"kind": "hello", "version": 1}),
    st.just({"kind": "push", "number": 1, "topic": TOPIC, "token": SHARED, "payload": b"no"}),
    st.just({"kind": "telegram"}),
)
_bodies = st.one_of(
    _wild.map(msgspec.msgpack.encode),
    st.recursive(st.none() | st.integers(-5, 5) | _names | _others, lambda inner: st.lists(inner, max_size=3)).map(
        msgspec.msgpack.encode
    ),
    st.binary(min_size=1, max_size=30),
)


def _framed(body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + body


#: Nearly always good frames: after anything else a connection is over. (`one_of` would count each alternative once.)
_frames = st.integers(0, 9).flatmap(
    lambda draw: (
        _fine.map(msgspec.msgpack.encode).map(_framed)
        if draw < 8
        else (_bodies.map(_framed), st.binary(max_size=12))[draw - 8]
    )
)


class Hostile(RuleBasedStateMachine):
    """One connection follows the protocol, the other does not."""

    @initialize(acknowledges=st.booleans())
    def begin(self, acknowledges: bool) -> None:
        self.bench = Bench(_the_provider())
        self.acknowledges = acknowledges
        self.victim = Wire(self.bench)
        self.victim.client.subscribe([(TOPIC, SHARED), (TOPIC, PRIVATE)], "victim")
        self.victim.connect()
        self.victim.settle()
        self.sent: dict[bytes, int] = {SHARED: 0, PRIVATE: 0}
        self.heard: dict[bytes, list[int]] = {SHARED: [], PRIVATE: []}
        self.connect()

    @rule()
    def connect(self) -> None:
        self.leave()
        self.hostile = Conversation(self.bench.service, lambda: None)
        self.hostile.receive(protocol.encode(protocol.ClientHello(version=1, acknowledge=self.acknowledges)))

    @rule(frames=st.lists(_frames, min_size=1, max_size=4))
    def send(self, frames: list[bytes]) -> None:
        self.hostile.receive(b"".join(frames))

    @rule(written=st.booleans())
    def read(self, written: bool) -> None:
        frames = protocol.server_frames()
        frames.feed(self.hostile.outgoing())
        assert frames.error is None
        if written:
            self.hostile.written()

    @rule(token=st.sampled_from([SHARED, PRIVATE]))
    def push(self, token: bytes) -> None:
        self.sent[token] += 1
        assert self.bench.push(token, payload=b"%d" % self.sent[token]).status == 200

    @rule()
    def hear(self) -> None:
        self.take(self.victim.settle())
        assert self.heard[PRIVATE][-1:] == ([self.sent[PRIVATE]] if self.sent[PRIVATE] else [])

    def take(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            assert not isinstance(happening, Broken), happening
            assert not isinstance(happening, Lost) or happening.pairs == ((TOPIC, SHARED),)
            if isinstance(happening, Heard):
                self.heard[happening.token].append(int(happening.payload))

    def leave(self) -> None:
        if hasattr(self, "hostile"):
            self.hostile.close("left")

    def teardown(self) -> None:
        if not hasattr(self, "hostile"):
            return
        self.leave()
        self.hear()
        number = self.victim.client.subscribe([(TOPIC, SHARED)])[0]
        happened = self.victim.settle()
        self.take(happened)
        assert Answered(number) in happened
        for heard in self.heard.values():
            assert heard == sorted(set(heard)), "in order, each once"
        if self.acknowledges and self.sent[SHARED]:
            assert self.heard[SHARED][-1] == self.sent[SHARED], "what nobody acknowledged comes to whoever listens next"
            assert self.bench.service.pending() == []


TestHostile: Any = Hostile.TestCase
TestHostile.settings = settings(
    max_examples=200, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


@given(pieces=st.lists(_frames, max_size=8), hello=st.booleans(), reads=st.booleans())
@settings(max_examples=25, deadline=None)
def test_whatever_comes_over_a_socket_another_connection_hears_its_push(
    pieces: list[bytes], hello: bool, reads: bool
) -> None:
    bench = Bench(_the_provider())
    heard: list[bytes] = []

    async def main() -> None:
        server = CourierServer(bench.service)
        async with (
            serving(server.serve) as port,
            CourierClient("127.0.0.1", port, on_push=lambda *push: heard.append(push[2]), chance=Chance(1)) as victim,
        ):
            await victim.subscribe([(TOPIC, PRIVATE)])
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                try:
                    if hello:
                        await stream.send_all(protocol.encode(protocol.ClientHello(version=1)))
                    for piece in pieces:
                        await stream.send_all(piece)
                    await stream.send_eof()
                    while reads and await stream.receive_some(65536):
                        pass
                except (trio.BrokenResourceError, OSError):
                    pass
                bench.push(PRIVATE)
                with trio.fail_after(30):
                    await bench.until(lambda: heard)
            # An answer on a fresh connection: those that listen are still there.
            await victim.register("victim", TOPIC)
            assert (victim.connections, server.defects) == (1, 0)

    trio.run(main)

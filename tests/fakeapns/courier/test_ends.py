"""Both ends of the courier against each other, without sockets: bytes are carried, cut and lost by the test."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from mdmsim.chance import Chance
from mdmsim.clock import ManualClock
from mdmsim.fakeapns.courier import protocol
from mdmsim.fakeapns.courier.client_core import Answered, Broken, ClientCore, Greeted, Happening, Heard, Lost
from mdmsim.fakeapns.courier.server_core import Conversation
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys
from tests.fakeapns.support import TOPIC, Bench


class Wire:
    """A client, and a connection to a service that can break at any byte."""

    def __init__(self, bench: Bench) -> None:
        self.bench = bench
        self.client = ClientCore("test")
        self.conversation: Conversation | None = None
        self.up = self.down = b""

    def connect(self) -> None:
        self.disconnect()
        self.conversation = Conversation(self.bench.service, lambda: None)
        self.client.connected()

    def disconnect(self) -> None:
        if self.conversation is not None:
            self.conversation.close("broken")
            self.conversation = None
            self.client.disconnected()
        self.up = self.down = b""

    def carry_up(self, count: int | None = None) -> None:
        if self.conversation is not None:
            self.up += self.client.outgoing()
            data, self.up = (self.up, b"") if count is None else (self.up[:count], self.up[count:])
            self.conversation.receive(data)

    def carry_down(self, count: int | None = None) -> list[Happening]:
        if self.conversation is None:
            return []
        self.down += self.conversation.outgoing()
        data, self.down = (self.down, b"") if count is None else (self.down[:count], self.down[count:])
        return self.client.receive(data)

    def settle(self) -> list[Happening]:
        """Carry everything both ways until nothing moves; pushes are acknowledged."""
        happened: list[Happening] = []
        for _ in range(6):
            self.carry_up()
            now = self.carry_down()
            for happening in now:
                if isinstance(happening, Heard):
                    self.client.acknowledge(happening.topic, happening.token)
            happened += now
        return happened


def greeted(bench: Bench) -> Wire:
    wire = Wire(bench)
    wire.connect()
    assert any(isinstance(happening, Greeted) for happening in wire.settle())
    return wire


def heard(happenings: list[Happening]) -> list[bytes]:
    return [happening.payload for happening in happenings if isinstance(happening, Heard)]


def test_a_token_is_registered_and_a_push_heard(bench: Bench) -> None:
    wire = greeted(bench)
    number = wire.client.register("d", TOPIC, "device")
    (answer,) = [happening for happening in wire.settle() if isinstance(happening, Answered)]
    assert answer.id == number
    wire.client.subscribe([(TOPIC, answer.token)])
    wire.settle()
    bench.push(answer.token, payload=b"1")
    assert heard(wire.settle()) == [b"1"]


def test_an_acknowledgement_that_was_lost_does_not_double_the_push(bench: Bench) -> None:
    wire = greeted(bench)
    token = bench.service.register("d", TOPIC)
    wire.client.subscribe([(TOPIC, token)])
    wire.settle()
    bench.push(token)
    (push,) = wire.carry_down()
    assert isinstance(push, Heard)
    wire.client.acknowledge(push.topic, push.token)
    wire.connect()
    assert heard(wire.settle()) == []
    assert bench.service.pending() == []


def test_a_push_that_was_heard_but_not_acknowledged_comes_again(bench: Bench) -> None:
    wire = greeted(bench)
    token = bench.service.register("d", TOPIC)
    wire.client.subscribe([(TOPIC, token)])
    wire.settle()
    bench.push(token, payload=b"1")
    assert heard(wire.carry_down()) == [b"1"]
    wire.connect()
    assert heard(wire.settle()) == [b"1"]


def test_a_fake_that_forgot_everything_is_not_mistaken_for_the_old_one(bench: Bench) -> None:
    wire = greeted(bench)
    token = bench.service.register("d", TOPIC)
    wire.client.subscribe([(TOPIC, token)])
    bench.push(token)
    wire.settle()
    bench.storage = type(bench.storage)()
    bench.clock.advance(-1000)
    bench.build().epoch = "another"
    wire.connect()
    wire.settle()
    bench.push(token, payload=b"2")
    assert heard(wire.settle()) == [b"2"]


def test_a_subscription_taken_over_is_lost_and_not_taken_back(bench: Bench) -> None:
    old, new = greeted(bench), greeted(bench)
    token = bench.service.register("d", TOPIC)
    for wire in (old, new):
        wire.client.subscribe([(TOPIC, token)])
        wire.settle()
    assert Lost(((TOPIC, token),)) in old.settle()
    assert old.client.subscriptions == ()


def test_a_token_retired_during_a_break_is_lost(bench: Bench) -> None:
    wire = greeted(bench)
    token = bench.service.register("d", TOPIC)
    wire.client.subscribe([(TOPIC, token)])
    wire.settle()
    bench.service.retire(TOPIC, token)
    wire.connect()
    assert Lost(((TOPIC, token),)) in wire.settle()


def test_a_client_that_does_not_acknowledge_counts_written_as_delivered(bench: Bench) -> None:
    token = bench.service.register("d", TOPIC)
    conversation = Conversation(bench.service, lambda: None)
    conversation.receive(protocol.encode(protocol.ClientHello(version=1, acknowledge=False)))
    conversation.receive(protocol.encode(protocol.Subscribe(id=1, topics={TOPIC: [token]})))
    bench.push(token)
    conversation.outgoing()
    assert len(bench.service.pending()) == 1
    conversation.written()
    assert bench.service.pending() == []


def test_another_version_is_refused_with_a_reason(bench: Bench) -> None:
    conversation = Conversation(bench.service, lambda: None)
    conversation.receive(protocol.encode(protocol.ClientHello(version=2)))
    (failure,) = protocol.server_frames().feed(conversation.outgoing())
    assert isinstance(failure, protocol.Failure)
    assert (failure.reason, conversation.closing is not None) == ("bad-version", True)


def test_anything_before_hello_ends_the_conversation(bench: Bench) -> None:
    conversation = Conversation(bench.service, lambda: None)
    conversation.receive(protocol.encode(protocol.Ping()))
    assert "hello" in (conversation.closing or "")


def test_a_second_hello_ends_the_conversation(bench: Bench) -> None:
    conversation = Conversation(bench.service, lambda: None)
    conversation.receive(2 * protocol.encode(protocol.ClientHello(version=1)))
    assert "hello" in (conversation.closing or "")


def test_a_ping_is_answered_by_either_end(bench: Bench) -> None:
    wire = greeted(bench)
    assert wire.conversation is not None
    wire.conversation.receive(protocol.encode(protocol.Ping(id=9)))
    assert protocol.server_frames().feed(wire.conversation.outgoing()) == [protocol.Ping(id=9, reply=True)]
    wire.client.receive(protocol.encode(protocol.Ping(id=8)))
    assert protocol.client_frames().feed(wire.client.outgoing()) == [protocol.Ping(id=8, reply=True)]


def test_an_answer_to_another_question_breaks_the_connection(bench: Bench) -> None:
    wire = greeted(bench)
    number = wire.client.register("d", TOPIC, "device")
    (broken,) = wire.client.receive(protocol.encode(protocol.Retired(id=number)))
    assert isinstance(broken, Broken)


def test_bulk_subscriptions_are_cut_into_frames(bench: Bench) -> None:
    wire = greeted(bench)
    pairs = [(TOPIC, number.to_bytes(32, "big")) for number in range(2 * protocol.BATCH + 1)]
    assert len(wire.client.subscribe(pairs)) == 3
    wire.settle()
    assert bench.service.listening() == len(pairs)


_provider: list[Identity] = []


def _the_provider() -> Identity:
    if not _provider:
        keys = SharedKeys(1, FreshKeys())
        authority = Authority.create("a", keys=keys, clock=ManualClock(), chance=Chance("a"), kind="ec")
        _provider.append(authority.issue_push(TOPIC))
    return _provider[0]


class Breaks(RuleBasedStateMachine):
    """Whatever breaks wherever: the client hears the newest of what it was sent, in order, each at most once."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(_the_provider())
        self.token = self.bench.service.register("d", TOPIC)
        self.wire = Wire(self.bench)
        self.wire.client.subscribe([(TOPIC, self.token)])
        self.sent = 0
        self.taken: list[int] = []

    @rule()
    def push(self) -> None:
        self.sent += 1
        self.bench.push(self.token, payload=b"%d" % self.sent)

    @rule()
    def connect(self) -> None:
        self.wire.connect()

    @rule()
    def disconnect(self) -> None:
        self.wire.disconnect()

    @rule(count=st.integers(1, 120))
    def up(self, count: int) -> None:
        self.wire.carry_up(count)

    @rule(count=st.integers(1, 120))
    def down(self, count: int) -> None:
        self.take(self.wire.carry_down(count))

    @rule()
    def restart(self) -> None:
        self.bench.clock.advance(1)
        self.bench.build()
        self.wire.conversation = None
        self.wire.client.disconnected()
        self.wire.up = self.wire.down = b""

    def take(self, happenings: list[Happening]) -> None:
        for happening in happenings:
            assert not isinstance(happening, Broken | Lost), happening
            if isinstance(happening, Heard):
                self.taken.append(int(happening.payload))
                self.wire.client.acknowledge(happening.topic, happening.token)

    def teardown(self) -> None:
        if not hasattr(self, "wire"):
            return
        self.wire.connect()
        for _ in range(6):
            self.wire.carry_up()
            self.take(self.wire.carry_down())
        assert self.taken == sorted(set(self.taken)), "in order, each once"
        assert self.taken[-1:] == ([self.sent] if self.sent else []), "the newest arrives"
        assert self.bench.service.pending() == []


TestBreaks: Any = Breaks.TestCase
TestBreaks.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)

"""Frames at their limits: names are limited in characters, frames in bytes, and everything said fits."""

from __future__ import annotations

import msgspec
import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st

from mdmsim.fakeapns import aliases
from mdmsim.fakeapns.courier import protocol, server_core
from mdmsim.fakeapns.courier.client_core import Answered, ClientCore, Lost
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.courier.server_core import Conversation
from tests.fakeapns.courier.test_ends import Wire, greeted
from tests.fakeapns.support import TOPIC, Bench, serving

#: As many bytes as a name may have: 255 characters of four bytes.
LONG = "\U0001f34e" * 245


def long(number: int) -> str:
    return f"{LONG}{number:010}"


def longest_subscription() -> tuple[bytes, int]:
    """A subscribe of as many bytes as there may be, of tokens that no device has, and how many they are."""
    count = (protocol.MAX_REQUEST - 250) // 3
    # Nothing but what there must be: as near as a request comes to its answer.
    request = {"kind": "subscribe", "id": 0, "topics": {"t" * 100: [b"a"] * count}}
    missing = protocol.MAX_REQUEST - len(msgspec.msgpack.encode(request))
    request["topics"] = {"t" * (100 + missing): [b"a"] * count}
    body = msgspec.msgpack.encode(request)
    return len(body).to_bytes(4, "big") + body, count


async def _alive(port: int) -> None:
    """Whether the courier still answers a new connection."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(protocol.encode(protocol.ClientHello(version=1)))
        with trio.fail_after(10):
            assert await stream.receive_some(100)


@pytest.mark.anyio
async def test_the_longest_subscription_is_answered_though_all_of_it_is_refused(bench: Bench) -> None:
    data, count = longest_subscription()
    assert len(data) - 4 == protocol.MAX_REQUEST
    async with (
        serving(CourierServer(bench.service).serve) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        await stream.send_all(protocol.encode(protocol.ClientHello(version=1)) + data)
        reader, frames = protocol.server_frames(), list[protocol.FromServer]()
        with trio.fail_after(30):
            while len(frames) < 2:
                frames += reader.feed(bytes(await stream.receive_some(65536)))
        answer = frames[1]
        assert isinstance(answer, protocol.Subscribed)
        assert sum(map(len, answer.refused.values())) == count


def test_a_frame_that_drips_is_silence(bench: Bench) -> None:
    async def main() -> float:
        client, server = trio.testing.memory_stream_pair()

        async def drip() -> None:
            await client.send_all((1000).to_bytes(4, "big"))
            while True:
                await trio.sleep(5)
                await client.send_all(b"x")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(drip)
            with trio.fail_after(500):
                await CourierServer(bench.service, keep_alive=10.0).handle(server)
            nursery.cancel_scope.cancel()
        return trio.current_time()

    began, clock = 0.0, trio.testing.MockClock(autojump_threshold=0)
    assert trio.run(main, clock=clock) - began <= 10.0 * protocol.SILENCE + 1


@pytest.mark.anyio
async def test_a_longer_frame_ends_its_connection_and_no_other(bench: Bench) -> None:
    async with (
        serving(CourierServer(bench.service).serve) as port,
        await trio.open_tcp_stream("127.0.0.1", port) as stream,
    ):
        await stream.send_all(
            protocol.encode(protocol.ClientHello(version=1)) + (protocol.MAX_REQUEST + 1).to_bytes(4, "big")
        )
        received = b""
        with trio.fail_after(10):
            while data := await stream.receive_some(65536):
                received += data
        frames = protocol.server_frames().feed(received)
        assert isinstance(frames[-1], protocol.Failure)
        assert frames[-1].reason == "bad-frame"
        await _alive(port)


@pytest.mark.anyio
async def test_a_defect_ends_its_own_connection_and_no_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*args: object) -> None:
        raise KeyError("a defect")

    server = CourierServer(bench.service)
    async with serving(server.serve) as port, await trio.open_tcp_stream("127.0.0.1", port) as stream:
        monkeypatch.setattr(bench.service, "retire", broken)
        await stream.send_all(
            protocol.encode(protocol.ClientHello(version=1))
            + protocol.encode(protocol.Retire(id=1, topic=TOPIC, token=b"x"))
        )
        with trio.fail_after(10):
            while await stream.receive_some(65536):
                pass
        await _alive(port)
        assert (server.defects, "a defect" in caplog.text) == (1, True)
    assert "defect" in bench.log.of("courier.disconnected")[0].data["why"]


def test_losses_of_the_longest_names_are_told_in_frames_that_fit(bench: Bench) -> None:
    old, new = greeted(bench), greeted(bench)
    pairs = [(long(number), number.to_bytes(32, "big")) for number in range(2000)]
    for wire in (old, new):
        wire.client.subscribe(pairs)
        wire.settle()
    lost = [pair for happening in old.settle() if isinstance(happening, Lost) for pair in happening.pairs]
    assert (sorted(lost), old.client.subscriptions) == (sorted(pairs), ())


def test_the_longest_names_are_subscribed_and_told_again_on_the_next_connection(bench: Bench) -> None:
    wire = greeted(bench)
    pairs = [(long(number), number.to_bytes(32, "big")) for number in range(300)]
    for number, pair in enumerate(pairs):
        wire.client.subscribe([pair], long(number), long(number), "sandbox" if number % 2 else "production")
        wire.client.call(long(number), [long(name) for name in range(10 * number, 10 * number + 10)])
    wire.settle()
    wire.bench.storage = type(bench.storage)()
    service = bench.build()
    wire.connect()
    wire.settle()
    assert (service.listening(), service.tokens.device_called(long(2999))) == (300, long(299))
    assert {(r.device, r.channel, r.environment) for r in service.registrations()} == {
        (long(number), long(number), "sandbox" if number % 2 else "production") for number in range(300)
    }


def test_many_of_the_longest_names_are_asked_told_and_left_at_once(bench: Bench) -> None:
    wire = greeted(bench)
    pairs = [(long(number), number.to_bytes(100, "big")) for number in range(2500)]
    bench.build(strict_tokens=False)
    wire.connect()
    wire.client.subscribe(pairs, LONG, LONG)
    wire.client.acted(pairs)
    wire.settle()
    assert bench.service.listening() == 2500
    wire.client.unsubscribe(pairs)
    wire.settle()
    assert bench.service.listening() == 0


_names = st.text(st.sampled_from(["t", "\u00e4", "\U0001f34e"]), min_size=1, max_size=255)


@given(
    pairs=st.lists(st.tuples(_names, st.binary(min_size=1, max_size=100)), max_size=12),
    label=_names,
    room=st.integers(1_000, 4_000),
)
@settings(deadline=None)
def test_portions_fit_and_hold_everything_in_order(pairs: list[tuple[str, bytes]], label: str, room: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(protocol, "_ROOM", room)
        portions = list(protocol.batches(pairs, lambda pair: (label, label)))
    assert [pair for portion in portions for pair in portion] == pairs
    for portion in portions:
        topics = protocol.grouped(portion)
        said = {topic: [label] * len(tokens) for topic, tokens in topics.items()}
        frame = protocol.Subscribe(id=2**63 - 1, topics=topics, devices=said, channels=said, environment="production")
        # One pair alone may be more than this room, which is smaller than any real one.
        assert len(protocol.encode(frame)) <= room + 200 or len(portion) == 1


def test_what_cannot_be_sent_is_said_at_once_and_changes_nothing(bench: Bench) -> None:
    wire = greeted(bench)
    for wrong in ("t" * 256, "\ud800"):
        with pytest.raises(ValueError):
            wire.client.subscribe([(TOPIC, b"t" * 32), (wrong, b"t" * 32)])
        with pytest.raises(ValueError):
            wire.client.acted([(wrong, b"t" * 32)])
    with pytest.raises(ValueError):
        ClientCore("x" * 256)
    assert (wire.client.subscriptions, wire.client.outgoing()) == ((), b"")


def test_the_names_that_one_connection_may_tell_are_bounded(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_core, "PER_CONNECTION", 10_000)
    for connection in range(2):
        conversation = Conversation(bench.service, lambda: None)
        conversation.receive(protocol.encode(protocol.ClientHello(version=1)))
        for number in range(200):
            devices = {f"{connection}-{number}": [f"UDID-{connection}-{number}"]}
            conversation.receive(protocol.encode(protocol.Called(devices=devices)))
        told = [number for number in range(200) if bench.service.tokens.aliases(f"{connection}-{number}")]
        assert 50 < len(told) < 100
        assert told == list(range(len(told)))
    assert aliases.PER_CONNECTION < aliases.IN_ALL


# what happens in what order


def conversation(bench: Bench) -> Conversation:
    one = Conversation(bench.service, lambda: None)
    one.receive(protocol.encode(protocol.ClientHello(version=1)))
    one.outgoing()
    return one


def test_a_token_that_was_lost_and_taken_back_is_told_in_that_order(bench: Bench) -> None:
    ours, theirs = conversation(bench), conversation(bench)
    ask = protocol.encode(protocol.Subscribe(id=1, topics={TOPIC: [b"t" * 32]}))
    ours.receive(ask)
    ours.outgoing()
    theirs.receive(ask)
    ours.receive(ask)
    assert protocol.server_frames().feed(ours.outgoing()) == [
        protocol.Unsubscribed(topics={TOPIC: [b"t" * 32]}),
        protocol.Subscribed(id=1),
    ]


def test_a_client_that_takes_a_token_back_before_it_hears_of_the_loss_has_it(bench: Bench) -> None:
    ours, theirs = greeted(bench), greeted(bench)
    for wire in (ours, theirs):
        wire.client.subscribe([(TOPIC, b"t" * 32)])
        wire.carry_up()
    ours.client.give_up(ours.client.subscribe([(TOPIC, b"t" * 32)]))
    ours.carry_up()
    assert not [happening for happening in ours.carry_down() if isinstance(happening, Lost)]
    assert ours.client.subscriptions == ((TOPIC, b"t" * 32),)
    theirs.client.subscribe([(TOPIC, b"t" * 32)])
    theirs.carry_up()
    assert [happening for happening in ours.settle() if isinstance(happening, Lost)]


def test_nothing_is_pushed_over_a_connection_that_is_being_closed(bench: Bench) -> None:
    token = bench.service.register("d", TOPIC)
    one = Conversation(bench.service, lambda: None)
    one.receive(
        protocol.encode(protocol.ClientHello(version=1, acknowledge=False))
        + protocol.encode(protocol.Subscribe(id=1, topics={TOPIC: [token]}))
    )
    bench.push(token)
    one.receive(b"\xff\xff\xff\xff")
    kinds = [type(frame) for frame in protocol.server_frames().feed(one.outgoing())]
    one.written()
    assert kinds == [protocol.ServerHello, protocol.Subscribed, protocol.Failure]
    assert len(bench.service.pending()) == 1


def test_a_refused_request_with_id_zero_does_not_end_the_connection(bench: Bench) -> None:
    wire = greeted(bench)
    assert wire.conversation is not None
    wire.conversation.receive(protocol.encode(protocol.Retire(id=0, topic=TOPIC, token=b"z" * 32)))
    assert (wire.conversation.closing, wire.carry_down()) == (None, [])
    number = wire.client.register("d", TOPIC, "device")
    assert [answer.id for answer in wire.settle() if isinstance(answer, Answered)] == [number]


# what a fake without a memory is told


def forgotten(wire: Wire) -> None:
    """The fake forgets everything, as one without a store does, and the client connects again."""
    wire.bench.storage = type(wire.bench.storage)()
    wire.bench.build()
    wire.connect()
    wire.settle()


def test_a_token_registered_in_the_sandbox_is_subscribed_there_again(bench: Bench) -> None:
    wire = greeted(bench)
    wire.client.register("d", TOPIC, "alice", "sandbox")
    (answer,) = [happening for happening in wire.settle() if isinstance(happening, Answered)]
    wire.client.subscribe([(TOPIC, answer.token)])
    wire.settle()
    forgotten(wire)
    registration = bench.service.registration(TOPIC, answer.token)
    assert registration is not None
    assert (registration.device, registration.channel, registration.environment) == ("d", "alice", "sandbox")


def test_a_subscription_that_waits_for_its_answer_keeps_its_environment(bench: Bench) -> None:
    wire = Wire(bench)
    wire.client.subscribe([(TOPIC, b"t" * 32)], "d", "alice", "sandbox")
    wire.connect()
    wire.settle()
    registration = bench.service.registration(TOPIC, b"t" * 32)
    assert registration is not None
    assert (registration.device, registration.channel, registration.environment) == ("d", "alice", "sandbox")

"""What every courier does, whatever carries it. A shell's own tests are elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.fakeapns.courier.blocking import BlockingCourier
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.courier.interface import Courier
from mdmsim.fakeapns.courier.local import LocalCourier
from mdmsim.fakeapns.courier.protocol import Environment
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.errors import CourierError, CourierRefused
from tests.fakeapns.support import OTHER_TOPIC, PAYLOAD, TOPIC, Bench, serving

pytestmark = pytest.mark.anyio

Push = tuple[str, bytes, bytes]
Make = Callable[..., AbstractAsyncContextManager["Shell"]]


class Shell:
    """A courier under test, and what it heard."""

    def __init__(self) -> None:
        self.courier: Courier
        self.pushes: list[Push] = []
        self.losses: list[tuple[str, bytes]] = []
        self._changed = trio.Event()
        self._token: trio.lowlevel.TrioToken = trio.lowlevel.current_trio_token()

    def on_push(self, topic: str, token: bytes, payload: bytes) -> None:
        self.pushes.append((topic, token, payload))
        self._tell()

    def on_lost(self, topic: str, token: bytes) -> None:
        self.losses.append((topic, token))
        self._tell()

    async def until(self, condition: Callable[[], object]) -> None:
        with trio.fail_after(10):
            while not condition():
                self._changed = trio.Event()
                if not condition():
                    await self._changed.wait()

    async def heard(self, count: int) -> list[Push]:
        await self.until(lambda: len(self.pushes) >= count)
        return self.pushes

    def _tell(self) -> None:
        # The blocking courier calls from its own thread.
        self._token.run_sync_soon(lambda: self._changed.set())


class InThreads:
    """The blocking courier, each call in a thread of its own, so that it can be tested beside its server."""

    def __init__(self, courier: BlockingCourier) -> None:
        self._courier = courier

    async def register(
        self, device: str, topic: str, channel: str = "device", environment: Environment = "production"
    ) -> bytes:
        return await trio.to_thread.run_sync(self._courier.register, device, topic, channel, environment)

    async def subscribe(
        self,
        pairs: Iterable[tuple[str, bytes]],
        device: str = "",
        channel: str | None = None,
        environment: Environment | None = None,
    ) -> list[tuple[str, bytes]]:
        return await trio.to_thread.run_sync(self._courier.subscribe, pairs, device, channel, environment)

    async def unsubscribe(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        await trio.to_thread.run_sync(self._courier.unsubscribe, pairs)

    async def retire(self, topic: str, token: bytes) -> None:
        await trio.to_thread.run_sync(self._courier.retire, topic, token)

    def ack(self, topic: str, token: bytes) -> None:
        self._courier.ack(topic, token)

    def acted(self, pairs: Iterable[tuple[str, bytes]]) -> None:
        self._courier.acted(pairs)

    def call(self, device: str, names: Iterable[str]) -> None:
        self._courier.call(device, names)


@pytest.fixture(params=["trio", "blocking", "local"])
async def make(request: pytest.FixtureRequest, bench: Bench) -> AsyncIterator[Make]:
    kind = request.param

    async with serving(CourierServer(bench.service).serve) as port:

        @asynccontextmanager
        async def made(**options: Any) -> AsyncIterator[Shell]:
            shell = Shell()
            common: dict[str, Any] = {"on_push": shell.on_push, "on_lost": shell.on_lost, **options}
            if kind == "local":
                async with LocalCourier(bench.service, **common) as shell.courier:
                    yield shell
            elif kind == "trio":
                async with CourierClient("127.0.0.1", port, chance=Chance(3), **common) as shell.courier:
                    yield shell
            else:
                blocking = BlockingCourier("127.0.0.1", port, chance=Chance(3), **common)
                await trio.to_thread.run_sync(blocking.__enter__)
                shell.courier = InThreads(blocking)
                try:
                    yield shell
                finally:
                    await trio.to_thread.run_sync(blocking.close)

        yield made


async def _settled(bench: Bench) -> None:
    """Until the service has every acknowledgement."""
    await bench.until(lambda: not bench.service.pending())


async def test_a_token_is_the_services(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC, "501")
    assert token == bench.service.register("mac-1", TOPIC, "501")


async def test_a_push_is_heard_and_acknowledged(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        assert await shell.courier.subscribe([(TOPIC, token)]) == []
        bench.push(token)
        assert await shell.heard(1) == [(TOPIC, token, PAYLOAD)]
        await _settled(bench)
    assert bench.log.count("push.acknowledged") == 1


async def test_a_stored_push_is_heard_at_subscription(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        bench.push(token, payload=b"old")
        bench.push(token, payload=b"new")
        await shell.courier.subscribe([(TOPIC, token)])
        assert await shell.heard(1) == [(TOPIC, token, b"new")]
        await _settled(bench)
        assert len(shell.pushes) == 1


async def test_every_push_of_many_devices_is_heard(make: Make, bench: Bench) -> None:
    async with make() as shell:
        tokens = [bench.service.register(f"mac-{number}", TOPIC) for number in range(50)]
        await shell.courier.subscribe((TOPIC, token) for token in tokens)
        for token in tokens:
            bench.push(token)
        heard = await shell.heard(50)
        assert sorted(token for _, token, _ in heard) == sorted(tokens)


async def test_after_unsubscribing_pushes_are_kept(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        await shell.courier.subscribe([(TOPIC, token)])
        await shell.courier.unsubscribe([(TOPIC, token)])
        bench.push(token)
        assert len(bench.service.pending()) == 1
        assert shell.pushes == []


async def test_a_retired_token_is_told_to_providers(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        await shell.courier.retire(TOPIC, token)
        assert bench.push(token).status == 410
        assert await shell.courier.register("mac-1", TOPIC) != token


async def test_retiring_an_unknown_token_is_refused(make: Make) -> None:
    async with make() as shell:
        with pytest.raises(CourierRefused) as refused:
            await shell.courier.retire(TOPIC, b"x" * 32)
        assert refused.value.reason == "unknown-token"


async def test_pairs_that_cannot_be_subscribed_come_back(make: Make, bench: Bench) -> None:
    async with make() as shell:
        good, gone = (bench.service.register(name, TOPIC) for name in ("mac-1", "mac-2"))
        bench.service.retire(TOPIC, gone)
        assert await shell.courier.subscribe([(TOPIC, good), (TOPIC, gone)]) == [(TOPIC, gone)]


async def test_without_acknowledgement_the_push_stays_and_the_next_one_waits(make: Make, bench: Bench) -> None:
    async with make(manual=True) as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        await shell.courier.subscribe([(TOPIC, token)])
        bench.push(token, payload=b"1")
        await shell.heard(1)
        bench.push(token, payload=b"2")
        assert [push.payload for push in bench.service.pending()] == [b"2"]
        shell.courier.ack(TOPIC, token)
        await shell.heard(2)
        shell.courier.ack(TOPIC, token)
        shell.courier.ack(TOPIC, token)
        await _settled(bench)
        assert [payload for _, _, payload in shell.pushes] == [b"1", b"2"]


async def test_a_courier_that_leaves_without_acknowledging_leaves_the_push(make: Make, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    async with make(manual=True) as shell:
        await shell.courier.subscribe([(TOPIC, token)])
        bench.push(token)
        await shell.heard(1)
    await bench.until(lambda: not bench.service.listening())
    assert len(bench.service.pending()) == 1


async def test_the_older_subscription_is_told_that_it_lost(make: Make, bench: Bench) -> None:
    token = bench.service.register("mac-1", TOPIC)
    async with make() as older, make() as newer:
        await older.courier.subscribe([(TOPIC, token)])
        await newer.courier.subscribe([(TOPIC, token)])
        await older.until(lambda: older.losses)
        bench.push(token)
        await newer.heard(1)
        assert (older.losses, older.pushes) == ([(TOPIC, token)], [])


async def test_one_token_can_listen_on_two_topics(make: Make, bench: Bench) -> None:
    async with make() as shell:
        await shell.courier.subscribe([(TOPIC, b"t" * 32), (OTHER_TOPIC, b"t" * 32)])
        assert bench.service.tokens.topics(b"t" * 32) == (TOPIC, OTHER_TOPIC)


async def test_using_a_closed_courier_is_an_error(make: Make) -> None:
    async with make() as shell:
        pass
    with pytest.raises(CourierError, match="closed"):
        await shell.courier.register("mac-1", TOPIC)


async def test_a_device_has_a_token_in_each_environment(make: Make, bench: Bench) -> None:
    async with make() as shell:
        tokens = {await shell.courier.register("mac-1", TOPIC, "device", where) for where in ("production", "sandbox")}
        assert tokens == {
            bench.service.register("mac-1", TOPIC),
            bench.service.register("mac-1", TOPIC, environment="sandbox"),
        }


async def test_whose_a_token_is_can_be_said_with_the_subscription(make: Make, bench: Bench) -> None:
    async with make() as shell:
        await shell.courier.subscribe([(TOPIC, b"t" * 32)], "mac-7")
        registration = bench.service.registration(TOPIC, b"t" * 32)
        assert registration is not None
        assert registration.device == "mac-7"


async def test_a_name_that_is_told_later_is_taken(make: Make, bench: Bench) -> None:
    async with make() as shell:
        await shell.courier.subscribe([(TOPIC, b"t" * 32)])
        await shell.courier.subscribe([(TOPIC, b"t" * 32)], "mac-7")
        registration = bench.service.registration(TOPIC, b"t" * 32)
        assert registration is not None
        assert registration.device == "mac-7"


async def test_other_names_of_a_device_lead_to_it(make: Make, bench: Bench) -> None:
    async with make() as shell:
        shell.courier.call("mac-7", ["UDID-7", "SERIAL-7"])
        # Any request: what was told before it has arrived when it is answered.
        await shell.courier.register("mac-7", TOPIC)
        assert [bench.service.tokens.device_called(name) for name in ("UDID-7", "SERIAL-7")] == ["mac-7"] * 2


async def test_that_a_device_acted_is_told_of_its_last_push(make: Make, bench: Bench) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        await shell.courier.subscribe([(TOPIC, token)])
        bench.push(token)
        await bench.until(lambda: bench.service.counts.acknowledged)
        shell.courier.acted([(TOPIC, token)])
        await shell.courier.register("mac-1", TOPIC)
        (push,) = bench.service.journal
        assert push.acted_ms == bench.clock.now_ms()


async def test_what_a_token_is_can_be_said_with_the_subscription(make: Make, bench: Bench) -> None:
    async with make() as shell:
        await shell.courier.subscribe([(TOPIC, b"t" * 32)], "mac-7", "alice", "sandbox")
        registration = bench.service.registration(TOPIC, b"t" * 32)
        assert registration is not None
        assert (registration.channel, registration.environment) == ("alice", "sandbox")


async def test_a_channel_that_is_told_with_the_name_later_is_taken(make: Make, bench: Bench) -> None:
    async with make() as shell:
        await shell.courier.subscribe([(TOPIC, b"t" * 32)])
        await shell.courier.subscribe([(TOPIC, b"t" * 32)], "mac-7", "alice")
        registration = bench.service.registration(TOPIC, b"t" * 32)
        assert registration is not None
        assert (registration.device, registration.channel) == ("mac-7", "alice")


async def test_refusals_come_back_whatever_else_was_asked(make: Make) -> None:
    async with make() as shell:
        token = await shell.courier.register("mac-1", TOPIC)
        assert await shell.courier.subscribe([(TOPIC, b"short"), (TOPIC, token)], "mac-1", "device", "sandbox") == [
            (TOPIC, b"short")
        ]

"""The rule that spans service, session and storage: newest wins, nothing is lost, nothing comes twice, expiry holds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, ManualClock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.keys import FreshKeys, SharedKeys
from tests.fakeapns.support import TOPIC, Bench, Device

_provider: list[Identity] = []


def _the_provider() -> Identity:
    if not _provider:
        clock = ManualClock()
        keys = SharedKeys(1, FreshKeys())
        made = Authority.create("a", keys=keys, clock=clock, chance=Chance("a"), kind="ec").issue_push(TOPIC)
        _provider.append(made)
    return _provider[0]


TOKENS = st.integers(0, 1)
CONNECTIONS = st.integers(0, 1)


class StoreAndForward(RuleBasedStateMachine):
    """A model of one slot per token: the newest push that may be kept and was not acknowledged."""

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(_the_provider())
        self.tokens = [self.bench.service.register(f"mac-{number}", TOPIC) for number in range(2)]
        self.count = 0
        #: Per token: the number of the newest push that is kept, and its expiry.
        self.kept: dict[int, tuple[int, int]] = {}
        self.connections = [self.bench.device(), self.bench.device()]
        self.listener: dict[int, Device] = {}
        #: Per token: what its listener took and did not acknowledge.
        self.flying: dict[int, tuple[int, int]] = {}
        self.acknowledged: dict[int, list[int]] = {0: [], 1: []}
        # Most of what matters happens to devices that listen.
        self.subscribe(0, 0)
        self.subscribe(0, 1)

    def pair(self, number: int) -> tuple[str, bytes]:
        return TOPIC, self.tokens[number]

    @rule(which=CONNECTIONS, number=TOKENS)
    def subscribe(self, which: int, number: int) -> None:
        device, old = self.connections[which], self.listener.get(number)
        device.session.subscribe([self.pair(number)])
        if old is not device:
            self.flying.pop(number, None)
            if old is not None:
                assert self.pair(number) in old.lost
        self.listener[number] = device

    @rule(which=CONNECTIONS, number=TOKENS)
    def unsubscribe(self, which: int, number: int) -> None:
        device = self.connections[which]
        device.session.unsubscribe([self.pair(number)])
        if self.listener.get(number) is device:
            del self.listener[number]
            self.flying.pop(number, None)

    @rule(which=CONNECTIONS)
    def reconnect(self, which: int) -> None:
        device = self.connections[which]
        device.session.close("broken")
        for number in [number for number, listener in self.listener.items() if listener is device]:
            del self.listener[number]
            self.flying.pop(number, None)
        self.connections[which] = self.bench.device()

    @rule(number=TOKENS, lifetime=st.sampled_from([0, 5, 60]))
    def push(self, number: int, lifetime: int) -> None:
        self.count += 1
        now_ms = self.bench.clock.now_ms()
        expiration = now_ms // SECOND + lifetime if lifetime else 0
        answer = self.bench.push(self.tokens[number], payload=b"%d" % self.count, apns_expiration=str(expiration))
        assert answer.status == 200
        if expiration * SECOND > now_ms:
            self.kept[number] = (self.count, expiration * SECOND)

    @rule(number=TOKENS, lifetime=st.sampled_from([0, 5, 60]))
    def push_and_take(self, number: int, lifetime: int) -> None:
        self.push(number, lifetime)
        self.take(0, 1)

    @rule(which=CONNECTIONS, limit=st.integers(1, 2))
    def take(self, which: int, limit: int) -> None:
        device, now_ms = self.connections[which], self.bench.clock.now_ms()
        for push in device.session.take(limit):
            number, content = self.tokens.index(push.token), int(push.payload)
            assert self.listener.get(number) is device, "only who listens is served"
            assert number not in self.flying, "one at a time"
            assert all(content > before for before in self.acknowledged[number]), "nothing comes twice or late"
            assert push.expires_ms == 0 or push.expires_ms > now_ms, "expired ones do not come"
            if number in self.kept and self.kept[number][1] > now_ms:
                assert content >= self.kept[number][0], "the newest comes"
            self.flying[number] = (content, push.number)

    @rule(number=TOKENS)
    def acknowledge(self, number: int) -> None:
        if number not in self.flying:
            return
        content, push_number = self.flying.pop(number)
        assert self.listener[number].session.acknowledge(push_number)
        self.acknowledged[number].append(content)
        if number in self.kept and self.kept[number][0] <= content:
            del self.kept[number]

    @rule(ms=st.sampled_from([1, 4_000, 70_000]))
    def wait(self, ms: int) -> None:
        self.bench.clock.advance(ms)

    @rule()
    def restart(self) -> None:
        self.bench.clock.advance(1)
        self.bench.build()
        self.connections = [self.bench.device(), self.bench.device()]
        self.listener.clear()
        self.flying.clear()

    @invariant()
    def what_is_pending_is_what_the_model_says(self) -> None:
        now_ms = self.bench.clock.now_ms()
        expected = {number: count for number, (count, expires_ms) in self.kept.items() if expires_ms > now_ms}
        pending = {self.tokens.index(push.token): int(push.payload) for push in self.bench.service.pending()}
        assert pending == expected

    def teardown(self) -> None:
        """In the end, whoever connects hears exactly what is pending."""
        if not hasattr(self, "bench"):
            return
        now_ms = self.bench.clock.now_ms()
        expected = sorted(count for count, expires_ms in self.kept.values() if expires_ms > now_ms)
        device = self.bench.device()
        device.session.subscribe([self.pair(0), self.pair(1)])
        assert sorted(int(payload) for payload in device.hear()) == expected


TestStoreAndForward: Any = StoreAndForward.TestCase
TestStoreAndForward.settings = settings(max_examples=400, stateful_step_count=50, deadline=None)

"""The rule that spans service, session and storage: newest wins, nothing is lost, nothing comes twice, expiry holds."""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule

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


class StoreAndForward(RuleBasedStateMachine):
    """A model of one slot per token: the newest push that may be kept and was not acknowledged."""

    connections = Bundle("connections")

    @initialize()
    def begin(self) -> None:
        self.bench = Bench(_the_provider())
        self.tokens = [self.bench.service.register(f"mac-{number}", TOPIC) for number in range(3)]
        self.count = 0
        #: Per token: the number of the newest push that is kept, and its expiry.
        self.kept: dict[int, tuple[int, int]] = {}
        self.listener: dict[int, Device] = {}
        #: Per connection and token: what was taken and not acknowledged.
        self.flying: dict[tuple[Device, int], tuple[int, int]] = {}
        self.acknowledged: dict[int, list[int]] = {0: [], 1: [], 2: []}

    def alive(self, device: Device) -> bool:
        """Whether it is a connection to the service as it runs now, and was not closed."""
        return device.service is self.bench.service and not device.session.closed

    @rule(target=connections)
    def connect(self) -> Device:
        return self.bench.device()

    @rule(device=connections, which=st.sets(st.integers(0, 2), min_size=1))
    def subscribe(self, device: Device, which: set[int]) -> None:
        if not self.alive(device):
            return
        device.session.subscribe([(TOPIC, self.tokens[number]) for number in which])
        for number in which:
            old = self.listener.get(number)
            if old is not None and old is not device:
                assert (TOPIC, self.tokens[number]) in old.lost
                self.flying.pop((old, number), None)
            self.listener[number] = device

    @rule(device=connections, number=st.integers(0, 2))
    def unsubscribe(self, device: Device, number: int) -> None:
        if not self.alive(device):
            return
        device.session.unsubscribe([(TOPIC, self.tokens[number])])
        if self.listener.get(number) is device:
            del self.listener[number]
            self.flying.pop((device, number), None)

    @rule(device=connections)
    def disconnect(self, device: Device) -> None:
        if not self.alive(device):
            return
        device.session.close("broken")
        for number in [number for number, listener in self.listener.items() if listener is device]:
            del self.listener[number]
            self.flying.pop((device, number), None)

    @rule(number=st.integers(0, 2), lifetime=st.sampled_from([0, 5, 60]))
    def push(self, number: int, lifetime: int) -> None:
        self.count += 1
        now_ms = self.bench.clock.now_ms()
        expiration = now_ms // SECOND + lifetime if lifetime else 0
        answer = self.bench.push(self.tokens[number], payload=b"%d" % self.count, apns_expiration=str(expiration))
        assert answer.status == 200
        if lifetime and expiration * SECOND > now_ms:
            self.kept[number] = (self.count, expiration * SECOND)

    @rule(device=connections)
    def take(self, device: Device) -> None:
        if not self.alive(device):
            return
        for push in device.take():
            number, content = self.tokens.index(push.token), int(push.payload)
            assert self.listener.get(number) is device, "only who listens is served"
            assert (device, number) not in self.flying, "one at a time"
            assert all(content > before for before in self.acknowledged[number]), "nothing comes twice or late"
            assert push.expires_ms == 0 or push.expires_ms > self.bench.clock.now_ms(), "expired ones do not come"
            if number in self.kept and self.kept[number][1] > self.bench.clock.now_ms():
                assert content >= self.kept[number][0], "the newest comes"
            self.flying[device, number] = (content, push.number)

    @rule(device=connections, number=st.integers(0, 2))
    def acknowledge(self, device: Device, number: int) -> None:
        flying = self.flying.pop((device, number), None)
        if flying is None:
            return
        content, push_number = flying
        assert device.session.acknowledge(push_number)
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
        device.session.subscribe([(TOPIC, token) for token in self.tokens])
        assert sorted(int(payload) for payload in device.hear()) == expected


TestStoreAndForward: Any = StoreAndForward.TestCase
TestStoreAndForward.settings = settings(max_examples=250, stateful_step_count=40, deadline=None)

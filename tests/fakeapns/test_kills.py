"""The fake APNs killed with -9 under load: no accepted push is lost, none comes twice, none comes in another's place.

Each kill falls at a seeded count of accepted pushes, or of bytes sent, in the middle of a request. Some devices listen
all the time and remember what they heard; the others are switched on now and then, each time without a memory.
The ledger is kept outside, from what was really sent, answered and heard.
"""

from __future__ import annotations

import json
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio

from mdmsim.chance import Chance
from mdmsim.clock import SECOND, WallClock
from mdmsim.fakeapns.courier.client_core import Answered, ClientCore, Heard
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from mdmsim.pki.keys import FreshKeys
from tests.fakeapns.load_client import Wish, push_all
from tests.fakeapns.support import TOPIC

ALWAYS_ON = 60
NOW_AND_THEN = 240
PROVIDERS = 4
#: How many of each provider's tokens are pushed to seldom.
SELDOM = 20
#: Milliseconds by which this process and the fake may disagree about the time, or be slow.
BLUR = 1_500
#: Seconds to wait for what must come.
PATIENCE = 20
#: What a connection to a killed process ends with.
GONE = (OSError, trio.BrokenResourceError, trio.ClosedResourceError)


@dataclass
class Sent:
    number: int
    expires_ms: int
    #: What the provider saw; None while, or if, it saw nothing.
    status: int | None = None

    @property
    def kept(self) -> bool:
        return self.expires_ms > 0


@dataclass
class Token:
    """What was sent to one token, and what its device heard."""

    token: bytes
    on: bool
    sent: list[Sent] = field(default_factory=list)
    #: The newest push that was accepted when the process that runs now began, or, for a device that was off then,
    #: when it was switched on: nothing older may come.
    floor: int = -1
    heard: list[int] = field(default_factory=list)
    #: Acknowledged, and the acknowledgement was taken; and then made durable: a 200 for a later push was seen.
    acknowledged: int = -1
    safe: int = -1

    def accepted(self) -> int:
        """The number of the newest push that was accepted and may be kept; -1: none."""
        return max((one.number for one in self.sent if one.kept and one.status == 200), default=-1)

    def due(self, now_ms: int) -> int | None:
        """The number from which on a push must come now; None if none need come."""
        accepted = self.accepted()
        if accepted <= max(self.acknowledged, self.heard[-1] if self.on and self.heard else -1):
            return None
        # Pushes without an answer may have come in its place.
        candidates = [one for one in self.sent[accepted:] if one.kept and one.status in (200, None)]
        return accepted if all(one.expires_ms > now_ms + 2 * BLUR for one in candidates) else None

    def hear(self, number: int, now_ms: int) -> None:
        sent = self.sent[number]
        assert sent.status in (200, None), f"push {number} was refused with {sent.status}, and came"
        assert number >= self.floor, f"push {number} came though {self.floor} had taken its place"
        assert number > self.safe, f"push {number} came again though {self.safe} was acknowledged"
        assert not self.on or number > max(self.heard, default=-1), f"push {number} came twice, or after a newer one"
        assert self.on or sent.kept, f"push {number} was now or never, and came later"
        assert not sent.kept or now_ms < sent.expires_ms + BLUR, f"push {number} came after its time"
        self.heard.append(number)


class Fake:
    """The process, and what the test knows of it."""

    def __init__(self, folder: Path) -> None:
        authority = Authority.create("kills", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec")
        server, provider = folder / "server.pem", folder / "push.pem"
        server.write_bytes(identity_to_pem(authority.issue_server(["localhost"], ["127.0.0.1"])))
        provider.write_bytes(identity_to_pem(authority.issue_push(TOPIC)))
        self.context = ssl.create_default_context(cadata=to_pem(authority.certificate).decode())
        self.context.load_cert_chain(provider)
        self.context.set_alpn_protocols(["h2"])
        self._command = [
            *(sys.executable, "-m", "mdmsim.fakeapns", "--json", "--admin-key", "key"),
            *("--store", str(folder / "apns.db"), "--server-identity", str(server), "--certificate", str(provider)),
        ]
        self._process: trio.Process | None = None
        self.ready: dict[str, Any] = {}

    async def start(self) -> None:
        process = self._process = await trio.lowlevel.open_process(self._command, stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            more = await process.stdout.receive_some(65536)
            assert more, "the fake APNs ended before it was ready"
            line += more
        self.ready = json.loads(line)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    async def gone(self) -> None:
        if self._process is not None:
            await self._process.wait()
            self._process = None

    async def admin(self, path: str) -> Any:
        async with httpx.AsyncClient(headers={"authorization": "Bearer key"}) as client:
            return (await client.get(self.ready["admin_url"] + path)).json()

    async def tokens(self) -> list[Any]:
        found: list[Any] = []
        offset: int | None = 0
        while offset is not None:
            page = await self.admin(f"/tokens?limit=1000&offset={offset}")
            found += page["tokens"]
            offset = page["next"]
        return found


class Devices:
    """A courier client: the real core, on a connection that lasts as long as the fake does."""

    def __init__(self, hear: Callable[[bytes, bytes], bool]) -> None:
        self.core = ClientCore("devices")
        #: Takes token and payload; whether to acknowledge.
        self._hear = hear
        self._answers: dict[int, Answered] = {}
        self._happened = trio.Event()
        self._stream: trio.SocketStream | None = None
        self._sending = trio.Lock()

    async def run(self, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        try:
            async with await trio.open_tcp_stream("127.0.0.1", port) as self._stream:
                self.core.connected()
                await self.flush()
                task_status.started()
                while data := await self._stream.receive_some(65536):
                    for happening in self.core.receive(bytes(data)):
                        if isinstance(happening, Answered):
                            self._answers[happening.id] = happening
                        elif isinstance(happening, Heard) and self._hear(happening.token, happening.payload):
                            self.core.acknowledge(happening.topic, happening.token)
                    await self.flush()
                    self._happened.set()
                    self._happened = trio.Event()
        except GONE:
            pass
        finally:
            self._stream = None
            self.core.disconnected()
            self._happened.set()
            self._happened = trio.Event()

    async def flush(self) -> None:
        async with self._sending:
            if self._stream is not None and (data := self.core.outgoing()):
                await self._stream.send_all(data)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once that holds. Raises trio.BrokenResourceError when the connection is gone before."""
        while not condition():
            if self._stream is None:
                raise trio.BrokenResourceError
            await self._happened.wait()

    async def answers(self, *numbers: int) -> list[Answered]:
        await self.flush()
        await self.until(lambda: all(number in self._answers for number in numbers))
        return [self._answers.pop(number) for number in numbers]


class Kills:
    """One fake APNs, its devices and providers, and everything that was promised."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance = Chance(f"apns-kills/{seed}")
        self.clock = WallClock()
        self.fake = Fake(folder)
        self.tokens: dict[bytes, Token] = {}
        self.fleet = Devices(self._heard)
        self.accepted = self.deliveries = 0
        #: Registrations and retirements that the courier confirmed.
        self.registered: dict[bytes, str] = {}
        self.retired: set[bytes] = set()
        self._extra = 0
        self._kill_at = 0
        self._kill_at_bytes = 0
        self._bytes = 0

    async def run(self, kills: int) -> None:
        try:
            await self.fake.start()
            async with trio.open_nursery() as nursery:
                await nursery.start(self.fleet.run, self.fake.ready["courier_port"])
                await self._enroll()
                nursery.cancel_scope.cancel()
            for _ in range(kills):
                with trio.fail_after(120):
                    await self._check()
                    await self._load_and_kill()
                    await self.fake.start()
            with trio.fail_after(120):
                await self._check(everything=True)
        finally:
            self.fake.kill()
            with trio.CancelScope(shield=True):
                await self.fake.gone()

    async def _enroll(self) -> None:
        for number in range(ALWAYS_ON + NOW_AND_THEN):
            device = f"mac-{number}"
            (answer,) = await self.fleet.answers(self.fleet.core.register(device, TOPIC, "device"))
            self.registered[answer.token] = device
            self.tokens[answer.token] = Token(answer.token, on=number < ALWAYS_ON)
        on = [(TOPIC, one.token) for one in self.tokens.values() if one.on]
        await self.fleet.answers(*self.fleet.core.subscribe(on))

    # what must hold

    def _heard(self, token: bytes, payload: bytes) -> bool:
        self.deliveries += 1
        self.tokens[token].hear(json.loads(payload)["mdm"], self.clock.now_ms())
        return True

    async def _check(self, *, everything: bool = False) -> None:
        """After a start, before new pushes: what is due comes to the devices that are there or are switched on."""
        listed = {bytes.fromhex(one["token"]): one for one in await self.fake.tokens()}
        assert {token: listed[token]["device"] for token in self.registered} == self.registered
        assert [token for token in self.retired if listed[token]["retired_ms"] is None] == []
        for one in self.tokens.values():
            one.floor = max(one.floor, one.accepted())
        async with trio.open_nursery() as nursery:
            port = self.fake.ready["courier_port"]
            await nursery.start(self.fleet.run, port)
            awake = [one for one in self.tokens.values() if not one.on and (everything or self.chance.happens(0.4))]
            heard: dict[bytes, int] = {}

            def hear(token: bytes, payload: bytes) -> bool:
                assert token not in heard, "nothing was pushed meanwhile, and it came twice"
                self._heard(token, payload)
                heard[token] = self.tokens[token].heard[-1]
                # Some are switched off again before they can acknowledge.
                if everything or self.chance.happens(0.8):
                    acknowledged.append(self.tokens[token])
                    return True
                return False

            acknowledged: list[Token] = []
            visitors = Devices(hear)
            await nursery.start(visitors.run, port)
            numbers = visitors.core.subscribe([(TOPIC, one.token) for one in awake])
            (answer,) = await visitors.answers(*numbers)
            assert answer.refused == ()
            now_ms = self.clock.now_ms()
            due = {one.token: number for one in awake if (number := one.due(now_ms)) is not None}
            with trio.move_on_after(PATIENCE):
                await visitors.until(lambda: due.keys() <= heard.keys())
            lost = {number: heard.get(token) for token, number in due.items() if heard.get(token, -1) < number}
            assert lost == {}, "accepted pushes, and what came in their place"
            on = [(one, number) for one in self.tokens.values() if one.on and (number := one.due(now_ms)) is not None]
            with trio.move_on_after(PATIENCE):
                await self.fleet.until(lambda: all(one.heard[-1:] >= [number] for one, number in on))
            assert [number for one, number in on if one.heard[-1:] < [number]] == [], (
                "accepted pushes that did not come"
            )
            # The answer comes after everything that was sent before: the acknowledgements are taken in.
            await visitors.answers(*visitors.core.unsubscribe([(TOPIC, one.token) for one in awake]))
            for one in acknowledged:
                one.acknowledged = one.heard[-1]
            nursery.cancel_scope.cancel()

    # the load

    async def _load_and_kill(self) -> None:
        by_bytes = self.chance.happens(0.5)
        self._bytes, self._kill_at_bytes = 0, self.chance.randint(2_000, 100_000) if by_bytes else 1 << 60
        self._kill_at = self.accepted + (1 << 60 if by_bytes else self.chance.randint(1, 400))
        ports = self.fake.ready
        async with trio.open_nursery() as nursery:
            await nursery.start(self.fleet.run, ports["courier_port"])
            await nursery.start(self._enroll_and_retire, ports["courier_port"])
            everyone = list(self.tokens.values())
            for number in range(PROVIDERS):
                # Each token has its provider: between two, nobody could say which push was the newer one.
                wishes = self._wishes(everyone[number::PROVIDERS])
                nursery.start_soon(partial(push_all, ports["port"], self.fake.context, wishes, meter=self))
        await self.fake.gone()

    def _wishes(self, tokens: list[Token]) -> Iterator[Wish]:
        while True:
            # The last ones hear seldom and briefly: what expires, and nothing newer in its place.
            seldom = self.chance.happens(0.05)
            one = self.chance.choice(tokens[-SELDOM:] if seldom else tokens[:-SELDOM])
            now_ms = self.clock.now_ms()
            lifetime = 2 if seldom else self.chance.choice((0, 2, 4, 3_600, 3_600, 3_600, 3_600, 3_600))
            expiration = now_ms // SECOND + lifetime if lifetime else 0
            sent = Sent(len(one.sent), expiration * SECOND)
            one.sent.append(sent)
            payload = json.dumps({"mdm": sent.number}).encode()
            yield Wish(one.token, payload, self._answered(sent), expiration)

    def _answered(self, sent: Sent) -> Callable[[int], None]:
        before = [(one, one.acknowledged) for one in self.tokens.values() if one.acknowledged > one.safe]

        def answered(status: int) -> None:
            sent.status = status
            assert status == 200
            self.accepted += 1
            for one, number in before:
                one.safe = max(one.safe, number)
            if self.accepted >= self._kill_at:
                self.fake.kill()

        return answered

    def room(self, length: int) -> int:
        room = min(length, max(self._kill_at_bytes - self._bytes, 0))
        self._bytes += length
        return room

    def spent(self) -> None:
        self.fake.kill()

    async def _enroll_and_retire(
        self, port: int, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Devices come and go, one after the other, as fast as the courier answers."""
        office = Devices(lambda token, payload: True)
        async with trio.open_nursery() as nursery:
            await nursery.start(office.run, port)
            task_status.started()
            try:
                while True:
                    self._extra += 1
                    device = f"guest-{self._extra}"
                    (answer,) = await office.answers(office.core.register(device, TOPIC, "device"))
                    self.registered[answer.token] = device
                    if self._extra % 2:
                        await office.answers(office.core.retire(TOPIC, answer.token))
                        self.retired.add(answer.token)
                    # A few a round: the checks look at all of them.
                    if self._extra % 10 == 0:
                        break
            except GONE:
                pass


@pytest.mark.live
def test_a_few_kills_under_load_lose_and_repeat_no_push(tmp_path: Path) -> None:
    kills = Kills(tmp_path, 2026)
    trio.run(kills.run, 3)
    assert kills.accepted > 20, "the load was too light to prove anything"
    assert kills.deliveries > 20


@pytest.mark.soak
@pytest.mark.live
@pytest.mark.parametrize("seed", range(4))
def test_a_hundred_kills_under_load_lose_and_repeat_no_push(tmp_path: Path, seed: int) -> None:
    kills = Kills(tmp_path, seed)
    trio.run(kills.run, 25)
    assert kills.accepted > 1_000, "the load was too light to prove anything"
    assert kills.deliveries > 1_000
    print(
        f"seed {seed}: {kills.accepted} pushes accepted, {kills.deliveries} delivered, {len(kills.registered)} tokens"
    )

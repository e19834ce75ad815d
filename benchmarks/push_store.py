"""The fake APNs with a store and 100,000 tokens: its start from disk, its memory, and its memory after storms.

The process measured is `python -m mdmsim.fakeapns` itself, from outside. Megabytes are of 1,000,000 bytes.
"""

from __future__ import annotations

import json
import re
import tempfile
import time
from pathlib import Path

import trio

from benchmarks.measure import Figure, at_least, at_most, beside, child, cpu_of, rss_of
from benchmarks.push_client import push_all
from mdmsim.chance import Chance
from mdmsim.clock import DAY, WallClock
from mdmsim.fakeapns.courier.client import CourierClient
from mdmsim.fakeapns.sqlite_storage import SqliteStorage
from mdmsim.fakeapns.storage import Push, Registration
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, to_pem
from mdmsim.pki.keys import FreshKeys

TOKENS = 100_000
STORM = 50_000
OUTSTANDING = 512
TOPIC = "com.apple.mgmt.External.11111111-2222-4333-8444-555555555555"
FAKE = ("-m", "mdmsim.fakeapns", "--json", "--store")


def most_of(pid: int) -> float:
    """The most memory that another process ever had, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024 / 1e6


def fill(store: Path, tokens: int) -> None:
    """A store with so many devices, each with a token and one pending push as NanoMDM sends them."""
    storage = SqliteStorage(store)
    storage.load("0123456789abcdef")
    chance, now_ms = Chance("push_store"), WallClock().now_ms()
    for number in range(tokens):
        token, at_ms = chance.bytes(32), now_ms + number
        payload = b'{"mdm":"%s"}' % str(chance.uuid()).upper().encode()
        apns_id = str(chance.uuid()).upper()
        storage.keep_registration(
            Registration(topic=TOPIC, token=token, device=f"mac-{number:06d}", registered_ms=at_ms)
        )
        storage.keep_push(Push.of(now_ms * 1000 + number, TOPIC, token, payload, apns_id, at_ms, at_ms + DAY))
    storage.close()


def start(store: Path) -> tuple[float, float, float, float]:
    """CPU seconds and seconds until the process is ready, then its memory and the most it had, in MB."""
    began = time.monotonic()
    with child([*FAKE, str(store)]) as (process, _):
        took = time.monotonic() - began
        return cpu_of(process.pid), took, rss_of(process.pid), most_of(process.pid)


def from_disk(folder: Path) -> list[Figure]:
    store = folder / "filled.db"
    fill(store, TOKENS)
    floor = start(folder / "empty.db")
    cpu, took, memory, most = start(store)
    return [
        at_most("push_store.disk.memory", memory, "MB", 150.0, floor=floor[2]),
        beside("push_store.disk.most", most, "MB"),
        at_most("push_store.disk.start", cpu, "CPU s", 5.0, floor=floor[0]),
        beside("push_store.disk.wall", took, "s"),
    ]


class Live:
    """The same, but everything came over the wire. Then all devices are switched on, and storms follow."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        authority = Authority.create("a", keys=FreshKeys(), clock=WallClock(), chance=Chance(1), kind="ec")
        (folder / "ca.pem").write_bytes(to_pem(authority.certificate))
        (folder / "server.pem").write_bytes(identity_to_pem(authority.issue_server(["localhost"], ["127.0.0.1"])))
        (folder / "push.pem").write_bytes(identity_to_pem(authority.issue_push(TOPIC)))
        self._tokens: list[bytes] = []
        self._heard: set[bytes] = set()
        self._missing = 0
        self._all_heard = trio.Event()

    async def run(self) -> list[Figure]:
        folder = self._folder
        options = ("--server-identity", str(folder / "server.pem"), "--certificate", str(folder / "push.pem"))
        with child([*FAKE, str(folder / "live.db"), *options]) as (process, line):
            ready = json.loads(line)
            async with CourierClient(
                "127.0.0.1", ready["courier_port"], on_push=self._on_push, chance=Chance(1)
            ) as courier:
                async with trio.open_nursery() as nursery:
                    for first in range(500):
                        nursery.start_soon(self._register, courier, first)
                registered = rss_of(process.pid)
                await self._push(ready["port"], TOKENS)
                pending = rss_of(process.pid)
                heard = await self._switch_on(courier, TOKENS)
                after = []
                for _ in range(3):
                    await self._push(ready["port"], STORM)
                    heard += await self._switch_on(courier, STORM)
                    after.append(rss_of(process.pid))
        return [
            at_most("push_store.live.memory", pending, "MB", 150.0),
            beside("push_store.live.registered", registered, "MB"),
            at_least("push_store.storm.heard", heard, "pushes", TOKENS + 3 * STORM),
            at_most("push_store.storm.growth", after[2] - after[0], f"MB above {after[0]:.0f}, two storms on", 5.0),
        ]

    async def _register(self, courier: CourierClient, first: int) -> None:
        for number in range(first, TOKENS, 500):
            self._tokens.append(await courier.register(f"mac-{number:06d}", TOPIC))

    async def _push(self, port: int, count: int) -> None:
        """One push to each of so many devices, all of them accepted."""
        tokens = [token.hex() for token in self._tokens[:count]]
        await push_all(port, self._folder, tokens, count, 1, OUTSTANDING)

    async def _switch_on(self, courier: CourierClient, count: int) -> int:
        """Those devices connect and hear what is pending, and are switched off again; how many heard a push."""
        self._heard, self._missing, self._all_heard = set(), count, trio.Event()
        pairs = [(TOPIC, token) for token in self._tokens[:count]]
        await courier.subscribe(pairs)
        with trio.move_on_after(60):
            await self._all_heard.wait()
        await courier.unsubscribe(pairs)
        return len(self._heard)

    def _on_push(self, topic: str, token: bytes, payload: bytes) -> None:
        self._heard.add(token)
        if len(self._heard) == self._missing:
            self._all_heard.set()


def run() -> list[Figure]:
    with tempfile.TemporaryDirectory() as directory:
        return [*from_disk(Path(directory)), *trio.run(Live(Path(directory)).run)]

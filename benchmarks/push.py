"""Pushes accepted over TLS 1.3 with a client certificate, against HTTP/2 alone on the same loop.

The client runs in this process, the server in another, and the server's CPU counts. The floor answers 200 to
everything with the same library over the same TLS; each round takes all servers in turn.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

from benchmarks.measure import Figure, at_least, at_least_ratio, at_most, beside, child, cpu_of, rss_of
from benchmarks.push_client import push_all
from benchmarks.push_server import TOPIC
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.fakeapns.front.engines import NoEngine, engine
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys

ROUNDS = 3
PUSHES = 6000
TOKENS = 5000
CONNECTIONS = (1, 4, 32)
#: Requests on the way at a time, over all connections.
OUTSTANDING = 512
STORM = 50_000

GOALS = {"memory": 0.6, "store": 0.45}


@dataclass(slots=True)
class Server:
    port: int
    process: subprocess.Popen[str]
    folder: Path
    tokens: list[str]

    @property
    def pid(self) -> int:
        return self.process.pid

    def counts(self) -> tuple[int, int]:
        """Pushes accepted so far, and pending now."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        accepted, pending = json.loads(self.process.stdout.readline())
        return accepted, pending

    def push(self, pushes: int, connections: int) -> tuple[float, float]:
        """Push; CPU seconds of the server per push, and pushes a second by the wall clock."""
        before, began = cpu_of(self.pid), time.perf_counter()
        trio.run(partial(push_all, self.port, self.folder, self.tokens, pushes, connections, outstanding=OUTSTANDING))
        return (cpu_of(self.pid) - before) / pushes, pushes / (time.perf_counter() - began)


@contextmanager
def serving(kind: str, library: str, tokens: int) -> Iterator[Server]:
    """A server as a process of its own."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        authority = Authority.create("bench", keys=FreshKeys(), clock=WallClock(), chance=Chance(kind), kind="ec")
        (folder / "push.pem").write_bytes(identity_to_pem(authority.issue_push(TOPIC)))
        arguments = ["-m", "benchmarks.push_server", kind, library, str(folder), str(tokens)]
        process, line = stack.enter_context(child(arguments, subprocess.PIPE))
        file = folder / "tokens"
        known = file.read_text().split() if file.exists() else ["ab" * 32]
        yield Server(int(line), process, folder, known)


def rates(library: str, connections: int) -> dict[str, tuple[float, float]]:
    """Pushes per CPU second, and per second, of each kind of server: medians of rounds taken in turn."""
    kinds = ("bare", "memory", "store")
    with ExitStack() as stack:
        servers = {kind: stack.enter_context(serving(kind, library, TOKENS)) for kind in kinds}
        for server in servers.values():
            server.push(1000, connections)
        taken: dict[str, list[tuple[float, float]]] = {kind: [] for kind in kinds}
        for _ in range(ROUNDS):
            for kind, server in servers.items():
                taken[kind].append(server.push(PUSHES, connections))
    return {
        kind: (1 / statistics.median(cpu for cpu, _ in values), statistics.median(rate for _, rate in values))
        for kind, values in taken.items()
    }


def throughput(library: str, connections: int) -> list[Figure]:
    found = rates(library, connections)
    floor, _ = found["bare"]
    figures = []
    for kind, goal in GOALS.items():
        rate, wall = found[kind]
        name = f"push.{kind}.{connections}" + ("" if library == "h2" else f".{library}")
        if library == "h2":
            figures.append(at_least_ratio(name, rate, "pushes per server CPU s", floor, goal))
        else:
            figures.append(Figure(name, rate, "pushes per server CPU s", floor, rate / floor))
        figures.append(beside(f"{name}.wall", wall, "pushes a second"))
    return figures


def storm() -> list[Figure]:
    """50,000 pushes as fast as one client sends: all accepted, all pending, and memory as before."""
    with serving("store", "h2", STORM) as server:
        server.push(STORM, 1)
        before = rss_of(server.pid)
        cpu, wall = server.push(STORM, 1)
        accepted, pending = server.counts()
        after = rss_of(server.pid)
    return [
        at_least("push.storm.accepted", accepted - STORM, "of 50,000 pushes", STORM),
        at_least("push.storm.pending", pending, "of 50,000 tokens", STORM),
        at_most("push.storm.memory", after - before, f"MB more than the {before:.0f} before", 5.0),
        beside("push.storm.wall", wall, "pushes a second"),
        beside("push.storm.cpu", cpu * 1e6, "us server CPU a push, durable"),
    ]


def run() -> list[Figure]:
    figures = [figure for connections in CONNECTIONS for figure in throughput("h2", connections)]
    try:
        engine("jh2")
    except NoEngine as missing:
        print(missing)
    else:
        figures += throughput("jh2", 4)
    return figures + storm()


def run_short() -> list[Figure]:
    """One number of connections and no storm."""
    return throughput("h2", 4)

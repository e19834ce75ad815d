"""What Locust adds to a device's connect, and five hundred devices that connect once a second each.

The first compares CPU per connect of a Locust user with the same flow under the same transport without Locust, against
a bare server in a process of its own. The second is `mdmsim load` as users run it, servers and all.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Figure, at_least, at_most, at_most_ratio, beside, child
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem
from mdmsim.pki.keys import FreshKeys

DEVICES = 50
CONNECTS = 40
ROUNDS = 5

FLEET = 500
SECONDS = 45
ARRIVALS = 100


def run() -> list[Figure]:
    return [_added_by_locust(), *_five_hundred()]


def _added_by_locust() -> Figure:
    authority = Authority.create("Bench CA", keys=FreshKeys(), clock=WallClock(), chance=Chance(1))
    with tempfile.TemporaryDirectory() as directory:
        server, issuer = Path(directory) / "server.pem", Path(directory) / "issuer.pem"
        server.write_bytes(identity_to_pem(authority.issue_server(["127.0.0.1"])))
        issuer.write_bytes(authority.to_pem())
        with child(["-m", "benchmarks.bare_server", str(server)]) as (_, line):
            pairs = [[_cost(mode, line.strip(), issuer) for mode in ("plain", "locust")] for _ in range(ROUNDS)]
    plain, locust = sorted(pairs, key=lambda pair: pair[1] / pair[0])[len(pairs) // 2]
    return at_most_ratio("load.locust-user", locust, "ms client CPU per connect", plain, 1.25)


def _cost(mode: str, port: str, issuer: Path) -> float:
    command = [sys.executable, "-m", "benchmarks.locust_cost", mode, port, str(issuer)]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def _five_hundred() -> list[Figure]:
    # In memory where there is such a place: the server makes every connect durable, and a disk that takes 4 ms to write
    # allows no more than 250 a second, whatever the CPU.
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as directory:
        store = Path(directory) / "devices.sqlite"
        command = [sys.executable, "-m", "mdmsim.cli", "load", "ramp", "--devices", str(FLEET), "--store", str(store)]
        enrolled = subprocess.run(
            [*command, "--time", "30s", "--rate", "25", "--every", "60"], capture_output=True, text=True, check=False
        )
        if enrolled.returncode:
            raise RuntimeError(f"the devices did not enrol:\n{enrolled.stdout}{enrolled.stderr}")
        steady = [sys.executable, "-m", "mdmsim.cli", "load", "benchmarks/steady.py", "--devices", str(FLEET)]
        steady += ["--store", str(store), "--time", f"{SECONDS}s", "--rate", str(ARRIVALS), "--every", "1"]
        done = subprocess.run(steady, capture_output=True, text=True, check=False)
    print(done.stdout, file=sys.stderr)
    found = re.search(r"CPU: simulator ([\d.]+) s.*?, ([\d.]+) ms per.*?reference server ([\d.]+) s", done.stdout)
    idle = re.search(r"connect:Idle +(\d+) +(\d+) +([\d.]+) +(\S+ \S+) +(\S+ \S+) +(\S+ \S+)", done.stdout)
    if found is None or idle is None:
        raise RuntimeError(f"no summary:\n{done.stdout}{done.stderr}")
    connects = int(idle[1])
    # Users arrive at 100 a second, so while they arrive half of them are there on average.
    due = FLEET * (SECONDS - FLEET / ARRIVALS / 2)
    simulator, server = float(found[1]) / connects * 1000, float(found[3]) / connects * 1000
    return [
        at_most("load.500-devices.failures", float(idle[2]) + (done.returncode != 0), "failed connects", 0.0),
        at_least("load.500-devices.kept-up", connects / due, "share of the connects that were due", 0.95),
        at_most("load.500-devices.cores", (simulator + server) * FLEET / 1000, "cores, both ends, once a second", 1.5),
        beside("load.500-devices.simulator", simulator, "ms simulator CPU per connect"),
        beside("load.500-devices.server", server, "ms server CPU per connect"),
        beside("load.500-devices.rate", float(idle[3]), "connects per second, ramp included; wall clock"),
    ]

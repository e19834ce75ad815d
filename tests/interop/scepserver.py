"""scepserver as a process: a CA of others that gives our devices their identities."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.interop.needs import from_go
from tests.interop.processes import serving

CHALLENGE = "interop challenge"


@dataclass(frozen=True)
class ScepServer:
    """`ca`: its certificate, PEM; `port` speaks plain HTTP."""

    port: int
    ca: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/scep"


@contextmanager
def scepserver(folder: Path) -> Iterator[ScepServer]:
    program = str(from_go("scepserver"))
    folder.mkdir()
    depot = folder / "depot"
    # The default of 4096 bits costs five times the CPU.
    made = subprocess.run(
        [program, "ca", "-init", "-depot", str(depot), "-keySize", "2048"], capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr

    def run(port: int) -> list[str]:
        arguments = ["-http-addr", f"127.0.0.1:{port}", "-depot", str(depot), "-allowrenew", "0"]
        return [program, *arguments, "-challenge", CHALLENGE]

    with serving(run, log=folder / "log") as port:
        yield ScepServer(port, depot / "ca.pem")

"""Servers of others as child processes: on a free port of loopback, waited for, and never left behind."""

from __future__ import annotations

import ctypes
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event

#: Seconds that a server may take until it answers, and to end when asked to.
START, STOP = 30.0, 10.0


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def serving(
    command: Callable[[int], list[str]], *, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator[int]:
    """Run `command(port)` until the block ends; the port, once something listens there.

    A server that ends before that is tried again on another port: somebody may have taken the first.
    """
    for _ in range(3):
        port = free_port()
        with log.open("ab") as output:
            process = subprocess.Popen(
                command(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                preexec_fn=_die_with_parent,
            )
        try:
            if _listens(process, port):
                yield port
                return
        finally:
            process.terminate()
            try:
                process.wait(STOP)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    raise AssertionError(f"{command(0)[0]} does not start: {log.read_text(errors='replace')[-500:]}")


def _listens(process: subprocess.Popen[bytes], port: int) -> bool:
    wait = Event()
    for _ in range(int(START / 0.02)):
        if process.poll() is not None:
            return False
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            wait.wait(0.02)
        else:
            return True
    return False

"""Child processes of a live world: started, waited for until they answer, and never left behind."""

from __future__ import annotations

import contextlib
import ctypes
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio

from mdmsim.events import Event, from_json_line

#: How long a server may take until it answers, and to end when asked to. Generous: machines are shared.
START_SECONDS = 60.0
STOP_SECONDS = 10.0

_PR_SET_PDEATHSIG = 1  # prctl(2)


class ProcessFailed(Exception):
    """A server process did not come up or ended early; the text says which, and its last words."""


def _die_with_parent() -> None:
    """Linux: the child gets a signal when the process that started it is gone, even by kill -9."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ServerProcess:
    """One running child. `ready` is the JSON object of its first line."""

    def __init__(self, name: str, process: trio.Process, ready: dict[str, Any]) -> None:
        self.name = name
        self.process = process
        self.ready = ready

    @property
    def pid(self) -> int:
        return self.process.pid

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash of the machine would, and wait until it is gone."""
        self.process.kill()
        await self.process.wait()


@asynccontextmanager
async def server_process(
    name: str,
    arguments: Sequence[str],
    *,
    log: Path,
    on_event: Callable[[Event], None],
) -> AsyncIterator[ServerProcess]:
    """Run `python -m ARGUMENTS` until the block ends. Its stdout is a ready line and then events as JSON lines.

    `log`: where its stderr goes. Raises ProcessFailed when it ends before it is ready.
    """
    with log.open("ab") as stderr:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            preexec_fn=_die_with_parent,
        )
    if process.stdout is None:
        raise ProcessFailed(f"{name}: no standard output")
    lines = _lines(process.stdout)
    try:
        ready: dict[str, Any] | None = None
        with trio.move_on_after(START_SECONDS):
            async for line in lines:
                ready = json.loads(line)
                break
        if ready is None:
            raise ProcessFailed(f"{name} did not start: {_last_words(log)}")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_forward, lines, on_event)
            yield ServerProcess(name, process, ready)
            nursery.cancel_scope.cancel()
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)


async def _forward(lines: AsyncIterator[bytes], on_event: Callable[[Event], None]) -> None:
    async for line in lines:
        with contextlib.suppress(ValueError):
            on_event(from_json_line(line))


async def _lines(stream: trio.abc.ReceiveStream) -> AsyncIterator[bytes]:
    buffer = b""
    while chunk := await stream.receive_some(65536):
        buffer += chunk
        *complete, buffer = buffer.split(b"\n")
        for line in complete:
            yield line


async def _end(process: trio.Process) -> None:
    if process.returncode is None:
        process.terminate()
        with trio.move_on_after(STOP_SECONDS):
            await process.wait()
    if process.returncode is None:
        process.kill()
        await process.wait()


def _last_words(log: Path) -> str:
    try:
        lines = log.read_text(errors="replace").strip().splitlines()
    except OSError:
        return "it left no log"
    return lines[-1] if lines else "it said nothing"

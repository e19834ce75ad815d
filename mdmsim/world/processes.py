"""Child processes of a live world: started, waited for until they answer, and never left behind."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import trio

from mdmsim.events import Event, from_json_line

#: How long a server may take until it answers, and to end when asked to. Generous: machines are shared.
START_SECONDS = 60.0
STOP_SECONDS = 10.0


class ProcessFailed(Exception):
    """A server process did not come up or ended early; the text says which, and its last words."""


class ServerProcess:
    """One running child. `ready` is the JSON object of its first line."""

    def __init__(self, name: str, process: trio.Process, ready: dict[str, Any]) -> None:
        self.name = name
        self.ready = ready
        self._process = process
        self._gone = trio.Event()
        self._asked_to_end = False

    @property
    def pid(self) -> int:
        return self._process.pid

    async def kill(self) -> None:
        """End it with SIGKILL, as a crash of the machine would, and wait until it is gone."""
        self._asked_to_end = True
        self._process.kill()
        await self._gone.wait()

    async def stop(self) -> None:
        """Ask it to end, and wait until it has."""
        self._asked_to_end = True
        await _end(self._process)
        await self._gone.wait()


async def run_server_process(
    name: str,
    arguments: Sequence[str],
    *,
    log: Path,
    on_event: Callable[[Event], None],
    task_status: trio.TaskStatus[ServerProcess] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run `python -m ARGUMENTS` until it is stopped, killed, or this is cancelled; `nursery.start` returns its handle.

    Its stdout is a ready line and then events as JSON lines. `log`: where its stderr goes. Raises ProcessFailed when
    it ends before it is ready, or later without having been asked to.
    """
    process = await _open(arguments, log)
    server: ServerProcess | None = None
    try:
        lines = _lines(process)
        ready: dict[str, Any] | None = None
        with trio.move_on_after(START_SECONDS):
            async for line in lines:
                ready = json.loads(line)
                break
        if ready is None:
            raise ProcessFailed(f"{name} did not start: {_last_words(log)}")
        server = ServerProcess(name, process, ready)
        task_status.started(server)
        async for line in lines:
            with contextlib.suppress(ValueError):
                on_event(from_json_line(line))
        await process.wait()
        if not server._asked_to_end:
            raise ProcessFailed(f"{name} ended by itself (exit code {process.returncode}): {_last_words(log)}")
    finally:
        with trio.CancelScope(shield=True):
            await _end(process)
        if server is not None:
            server._gone.set()


async def _open(arguments: Sequence[str], log: Path) -> trio.Process:
    with log.open("ab") as stderr:
        # Its stdin is a pipe from here that says nothing: when it closes, this process is gone and the child ends. In a
        # group of its own it does not hear the terminal's Ctrl-C: whoever started it ends it, in good order.
        return await trio.lowlevel.open_process(
            [sys.executable, "-m", "mdmsim.world.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            process_group=0,
        )


async def _lines(process: trio.Process) -> AsyncIterator[bytes]:
    if process.stdout is None:
        return
    buffer = b""
    while chunk := await process.stdout.receive_some(65536):
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

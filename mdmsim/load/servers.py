"""The server that is loaded where none was named: reference server and fake APNs, as processes on loopback.

They are started in a session of their own, so that Ctrl-C reaches Locust alone and the servers last until its end;
`mdmsim.world.child` ends them when whoever started them is gone, by kill -9 even.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import yaml

from mdmsim.clock import SECOND, WallClock
from mdmsim.http import Request, TransportError, Trust
from mdmsim.load.errors import NOT_CARRIED_OUT, LoadError
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.transport.blocking import BlockingTransport

#: Seconds that a server may take until it answers, and to end.
START_SECONDS = 60.0
STOP_SECONDS = 10.0

#: Called with name, URL and seconds as each server answers.
OnReady = Callable[[str, str, float], None]


@dataclass(frozen=True, slots=True)
class Started:
    """The servers, ready. `target`: their target file. `processes`: name to process id."""

    target: Path
    processes: dict[str, int]


@contextlib.contextmanager
def reference_servers(directory: Path, *, on_ready: OnReady) -> Iterator[Started]:
    """Start both, and end them with the block. `directory`: keeps the server's data from run to run, port included.

    Raises LoadError when one does not start.
    """
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise LoadError(
            f"{directory}: {(error.strerror or str(error)).lower()}. Name another file with --store."
        ) from None
    data, ca_file, remembered = directory / "server", directory / "apns-ca.pem", directory / "port"
    with contextlib.ExitStack() as stack:
        apns, apns_pid = _start(
            stack,
            "fake APNs",
            ["mdmsim.fakeapns", "--json", "--ca-file", str(ca_file)],
            directory / "apns.err",
            on_ready,
        )
        port = remembered.read_text().strip() if remembered.exists() else "0"
        options = {
            "--port": port if port.isdigit() else "0",
            "--data": str(data),
            "--log": os.devnull,
            "--apns-url": apns["url"],
            "--apns-ca": str(ca_file),
        }
        arguments = ["reference_server", "--ready-json", *(word for pair in options.items() for word in pair)]
        ready, server_pid = _start(stack, "reference server", arguments, directory / "server.err", on_ready)
        remembered.write_text(f"{ready['port']}\n")
        _introduce(apns, Path(ready["push_file"]))
        target = directory / "target.yaml"
        _write_target(target, ready, apns["courier_port"])
        yield Started(target, {"reference server": server_pid, "fake APNs": apns_pid})


def _write_target(path: Path, ready: dict[str, Any], courier_port: int) -> None:
    values = {
        "adapter": "reference",
        "url": ready["url"],
        "api_key": ready["api_key"],
        "trust": str(Path(ready["ca_file"]).resolve()),
        "courier": f"127.0.0.1:{courier_port}",
        "enroll": {"profile": ready["enroll_url"]},
    }
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        yaml.safe_dump({"target": values}, file, sort_keys=False)


def _introduce(apns: dict[str, Any], push_file: Path) -> None:
    """Make the server's push certificate known to the fake APNs."""
    certificate = certificates_from_pem(push_file.read_bytes())[0]
    headers = (("Authorization", f"Bearer {apns['admin_key']}"),)
    request = Request(
        "POST", f"{apns['admin_url']}/certificates", headers, certificate, trust=Trust(allow_http=True), timeout=10.0
    )
    with BlockingTransport() as transport:
        try:
            response = transport.send(request)
        except TransportError as error:
            raise LoadError(f"the fake APNs does not answer: {error}", code=NOT_CARRIED_OUT) from None
    if not response.is_success:
        raise LoadError(f"the fake APNs did not take the push certificate: {response.status}", code=NOT_CARRIED_OUT)


def _start(
    stack: contextlib.ExitStack, name: str, arguments: list[str], log: Path, on_ready: OnReady
) -> tuple[dict[str, Any], int]:
    clock = WallClock()
    began = clock.now_ms()
    with log.open("wb") as stderr:
        # Its stdin is the leash of mdmsim.world.child; it must not leak into the next child, or it would never close.
        process = subprocess.Popen(
            [sys.executable, "-m", "mdmsim.world.child", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            start_new_session=True,
        )
    stack.callback(_end, process)
    lines: Queue[bytes] = Queue()

    def read() -> None:
        if process.stdout is not None:
            for line in process.stdout:
                lines.put(line)
        lines.put(b"")

    threading.Thread(target=read, name=f"{name} output", daemon=True).start()
    try:
        line = lines.get(timeout=START_SECONDS)
    except Empty:
        line = b""
    if not line:
        said = log.read_text(errors="replace").strip().splitlines()
        words = said[-1] if said else "it said nothing"
        raise LoadError(f"the {name} did not start: {words}", code=NOT_CARRIED_OUT)
    ready: dict[str, Any] = json.loads(line)
    on_ready(name, ready["url"], (clock.now_ms() - began) / SECOND)
    return ready, process.pid


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()

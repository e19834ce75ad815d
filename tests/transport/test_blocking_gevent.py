from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from tests.transport.certs import ROOT, SERVER, leaf
from tests.transport.shells import server_context

DEVICES, ROUNDS = 6, 4
IDENTITIES = [leaf(ROOT, purpose="client", common_name=f"device-{n}", rsa_key=n % 2 == 0) for n in range(DEVICES)]


@pytest.fixture(scope="module")
def outcome() -> dict[str, Any]:
    """What the patched process saw of a server that answers a round only once all devices are in it."""
    waiting: list[trio.Event] = []

    async def serve(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, server_context(SERVER, client_anchor=ROOT.der), server_side=True)
        data = b""
        while True:
            try:
                piece = await tls.receive_some()
            except trio.BrokenResourceError:
                return
            if not piece:
                return
            data += piece
            if b"\r\n\r\n" not in data or data.endswith(b"\r\n\r\n"):
                continue
            shown = hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest()
            data = b""
            event = trio.Event()
            waiting.append(event)
            if len(waiting) == DEVICES:
                for other in waiting:
                    other.set()
                waiting.clear()
            await event.wait()
            await tls.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + shown.encode())

    async def main() -> bytes:
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(trio.serve_tcp, serve, 0)
            given = {
                "port": listeners[0].socket.getsockname()[1],
                "anchor": base64.b64encode(ROOT.der).decode(),
                "identities": [
                    [base64.b64encode(i.certificate).decode(), base64.b64encode(i.key).decode()] for i in IDENTITIES
                ],
                "devices": DEVICES,
                "rounds": ROUNDS,
            }
            with trio.fail_after(90):
                done = await trio.run_process(
                    [sys.executable, str(Path(__file__).with_name("gevent_child.py"))],
                    stdin=json.dumps(given).encode(),
                    capture_stdout=True,
                    env={"PYTHONPATH": str(Path(__file__).parents[2]), "PATH": ""},
                )
            nursery.cancel_scope.cancel()
        return done.stdout

    try:
        result: dict[str, Any] = json.loads(trio.run(main))
    except subprocess.CalledProcessError as error:
        pytest.fail(f"the patched process failed: {error}")
    return result


def test_flows_in_greenlets_all_end_with_their_values(outcome: dict[str, Any]) -> None:
    assert outcome["values"] == list(range(DEVICES))


def test_greenlets_take_turns_while_one_waits_for_its_answer(outcome: dict[str, Any]) -> None:
    """The server holds every answer of a round until all asked: blocking for good would never get this far."""
    assert sorted(outcome["order"][:DEVICES]) == list(range(DEVICES))


def test_each_greenlet_shows_its_own_certificate_each_time(outcome: dict[str, Any]) -> None:
    expected = {str(n): [identity.fingerprint] * ROUNDS for n, identity in enumerate(IDENTITIES)}
    assert outcome["shown"] == expected


def test_the_patched_process_never_loads_trio(outcome: dict[str, Any]) -> None:
    assert outcome["trio"] is False

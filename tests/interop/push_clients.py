"""Push clients of others, run as programs against a fake APNs: what they are given, and what they said.

Ten checks prove that the fake can be used in Apple's place, and where each is made:

1. NanoMDM through HTTPS_PROXY, no topic, an id in capitals, the device woken: `test_push_nanomdm`
2. httpx, which offers HTTP/1.1 first, gets HTTP/2: `test_push_python`
3. pushy without ALPN connects, and sends a refused stream again: `tests/fakeapns/front/test_as_pushy`
4. aioapns finds its answer by an id in small letters, reads errors, takes the proxy's line: `test_push_python`
5. apn 2.2 sends its first request: `test_push_node`
6. the time of 410 is read by buford, nanopush and apns2: `test_push_go`
7. a GOAWAY with a reason is shown: by buford and apns2 in `test_push_go`, and what NanoMDM 0.9 does in `test_push_nanomdm`
8. of two pushes to a device that is away the newer comes, once: `test_push_python`, with curl
9. `apns-expiration: 0` is gone for a device that is away: the same, and as pushy sends it
10. everything in flight is answered before the end: `test_push_python`, with httpx
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trio

from mdmsim.fakeapns import FakeApns
from mdmsim.fakeapns.embedded.credentials import Certificate
from mdmsim.fakeapns.embedded.loop_thread import LoopThread
from mdmsim.fakeapns.front.context import APPLE_HOSTS
from mdmsim.proxy.connect import ConnectProxy
from tests.interop.needs import from_go, from_npm

#: Seconds that a program may take: machines are shared.
PATIENCE = 60.0

MAGIC = "8C3F2D6E-0B0E-4B8C-9A55-0F4E5A5B6C7D"
PAYLOAD = json.dumps({"mdm": MAGIC}, separators=(",", ":")).encode()


def environment(apns: FakeApns, **more: str) -> dict[str, str]:
    """Without proxies of the machine, and trusting the fake alone: Go and OpenSSL read one variable, Node another."""
    clean = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**clean, "SSL_CERT_FILE": apns.ca_file, "NODE_EXTRA_CA_CERTS": apns.ca_file, **more}


def context(apns: FakeApns, certificate: Certificate | None = None) -> ssl.SSLContext:
    """As a Python client makes one."""
    made = ssl.create_default_context(cafile=apns.ca_file)
    if certificate is not None:
        made.load_cert_chain(certificate.file)
    return made


def run(
    words: Sequence[str | Path], *, env: Mapping[str, str], given: str = "", folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(word) for word in words],
        input=given,
        capture_output=True,
        text=True,
        env=dict(env),
        cwd=folder,
        timeout=PATIENCE,
        check=False,
    )


def lines(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    """The JSON objects that a program wrote, one on a line."""
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def order(apns: FakeApns, certificate: Certificate | None, tokens: Sequence[str], **more: Any) -> str:
    """What the programs of ours that drive a client read from standard input."""
    return json.dumps(
        {
            "Address": f"127.0.0.1:{apns.port}",
            "Certificate": certificate.certificate_file if certificate else "",
            "Key": certificate.key_file if certificate else "",
            "Pushes": [{"Token": token, "Magic": MAGIC} for token in tokens],
            **more,
        }
    )


def go_client(apns: FakeApns, client: str, given: str) -> list[dict[str, Any]]:
    """What a Go push client (nanopush, buford, apns2) made of each answer."""
    return lines(run([from_go("push"), client], env=environment(apns), given=given))


NODE = Path(__file__).parent / "node_push"


def node_client(apns: FakeApns, client: str, given: str) -> list[dict[str, Any]]:
    """What a Node push client (node-apn, apn, http2) made of each answer."""
    modules = from_npm(NODE / "package.json")
    env = environment(apns, NODE_PATH=str(modules), NODE_NO_WARNINGS="1")
    return lines(run(["node", NODE / "push.cjs", client], env=env, given=given))


@contextmanager
def proxy_to(apns: FakeApns) -> Iterator[int]:
    """A CONNECT proxy in a thread of its own; its port."""
    ports: list[int] = []

    async def main(task_status: trio.TaskStatus[None]) -> None:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        ports.append(listeners[0].socket.getsockname()[1])
        proxy = ConnectProxy(dict.fromkeys(APPLE_HOSTS, ("127.0.0.1", apns.port)))
        async with trio.open_nursery() as nursery:
            await nursery.start(proxy.serve, listeners)
            task_status.started()

    loop = LoopThread(main, "the proxy")
    loop.start()
    try:
        yield ports[0]
    finally:
        loop.close()

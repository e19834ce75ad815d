"""The server for `benchmarks.push`: the fake APNs, or a bare HTTP/2 server on the same loop and TLS.

    python -m benchmarks.push_server KIND LIBRARY FOLDER TOKENS

KIND is `bare`, `memory` or `store`; LIBRARY is `h2` or `jh2`. In FOLDER there is the push certificate (`push.pem`); the
CA's certificate (`ca.pem`) and the registered tokens (`tokens`, hex, one a line) are written there. It prints its port,
and after that a count of accepted and of pending pushes for every line that it is told.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import trio

from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.fakeapns.certificates import PushCertificates
from mdmsim.fakeapns.front.context import SERVER_NAMES, server_context
from mdmsim.fakeapns.front.engines import engine
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.startup import made_identity

TOPIC = "com.apple.mgmt.External.8f1a2e52-0000-4000-8000-000000000001"


async def bare(library: str, folder: Path, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
    """The floor: the library answers 200 to everything, as soon as it has read it, and nothing else is done."""
    modules = engine(library)
    events = modules.events
    clock, chance = WallClock(), Chance("bench")
    identity, _ = made_identity("bench CA", SERVER_NAMES, "127.0.0.1", folder / "ca.pem", clock, chance)
    certificates = PushCertificates(clock)
    (der,) = certificates_from_pem((folder / "push.pem").read_bytes())
    certificates.register(der)
    known = [certificate.der for certificate in certificates.registered()]
    context = server_context(identity, known, ApnsSettings())

    async def handle(stream: trio.SocketStream) -> None:
        tls = trio.SSLStream(stream, context, server_side=True, https_compatible=True)
        config = modules.config.H2Configuration(
            client_side=False,
            header_encoding=None,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        connection: Any = modules.connection.H2Connection(config)
        connection.local_settings.max_concurrent_streams = 1000
        connection.initiate_connection()
        try:
            await tls.send_all(connection.data_to_send())
            while data := await tls.receive_some(65536):
                for event in connection.receive_data(data):
                    if isinstance(event, events.DataReceived):
                        connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                    elif isinstance(event, events.StreamEnded):
                        connection.send_headers(event.stream_id, [(b":status", b"200")], end_stream=True)
                if out := connection.data_to_send():
                    await tls.send_all(out)
        except trio.BrokenResourceError:
            pass

    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    task_status.started(listener.socket.getsockname()[1])
    await trio.serve_listeners(handle, [listener])


async def main(kind: str, library: str, folder: Path, tokens: int) -> None:
    services: list[ApnsService] = []

    def register(service: ApnsService) -> None:
        services.append(service)
        made = [service.register(f"device-{number}", TOPIC) for number in range(tokens)]
        (folder / "tokens").write_text("\n".join(token.hex() for token in made))

    async with trio.open_nursery() as nursery:
        if kind == "bare":
            port = await nursery.start(bare, library, folder)
        else:
            settings = ServeSettings(
                seed="bench",
                ca_file=folder / "ca.pem",
                certificates=(folder / "push.pem",),
                store=folder / "apns.db" if kind == "store" else None,
                front=FrontSettings(http2=library),  # type: ignore[arg-type]
            )
            ready: Ready = await nursery.start(
                lambda task_status: serve(settings, on_service=register, task_status=task_status)
            )
            port = ready.port
        print(port, flush=True)
        async for _ in trio.wrap_file(sys.stdin):
            service = services[0]
            print(json.dumps([service.counts.accepted, len(service.pending())]), flush=True)
        nursery.cancel_scope.cancel()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))

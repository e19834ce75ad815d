"""The fake DEP as a process: web service, activation endpoint and admin API in one trio loop, events as JSON lines.

`serve` is what `python -m mdmsim.fakedep` and every other launcher calls.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import msgspec
import trio

from mdmsim.asgi import serve_asgi
from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.events import Event, Events
from mdmsim.fakedep.admin.app import create_app
from mdmsim.fakedep.admin.values import NewFault
from mdmsim.fakedep.inprocess import ACTIVATION_HOST, HOSTS, InProcessDep
from mdmsim.fakedep.service import DepService
from mdmsim.fakedep.settings import DepSettings
from mdmsim.pki.certificate import to_pem
from mdmsim.startup import (
    ServeError,
    different_ports,
    event_lines,
    given_identity,
    listen,
    made_identity,
    tls_context,
    usable_key,
    writable_files,
)

#: What the server certificate carries: Apple's names, and loopback's for clients with a base URL.
SERVER_NAMES = (*HOSTS, ACTIVATION_HOST, "localhost")


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run. Port 0 takes any free one. Paths are files."""

    host: str = "127.0.0.1"
    port: int = 0
    activation_port: int = 0
    admin_port: int = 0
    #: What the admin API's clients send as bearer key; None: a random one, told when ready.
    admin_key: str | None = None
    #: Of tokens, profile UUIDs and everything else that is made up; None: random.
    seed: str | None = None
    #: Whether MDM servers and devices are answered over TLS: for those that dial Apple's names. The admin API never is.
    tls: bool = False
    #: PEM with the server's certificate, key and chain; None: one is made, under an authority of its own. Implies TLS.
    server_identity: Path | None = None
    #: Where to write the certificate (PEM) that clients must trust, when the server's identity is made here.
    ca_file: Path | None = None
    #: Where events go as JSON lines: a file, which is appended to, or "-" for standard output.
    events: str | None = None
    #: Whether one line of JSON with the addresses goes to standard output when everything answers.
    ready_line: bool = False
    dep: DepSettings = DepSettings()
    #: Faults to plan from the start.
    faults: tuple[NewFault, ...] = ()


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is."""

    url: str
    port: int
    activation_url: str
    activation_port: int
    admin_url: str
    admin_key: str
    #: PEM of the certificate to trust; None without TLS, or where the server's identity was given.
    ca: str | None = None
    ca_file: str | None = None


async def serve(
    settings: ServeSettings,
    *,
    clock: Clock | None = None,
    observers: Sequence[Callable[[Event], None]] = (),
    task_status: trio.TaskStatus[Ready] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled. Raises ServeError before anything is served."""
    clock = clock or WallClock()
    chance = Chance(settings.seed) if settings.seed is not None else Chance.of_machine()
    events = Events(clock)
    _judge(settings)
    with ExitStack() as stack:
        if settings.events is not None:
            events.subscribe(stack.enter_context(event_lines(settings.events)))
        for observer in observers:
            events.subscribe(observer)
        service = DepService(clock, chance.stream("service"), events, None, settings.dep)
        for fault in settings.faults:
            fault.plan(service.faults)
        context, ca = _tls(settings, clock, chance.stream("authority"))
        listeners: list[list[trio.SocketListener]] = []
        for name in _PORTS:
            opened = await listen(settings.host, getattr(settings, name), name)
            for listener in opened:
                stack.callback(listener.socket.close)
            listeners.append(opened)
        ports = [opened[0].socket.getsockname()[1] for opened in listeners]
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        scheme = "http" if context is None else "https"
        ready = Ready(
            url=f"{scheme}://{host}:{ports[0]}",
            port=ports[0],
            activation_url=f"{scheme}://{host}:{ports[1]}",
            activation_port=ports[1],
            admin_url=f"http://{host}:{ports[2]}",
            admin_key=settings.admin_key or Chance.of_machine().hex(16),
            ca=to_pem(ca).decode("ascii") if ca is not None else None,
            ca_file=str(settings.ca_file) if settings.ca_file is not None and ca is not None else None,
        )
        fronts = InProcessDep(service)
        admin = create_app(service, key=ready.admin_key)
        async with trio.open_nursery() as nursery:
            await nursery.start(partial(serve_asgi, fronts.asgi, listeners[0], context=context))
            await nursery.start(partial(serve_asgi, fronts.activation, listeners[1], context=context))
            await nursery.start(serve_asgi, admin, listeners[2])
            if settings.ready_line:
                sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
                sys.stdout.buffer.flush()
            task_status.started(ready)


_PORTS = ("port", "activation_port", "admin_port")


def _judge(settings: ServeSettings) -> None:
    """What can be said of the settings before anything is opened. Raises ServeError."""
    usable_key(settings.admin_key, "admin_key")
    different_ports({name: getattr(settings, name) for name in _PORTS})
    events = Path(settings.events) if settings.events not in (None, "-") else None
    writable_files({"ca_file": settings.ca_file, "events": events})


def _tls(settings: ServeSettings, clock: Clock, chance: Chance) -> tuple[ssl.SSLContext | None, bytes | None]:
    """The fronts' TLS, and the certificate (DER) to trust where that was made here."""
    if settings.server_identity is not None:
        return tls_context(given_identity(settings.server_identity), ["http/1.1"]), None
    if not settings.tls:
        if settings.ca_file is not None:
            raise ServeError(f"{settings.ca_file}: without TLS there is no CA certificate to write. Add --tls.")
        return None, None
    identity, ca = made_identity("mdmsim fake DEP CA", SERVER_NAMES, settings.host, settings.ca_file, clock, chance)
    return tls_context(identity, ["http/1.1"]), ca

"""The fake APNs as a process: front, courier and admin API in one trio loop, events as JSON lines.

`serve` is what `python -m mdmsim.fakeapns` and every other launcher calls.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import msgspec
import trio

from mdmsim.asgi import serve_asgi
from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.events import Event, Events
from mdmsim.fakeapns.admin.app import create_app
from mdmsim.fakeapns.courier.server import CourierServer
from mdmsim.fakeapns.debug_log import DebugLog, Level, follow_signals
from mdmsim.fakeapns.errors import BadPushCertificate
from mdmsim.fakeapns.fault_spec import FaultSpec, plan_fault
from mdmsim.fakeapns.front.context import SERVER_NAMES
from mdmsim.fakeapns.front.engines import NoEngine
from mdmsim.fakeapns.front.server import Front
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.history import History
from mdmsim.fakeapns.portal.lock import portal_lock
from mdmsim.fakeapns.portal.portal import Portal
from mdmsim.fakeapns.portal.routes import portal_routes
from mdmsim.fakeapns.service import ApnsService
from mdmsim.fakeapns.settings import ApnsSettings
from mdmsim.fakeapns.sqlite_storage import SqliteStorage
from mdmsim.fakeapns.sweep import sweep
from mdmsim.pki.certificate import certificates_from_pem, to_pem
from mdmsim.pki.push_request import VendorRule
from mdmsim.protocol.errors import Malformed
from mdmsim.startup import (
    ServeError,
    different_ports,
    event_lines,
    given_identity,
    listen,
    made_identity,
    usable_key,
    writable_files,
)


class ServeSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to run. Port 0 takes any free one. Paths are files."""

    host: str = "127.0.0.1"
    port: int = 0
    #: For providers of the sandbox with a base URL: whoever asks for one of Apple's names says so by that. None: none.
    sandbox_port: int | None = None
    #: Without TLS, for servers whose switch for developers takes an `http://` URL: no credential is judged. None: none.
    plain_port: int | None = None
    courier_port: int = 0
    admin_port: int = 0
    #: What the admin API's clients send as bearer key; None: a random one, told when ready.
    admin_key: str | None = None
    #: Of tokens and generated apns-ids; None: random.
    seed: str | None = None
    #: The file that tokens, pending pushes and push certificates outlive the process in; None: they do not.
    store: Path | None = None
    #: PEM with the server's certificate, key and chain; None: one is made, under an authority of its own.
    server_identity: Path | None = None
    #: Where to write the certificate (PEM) that clients must trust, when the server's identity is made here.
    ca_file: Path | None = None
    #: Push certificates to register at start: PEM files, with or without keys.
    certificates: tuple[Path, ...] = ()
    #: Where events go as JSON lines: a file, which is appended to, or "-" for standard output.
    events: str | None = None
    #: Whether one line of JSON with the addresses goes to standard output when everything answers.
    ready_line: bool = False
    #: The file that the push certificate portal keeps its lists and its authority's key in; None: nothing is kept.
    portal: Path | None = None
    #: PEM files of CAs: the portal believes vendors under one of them only; none: any vendor whose signatures hold.
    vendor_cas: tuple[Path, ...] = ()
    #: Whether the portal takes requests that were signed with SHA-1, as before about 2017.
    sha1_requests: bool = False
    #: How much is logged, and where to (a file that rotates; None: standard error); see `debug_log`.
    log_level: Level = "off"
    log_file: Path | None = None
    #: Whether SIGUSR1 and SIGUSR2 turn the log up and back. In a main thread only.
    log_signals: bool = False
    #: Whether `/metrics` of the admin API can be read without the key.
    metrics_open: bool = False
    apns: ApnsSettings = ApnsSettings()
    #: Faults to plan from the start.
    faults: tuple[FaultSpec, ...] = ()
    front: FrontSettings = FrontSettings()


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """Where everything is."""

    url: str
    port: int
    #: None where no such port was asked for.
    sandbox_url: str | None = None
    plain_url: str | None = None
    courier_port: int
    admin_url: str
    admin_key: str
    #: PEM of the certificate to trust; None where the server's identity was given.
    ca: str | None = None
    ca_file: str | None = None


async def serve(
    settings: ServeSettings,
    *,
    clock: Clock | None = None,
    observers: Sequence[Callable[[Event], None]] = (),
    on_service: Callable[[ApnsService], None] | None = None,
    task_status: trio.TaskStatus[Ready] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run until cancelled; open requests are finished first. Raises ServeError before anything is served.

    `on_service` is given the service before anybody can reach it.
    """
    clock = clock or WallClock()
    chance = Chance(settings.seed) if settings.seed is not None else Chance.of_machine()
    events = Events(clock)
    _judge(settings)
    with ExitStack() as stack:
        if settings.events is not None:
            events.subscribe(stack.enter_context(event_lines(settings.events)))
        for observer in observers:
            events.subscribe(observer)
        if settings.portal is not None:
            stack.enter_context(portal_lock(settings.portal))
        storage = stack.enter_context(closing(SqliteStorage(settings.store))) if settings.store is not None else None
        service = ApnsService(clock, chance.stream("service"), events, None, settings.apns, storage=storage)
        for spec in settings.faults:
            plan_fault(service, spec)
        if on_service is not None:
            on_service(service)
        log = stack.enter_context(closing(DebugLog(service, usual=settings.log_level, file=settings.log_file)))
        for path in settings.certificates:
            _register(service, path)
        ca: bytes | None = None
        if settings.server_identity is not None:
            identity = given_identity(settings.server_identity)
        else:
            identity, ca = made_identity(
                "mdmsim fake APNs CA", SERVER_NAMES, settings.host, settings.ca_file, clock, chance.stream("authority")
            )
        listeners: dict[str, list[trio.SocketListener]] = {}
        for name in _PORTS:
            if (wanted := getattr(settings, name)) is not None:
                listeners[name] = await listen(settings.host, wanted, name)
                for listener in listeners[name]:
                    stack.callback(listener.socket.close)
        ports = {name: opened[0].socket.getsockname()[1] for name, opened in listeners.items()}
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        ready = Ready(
            url=f"https://{host}:{ports['port']}",
            port=ports["port"],
            sandbox_url=f"https://{host}:{ports['sandbox_port']}" if "sandbox_port" in ports else None,
            plain_url=f"http://{host}:{ports['plain_port']}" if "plain_port" in ports else None,
            courier_port=ports["courier_port"],
            admin_url=f"http://{host}:{ports['admin_port']}",
            admin_key=settings.admin_key or Chance.of_machine().hex(16),
            ca=to_pem(ca).decode("ascii") if ca is not None else None,
            ca_file=str(settings.ca_file) if settings.ca_file is not None else None,
        )
        try:
            front = Front(service, identity, settings.front)
        except NoEngine as error:
            raise ServeError(str(error)) from None
        courier = CourierServer(service)

        def counters() -> Mapping[str, int]:
            return {**front.counters, "providers": front.connections, "couriers": courier.connections}

        history = History(service)
        admin = create_app(
            service,
            key=ready.admin_key,
            counters=counters,
            front=front,
            history=history,
            log=log,
            metrics_open=settings.metrics_open,
        )
        admin.routes.extend(portal_routes(_portal(service, settings, clock, chance), clock, ready.admin_key))
        async with trio.open_nursery() as nursery:
            if storage is not None:
                await nursery.start(storage.run)
            nursery.start_soon(sweep, service)
            nursery.start_soon(history.run)
            if settings.log_signals:
                nursery.start_soon(follow_signals, log)
            await nursery.start(service.timers.run)
            await nursery.start(front.serve, listeners["port"])
            if "sandbox_port" in listeners:
                await nursery.start(partial(front.serve, listeners["sandbox_port"], environment="sandbox"))
            if "plain_port" in listeners:
                await nursery.start(partial(front.serve, listeners["plain_port"], plain=True))
            await nursery.start(courier.serve, listeners["courier_port"])
            await nursery.start(serve_asgi, admin, listeners["admin_port"])
            if settings.ready_line:
                sys.stdout.buffer.write(msgspec.json.encode(ready) + b"\n")
                sys.stdout.buffer.flush()
            task_status.started(ready)


_PORTS = ("port", "sandbox_port", "plain_port", "courier_port", "admin_port")


def _judge(settings: ServeSettings) -> None:
    """What can be said of the settings before anything is opened. Raises ServeError."""
    usable_key(settings.admin_key, "admin_key")
    different_ports({name: getattr(settings, name) for name in _PORTS})
    events = Path(settings.events) if settings.events not in (None, "-") else None
    files = {name: getattr(settings, name) for name in ("store", "portal", "ca_file", "log_file")}
    writable_files({**files, "events": events})


def _portal(service: ApnsService, settings: ServeSettings, clock: Clock, chance: Chance) -> Portal:
    authorities = tuple(der for path in settings.vendor_cas for der in _certificates(path, "a CA's certificate"))
    return Portal(
        clock,
        chance.stream("portal"),
        register=service.register_certificate,
        revoke=service.revoke_certificate,
        rule=VendorRule(authorities, sha1=settings.sha1_requests),
        file=settings.portal,
    )


def _certificates(path: Path, what: str) -> tuple[bytes, ...]:
    try:
        return certificates_from_pem(path.read_bytes())
    except OSError as error:
        raise ServeError(f"{path}: cannot be read ({error.strerror}). Give {what} as PEM.") from None
    except Malformed as error:
        raise ServeError(f"{path}: {error}") from None


def _register(service: ApnsService, path: Path) -> None:
    try:
        found = certificates_from_pem(path.read_bytes())
        if not found:
            raise ServeError(f"{path}: no certificate in it. Give a PEM file with the push certificate first.")
        service.certificates.register(found[0])
    except OSError as error:
        raise ServeError(f"{path}: cannot be read ({error.strerror}). Give the push certificate as PEM.") from None
    except (Malformed, BadPushCertificate) as error:
        raise ServeError(f"{path}: {error}") from None

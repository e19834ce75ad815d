"""The server live: uvicorn with TLS, client certificates handed to the application, and an end that comes at once."""

from __future__ import annotations

import contextlib
import logging
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import FrameType
from typing import IO, Any
from urllib.parse import urlsplit

import anyio
import msgspec
import uvicorn

from mdmsim.chance import Chance
from mdmsim.clock import Clock, WallClock
from mdmsim.events import Event, Events, to_json_line
from mdmsim.pki.certificate import certificates_from_pem
from mdmsim.pki.keys import FreshKeys, KeySource
from mdmsim.protocol.errors import Malformed
from reference_server.app import App, create_app
from reference_server.logs import Log
from reference_server.material import Material, prepare
from reference_server.outbound import LiveOutbound
from reference_server.settings import BadSettings, Settings
from reference_server.tls import server_context
from reference_server.wire import KEEP_ALIVE_S, WATCH_S, protocol_that_tells, watch_all

#: Seconds that a request may still take once the server was told to stop.
GRACE_S = 5


class PortTaken(Exception):
    """The address cannot be listened on."""


@dataclass(frozen=True, slots=True)
class ServeOptions:
    """How to run a server. `data`: its folder. `tls` False: plain HTTP, for behind a proxy on the same machine.

    `grace_s`: how long requests may still take after a stop was asked for. `events`, `log`: streams for lines of JSON. `ready`: called with the ready record as soon as it answers.
    `settings`: fields of `Settings` to set otherwise.
    """

    data: Path
    host: str = "127.0.0.1"
    port: int = 0
    public_url: str | None = None
    tls: bool = True
    apns_url: str | None = None
    apns_ca: Path | None = None
    dep_url: str | None = None
    dep_ca: Path | None = None
    automated_ca: Path | None = None
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: str | None = None
    grace_s: int = GRACE_S
    events: IO[bytes] | None = None
    log: IO[bytes] | None = None
    ready: Callable[[Ready], None] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def chosen_settings(**chosen: Any) -> dict[str, Any]:
    """Fields of `Settings` that somebody chose, for `ServeOptions.settings`: those that are not None.

    `users` may be the path of a file: a JSON object, name to password. Raises BadSettings.
    """
    values = {name: value for name, value in chosen.items() if value is not None}
    if isinstance(path := values.get("users"), Path):
        try:
            values["users"] = msgspec.json.decode(path.read_bytes(), type=dict[str, str])
        except (OSError, msgspec.MsgspecError, ValueError) as error:
            raise BadSettings(
                str(error), where=str(path), hint='Name a file with a JSON object, such as {"ada": "her password"}'
            ) from None
    return values


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """What others need to know about a server that answers."""

    url: str
    api_key: str
    ca_file: str
    enroll_url: str
    topic: str
    push_file: str
    port: int


class _Server(uvicorn.Server):
    """uvicorn's server that says when it answers, and leaves signals' aftermath to whoever started it."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def on_tick(self, counter: int) -> bool:
        # uvicorn ticks ten times a second.
        if counter % (10 * WATCH_S) == 0:
            watch_all(self.server_state.connections, anyio.current_time())
        return await super().on_tick(counter)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        # uvicorn raises the signal again at its end, which would turn a clean stop into a death by signal.
        def stop(number: int, frame: FrameType | None) -> None:
            self.force_exit = self.should_exit and number == signal.SIGINT
            self.should_exit = True

        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def serve(
    options: ServeOptions,
    *,
    clock: Clock | None = None,
    chance: Chance | None = None,
    keys: KeySource | None = None,
    app_factory: Callable[..., App] = create_app,
) -> None:
    """Run a server until SIGINT or SIGTERM. Raises BadSettings, PortTaken."""
    clock = clock or WallClock()
    chance = chance or Chance.of_machine()
    _allow_connections()
    listener = _listen(options.host, options.port)
    with listener:
        port = listener.getsockname()[1]
        url = options.public_url or f"{'https' if options.tls else 'http'}://{_netloc(options.host, port)}"
        host = urlsplit(url).hostname or options.host
        names = tuple(dict.fromkeys((host, options.host, "localhost", "127.0.0.1")))
        material = prepare(
            options.data,
            names=tuple(n for n in names if n != "0.0.0.0"),
            clock=clock,
            chance=chance,
            keys=keys or FreshKeys(),
        )
        settings = _settings(options, material, url)
        ready = Ready(
            url=url,
            api_key=material.api_key,
            ca_file=str(material.ca_file),
            enroll_url=settings.enroll_url,
            topic=settings.topic,
            push_file=str(material.push_file),
            port=port,
        )
        anyio.run(
            _serve,
            options,
            settings,
            material,
            listener,
            ready,
            clock,
            chance,
            app_factory if keys is None else partial(app_factory, keys=keys),
            backend="asyncio",
            backend_options={"use_uvloop": _has_uvloop()},
        )


async def _serve(
    options: ServeOptions,
    settings: Settings,
    material: Material,
    listener: socket.socket,
    ready: Ready,
    clock: Clock,
    chance: Chance,
    app_factory: Callable[..., App],
) -> None:
    log = Log(clock, _line_writer(options.log)) if options.log is not None else Log(clock)
    events = _event_stream(options.events, clock) if options.events is not None else None
    # Apple's hosts that the user named; those that stand in the settings by default are not.
    named = [urlsplit(url).hostname or "" for url in (options.apns_url, options.dep_url) if url is not None]
    async with LiveOutbound(named) as outbound:
        app = app_factory(settings, clock, chance, outbound, events=events, log=log)

        def refused(status: int, why: str, client: str | None) -> None:
            log.write("warning", "http", status=status, why=why, client=client)

        def not_shaken(why: str) -> None:
            log.write("warning", "tls", why=f"the handshake failed: {why}")

        config = uvicorn.Config(
            app,
            http=protocol_that_tells(refused),
            ws="none",
            loop="none",
            lifespan="on",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=options.grace_s,
            ssl_context_factory=(
                (
                    lambda *_: server_context(
                        material.server, (settings.ca.certificate, *settings.identity_anchors), failed=not_shaken
                    )
                )
                if options.tls
                else None
            ),
            backlog=1024,
        )
        # uvicorn's own complaints (bad HTTP from strangers) are no news for the terminal.
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        log.write("info", "started", url=ready.url)
        await _Server(config, lambda: options.ready(ready) if options.ready is not None else None).serve([listener])
        log.write("info", "stopped")


def _settings(options: ServeOptions, material: Material, url: str) -> Settings:
    values: dict[str, Any] = {
        "public_url": url,
        "push": material.push,
        "ca": material.ca,
        "profile_signer": material.profile_signer,
        "api_key": material.api_key,
        "database": str(material.database),
        "trusted_proxies": options.trusted_proxies,
        "proxy_header": options.proxy_header,
    }
    if options.apns_url is not None:
        values["apns_url"] = options.apns_url
    if options.dep_url is not None:
        values["dep_url"] = options.dep_url
    for name, path in (
        ("apns_anchors", options.apns_ca),
        ("dep_anchors", options.dep_ca),
        ("automated_anchors", options.automated_ca),
    ):
        if path is not None:
            values[name] = _certificates(path)
    try:
        return Settings(**(values | options.settings))
    except TypeError as error:
        raise BadSettings(str(error), where="settings", hint="See reference_server.settings") from None


def _certificates(path: Path) -> tuple[bytes, ...]:
    try:
        return certificates_from_pem(path.read_bytes())
    except (OSError, Malformed) as error:
        raise BadSettings(str(error), where=str(path), hint="Name a PEM file of certificates") from None


def _allow_connections() -> None:
    # A descriptor a connection: the usual soft limit of 1,024 is a small school.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.socket(family, socket.SOCK_STREAM)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((host, port))
            listener.listen(1024)
        except BaseException:
            listener.close()
            raise
    except (OSError, OverflowError) as error:
        raise PortTaken(f"{host}:{port}: {error}. Choose another with --port, or 0 for any") from None
    return listener


def _netloc(host: str, port: int) -> str:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


def _line_writer(stream: IO[bytes]) -> Callable[[bytes], None]:
    gone = False

    def write(line: bytes) -> None:
        nonlocal gone
        if gone:
            return
        try:
            stream.write(line + b"\n")
            stream.flush()
        except (OSError, ValueError):
            # Whoever read the lines has left, or the disk is full; devices must not suffer for it.
            gone = True

    return write


def _event_stream(stream: IO[bytes], clock: Clock) -> Events:
    events = Events(clock)
    write = _line_writer(stream)

    def observe(event: Event) -> None:
        write(to_json_line(event)[:-1])

    events.subscribe(observe)
    return events

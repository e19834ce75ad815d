"""The parts of a world without devices: the reference server as a process; fake APNs, fake DEP, proxy in this one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import trio

from mdmsim.asgi import App
from mdmsim.chance import Chance
from mdmsim.cli.exits import Mistake
from mdmsim.cli.failures import leaves
from mdmsim.cli.words import url_host
from mdmsim.clock import Clock, WallClock
from mdmsim.events import Event
from mdmsim.fakeapns.front.context import APPLE_HOSTS
from mdmsim.fakeapns.front.context import SERVER_NAMES as APNS_NAMES
from mdmsim.fakeapns.front.settings import FrontSettings
from mdmsim.fakeapns.serve import Ready, ServeSettings, serve
from mdmsim.fakedep import serve as fakedep
from mdmsim.fakedep.inprocess import ACTIVATION_HOST, HOSTS
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_to_pem
from mdmsim.pki.keys import FreshKeys
from mdmsim.pki.push_certificate import new_topic, topic_of
from mdmsim.proxy import answers as answering
from mdmsim.proxy.answers import answers
from mdmsim.proxy.authority import CA_FILE, kept_authority
from mdmsim.proxy.catalogue import built_in, read_catalogue, read_metadata
from mdmsim.proxy.connect import ConnectProxy
from mdmsim.proxy.direct import DirectFront
from mdmsim.startup import PortTaken, ServeError, identity_under, listen, write_private
from mdmsim.world.processes import ServerProcess, run_server_process
from reference_server.material import prepare

PARTS = ("server", "apns", "dep", "proxy")

OnReady = Callable[[str, str, float], None]


def parts_of(wanted: Sequence[str]) -> tuple[str, ...]:
    """The parts to start, in order; all of them when none is named. Raises Mistake."""
    for name in wanted:
        if name not in PARTS:
            raise Mistake(f"--only {name}: no such part. Parts: {', '.join(PARTS)}.")
    parts = tuple(part for part in PARTS if part in wanted) or PARTS
    if "proxy" in parts and not {"apns", "dep"} & set(parts):
        raise Mistake("--only proxy: it leads to the fakes. Write --only apns,dep,proxy, or use mdmsim proxy --apns.")
    return parts


@dataclass(frozen=True, slots=True)
class Ports:
    """Where to listen; port 0 is any free one."""

    host: str = "127.0.0.1"
    server: int = 0
    apns: int = 0
    courier: int = 0
    dep: int = 0
    activation: int = 0
    proxy: int = 0
    catalogue: int = 0
    #: Where Apple's names are answered for without a proxy, e.g. 443 and 2197; none by default.
    hosts: tuple[int, ...] = ()

    @property
    def url_host(self) -> str:
        return url_host(self.host)


@dataclass(frozen=True, slots=True)
class Answers:
    """Files of the user's that are answered instead of what is built in."""

    catalogue: Path | None = None
    metadata: Path | None = None

    def app(self, clock: Clock) -> App:
        """What answers for the catalogue and for app metadata. Raises ServeError for a file that is none."""
        try:
            option = "--catalogue"
            catalogue = read_catalogue(self.catalogue) if self.catalogue is not None else built_in(clock)
            option = "--content-metadata"
            metadata = read_metadata(self.metadata) if self.metadata is not None else {}
        except ServeError as error:
            raise ServeError(f"{option} {error}") from None
        return answers(catalogue, metadata)


@dataclass(slots=True)
class Universe:
    """What was started. Parts that were not asked for are absent."""

    server: dict[str, Any] | None = None
    apns: dict[str, Any] | None = None
    courier: dict[str, Any] | None = None
    dep: dict[str, Any] | None = None
    proxy: dict[str, Any] | None = None
    catalogue: dict[str, Any] | None = None

    @property
    def names(self) -> dict[str, tuple[str, ...]]:
        """Apple's names that each fake answers under."""
        return {"apns": APPLE_HOSTS, "dep": (*HOSTS, ACTIVATION_HOST)}

    def facts(self) -> dict[str, dict[str, Any]]:
        """As `mdmsim up --json` prints it (docs/command-line.md)."""
        every = {
            "server": self.server,
            "apns": self.apns,
            "dep": self.dep,
            "proxy": self.proxy,
            "catalogue": self.catalogue,
            "courier": self.courier,
        }
        return {name: part for name, part in every.items() if part is not None}


NOTHING_GIVEN = Answers()

#: The fake APNs answers what is open at the end, and its last words take up to another second: all that has to get
#: through the proxy.
_PROXY_GRACE = FrontSettings().grace + 2


@asynccontextmanager
async def universe(
    parts: Sequence[str],
    *,
    ports: Ports,
    directory: Path | None = None,
    push_certificates: tuple[Path, ...] = (),
    server_arguments: Mapping[str, str] = MappingProxyType({}),
    routes: Mapping[str, tuple[str, int]] = MappingProxyType({}),
    answered: Answers = NOTHING_GIVEN,
    on_ready: OnReady | None = None,
    clock: Clock | None = None,
) -> AsyncIterator[Universe]:
    """Start the parts, and end them with the block. `on_ready`: name, URL and seconds of each, as it answers.

    `directory`: where certificates, keys and logs go (default: a temporary one, gone at the end); the CA that servers
    trust is kept there between runs. `server_arguments`: further options of `python -m reference_server`. `routes`: where the proxy takes connections to further names, or to these instead
    of a fake. Raises ProcessFailed, ServeError (of either fake), BadSettings, OSError.
    """
    clock = clock or WallClock()
    # What the user wrote is judged before anything starts.
    answering_app = answered.app(clock) if "proxy" in parts else None
    told = on_ready or (lambda name, url, seconds: None)
    started = Universe()
    async with AsyncExitStack() as stack:
        kept = directory is not None
        if directory is None:
            directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="mdmsim-")))
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory = directory.resolve()
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)

        began = clock.now_ms()
        ca_file = str(directory / CA_FILE)
        authority: Authority | None = None
        if {"apns", "dep"} & set(parts):
            authority = kept_authority(directory, clock=clock, chance=Chance.of_machine().stream("authority"))
        apns: Ready | None = None
        push_file = _server_material(directory / "server", ports.host, clock) if "server" in parts else None
        if authority is not None and "apns" in parts:
            push_file = push_file or _push_certificate(directory / "push.pem", clock)
            settings = ServeSettings(
                host=ports.host,
                port=ports.apns,
                courier_port=ports.courier,
                server_identity=_identity(directory / "apns-identity.pem", authority, APNS_NAMES, ports.host),
                certificates=(push_file, *push_certificates),
                store=directory / "apns.sqlite" if kept else None,
                portal=directory / "push-portal.json",
            )
            with _port_of("apns"):
                ready: Ready = await nursery.start(lambda task_status: serve(settings, task_status=task_status))
            apns = ready
            started.courier = {"url": f"tcp://{ports.url_host}:{ready.courier_port}"}
            started.apns = {
                "url": ready.url,
                "topic": topic_of(certificates_from_pem(push_file.read_bytes())[0]),
                "push_file": str(push_file),
                "ca_file": ca_file,
                "admin_url": ready.admin_url,
                "admin_key": ready.admin_key,
                "portal_url": f"{ready.admin_url}/portal",
            }
            told("fake APNs", ready.url, (clock.now_ms() - began) / 1000)
        dep: fakedep.Ready | None = None
        if authority is not None and "dep" in parts:
            began = clock.now_ms()
            identity = _identity(directory / "dep-identity.pem", authority, fakedep.SERVER_NAMES, ports.host)
            with _port_of("dep"):
                dep = await _start_dep(nursery, ports, identity)
            started.dep = {
                "url": dep.url,
                "activation_url": dep.activation_url,
                "ca_file": ca_file,
                "admin_url": dep.admin_url,
                "admin_key": dep.admin_key,
            }
            told("fake DEP", dep.url, (clock.now_ms() - began) / 1000)
        if "server" in parts:
            began = clock.now_ms()
            if ports.server:  # the server is a process of its own, whose words name its own options
                for listener in await listen(ports.host, ports.server, "server_port"):
                    await listener.aclose()
            run = partial(
                run_server_process,
                "reference server",
                _server_arguments(directory, ports, apns, dep, ca_file, server_arguments),
                log=directory / "server.err",
                on_event=_ignore,
            )
            process: ServerProcess = await nursery.start(run)
            started.server = {key: process.ready[key] for key in ("url", "api_key", "ca_file", "enroll_url")}
            told("reference server", process.ready["url"], (clock.now_ms() - began) / 1000)
        if authority is not None and answering_app is not None:
            url, answering_routes = await _answer(nursery, authority, answering_app, ports.host, ports.catalogue)
            started.catalogue = {"url": url}
            leads = answering_routes | _routes(ports, apns, dep) | dict(routes)
            started.proxy = {
                "ca_file": ca_file,
                **await start_proxy(nursery, leads, ports.host, ports.proxy, ports.hosts, grace=_PROXY_GRACE),
            }
            started.proxy["environment"] = {"HTTPS_PROXY": started.proxy["url"], "SSL_CERT_FILE": ca_file}
            told("proxy", started.proxy["url"], 0.0)
        yield started


async def start_answers(
    nursery: trio.Nursery, directory: Path, answered: Answers, host: str
) -> tuple[dict[str, Any], dict[str, tuple[str, int]]]:
    """What the proxy answers itself, under the CA of that folder: what to tell of it, and its routes. Raises ServeError."""
    clock = WallClock()
    authority = kept_authority(directory, clock=clock, chance=Chance.of_machine())
    url, routes = await _answer(nursery, authority, answered.app(clock), host, 0)
    return {"ca_file": str((directory / CA_FILE).resolve()), "catalogue": url}, routes


async def _answer(
    nursery: trio.Nursery, authority: Authority, app: App, host: str, port: int
) -> tuple[str, dict[str, tuple[str, int]]]:
    identity = identity_under(authority, answering.SERVER_NAMES, host)
    at: answering.Listening = await nursery.start(partial(answering.serve, app, identity, host=host, port=port))
    return f"http://{url_host(host)}:{at.plain}", dict.fromkeys(answering.HOSTS, (host, at.tls))


@contextmanager
def _port_of(part: str) -> Iterator[None]:
    """What a part calls its port is the port of that part here."""
    try:
        yield
    except* PortTaken as group:
        taken = next(error for error in leaves(group) if isinstance(error, PortTaken))
        setting = f"{part}_port" if taken.setting == "port" else taken.setting
        raise PortTaken(setting, taken.port, taken.host, taken.why) from None


async def start_proxy(
    nursery: trio.Nursery,
    routes: Mapping[str, tuple[str, int]],
    host: str,
    port: int,
    hosts_ports: Sequence[int],
    *,
    grace: float = 0.0,
    setting: str = "proxy_port",
) -> dict[str, Any]:
    """The proxy, and the ports for hosts files, which lead to the same fakes; what to tell of them.

    `grace`: for fakes that end together with the proxy, how many seconds their connections go on. `setting`: what the
    user calls `port`. Raises PortTaken.
    """
    listeners = await listen(host, port, setting)
    await nursery.start(ConnectProxy(routes, grace=grace).serve, listeners)
    direct = [await listen(host, each, "hosts_port") for each in hosts_ports]
    if direct:
        await nursery.start(DirectFront(routes, grace=grace).serve, [listener for each in direct for listener in each])
    return {
        "url": f"http://{url_host(host)}:{_port(listeners)}",
        "hosts": sorted(routes),
        "hosts_ports": [_port(each) for each in direct],
    }


def _port(listeners: Sequence[trio.SocketListener]) -> int:
    port: int = listeners[0].socket.getsockname()[1]
    return port


async def _start_dep(nursery: trio.Nursery, ports: Ports, identity: Path) -> fakedep.Ready:
    """Over TLS: the same port serves whoever dials Apple's name through the proxy, and whoever has a base URL."""
    settings = fakedep.ServeSettings(
        host=ports.host, port=ports.dep, activation_port=ports.activation, server_identity=identity
    )
    ready: fakedep.Ready = await nursery.start(lambda task_status: fakedep.serve(settings, task_status=task_status))
    return ready


def _identity(path: Path, authority: Authority, names: tuple[str, ...], host: str) -> Path:
    """A fake's identity, written where the fake reads it: a new one at each start, under the authority that is kept."""
    write_private(path, identity_to_pem(identity_under(authority, names, host)))
    return path


def _routes(ports: Ports, apns: Ready | None, dep: fakedep.Ready | None) -> dict[str, tuple[str, int]]:
    """Where the proxy takes connections to each of Apple's names."""
    routes: dict[str, tuple[str, int]] = {}
    if apns is not None:
        routes |= dict.fromkeys(APPLE_HOSTS, (ports.host, apns.port))
    if dep is not None:
        routes |= dict.fromkeys(HOSTS, (ports.host, dep.port))
        routes[ACTIVATION_HOST] = (ports.host, dep.activation_port)
    return routes


def _server_arguments(
    directory: Path,
    ports: Ports,
    apns: Ready | None,
    dep: fakedep.Ready | None,
    ca_file: str,
    further: Mapping[str, str],
) -> list[str]:
    where = {
        "--host": ports.host,
        "--port": str(ports.server),
        "--data": str(directory / "server"),
        "--log": str(directory / "server.log"),
    }
    if apns is not None:
        where |= {"--apns-url": apns.url, "--apns-ca": ca_file}
    if dep is not None:
        where |= {"--dep-url": dep.url, "--dep-ca": ca_file}
    return ["reference_server", "--ready-json", *(word for pair in (where | dict(further)).items() for word in pair)]


def _ignore(event: Event) -> None:
    """Nobody reads the server's events here: it was not asked for any."""


def _server_material(directory: Path, host: str, clock: Clock) -> Path:
    """The reference server's keys, made before it starts, so that the fake APNs knows its push certificate at once."""
    names = tuple(dict.fromkeys((host, "localhost", "127.0.0.1")))
    return prepare(directory, names=names, clock=clock, chance=Chance.of_machine(), keys=FreshKeys()).push_file


def _push_certificate(path: Path, clock: Clock) -> Path:
    """A push certificate for a server under test: the fake APNs accepts it, Apple would not. Kept if it is there."""
    if not path.exists():
        chance = Chance.of_machine()
        authority = Authority.create("mdmsim push CA", keys=FreshKeys(), clock=clock, chance=chance)
        write_private(path, identity_to_pem(authority.issue_push(new_topic(chance))))
    return path

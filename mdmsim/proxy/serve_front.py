"""The TLS front as a process of its own: its CA, its certificate, its port."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import msgspec
import trio

from mdmsim.apple_network import refuse_apple_resolved
from mdmsim.chance import Chance
from mdmsim.clock import WallClock
from mdmsim.events import Events
from mdmsim.http import Identity, NotAsked
from mdmsim.proxy.authority import kept_authority
from mdmsim.proxy.tls_front import Form, TlsFront
from mdmsim.startup import ServeError, event_lines, given_identity, identity_under, listen

#: In the data folder: the certificate that devices trust, and the key of its CA (mode 0600).
CA_FILE, KEY_FILE = "front-ca.pem", "front-ca.key.pem"

#: The header for each form, unless another is named: RFC 9440 section 2.2 gives its own a name.
HEADERS: dict[Form, str] = {"nginx": "X-Client-Cert", "rfc9440": "Client-Cert"}

#: Seconds that the server behind may take to be looked for at the start.
_LOOK = 2.0


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """How a front is started. `upstream`: address and port of the server. `client_authorities`: DER.

    `directory` keeps the CA that issues the front's certificate. `identity`: PEM with certificate and key to show in its
    place. `names`: host names of the certificate besides `localhost` and the address listened on. `events`: a file for
    JSON lines, or "-".
    """

    upstream: tuple[str, int]
    directory: Path
    host: str = "127.0.0.1"
    port: int = 0
    names: tuple[str, ...] = ()
    client_authorities: tuple[bytes, ...] = ()
    form: Form = "nginx"
    header: str | None = None
    identity: Path | None = None
    events: str | None = None


class FrontReady(msgspec.Struct, frozen=True, kw_only=True):
    """A front that answers. `ca_file` is null for an identity that was given; `upstream_answers`: as of the start."""

    url: str
    ca_file: str | None
    upstream: str
    upstream_answers: bool
    header: str
    form: Form
    client_certificates: bool


async def serve(
    settings: FrontSettings, *, task_status: trio.TaskStatus[FrontReady] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled. Raises ServeError, OSError."""
    clock = WallClock()
    events = Events(clock)
    header = settings.header or HEADERS[settings.form]
    behind = f"http://{_bracketed(settings.upstream[0])}:{settings.upstream[1]}"
    try:
        await refuse_apple_resolved(*settings.upstream)
    except NotAsked:
        raise ServeError(
            f"{behind} is Apple's, or leads there: a front is for a server of your own. Name that."
        ) from None
    with ExitStack() as stack:
        if settings.events is not None:
            events.subscribe(stack.enter_context(event_lines(settings.events)))
        listeners = await listen(settings.host, settings.port, "port")
        async with trio.open_nursery() as nursery:
            identity, ca_file = _identity(settings, clock)
            front = TlsFront(
                identity,
                settings.upstream,
                client_authorities=settings.client_authorities,
                header=header,
                form=settings.form,
                events=events if settings.events is not None else None,
                clock=clock,
            )
            await nursery.start(front.serve, listeners)
            port = listeners[0].socket.getsockname()[1]
            task_status.started(
                FrontReady(
                    url=f"https://{_bracketed(_reachable(settings.host))}:{port}",
                    ca_file=str(ca_file) if ca_file is not None else None,
                    upstream=behind,
                    upstream_answers=await _answers(settings.upstream),
                    header=header,
                    form=settings.form,
                    client_certificates=bool(settings.client_authorities),
                )
            )


def _identity(settings: FrontSettings, clock: WallClock) -> tuple[Identity, Path | None]:
    """What the front shows, and the file that devices trust."""
    if settings.identity is not None:
        return given_identity(settings.identity), None
    try:
        authority = kept_authority(
            settings.directory,
            clock=clock,
            chance=Chance.of_machine(),
            name="mdmsim TLS front CA",
            ca_name=CA_FILE,
            key_name=KEY_FILE,
        )
    except OSError as error:
        raise ServeError(
            f"{settings.directory}: cannot be written ({error.strerror}). Name another folder for the CA."
        ) from None
    names = tuple(dict.fromkeys((*settings.names, "localhost")))
    return identity_under(authority, names, _reachable(settings.host)), (settings.directory / CA_FILE).resolve()


async def _answers(upstream: tuple[str, int]) -> bool:
    with trio.move_on_after(_LOOK):
        try:
            stream = await trio.open_tcp_stream(*upstream)
        except OSError:
            return False
        await stream.aclose()
        return True
    return False


def _reachable(host: str) -> str:
    """Who listens everywhere is found at loopback's address on the same machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host

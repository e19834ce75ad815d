"""What every fake does to run as a process: listen, follow events, make an identity, end at a signal."""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO, TypeVar

import trio

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.events import Event, to_json_line
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, identity_from_pem, identity_to_pem, to_pem
from mdmsim.pki.keys import FreshKeys
from mdmsim.printable import printable_lines
from mdmsim.protocol.errors import Malformed

#: What every fake's server certificate carries beside Apple's names, for clients with a base URL.
LOOPBACK_ADDRESSES = ("127.0.0.1", "::1")

T = TypeVar("T")


class ServeError(Exception):
    """A fake cannot start: a setting or the machine stands in the way. The message says what to do."""


class PortTaken(ServeError):
    """A port cannot be listened on. `setting`: the name of the setting that asked for it."""

    def __init__(self, setting: str, port: int, host: str, why: str) -> None:
        super().__init__(f"{setting}={port} on {host}: {why}. Choose another, or 0 for any free one.")
        self.setting, self.port, self.host, self.why = setting, port, host, why

    @property
    def of_option(self) -> str:
        """The same for whoever wrote the setting as an option of a command."""
        option = f"--{self.setting.replace('_', '-')}"
        return f"{option} {self.port} on {self.host}: {self.why}. Choose another, or 0 for any free one."


class InUse(ServeError):
    """Another process has the file open that this one would write to."""


async def listen(host: str, port: int, name: str) -> list[trio.SocketListener]:
    """Listeners on that port; 0 is any free one. `name` is the setting's. Raises PortTaken, ServeError for the host."""
    wrong = f'host="{host}": {{}}. Give an address of this machine, e.g. 127.0.0.1, or 0.0.0.0 for all of them.'
    if not host.strip():
        raise ServeError(wrong.format("no address"))
    try:
        return await trio.open_tcp_listeners(port, host=host)
    except (socket.gaierror, UnicodeError):
        raise ServeError(wrong.format("no such host")) from None
    except OSError as error:
        if error.errno == errno.EADDRNOTAVAIL:
            raise ServeError(wrong.format("not an address of this machine")) from None
        raise PortTaken(name, port, host, error.strerror or str(error)) from None


def different_ports(wanted: Mapping[str, int | None]) -> None:
    """Two settings that ask for the same port. 0 and None ask for none in particular. Raises ServeError."""
    taken: dict[int, str] = {}
    for name, port in wanted.items():
        if port:
            if port in taken:
                raise ServeError(
                    f"{taken[port]} and {name}: both ask for port {port}. Give each its own, or 0 for any free one."
                )
            taken[port] = name


def writable_files(wanted: Mapping[str, Path | None]) -> None:
    """Files to be written, by the names of their settings: no two are one, and their folders are there.

    Raises ServeError.
    """
    taken: dict[Path, str] = {}
    for name, path in wanted.items():
        # A device such as /dev/null loses nothing, however many write to it.
        if path is None or (path.exists() and not path.is_file()):
            continue
        if not path.parent.is_dir():
            raise ServeError(f"{name}: {path}: there is no folder {path.parent}. Make it, or name another file.")
        real = path.resolve()
        if real in taken:
            raise ServeError(f"{taken[real]} and {name}: both would write {path}. Give each a file of its own.")
        taken[real] = name


#: What HTTP headers and shells carry unharmed.
_KEY = re.compile(r"[!-~]{1,500}")


def usable_key(key: str | None, name: str) -> None:
    """Whether clients can send it as bearer key; None is no key yet. `name` is the setting's. Raises ServeError."""
    if key is not None and not _KEY.fullmatch(key):
        raise ServeError(
            f"{name}: a key is 1 to 500 letters, digits and signs of ASCII, without blanks; a header carries nothing else."
        )


@contextmanager
def event_lines(where: str) -> Iterator[Callable[[Event], None]]:
    """An observer that writes events as JSON lines to the end of a file, or to standard output ("-"). Raises ServeError."""
    with _opened(where) as file:

        def write(event: Event) -> None:
            # Whole lines, at once: whoever follows the file sees what happened when it happened.
            file.write(to_json_line(event))
            file.flush()

        yield write


def _opened(where: str) -> AbstractContextManager[BinaryIO]:
    if where == "-":
        return nullcontext(sys.stdout.buffer)
    try:
        return Path(where).open("ab")
    except OSError as error:
        raise ServeError(
            f"{where}: cannot be written ({error.strerror}). Choose another file for the events."
        ) from None


def given_identity(path: Path) -> Identity:
    """The server's certificate, key and chain from a PEM file. Raises ServeError."""
    try:
        return identity_from_pem(path.read_bytes())
    except OSError as error:
        raise ServeError(f"{path}: cannot be read ({error.strerror}). Give certificate and key as PEM.") from None
    except Malformed as error:
        raise ServeError(f"{path}: {error}") from None


def made_identity(
    issuer: str, names: tuple[str, ...], host: str, ca_file: Path | None, clock: Clock, chance: Chance
) -> tuple[Identity, bytes]:
    """A server's identity under an authority called `issuer`, and that authority's certificate (DER) to trust.

    The certificate carries `names`, the loopback addresses and `host`. `ca_file` gets the authority's certificate as
    PEM. Raises ServeError where that cannot be written.
    """
    authority = Authority.create(issuer, keys=FreshKeys(), clock=clock, chance=chance, kind="ec")
    if ca_file is not None:
        write_ca(ca_file, authority)
    return identity_under(authority, names, host), authority.certificate


def identity_under(authority: Authority, names: tuple[str, ...], host: str) -> Identity:
    """A server's identity: its certificate carries `names`, the loopback addresses and `host`."""
    if host not in (*names, *LOOPBACK_ADDRESSES):
        names = (*names, host)
    return authority.issue_server(names, LOOPBACK_ADDRESSES)


def tls_context(identity: Identity, protocols: Sequence[str]) -> ssl.SSLContext:
    """A server's TLS, 1.2 and later, for clients without certificates. `protocols`: for ALPN, the preferred one first."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(protocols)
    # Python loads identities from files only; this one is private (mode 0600) and gone in a moment.
    with tempfile.NamedTemporaryFile(suffix=".pem") as file:
        file.write(identity_to_pem(identity))
        file.flush()
        context.load_cert_chain(file.name)
    return context


def write_ca(path: Path, authority: Authority) -> None:
    """Write what clients must trust, as PEM. Raises ServeError, also where the file holds more than certificates."""
    try:
        if path.is_file() and not _replaceable(path.read_bytes()):
            raise ServeError(
                f"{path}: is there, and holds something else than a CA certificate, which would be lost. "
                "Name another file for the CA certificate, or remove this one."
            )
        path.write_bytes(to_pem(authority.certificate))
    except OSError as error:
        raise ServeError(
            f"{path}: cannot be written ({error.strerror}). Choose another file for the CA certificate."
        ) from None


_PEM_LABEL = re.compile(rb"-----BEGIN ([^-]*)-----")


def _replaceable(data: bytes) -> bool:
    """Whether a file of that content may be replaced by a CA certificate: it is empty, or holds certificates alone."""
    if not data.strip():
        return True
    try:
        certificates_from_pem(data)
    except Malformed:
        return False
    return all(label.endswith(b"CERTIFICATE") for label in _PEM_LABEL.findall(data))


def write_private(path: Path, content: bytes) -> None:
    """Write a file that holds a key: mode 0600 from its first byte on, and whole or not at all. Raises OSError."""
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def run_alone(serve: Callable[[trio.TaskStatus[T]], Awaitable[None]], greet: Callable[[T], None]) -> int:
    """Run a fake until SIGINT or SIGTERM, `greet` when it is ready; the exit code.

    0 after a signal (130 before it was ready), 2 for a mistake in the options, 3 where a port is taken or a file in
    use; what stood in the way goes to standard error.
    """
    try:
        trio.run(_until_signalled, serve, greet)
    except KeyboardInterrupt:
        return 130
    except BaseExceptionGroup as group:
        taken, other = group.split((PortTaken, InUse))
        mistakes, rest = other.split(ServeError) if other is not None else (None, None)
        if rest is not None:
            raise
        return complain(str(_first(taken or mistakes)), 3 if taken is not None else 2)
    return 0


def complain(message: str, code: int) -> int:
    """Say on standard error what stands in the way; the exit code given."""
    sys.stderr.write(f"error: {printable_lines(message)}\n")
    return code


async def _until_signalled(serve: Callable[[trio.TaskStatus[T]], Awaitable[None]], greet: Callable[[T], None]) -> None:
    # From here on a signal is a wish, not an exception: it would come out of the nursery in a group.
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            greet(await nursery.start(lambda task_status: serve(task_status)))
            await anext(aiter(signals))
            nursery.cancel_scope.cancel()


def _first(group: BaseException | None) -> BaseException | None:
    while isinstance(group, BaseExceptionGroup):
        group = group.exceptions[0]
    return group

"""Reading what people write on a command line: addresses, lists, files. A wrong one is a Mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mdmsim.cli.exits import Mistake


def address(text: str, option: str, *, said: str = "", example: str = "127.0.0.1:5223") -> tuple[str, int]:
    """`HOST:PORT`, also with a scheme before it as `mdmsim up` prints it: the host without brackets, and the port.

    `said`: the option's whole value, where the address is a part of it only.
    """
    bare = text.partition("://")[2] or text
    host, colon, port = bare.rstrip("/").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        where = f'{option} {said}: "{text}" is' if said else f"{option} {text}:"
        raise Mistake(f'{where} not an address. Write HOST:PORT, e.g. "{example}".')
    return host.removeprefix("[").removesuffix("]"), int(port)


def routes(entries: Sequence[str]) -> dict[str, tuple[str, int]]:
    """What `--route NAME=HOST:PORT` says: where connections to a name go."""
    found: dict[str, tuple[str, int]] = {}
    for entry in entries:
        name, equals, target = entry.partition("=")
        if not equals or not name.strip():
            raise Mistake(
                f'--route {entry}: not a route. Write NAME=HOST:PORT, e.g. "vpp.itunes.apple.com=127.0.0.1:8443".'
            )
        found[name.strip().lower().rstrip(".")] = address(target, "--route", said=entry, example="127.0.0.1:8443")
    return found


def listed(texts: Sequence[str]) -> list[str]:
    """The entries of an option that may be given several times and may hold commas."""
    return [entry.strip() for text in texts for entry in text.split(",") if entry.strip()]


def certificates(files: Sequence[Path], option: str) -> tuple[bytes, ...]:
    """The certificates (DER) of PEM or DER files."""
    from mdmsim.pki.certificate import certificates_from_pem, load_certificate
    from mdmsim.protocol.errors import Malformed

    found: list[bytes] = []
    for file in files:
        data = contents(file, option)
        try:
            if b"-----BEGIN" in data:
                found.extend(certificates_from_pem(data))
            elif data[:1] == b"\x30":
                load_certificate(data)
                found.append(data)
            if not found:
                raise Mistake(f"{option} {file}: no certificate in it. Name a PEM file with the CA's certificate.")
        except Malformed as error:
            raise Mistake(f"{option} {file}: {error}. Name a PEM file with the CA's certificate.") from None
    return tuple(found)


def push_certificates(files: Sequence[Path], option: str) -> tuple[Path, ...]:
    """The files, each of which begins with a push certificate."""
    from mdmsim.pki.certificate import certificates_from_pem
    from mdmsim.pki.push_certificate import push_rights
    from mdmsim.protocol.errors import Malformed

    for file in files:
        try:
            rights = push_rights(certificates_from_pem(contents(file, option))[0])
        except Malformed as error:
            raise Mistake(
                f"{option} {file}: {error.reason}. Name a PEM file with the push certificate first."
            ) from None
        if not rights.topic and not rights.topics:
            raise Mistake(
                f"{option} {file}: its certificate names no topic, so it is no push certificate. Make one with mdmsim apns "
                "certificate, or name the one of your server."
            )
    return tuple(files)


def folder(path: Path | None, option: str) -> Path | None:
    """A folder that can be written to; it is made if it is not there."""
    if path is not None:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        except FileExistsError:
            raise Mistake(f"{option} {path}: is a file. Name a folder.") from None
        except OSError as error:
            said = (error.strerror or str(error)).lower()
            raise Mistake(f"{option} {path}: cannot be made ({said}). Name a folder that you may write to.") from None
    return path


def open_to_network(host: str) -> list[str]:
    """What people should know who let others in: lines to print; none for an address of this machine alone."""
    import ipaddress

    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return []
    if found.is_loopback:
        return []
    lines = []
    if found.is_unspecified:
        lines.append(
            f"  {host} is every address of this machine: others write one of those in its place. Certificates made here carry "
            "an address that --host names."
        )
    lines.append("  ! the admin API is open to the network over plain HTTP: whoever listens there reads its key")
    return lines


def url_host(host: str) -> str:
    """A host as it stands in a URL."""
    return f"[{host}]" if ":" in host else host


def contents(file: Path, option: str) -> bytes:
    """A file's bytes."""
    try:
        return file.read_bytes()
    except OSError as error:
        said = f"{option} {file}" if option else str(file)
        raise Mistake(f"{said}: {(error.strerror or str(error)).lower()}. Name a file that can be read.") from None

"""Reading what people write on a command line: addresses, lists, files. A wrong one is a Mistake."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mdmsim.cli.exits import Mistake


def address(text: str, option: str) -> tuple[str, int]:
    """`HOST:PORT`, also with a scheme before it as `mdmsim up` prints it: the host without brackets, and the port."""
    bare = text.partition("://")[2] or text
    host, colon, port = bare.rstrip("/").rpartition(":")
    if not colon or not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise Mistake(f'{option} {text}: not an address. Write HOST:PORT, e.g. "127.0.0.1:5223".')
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
        found[name.strip().lower().rstrip(".")] = address(target, "--route")
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

"""What a live server needs before its first start: CA, push certificate, TLS certificate, profile signer, API key.

Made once, into a folder, for trying things out: nobody but the fake APNs accepts the push certificate.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.clock import Clock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_from_pem, identity_to_pem, to_pem
from mdmsim.pki.keys import KeySource
from mdmsim.pki.push_certificate import new_topic
from mdmsim.protocol.errors import Malformed
from reference_server.settings import BadSettings

CA, SERVER, PUSH, PROFILE = "ca.pem", "server.pem", "push.pem", "profile.pem"
API_KEY, ROOT, DATABASE = "api-key", "ca-root.pem", "server.sqlite"


@dataclass(frozen=True, slots=True)
class Material:
    """The contents of a server's folder. `ca_file` is for those who must trust it; the rest is secret."""

    directory: Path
    ca: Identity
    server: Identity
    push: Identity
    profile_signer: Identity
    api_key: str

    @property
    def ca_file(self) -> Path:
        return self.directory / ROOT

    @property
    def push_file(self) -> Path:
        return self.directory / PUSH

    @property
    def database(self) -> Path:
        return self.directory / DATABASE


def prepare(directory: Path, *, names: tuple[str, ...], clock: Clock, chance: Chance, keys: KeySource) -> Material:
    """What the folder holds, after making what is missing. Secrets get mode 0600, the folder 0700.

    `names`: host names and addresses of the TLS certificate; it is issued anew when they changed. Raises BadSettings.
    """
    chance = chance.stream("material")
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        ca = _kept(directory / CA, lambda: _make_ca(keys, clock, chance))
        authority = Authority.from_pem(identity_to_pem(ca), keys=keys, clock=clock, chance=chance.stream("issued"))
        material = Material(
            directory=directory,
            ca=ca,
            server=_server(directory / SERVER, authority, names),
            push=_kept(directory / PUSH, lambda: authority.issue_push(new_topic(chance))),
            profile_signer=_kept(directory / PROFILE, lambda: authority.client_identity("mdmsim profile signer")),
            api_key=_api_key(directory / API_KEY, chance),
        )
        material.ca_file.write_bytes(to_pem(ca.certificate))
    except OSError as error:
        raise BadSettings(
            str(error), where="data folder", hint="Name a folder that can be written to with --data"
        ) from None
    return material


def _make_ca(keys: KeySource, clock: Clock, chance: Chance) -> Identity:
    return Authority.create("mdmsim reference server CA", keys=keys, clock=clock, chance=chance).identity


def _kept(path: Path, make: Callable[[], Identity]) -> Identity:
    if not path.exists():
        _write_secret(path, identity_to_pem(make()))
    try:
        return identity_from_pem(path.read_bytes())
    except Malformed as error:
        raise BadSettings(
            str(error), where=str(path), hint="Put a PEM key and certificate there, or delete it to get a new one"
        ) from None


def _server(path: Path, authority: Authority, names: tuple[str, ...]) -> Identity:
    wanted = "\n".join(names)
    note = path.with_suffix(".names")
    if note.exists() and note.read_text() != wanted:
        path.unlink(missing_ok=True)
    identity = _kept(path, lambda: authority.issue_server(names))
    note.write_text(wanted)
    return identity


def _api_key(path: Path, chance: Chance) -> str:
    if not path.exists():
        _write_secret(path, chance.hex(20).encode("ascii") + b"\n")
    return path.read_text().strip()


def _write_secret(path: Path, content: bytes) -> None:
    # Written beside and renamed: a start that is killed half-way must not leave half a key behind.
    beside = path.with_name(f".{path.name}.new")
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)

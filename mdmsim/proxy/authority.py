"""The authority of everything that answers under Apple's names: one certificate that servers trust, kept between runs.

It issues the identities of the fake APNs, of the fake DEP, and of what the proxy itself answers. TLS ends there and
not in the proxy: a client certificate must reach the fake APNs.
"""

from __future__ import annotations

from pathlib import Path

from mdmsim.chance import Chance
from mdmsim.clock import DAY, Clock, iso
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import certificates_from_pem, not_after_ms
from mdmsim.pki.keys import FreshKeys
from mdmsim.protocol.errors import Malformed
from mdmsim.startup import ServeError, write_ca, write_private

NAME = "mdmsim stand-in for Apple's CAs"

#: In the folder: the certificate to trust, and the authority's key with it (mode 0600).
CA_FILE = "apple-ca.pem"
KEY_FILE = "apple-ca.key.pem"

#: How much of its life a kept authority must have left: what it issues lasts no longer than itself.
LEAST_LEFT_MS = 30 * DAY


def kept_authority(
    directory: Path,
    *,
    clock: Clock,
    chance: Chance,
    name: str = NAME,
    ca_name: str = CA_FILE,
    key_name: str = KEY_FILE,
) -> Authority:
    """The authority in that folder; a new one where there is none. Writes both files. Raises ServeError, OSError.

    `name`: what a new one is called. `ca_name`, `key_name`: the files that hold what others trust, and its key with it.
    """
    key_file = directory / key_name
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        pem = key_file.read_bytes()
    except FileNotFoundError:
        authority = Authority.create(name, keys=FreshKeys(), clock=clock, chance=chance, kind="ec")
        write_private(key_file, authority.to_pem())
    except OSError as error:
        raise ServeError(
            f"{key_file}: cannot be read ({error.strerror}). It holds the key of a CA that others trust: "
            "run as the user who owns it, or delete it for a new CA."
        ) from None
    else:
        authority = _read(pem, key_file, ca_name, clock=clock, chance=chance)
    if authority.certificate not in _trusted(directory / ca_name):
        write_ca(directory / ca_name, authority)
    return authority


def _trusted(file: Path) -> tuple[bytes, ...]:
    """What the file holds already: somebody may have appended the roots that a Go program needs besides."""
    try:
        return certificates_from_pem(file.read_bytes())
    except (OSError, Malformed):
        return ()


def _read(pem: bytes, file: Path, ca_name: str, *, clock: Clock, chance: Chance) -> Authority:
    renew = f"Delete it for a new CA, and have the new {ca_name} trusted in its place."
    try:
        authority = Authority.from_pem(pem, keys=FreshKeys(), clock=clock, chance=chance)
    except Malformed as error:
        raise ServeError(f"{file}: {error}. {renew}") from None
    ends = not_after_ms(authority.certificate)
    if ends - clock.now_ms() < LEAST_LEFT_MS:
        raise ServeError(f"{file}: this CA ends at {iso(ends)}. {renew}")
    return authority

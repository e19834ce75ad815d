"""Throw-away push certificates and token keys for test suites, as files and as PEM, in the forms that push clients take."""

from __future__ import annotations

import itertools
import string
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from mdmsim.chance import Chance
from mdmsim.clock import DAY, Clock
from mdmsim.http import Identity
from mdmsim.pki.authority import Authority
from mdmsim.pki.certificate import identity_to_pem, not_after_ms, to_pem
from mdmsim.pki.keys import FreshKeys, SharedKeys, load_key
from mdmsim.pki.push_certificate import PushEnvironment

#: How long a certificate can be good.
MAX_DAYS = 3650

KeyFormat = Literal["pkcs8", "pkcs1"]
Environments = Literal["production", "sandbox", "both"]

_ENVIRONMENTS: dict[str, tuple[PushEnvironment, ...]] = {
    "production": ("production",),
    "sandbox": ("sandbox",),
    "both": ("production", "sandbox"),
}

#: Certificates of one process take turns with a few keys: making one costs more than starting the fake does.
_KEYS = SharedKeys(4, FreshKeys())
_TURN = threading.Lock()


@dataclass(frozen=True, slots=True)
class Certificate:
    """A push certificate and its RSA key. `file` holds both; texts are PEM, `der` is the certificate alone."""

    topic: str
    der: bytes = field(repr=False)
    certificate: str = field(repr=False)
    key: str = field(repr=False)
    file: str
    certificate_file: str
    key_file: str


@dataclass(frozen=True, slots=True)
class TokenKey:
    """A key for provider tokens, as Apple's developer portal hands it out: P-256, PKCS#8, PEM, in a file `.p8`."""

    team_id: str
    key_id: str
    key: str = field(repr=False)
    public_key: bytes = field(repr=False)
    file: str


class Mint:
    """Makes certificates of one authority and keys for tokens, and keeps their files in a folder."""

    def __init__(self, clock: Clock, chance: Chance, folder: Path) -> None:
        self._clock = clock
        self._chance = chance
        self._folder = folder
        self._authority: Authority | None = None
        self._authority_ends_ms = 0
        self._numbers = itertools.count(1)

    def make(
        self, topic: str, *, environment: Environments, topics: Sequence[str], key_format: KeyFormat, days: float
    ) -> Certificate:
        """A new certificate, expired where `days` is negative.

        Raises ValueError for a word that is none and for days that are too many, MalformedName for a topic that is too
        long.
        """
        if environment not in _ENVIRONMENTS:
            raise ValueError(f'environment="{environment}": allowed are {", ".join(_ENVIRONMENTS)}')
        if key_format not in ("pkcs8", "pkcs1"):
            raise ValueError(f'key_format="{key_format}": allowed are pkcs8, pkcs1')
        if not -MAX_DAYS <= days <= MAX_DAYS:
            raise ValueError(f"days={days}: at most {MAX_DAYS}; a negative number makes one that has expired")
        with _TURN:
            # Certificates do not outlive their authority: it is made anew where one would be cut short.
            if self._authority is None or self._authority_ends_ms < self._clock.now_ms() + days * DAY:
                self._authority = Authority.create(
                    "mdmsim push certificates",
                    keys=_KEYS,
                    clock=self._clock,
                    chance=self._chance,
                    kind="ec",
                    days=2 * MAX_DAYS,
                )
                self._authority_ends_ms = not_after_ms(self._authority.identity.certificate)
            identity = self._authority.issue_push(
                topic, days=days, environments=_ENVIRONMENTS[environment], topics=topics
            )
            number = next(self._numbers)
        certificate = to_pem(identity.certificate).decode("ascii")
        both = identity_to_pem(Identity(identity.certificate, identity.key), key_format).decode("ascii")
        key = both.removesuffix(certificate)
        return Certificate(
            topic,
            identity.certificate,
            certificate,
            key,
            self._write(f"push-{number}.pem", certificate + key),
            self._write(f"push-{number}-certificate.pem", certificate),
            self._write(f"push-{number}-key.pem", key),
        )

    def make_key(self, team_id: str | None, key_id: str | None) -> TokenKey:
        """A new key; identifiers that are not given are drawn: ten capital letters and digits, as Apple's."""
        private = load_key(_KEYS.take_ec())
        key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode("ascii")
        public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        named = key_id or self._identifier()
        return TokenKey(team_id or self._identifier(), named, key, public, self._write(f"AuthKey_{named}.p8", key))

    def _identifier(self) -> str:
        return "".join(self._chance.choice(string.ascii_uppercase + string.digits) for _ in range(10))

    def _write(self, name: str, text: str) -> str:
        file = self._folder / name
        file.touch(mode=0o600)
        file.write_text(text, encoding="ascii")
        return str(file)

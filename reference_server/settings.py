"""Everything that can be set about the reference server, checked once, at the start."""

from __future__ import annotations

import ipaddress
import itertools
import re
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from mdmsim.http import Identity
from mdmsim.pki.keys import load_key
from mdmsim.pki.push_certificate import topic_of
from mdmsim.protocol.errors import Malformed

#: 17 MiB: more than the largest report that a device was seen to send, and small enough to hold in memory.
MAX_BODY = 17 * 2**20

#: All 13 rights together (mdm/profiles/com.apple.mdm.yaml, key AccessRights).
ALL_RIGHTS = 8191

ChallengeMode = Literal["one-time", "static", "none"]

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class BadSettings(ValueError):
    """A setting that the server cannot start with: what is wrong, which field, what to do."""

    def __init__(self, what: str, *, where: str, hint: str) -> None:
        super().__init__(f"{where}: {what}. {hint}")
        self.what = what
        self.where = where
        self.hint = hint


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How one reference server is set up. Raises BadSettings for values that it could not honour.

    Certificates are DER, identities carry PKCS#8 keys. `apns_url` None: no push ever leaves the server. Times are in the unit that the name ends in: `_s`, `_days`.
    """

    public_url: str
    push: Identity
    ca: Identity
    api_key: str
    organization: str = "mdmsim reference server"
    database: str = ":memory:"
    profile_signer: Identity | None = None
    anchors: tuple[bytes, ...] = ()
    identity_anchors: tuple[bytes, ...] = ()
    profile_identifier: str = "mdmsim.reference.enrollment"
    access_rights: int = ALL_RIGHTS
    sign_message: bool = True
    checkout_when_removed: bool = True
    trusted_proxies: tuple[str, ...] = ()
    proxy_header: str | None = None
    scep_challenge: ChallengeMode = "one-time"
    scep_static_challenge: str | None = None
    scep_challenge_days: int = 7
    scep_key_bits: int = 2048
    scep_days: int = 365
    apns_url: str | None = None
    apns_anchors: tuple[bytes, ...] = ()
    push_ladder_s: tuple[int, ...] = (0, 30, 120, 480, 1800)
    push_repeat_s: int = 86_400
    push_expiration_s: int = 86_400
    push_timeout_s: float = 10.0
    first_commands: tuple[dict[str, Any], ...] = ()
    max_body: int = MAX_BODY

    def __post_init__(self) -> None:
        _check_url(self.public_url, "public_url")
        if self.apns_url is not None:
            _check_url(self.apns_url, "apns_url")
        self._check_push_certificate()
        self._check_ca()
        self._check_words()
        self._check_numbers()
        self._check_proxies()

    def __repr__(self) -> str:
        # Keys and challenges stay out of logs and tracebacks.
        return f"Settings(public_url={self.public_url!r}, database={self.database!r})"

    @property
    def topic(self) -> str:
        """What pushes go to: the UID in the push certificate's subject."""
        return topic_of(self.push.certificate) or ""

    @property
    def checkin_url(self) -> str:
        return f"{self.public_url}/mdm/checkin"

    @property
    def server_url(self) -> str:
        return f"{self.public_url}/mdm/connect"

    @property
    def scep_url(self) -> str:
        return f"{self.public_url}/scep"

    @property
    def trusted_roots(self) -> tuple[bytes, ...]:
        """DER certificates that the enrollment profile carries, so that devices trust `public_url`."""
        return self.anchors or (self.ca.certificate,)

    def _check_push_certificate(self) -> None:
        try:
            topic = topic_of(self.push.certificate)
        except Malformed as error:
            raise BadSettings(str(error), where="push", hint="Give a DER certificate and its PKCS#8 key") from None
        # Servers and Apple's portal agree on the prefix (mdm/profiles/com.apple.mdm.yaml, key Topic).
        if topic is None or not topic.startswith("com.apple.mgmt."):
            raise BadSettings(
                f"the certificate's subject UID is {topic!r}",
                where="push",
                hint='Use an MDM push certificate: its UID begins with "com.apple.mgmt."',
            )

    def _check_ca(self) -> None:
        try:
            key = load_key(self.ca.key)
        except Malformed as error:
            raise BadSettings(str(error), where="ca", hint="Give a DER certificate and its PKCS#8 key") from None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise BadSettings("its key is not RSA", where="ca", hint="SCEP encrypts to the CA's key, which must be RSA")

    def _check_words(self) -> None:
        if len(self.api_key) < 8 or not self.api_key.isascii() or not self.api_key.isprintable():
            raise BadSettings(
                "shorter than 8 characters, or not printable ASCII",
                where="api_key",
                hint="Choose a long random key; clients send it as `Authorization: Bearer ...`",
            )
        if not self.organization.strip() or not self.profile_identifier.strip():
            raise BadSettings(
                "empty", where="organization, profile_identifier", hint="Both are shown to whoever installs the profile"
            )
        if (self.scep_challenge == "static") != bool(self.scep_static_challenge):
            raise BadSettings(
                f'"{self.scep_challenge}" and a static challenge that is {"set" if self.scep_static_challenge else "not set"}',
                where="scep_challenge, scep_static_challenge",
                hint='"static" needs scep_static_challenge, the other modes refuse it',
            )
        for number, command in enumerate(self.first_commands):
            if not isinstance(command.get("RequestType"), str):
                raise BadSettings(
                    "no RequestType",
                    where=f"first_commands[{number}]",
                    hint='Each is a Command dictionary, such as {"RequestType": "SecurityInfo"}',
                )

    def _check_numbers(self) -> None:
        if not 0 <= self.access_rights <= ALL_RIGHTS:
            raise BadSettings(
                str(self.access_rights),
                where="access_rights",
                hint=f"A sum of Apple's 13 rights: 0 to {ALL_RIGHTS}",
            )
        if self.scep_key_bits not in (1024, 2048, 4096):
            raise BadSettings(str(self.scep_key_bits), where="scep_key_bits", hint="Devices know 1024, 2048 and 4096")
        for name in ("scep_challenge_days", "scep_days", "push_repeat_s", "push_timeout_s", "max_body"):
            if getattr(self, name) <= 0:
                raise BadSettings(str(getattr(self, name)), where=name, hint="A number above zero is needed")
        if self.push_expiration_s < 0:
            raise BadSettings(str(self.push_expiration_s), where="push_expiration_s", hint="0 or more seconds")
        ladder = self.push_ladder_s
        if len(ladder) < 2 or ladder[0] < 0 or any(b <= a for a, b in itertools.pairwise(ladder)):
            raise BadSettings(
                str(ladder), where="push_ladder_s", hint="At least two rising numbers: seconds after the ladder's start"
            )

    def _check_proxies(self) -> None:
        if bool(self.trusted_proxies) != (self.proxy_header is not None):
            raise BadSettings(
                "one is set without the other",
                where="trusted_proxies, proxy_header",
                hint="A certificate in a header counts from named proxies only: name both or neither",
            )
        if self.proxy_header is not None and not _HEADER_NAME.fullmatch(self.proxy_header):
            raise BadSettings(repr(self.proxy_header), where="proxy_header", hint="Not a header name")
        for address in self.trusted_proxies:
            try:
                ipaddress.ip_network(address, strict=False)
            except ValueError as error:
                raise BadSettings(str(error), where="trusted_proxies", hint="Addresses or networks") from None


def _check_url(url: str, where: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = None
        parts = urlsplit("")
    if not usable or parts.path or parts.query or parts.fragment or parts.username:
        raise BadSettings(
            f"{url!r} is not an origin", where=where, hint='Write it as "https://mdm.example.com" or with a port'
        )

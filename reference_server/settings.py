"""Everything that can be set about the reference server, checked once, at the start."""

from __future__ import annotations

import itertools
import re
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa

from mdmsim.http import Identity
from mdmsim.pki.certificate import load_certificate
from mdmsim.pki.keys import load_key
from mdmsim.pki.push_certificate import topic_of
from mdmsim.protocol.errors import Malformed
from reference_server.clients import parse_network

#: 17 MiB: more than the largest report that a device was seen to send, and small enough to hold in memory.
MAX_BODY = 17 * 2**20

#: All 13 rights together (mdm/profiles/com.apple.mdm.yaml, key AccessRights).
ALL_RIGHTS = 8191

ChallengeMode = Literal["one-time", "static", "none"]
IdentityMode = Literal["scep", "pkcs12"]
AccessMode = Literal["loopback", "token", "login", "anyone"]
ContentTypeMode = Literal["required", "optional"]
LoginMode = Literal["none", "basic", "digest", "web"]

#: Where Apple's Device Assignment Services answer.
DEP_URL = "https://mdmenrollment.apple.com"

#: What a device can be told to update before it enrols (mdm/errors/softwareupdate.required.yaml).
UPDATABLE = ("ios", "ipados", "macos")

#: Keys of a profile at Apple that are not anybody's wish.
_NOT_WISHES = frozenset(["devices", "profile_uuid"])

#: RFC 3986's unreserved characters, which need no escape in a URL.
_TOKEN = re.compile(r"[A-Za-z0-9._~-]{8,}")
_OS_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){0,2}( \([a-z]\))?")
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

    Certificates are DER, identities carry PKCS#8 keys. `apns_url` None: no push ever leaves the server. Times are in the
    unit that the name ends in: `_s`, `_days`.

    `device_configured`: whether a device that is held in Setup Assistant is released by itself once `first_commands` are
    answered. `dep_...`: how Apple's device enrollment service is asked; `dep_profile` holds keys of the profile that
    devices get there. `automated_anchors`: certificates of the CA that signs devices' MachineInfo, all of its chain,
    because Macs do not always send it; none: nobody enrols that way. `users`: who may sign in there, name to password.

    `content_type` "optional" lets in requests of devices that have none, judged by their URL: mdmb sends none with reports.

    `enroll_access`: who may fetch a profile at /enroll: programs on this machine, whoever has `enroll_token`, `users`, or
    anyone. `enroll_limit`: how many of those profiles may be out without an enrollment that was finished with them.
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
    device_configured: Literal["automatic", "manual"] = "automatic"
    profile_identity: IdentityMode = "scep"
    max_body: int = MAX_BODY
    content_type: ContentTypeMode = "required"
    dep_url: str = DEP_URL
    dep_anchors: tuple[bytes, ...] = ()
    dep_profile: dict[str, Any] = {}
    dep_sync_s: int = 1800
    dep_full_fetch_s: int = 7 * 86_400
    dep_retry_s: tuple[int, ...] = (30, 120, 600)
    dep_timeout_s: float = 60.0
    dep_page: int = 1000
    automated_anchors: tuple[bytes, ...] = ()
    automated_login: LoginMode = "none"
    automated_minimum_os: dict[str, str] = {}
    users: dict[str, str] = {}
    enroll_access: AccessMode = "loopback"
    enroll_token: str | None = None
    enroll_limit: int = 10_000

    def __post_init__(self) -> None:
        _check_url(self.public_url, "public_url")
        if self.apns_url is not None:
            _check_url(self.apns_url, "apns_url")
        self._check_push_certificate()
        self._check_ca()
        self._check_words()
        self._check_numbers()
        self._check_proxies()
        self._check_dep()
        self._check_automated()
        self._check_access()

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
    def enroll_url(self) -> str:
        """Where an enrollment profile is fetched; with the token, if one is asked for."""
        return f"{self.public_url}/enroll" + (f"?token={self.enroll_token}" if self.enroll_token is not None else "")

    @property
    def automated_url(self) -> str:
        """Where devices in Setup Assistant post their signed MachineInfo."""
        return f"{self.public_url}/enroll/automated"

    @property
    def web_login_url(self) -> str:
        return f"{self.public_url}/enroll/web"

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
            if command["RequestType"] == "DeviceConfigured":
                raise BadSettings(
                    "DeviceConfigured goes to devices that wait for it, and to no other",
                    where=f"first_commands[{number}]",
                    hint='Leave it out: device_configured="automatic" sends it when the others are answered',
                )
        if self.content_type not in get_args(ContentTypeMode):
            raise BadSettings(repr(self.content_type), where="content_type", hint='"required" or "optional"')
        if self.device_configured not in ("automatic", "manual") or self.profile_identity not in ("scep", "pkcs12"):
            raise BadSettings(
                f"{self.device_configured!r}, {self.profile_identity!r}",
                where="device_configured, profile_identity",
                hint='The first is "automatic" or "manual", the second "scep" or "pkcs12"',
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
        for name in (
            "scep_challenge_days",
            "scep_days",
            "push_repeat_s",
            "push_timeout_s",
            "max_body",
            "dep_sync_s",
            "dep_full_fetch_s",
            "dep_timeout_s",
            "enroll_limit",
        ):
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
                parse_network(address)
            except ValueError as error:
                raise BadSettings(str(error), where="trusted_proxies", hint="Addresses or networks") from None

    def _check_dep(self) -> None:
        _check_url(self.dep_url, "dep_url")
        if not 1 <= self.dep_page <= 1000:
            raise BadSettings(str(self.dep_page), where="dep_page", hint="1 to 1000 devices: Apple's pages end there")
        ladder = self.dep_retry_s
        if not ladder or ladder[0] < 1 or any(b < a for a, b in itertools.pairwise(ladder)):
            raise BadSettings(
                str(ladder),
                where="dep_retry_s",
                hint="One or more rising numbers of seconds between attempts that fail",
            )
        problem = profile_wishes_problem(self.dep_profile)
        if problem is not None:
            raise BadSettings(problem, where="dep_profile", hint="Keys of a profile in Apple's documentation")

    def _check_automated(self) -> None:
        if self.automated_login not in ("none", "basic", "digest", "web"):
            raise BadSettings(
                repr(self.automated_login), where="automated_login", hint='"none", "basic", "digest" or "web"'
            )
        if self.automated_login != "none" and not self.users:
            raise BadSettings(
                f'"{self.automated_login}" and no users', where="automated_login, users", hint="Nobody could sign in"
            )
        for name, password in self.users.items():
            # RFC 7617 section 2: a colon would end the name. Neither may hold control characters.
            if not name or ":" in name or not password or not (name + password).isprintable():
                raise BadSettings(
                    f"the user {name!r}",
                    where="users",
                    hint="Names and passwords are printable and not empty, and a name has no colon",
                )
        for platform, version in self.automated_minimum_os.items():
            if platform not in UPDATABLE or not _OS_VERSION.fullmatch(version):
                raise BadSettings(
                    f"{platform!r}: {version!r}",
                    where="automated_minimum_os",
                    hint=f'A version such as "18.1" or "16.1 (a)" for each of: {", ".join(UPDATABLE)}',
                )
        for anchor in (*self.automated_anchors, *self.dep_anchors):
            try:
                load_certificate(anchor)
            except Malformed as error:
                raise BadSettings(
                    str(error), where="automated_anchors, dep_anchors", hint="Certificates in DER"
                ) from None

    def _check_access(self) -> None:
        if self.enroll_access not in get_args(AccessMode):
            raise BadSettings(
                repr(self.enroll_access), where="enroll_access", hint='"loopback", "token", "login" or "anyone"'
            )
        if (self.enroll_access == "token") != (self.enroll_token is not None):
            raise BadSettings(
                f'"{self.enroll_access}" and a token that is {"not " if self.enroll_token is None else ""}set',
                where="enroll_access, enroll_token",
                hint='"token" needs enroll_token, the other modes refuse it',
            )
        if self.enroll_token is not None and not _TOKEN.fullmatch(self.enroll_token):
            raise BadSettings(
                "shorter than 8 characters, or not only letters, digits and ._~-",
                where="enroll_token",
                hint="Choose a long random word; it stands in URLs: /enroll?token=...",
            )
        if self.enroll_access == "login" and not self.users:
            raise BadSettings('"login" and no users', where="enroll_access, users", hint="Nobody could sign in")


def profile_wishes_problem(wishes: dict[str, Any]) -> str | None:
    """What is wrong with keys for a profile at Apple, as far as that can be told without Apple; None if nothing is."""
    for key in _NOT_WISHES & wishes.keys():
        return f"{key} is not a key to set"
    name = wishes.get("profile_name", "x")
    if not isinstance(name, str) or not 1 <= len(name) <= 125:  # Apple, "Profile"
        return "profile_name must have 1 to 125 characters"
    if wishes.get("is_mdm_removable") is False and wishes.get("is_supervised") is False:
        return "is_mdm_removable may be false only where is_supervised is true"
    return None


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

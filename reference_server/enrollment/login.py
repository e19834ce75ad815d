"""Who may enrol: names and passwords over Basic (RFC 7617) and Digest (RFC 7616), and the cookie of the web login.

Nothing is remembered between requests: nonces and cookies carry their time and a seal, so that a restart in the middle
of a login does no harm.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from urllib.request import parse_http_list, parse_keqv_list

import msgspec

from mdmsim.chance import Chance
from mdmsim.clock import MINUTE, Clock
from reference_server.settings import Settings

COOKIE = "enrollment"
#: How long somebody may take to sign in, and how long a Digest nonce is good for.
LOGIN_MS = 10 * MINUTE

_NONCE = re.compile(r"(\d{1,15})\.([0-9a-f]{16})\.([0-9a-f]{64})")


class Visitor(msgspec.Struct, frozen=True, kw_only=True):
    """The device that a web login is for: it showed its MachineInfo at `at_ms`."""

    serial: str
    udid: str
    at_ms: int


class Login:
    """Judges who signs in."""

    def __init__(self, settings: Settings, clock: Clock, chance: Chance) -> None:
        self._users = settings.users
        self._mode = settings.automated_login
        # What goes into a header must be ASCII without quotes.
        self._realm = re.sub(r"[^ !#-\[\]-~]", "?", settings.organization)
        self._clock = clock
        self._chance = chance
        self._seal_key = hashlib.sha256(b"enrollment login\0" + settings.api_key.encode("ascii")).digest()

    def is_user(self, name: str, password: str) -> bool:
        expected = self._users.get(name)
        # Compared in any case, so that names cannot be told from the time that a refusal takes.
        right = hmac.compare_digest((expected or "").encode(), password.encode("utf-8", "surrogatepass"))
        return right and expected is not None

    def challenge(self, *, stale: bool = False) -> str:
        """The WWW-Authenticate header of a 401."""
        if self._mode == "basic":
            return self.basic_challenge
        word = ", stale=true" if stale else ""
        return f'Digest realm="{self._realm}", qop="auth", algorithm=MD5, nonce="{self._nonce()}"{word}'

    @property
    def basic_challenge(self) -> str:
        return f'Basic realm="{self._realm}", charset="UTF-8"'

    def check_basic(self, header: str | None) -> tuple[str | None, str]:
        """The user of an Authorization header by RFC 7617; else None, and why not."""
        scheme, _, rest = (header or "").partition(" ")
        if scheme.lower() != "basic":
            return None, "nobody signed in"
        user, why, _ = self._basic(rest)
        return user, why

    def check(self, header: str | None, method: str, target: str) -> tuple[str | None, str, bool]:
        """The user of an Authorization header; else None, why not, and whether a fresh nonce would mend it."""
        if not header:
            return None, "nobody signed in", False
        scheme, _, rest = header.partition(" ")
        if scheme.lower() != self._mode:
            return None, f"the scheme {scheme[:20]!r} was not asked for", False
        return self._basic(rest) if self._mode == "basic" else self._digest(rest, method, target)

    def _basic(self, rest: str) -> tuple[str | None, str, bool]:
        try:
            name, colon, password = base64.b64decode(rest.strip(), validate=True).decode("utf-8").partition(":")
        except (binascii.Error, ValueError):
            return None, "the Authorization header is not base64", False
        if colon and self.is_user(name, password):
            return name, "", False
        return None, "wrong name or password", False

    def _digest(self, rest: str, method: str, target: str) -> tuple[str | None, str, bool]:
        try:
            fields = parse_keqv_list(parse_http_list(rest))
        except (ValueError, IndexError):
            return None, "the Authorization header cannot be read", False
        expected = self._expected(fields, method)
        if expected is None or not hmac.compare_digest(expected.encode(), fields.get("response", "").encode()):
            return None, "wrong name or password", False
        if fields.get("uri", "").partition("?")[0] != target.partition("?")[0]:
            return None, "the login is for another address", False
        if not self._is_fresh(fields["nonce"]):
            return None, "the nonce is too old, or not ours", True
        return fields["username"], "", False

    def _expected(self, fields: Mapping[str, str], method: str) -> str | None:
        """The response that the user's password gives; None for a login that misses something."""
        needed = ("username", "realm", "nonce", "uri", "nc", "cnonce")
        if any(name not in fields for name in needed) or fields.get("qop") != "auth":
            return None
        if fields.get("algorithm", "MD5").upper() != "MD5" or fields["realm"] != self._realm:
            return None
        password = self._users.get(fields["username"])
        if password is None:
            return None
        secret = _md5(fields["username"], self._realm, password)
        action = _md5(method, fields["uri"])
        return _md5(secret, fields["nonce"], fields["nc"], fields["cnonce"], "auth", action)

    def _nonce(self) -> str:
        head = f"{self._clock.now_ms()}.{self._chance.hex(8)}"
        return f"{head}.{self._seal(head)}"

    def _is_fresh(self, nonce: str) -> bool:
        match = _NONCE.fullmatch(nonce)
        if match is None or not hmac.compare_digest(match[3], self._seal(f"{match[1]}.{match[2]}")):
            return False
        return 0 <= self._clock.now_ms() - int(match[1]) <= LOGIN_MS

    # ---- the web login's cookie

    def cookie_of(self, visitor: Visitor) -> str:
        text = base64.urlsafe_b64encode(msgspec.json.encode(visitor)).rstrip(b"=").decode("ascii")
        return f"{text}.{self._seal(text)}"

    def visitor(self, cookie: str | None) -> Visitor | None:
        """The device behind a cookie; None for one that is not ours, or too old."""
        text, _, seal = (cookie or "").partition(".")
        if not text.isascii() or not hmac.compare_digest(seal.encode(), self._seal(text).encode()):
            return None
        visitor = msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Visitor)
        return visitor if 0 <= self._clock.now_ms() - visitor.at_ms <= LOGIN_MS else None

    def _seal(self, text: str) -> str:
        return hmac.new(self._seal_key, text.encode(), hashlib.sha256).hexdigest()


def _md5(*parts: str) -> str:
    # RFC 7616's oldest algorithm is the one that every client knows; the connection is TLS.
    return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

"""Provider tokens: the JWTs (ES256) by which a provider without a certificate proves who it is.

No MDM server uses them, and MDM topics refuse them (Apple, "Setting up push notifications for your MDM customers");
whoever tests other pushes does. Rules: Apple, "Establishing a token-based connection to APNs".
"""

from __future__ import annotations

import base64
import binascii
from typing import Any, Literal

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from mdmsim.clock import HOUR, MINUTE, SECOND
from mdmsim.fakeapns.errors import BadSigningKey

#: A token older than this is refused with ExpiredProviderToken (Apple: refresh at least once every 60 minutes).
MAX_AGE_MS = HOUR
#: Tokens of one key may change at most this often on a connection (Apple: not more than once every 20 minutes).
MIN_REFRESH_MS = 20 * MINUTE
#: How far a token's `iat` may lie in the future. Apple's tolerance is not documented; clocks differ by minutes.
MAX_SKEW_MS = 5 * MINUTE
#: Key and team identifiers have ten characters (Apple, "Establishing a token-based connection to APNs").
ID_LENGTH = 10

_MAX_JWT = 4096


class SigningKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key as made in Apple's developer portal, as far as APNs knows it.

    `topics`: None for a team-scoped key, which may push to every topic of its team; otherwise the only ones allowed.
    `environments`: keys of the newer kinds are tied to one. `related`: the one other key that may be used on the same
    connection. `public_key`: SubjectPublicKeyInfo, PEM; P-256.
    """

    key_id: str
    team_id: str
    public_key: bytes
    environments: tuple[Literal["production", "sandbox"], ...] = ("production", "sandbox")
    topics: tuple[str, ...] | None = None
    related: str | None = None


class _Known(msgspec.Struct, frozen=True):
    key: SigningKey
    public: Any


class TokenUse:
    """What one connection has shown so far."""

    __slots__ = ("by_key", "expired", "first_key", "last", "team")

    def __init__(self) -> None:
        self.first_key: str | None = None
        self.team: str | None = None
        #: Per key id: the token in use, when it came into use (ms), and the one before it, which requests that were
        #: on their way may still carry.
        self.by_key: dict[str, tuple[str, int, str]] = {}
        #: The header value judged last with its key and `iat` (ms): most requests repeat it.
        self.last: tuple[str, SigningKey, int] | None = None
        #: Whether an expired token was seen.
        self.expired = False


class Verdict(msgspec.Struct, frozen=True):
    """`key` when the token is good; otherwise `reason`, and `why` for people."""

    key: SigningKey | None = None
    reason: str = ""
    why: str = ""


class SigningKeys:
    """The registered keys, and the judgement over tokens made with them."""

    def __init__(self) -> None:
        self._known: dict[str, _Known] = {}

    def register(self, key: SigningKey) -> None:
        """Make a key known; the same key id again replaces it. Raises BadSigningKey."""
        for name, value in (("key_id", key.key_id), ("team_id", key.team_id)):
            if len(value) != ID_LENGTH or not value.isascii() or not value.isalnum():
                raise BadSigningKey(f'{name}="{value[:20]}": Apple\'s have {ID_LENGTH} letters and digits.')
        if not key.environments:
            raise BadSigningKey("environments is empty: production, sandbox or both.")
        public = _p256(key.public_key)
        # Given a private key, the public half is all that is kept: nobody can read the other one out again.
        half = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        self._known[key.key_id] = _Known(msgspec.structs.replace(key, public_key=half), public)

    def remove(self, key_id: str) -> None:
        """Forget a key (revoked in the portal); one that was not known is left alone."""
        self._known.pop(key_id, None)

    def registered(self) -> tuple[SigningKey, ...]:
        """All that are known, in the order in which they were registered."""
        return tuple(known.key for known in self._known.values())

    def judge(
        self, authorization: str, use: TokenUse, now_ms: int, *, environment: str, sticky: bool, wrong_team: str
    ) -> Verdict:
        """Judge an `authorization` header. `use` is the connection's memory, and takes in what was accepted.

        `sticky`: once expired, the connection takes no token any more. `wrong_team`: the reason for a token of
        another team than the connection's first.
        """
        if sticky and use.expired:
            return Verdict(reason="ExpiredProviderToken", why="this connection showed an expired token before")
        last = use.last
        if last is not None and last[0] == authorization and self._current(last[1]):
            _, key, issued_ms = last
        else:
            scheme, _, token = authorization.partition(" ")
            if scheme.lower() != "bearer" or not token:
                return Verdict(reason="InvalidProviderToken", why="the header is not: bearer, a blank, a JWT")
            opened = self._open(token.strip())
            if isinstance(opened, str):
                return Verdict(reason="InvalidProviderToken", why=opened)
            key, issued_ms = opened
        if issued_ms > now_ms + MAX_SKEW_MS:
            return Verdict(reason="InvalidProviderToken", why="iat lies in the future")
        if now_ms - issued_ms > MAX_AGE_MS:
            use.expired = True
            return Verdict(reason="ExpiredProviderToken", why=f"iat is {(now_ms - issued_ms) // MINUTE} minutes old")
        if environment not in key.environments:
            return Verdict(
                reason="BadEnvironmentKeyIdInToken", why=f"key {key.key_id} is for {', '.join(key.environments)} only"
            )
        if use.team is not None and use.team != key.team_id:
            return Verdict(reason=wrong_team, why=f"team {key.team_id}, and this connection is of team {use.team}")
        if use.first_key not in (None, key.key_id, key.related) and not self._names(use.first_key, key.key_id):
            return Verdict(
                reason="UnrelatedKeyIdInToken", why=f"key {key.key_id} is not related to {use.first_key}, used first"
            )
        current = use.by_key.get(key.key_id)
        if current is None or authorization not in (current[0], current[2]):
            if current is not None and now_ms - current[1] < MIN_REFRESH_MS:
                return Verdict(
                    reason="TooManyProviderTokenUpdates",
                    why=f"the token before this one is {(now_ms - current[1]) // SECOND} s old; 20 minutes are allowed",
                )
            use.by_key[key.key_id] = (authorization, now_ms, current[0] if current is not None else "")
        use.first_key = use.first_key or key.key_id
        use.team = key.team_id
        use.last = (authorization, key, issued_ms)
        return Verdict(key=key)

    def _names(self, key_id: str | None, related: str) -> bool:
        known = self._known.get(key_id or "")
        return known is not None and known.key.related == related

    def _current(self, key: SigningKey) -> bool:
        known = self._known.get(key.key_id)
        return known is not None and known.key is key

    def _open(self, token: str) -> tuple[SigningKey, int] | str:
        """The key and `iat` (ms) of a JWT whose signature is good, or what is wrong with it."""
        parts = token.split(".")
        if len(token) > _MAX_JWT or len(parts) != 3:
            return "not a JWT of three parts"
        try:
            header, claims = (msgspec.json.decode(_base64url(part)) for part in parts[:2])
            signature = _base64url(parts[2])
        except (ValueError, msgspec.MsgspecError, RecursionError):
            return "header, claims or signature cannot be decoded"
        if not isinstance(header, dict) or not isinstance(claims, dict):
            return "header or claims are no JSON objects"
        if header.get("alg") != "ES256":
            return "alg is not ES256"
        known = self._known.get(str(header.get("kid", "")))
        if known is None:
            return "kid names no key that is registered here"
        if claims.get("iss") != known.key.team_id:
            return "iss is not the team of that key"
        issued_ms = _issued_ms(claims.get("iat"))
        if issued_ms is None:
            return "iat is no number of seconds"
        if len(signature) != 64:
            return "the signature has not the 64 bytes of ES256"
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        try:
            known.public.verify(
                encode_dss_signature(r, s), f"{parts[0]}.{parts[1]}".encode("ascii"), ec.ECDSA(hashes.SHA256())
            )
        except (InvalidSignature, ValueError):
            return "the signature is not that key's"
        return known.key, issued_ms


def _issued_ms(value: Any) -> int | None:
    # Some clients send a float, some the number as text; Apple's documents say seconds since 1970.
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if not isinstance(value, int | float) or not 0 <= value < 1e12:
        return None
    return int(value * SECOND)


def _base64url(text: str) -> bytes:
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        raise ValueError("not base64url") from None


def _p256(pem: bytes) -> ec.EllipticCurvePublicKey:
    try:
        if b"PRIVATE KEY" in pem:
            private = load_pem_private_key(pem, password=None)
            public: Any = private.public_key()
        else:
            public = load_pem_public_key(pem)
    except (ValueError, TypeError):
        raise BadSigningKey("the key is not PEM: give a public key, or the .p8 file as downloaded.") from None
    if not isinstance(public, ec.EllipticCurvePublicKey) or not isinstance(public.curve, ec.SECP256R1):
        raise BadSigningKey("the key is not on the curve P-256, which ES256 needs.")
    return public

"""OAuth 1.0a as GET /session wants it (RFC 5849; Apple, "Authenticating for Automated Device Enrollment"): HMAC-SHA1 only."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

#: Parameters that must be there, once each.
REQUIRED = (
    "oauth_consumer_key",
    "oauth_token",
    "oauth_signature_method",
    "oauth_signature",
    "oauth_timestamp",
    "oauth_nonce",
)
_KNOWN = frozenset((*REQUIRED, "oauth_version", "realm"))
_PAIR = re.compile(r'\s*([A-Za-z_][A-Za-z0-9_.~%-]*)\s*=\s*"([^"]*)"\s*')
_DEFAULT_PORTS = {"http": 80, "https": 443}


class BadAuthorization(ValueError):
    """The Authorization header cannot be judged: not OAuth, or parameters missing, repeated, unsupported, misspelt."""


@dataclass(frozen=True, slots=True)
class Authorization:
    """A readable Authorization header. `parameters`: decoded, realm left out. `timestamp`: seconds since 1970."""

    parameters: Mapping[str, str]
    realm: str | None
    consumer_key: str
    token: str
    signature: str
    timestamp: int
    nonce: str


def parse_authorization(header: str | None) -> Authorization:
    """The parameters of an `Authorization: OAuth ...` header, in any order. Raises BadAuthorization."""
    if header is None:
        raise BadAuthorization("no Authorization header")
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != "oauth":  # RFC 5849 section 3.5.1: the scheme is case insensitive
        raise BadAuthorization(f'the scheme is "{scheme[:20]}", not OAuth')
    found: dict[str, str] = {}
    for part in rest.split(","):
        if not part.strip():
            continue
        match = _PAIR.fullmatch(part)
        if match is None:
            raise BadAuthorization(f"not a parameter: {part.strip()[:40]}")
        name, value = unquote(match[1]), unquote(match[2])
        if name in found:
            raise BadAuthorization(f"{name} comes twice")
        if name not in _KNOWN:
            raise BadAuthorization(f"{name[:40]} is not supported")
        found[name] = value
    for name in REQUIRED:
        if not found.get(name):
            raise BadAuthorization(f"{name} is missing")
    if found["oauth_signature_method"] != "HMAC-SHA1":
        raise BadAuthorization(f"oauth_signature_method is {found['oauth_signature_method'][:20]}, not HMAC-SHA1")
    if found.get("oauth_version", "1.0") != "1.0":
        raise BadAuthorization(f"oauth_version is {found['oauth_version'][:20]}, not 1.0")
    if re.fullmatch("[0-9]{1,15}", found["oauth_timestamp"]) is None:
        raise BadAuthorization("oauth_timestamp is not a number of seconds")
    return Authorization(
        parameters={name: value for name, value in found.items() if name != "realm"},
        realm=found.get("realm"),
        consumer_key=found["oauth_consumer_key"],
        token=found["oauth_token"],
        signature=found["oauth_signature"],
        timestamp=int(found["oauth_timestamp"]),
        nonce=found["oauth_nonce"],
    )


def percent_encode(text: str) -> str:
    """RFC 5849 section 3.6: everything but letters, digits and `-._~`, in capital hex."""
    return quote(text, safe="~")


def base_string(method: str, url: str, parameters: Iterable[tuple[str, str]]) -> str:
    """What is signed (RFC 5849 section 3.4.1). `parameters`: decoded; those of the URL's query are added here."""
    parts = urlsplit(url)
    scheme = parts.scheme.lower()
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(scheme)) else f":{parts.port}"
    pairs = [*parameters, *parse_qsl(parts.query, keep_blank_values=True)]
    encoded = sorted(
        (percent_encode(name), percent_encode(value))
        for name, value in pairs
        if name not in ("realm", "oauth_signature")
    )
    normal = "&".join(f"{name}={value}" for name, value in encoded)
    base = f"{scheme}://{host}{port}{parts.path or '/'}"
    return "&".join((method.upper(), percent_encode(base), percent_encode(normal)))


def signature(
    method: str, url: str, parameters: Iterable[tuple[str, str]], consumer_secret: str, token_secret: str
) -> str:
    """The HMAC-SHA1 signature (RFC 5849 section 3.4.2), base64, not percent-encoded."""
    key = f"{percent_encode(consumer_secret)}&{percent_encode(token_secret)}"
    text = base_string(method, url, parameters)
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode("ascii")


def signed_by(authorization: Authorization, method: str, url: str, consumer_secret: str, token_secret: str) -> bool:
    """Whether the holder of both secrets made this request."""
    wanted = signature(method, url, authorization.parameters.items(), consumer_secret, token_secret)
    return hmac.compare_digest(wanted.encode(), authorization.signature.encode())

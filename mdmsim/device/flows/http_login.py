"""Answering a 401 challenge with a user's name and password: Basic (RFC 7617) and Digest (RFC 7616)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from mdmsim.chance import Chance
from mdmsim.http import Request, Response

_HASHES = {"MD5": hashlib.md5, "SHA-256": hashlib.sha256}


def authorization(request: Request, response: Response, user: str, password: str, chance: Chance) -> str | None:
    """The Authorization header that answers the challenge; None where there is none that a device understands."""
    challenge = response.header("WWW-Authenticate") or ""
    scheme, _, rest = challenge.partition(" ")
    if scheme.lower() == "basic":
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode("ascii")
    if scheme.lower() == "digest":
        return _digest(request, parse_keqv_list(parse_http_list(rest)), user, password, chance)
    return None


def _digest(request: Request, challenge: Mapping[str, str], user: str, password: str, chance: Chance) -> str | None:
    algorithm = challenge.get("algorithm", "MD5").upper()
    hashing = _HASHES.get(algorithm)
    realm, nonce = challenge.get("realm", ""), challenge.get("nonce")
    if hashing is None or nonce is None:
        return None

    def digest(*parts: str) -> str:
        return hashing(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    parts = urlsplit(request.url)
    uri = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    secret, action = digest(user, realm, password), digest(request.method, uri)
    fields = {"username": user, "realm": realm, "nonce": nonce, "uri": uri, "algorithm": algorithm}
    if "auth" in [word.strip() for word in challenge.get("qop", "").split(",")]:
        count, client_nonce = "00000001", chance.hex(8)
        fields |= {"qop": "auth", "nc": count, "cnonce": client_nonce}
        fields["response"] = digest(secret, nonce, count, client_nonce, "auth", action)
    else:
        fields["response"] = digest(secret, nonce, action)
    if "opaque" in challenge:
        fields["opaque"] = challenge["opaque"]
    bare = ("algorithm", "nc", "qop")
    return "Digest " + ", ".join(f"{k}={v}" if k in bare else f'{k}="{v}"' for k, v in fields.items())

"""OAuth 1.0a for GET /session: two pairs of credentials, HMAC-SHA1 (RFC 5849; Apple, "Authenticating for ADE")."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

#: What Apple's page calls the realm.
REALM = "ADM"

_DEFAULT_PORTS = {"http": 80, "https": 443}


def authorization(
    method: str,
    url: str,
    *,
    consumer: tuple[str, str],
    access: tuple[str, str],
    timestamp_s: int,
    nonce: str,
) -> str:
    """The Authorization header of a request without query and form. `consumer`, `access`: key (or token) and secret."""
    parameters = {
        "oauth_consumer_key": consumer[0],
        "oauth_nonce": nonce,
        "oauth_signature_method": "HMAC-SHA1",
        "oauth_timestamp": str(timestamp_s),
        "oauth_token": access[0],
        "oauth_version": "1.0",
    }
    signature = _signature(method, url, parameters, consumer[1], access[1])
    fields = {"realm": REALM} | {name: _encode(value) for name, value in parameters.items()}
    fields["oauth_signature"] = _encode(signature)
    return "OAuth " + ", ".join(f'{name}="{value}"' for name, value in fields.items())


def _signature(method: str, url: str, parameters: Mapping[str, str], consumer_secret: str, access_secret: str) -> str:
    # RFC 5849 section 3.4.1: the base string; the realm is not part of it.
    pairs = sorted((_encode(name), _encode(value)) for name, value in parameters.items())
    text = "&".join((method.upper(), _encode(_base_url(url)), _encode("&".join(f"{k}={v}" for k, v in pairs))))
    key = f"{_encode(consumer_secret)}&{_encode(access_secret)}"
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha1).digest()).decode("ascii")


def _base_url(url: str) -> str:
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    host = f"[{host}]" if ":" in host else host
    port = "" if parts.port in (None, _DEFAULT_PORTS.get(parts.scheme.lower())) else f":{parts.port}"
    return f"{parts.scheme.lower()}://{host}{port}{parts.path or '/'}"


def _encode(text: str) -> str:
    # RFC 5849 section 3.6: all but the unreserved characters, in capital hex.
    return quote(text, safe="~")

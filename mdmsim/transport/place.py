"""Where a request goes: its URL taken apart, which places are refused, and where a redirect leads."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

from mdmsim import apple_network
from mdmsim.http import BadAnswer, NotAsked, Request, Response, Trust, is_loopback

REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PORTS = {"https": 443, "http": 80}
#: Left as they stand in a request target: RFC 3986's reserved and unreserved characters, and what is quoted already.
_TARGET_SAFE = "!#$%&'()*+,/:;=?@[]~"


@dataclass(frozen=True, slots=True)
class Place:
    """A URL as a connection needs it. `host` is lower-case without brackets, `authority` goes into Host."""

    scheme: str
    host: str
    port: int
    authority: str
    target: str

    @property
    def tls(self) -> bool:
        return self.scheme == "https"

    @property
    def at(self) -> str:
        """`host:port`, for messages and for `connect_to`."""
        return f"{self.host}:{self.port}"


@lru_cache(maxsize=4096)
def place_of(url: str) -> Place:
    """The place a URL names. Raises NotAsked, with the reason, for one that cannot be asked."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise NotAsked(f"cannot ask {url!r}: {error}") from None
    if parts.scheme not in _PORTS:
        raise NotAsked(f"cannot ask {url!r}: its scheme must be https")
    if not host:
        raise NotAsked(f"cannot ask {url!r}: it names no host")
    if port == 0:
        raise NotAsked(f"cannot ask {url!r}: 0 is no port")
    try:
        host = _ascii_host(host)
    except ValueError as error:
        raise NotAsked(f"cannot ask {url!r}: {error}") from None
    default = _PORTS[parts.scheme]
    bracketed = f"[{host}]" if ":" in host else host
    authority = bracketed if port in (None, default) else f"{bracketed}:{port}"
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    return Place(parts.scheme, host, port or default, authority, quote(target, safe=_TARGET_SAFE))


def _ascii_host(host: str) -> str:
    host = host.rstrip(".")
    if ":" in host:
        return ipaddress.IPv6Address(host.partition("%")[0]).compressed
    try:
        name = host.encode("idna").decode("ascii")
    except UnicodeError:
        raise ValueError("its host is not a name") from None
    if not name or not all(c.isalnum() or c in "-._" for c in name):
        raise ValueError("its host is not a name")
    return name.lower()


def refuse_plain_http(place: Place, trust: Trust) -> None:
    """Raise NotAsked for `http://`, unless the request may go by it and stays on this machine."""
    if place.tls or (trust.allow_http and is_loopback(place.host)):
        return
    why = "http:// is for this machine only" if trust.allow_http else "a device asks this URL by https only"
    raise NotAsked(f"will not ask http://{place.authority}: {why}")


def refuse_apple(place: Place, allow_hosts: Collection[str], connect_to: Collection[str]) -> None:
    """Raise NotAsked for one of Apple's hosts that was neither allowed by name nor pointed elsewhere."""
    if place.at not in connect_to:
        apple_network.refuse_apple(place.host, allow_hosts)


def next_hop(request: Request, response: Response, followed: int) -> Request | None:
    """The request that a redirect asks for, with the same method and body; None when the answer is final.

    `followed` counts the redirects behind us. With `max_redirects=0` a redirect is an answer like any other. A
    device follows without asking and never remembers one: each transaction starts from the profile's URL (Apple,
    MDM Protocol Reference, "Structure of MDM messages"). Credentials in Authorization stay with the host they were
    meant for. Raises BadAnswer for one redirect too many, or one to a place where a device does not go.
    """
    if response.status not in REDIRECTS or request.max_redirects == 0:
        return None
    location = response.header("Location")
    if not location:
        return None
    if followed >= request.max_redirects:
        raise BadAnswer(f"{request.url} redirects for ever: stopped after {followed} redirects", sent=True)
    try:
        url = urljoin(request.url, location.strip()).partition("#")[0]
        here, there = place_of(request.url), place_of(url)
    except (ValueError, NotAsked) as error:
        raise BadAnswer(
            f"{request.url} redirects to {location!r}, which cannot be followed: {error}", sent=True
        ) from None
    if here.tls and not there.tls:
        raise BadAnswer(f"{request.url} redirects from https to {url}: refused", sent=True)
    headers = request.headers
    if (here.host, here.port) != (there.host, there.port):
        headers = tuple((name, value) for name, value in headers if name.lower() != "authorization")
    return replace(request, url=url, headers=headers)

"""Where a request comes from: the other end of its connection, or who a trusted proxy says it is."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from typing import Any

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

#: What proxies add to what they pass on (RFC 7239, RFC 9110 section 7.6.3, and the usual ones without a document).
_FORWARDED = frozenset((b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-real-ip"))

#: RFC 4291 section 2.5.5.2: ::ffff:0:0/96 holds the IPv4 addresses.
_MAPPED_BITS = 96


def parse_network(text: str) -> Network:
    """An address or a network; one of IPv4 that is written in IPv6's form is the IPv4 one. Raises ValueError."""
    network = ipaddress.ip_network(text, strict=False)
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= _MAPPED_BITS:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


def parse_address(text: str) -> Address | None:
    """An address; None for what is none. A server that listens on IPv6 sees 10.0.0.5 as ::ffff:10.0.0.5."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class Clients:
    """Knows the proxies that are trusted."""

    def __init__(self, trusted_proxies: Iterable[str]) -> None:
        self._proxies = tuple(map(parse_network, trusted_proxies))

    def is_proxy(self, scope: Mapping[str, Any]) -> bool:
        """Whether the connection is a trusted proxy's."""
        address = _peer(scope)
        return address is not None and any(address in network for network in self._proxies)

    def is_loopback(self, scope: Mapping[str, Any]) -> bool:
        """Whether a program on this machine asks for itself. What a proxy passes on counts as the proxy says.

        Every address in X-Forwarded-For must be of this machine. The last one alone will not do: behind two proxies it
        is the first proxy's. What the client made up before them can only speak against it.
        """
        forwarded = [(name, value) for name, value in scope["headers"] if name in _FORWARDED]
        if self.is_proxy(scope):
            said = b",".join(value for name, value in forwarded if name == b"x-forwarded-for").decode("latin-1")
            addresses = [parse_address(each.strip()) for each in said.split(",")]
        elif forwarded:
            return False
        else:
            addresses = [_peer(scope)]
        return all(each is not None and each.is_loopback for each in addresses)


def _peer(scope: Mapping[str, Any]) -> Address | None:
    client = scope.get("client")
    return parse_address(client[0]) if client else None

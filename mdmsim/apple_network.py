"""Which hosts and addresses are Apple's: nothing here connects to one of them unless its user named it.

Every client that opens a connection asks here first: by name, and by what the resolver makes of the name.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection, Iterable
from typing import Any

from mdmsim.http import NotAsked

#: Domains that devices and servers find Apple's services under, with everything below them. Apple, "Use Apple products
#: on enterprise networks" (support.apple.com/101555), and the content networks that its hosts are aliases of.
DOMAINS = (
    "apple.com",
    "cdn-apple.com",
    "icloud.com",
    "icloud-content.com",
    "apple-cloudkit.com",
    "mzstatic.com",
    "aaplimg.com",
)

#: Apple's own addresses: all of 17.0.0.0/8 (the same page), and over IPv6 those that APNs is documented to have
#: (support.apple.com/102266).
NETWORKS = tuple(
    map(
        ipaddress.ip_network,
        ("17.0.0.0/8", "2403:300:a42::/48", "2403:300:a51::/48", "2620:149:a44::/48", "2a01:b740:a42::/48"),
    )
)

#: RFC 6052: IPv4 addresses as a NAT64 gateway writes them.
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def is_apples(host: str) -> bool:
    """Whether a name or an address in text is Apple's. Names compare without case, a dot at the end, or brackets."""
    name = host.strip("[]").partition("%")[0].rstrip(".").lower()
    if any(name == domain or name.endswith(f".{domain}") for domain in DOMAINS):
        return True
    address = _address(name)
    return address is not None and _in_apples_networks(address)


def refuse_apple(host: str, allow_hosts: Collection[str] = (), addresses: Iterable[str] = ()) -> None:
    """Raise NotAsked for a host of Apple's, or one of whose `addresses` is, unless `allow_hosts` names the host."""
    if host in allow_hosts:
        return
    led = next((address for address in (host, *addresses) if is_apples(address)), None)
    if led is not None:
        what = "that is" if led == host else f"it leads to {led}, which is"
        raise NotAsked(
            f"will not connect to {host}: {what} Apple's, and mdmsim stands in for it. "
            f"Point it at a fake, or name the host in allow_hosts (the reference server: in apns_url or dep_url) if you "
            f"really mean Apple."
        )


async def refuse_apple_resolved(host: str, port: int, allow_hosts: Collection[str] = ()) -> None:
    """As `refuse_apple`, with the addresses that the resolver gives, under trio and asyncio. A name without any passes."""
    import anyio  # blocking clients do without

    refuse_apple(host, allow_hosts)
    if host not in allow_hosts and _to_resolve(host):
        try:
            found: Any = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        refuse_apple(host, allow_hosts, [str(entry[4][0]) for entry in found])


def refuse_apple_resolved_blocking(host: str, port: int, allow_hosts: Collection[str] = ()) -> None:
    """As `refuse_apple_resolved`, for blocking code. `socket` is used by name: gevent patches the module."""
    refuse_apple(host, allow_hosts)
    if host not in allow_hosts and _to_resolve(host):
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            return
        refuse_apple(host, allow_hosts, [str(entry[4][0]) for entry in found])


def _to_resolve(host: str) -> bool:
    return host != "localhost" and _address(host.strip("[]")) is None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        pass
    try:
        # The short forms (17.1, 0x11000001) that resolvers take for IPv4 addresses, too.
        return ipaddress.IPv4Address(socket.inet_aton(text))
    except (OSError, ValueError, UnicodeError):
        return None


def _in_apples_networks(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            address = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        elif address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        elif address.sixtofour is not None:
            address = address.sixtofour
    return any(address.version == network.version and address in network for network in NETWORKS)

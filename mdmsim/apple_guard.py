"""httpx clients that keep away from Apple: the check stands where a connection is opened, so that no redirect, name or
proxy setting passes it by. What goes through a proxy is the proxy's to judge."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

import httpcore
import httpx

from mdmsim.apple_network import refuse_apple_resolved


class _GuardedBackend(httpcore.AsyncNetworkBackend):
    def __init__(self, backend: httpcore.AsyncNetworkBackend, allow_hosts: Collection[str]) -> None:
        self._backend = backend
        self._allow_hosts = allow_hosts

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Raises ConnectFailed for Apple's, and what the backend raises."""
        await refuse_apple_resolved(host, port, self._allow_hosts)
        return await self._backend.connect_tcp(host, port, timeout, local_address, socket_options)

    async def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.AsyncNetworkStream:
        return await self._backend.connect_unix_socket(path, timeout, socket_options)

    async def sleep(self, seconds: float) -> None:
        await self._backend.sleep(seconds)


def keep_from_apple(client: httpx.AsyncClient, allow_hosts: Collection[str] = ()) -> httpx.AsyncClient:
    """The client, whose connections are opened only where `refuse_apple_resolved` lets them.

    httpx hands no network backend down to httpcore, where one is a public setting: it is put in place here.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx.AsyncHTTPTransport):
            pool: Any = transport._pool
            pool._network_backend = _GuardedBackend(pool._network_backend, allow_hosts)
    return client

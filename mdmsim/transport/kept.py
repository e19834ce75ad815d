"""Connections kept open between exchanges, bounded, the longest idle closed first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from mdmsim.http import Identity, Trust

#: Scheme, host and port, identity and trust: a connection made with one of them serves no request with another.
Key = tuple[str, str, int, Identity | None, Trust]


#: Idle connections that a client keeps in all, unless told otherwise.
KEEP = 512


class Link(Protocol):
    """One connection, as far as it can be handled without waiting. `idle_since` is in the shell's own seconds."""

    number: int
    idle_since: float

    def close(self) -> None:
        """End it as HTTP servers expect: over TLS with close_notify, if that can be sent at once."""

    def abort(self) -> None:
        """Drop it as a dead battery would: nothing more is said."""


class Kept:
    """Idle connections by key. `limit`: how many in all; `seconds`: for how long one is good for another exchange."""

    def __init__(self, limit: int, seconds: float) -> None:
        if limit < 0 or seconds < 0:
            raise ValueError(f"keep={limit}, keep_seconds={seconds}: neither may be negative; 0 keeps none")
        self._limit = limit
        self._seconds = seconds
        self._by_key: dict[Key, list[Link]] = {}
        self._order: OrderedDict[Link, Key] = OrderedDict()

    def __len__(self) -> int:
        return len(self._order)

    def take(self, key: Key, now: float) -> Link | None:
        """The youngest idle connection for that key; ones idle for too long are closed on the way."""
        links = self._by_key.get(key)
        while links:
            link = links.pop()
            del self._order[link]
            if not links:
                del self._by_key[key]
            if now - link.idle_since <= self._seconds:
                return link
            link.close()
        return None

    def give(self, key: Key, link: Link, now: float) -> None:
        """Keep a connection that is ready for another exchange."""
        if not self._limit:
            link.close()
            return
        link.idle_since = now
        self._by_key.setdefault(key, []).append(link)
        self._order[link] = key
        if len(self._order) > self._limit:
            oldest, its_key = self._order.popitem(last=False)
            self._by_key[its_key].remove(oldest)
            if not self._by_key[its_key]:
                del self._by_key[its_key]
            oldest.close()

    def close(self) -> None:
        """Close all."""
        while self._order:
            self._order.popitem()[0].close()
        self._by_key.clear()

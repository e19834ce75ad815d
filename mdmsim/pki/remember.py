"""Remembering what was worked out about certificates, in bounded memory whoever sends them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import TypeVar

T = TypeVar("T")

#: Certificates that are remembered, and how long one may be in bytes to be. Real ones have one to two thousand; the
#: product is what strangers can fill.
CERTIFICATES, LENGTH = 8192, 4096


def remembered(function: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Cache a function of one certificate (DER), as `lru_cache` does, but for long ones, which work all the same."""
    cached = lru_cache(maxsize=CERTIFICATES)(function)

    @wraps(function)
    def call(der: bytes) -> T:
        return cached(der) if len(der) <= LENGTH else function(der)

    return call

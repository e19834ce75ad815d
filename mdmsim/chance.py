"""Chance, handed in everywhere: every random choice of a world comes from its one seed.

Only this module may ask the machine for randomness, and only `Chance.of_machine()` does: for secrets of a real run.
"""

from __future__ import annotations

import hashlib
import os
import random
import uuid
from collections.abc import MutableSequence, Sequence
from typing import TypeVar

T = TypeVar("T")


class Chance:
    """A stream of random choices, and streams derived from it by name.

    Two streams with the same seed and path of names give the same choices; adding a stream never changes another.
    Bytes come from SHA-256 in counter mode over the seed, so a stream seeded by the machine may make secrets.
    """

    def __init__(self, seed: int | str | bytes) -> None:
        material = seed if isinstance(seed, bytes) else str(seed).encode()
        self._key = hashlib.sha256(b"mdmsim chance\0" + material).digest()
        self._counter = 0
        self._random: random.Random | None = None

    @classmethod
    def of_machine(cls) -> Chance:
        """A stream that nobody can foresee or repeat: API keys, challenges and serials of a live server."""
        return cls(os.urandom(32))

    def stream(self, name: str) -> Chance:
        """The stream of that name below this one; independent of how much was drawn from this one."""
        return Chance(self._key + name.encode())

    def bytes(self, count: int) -> bytes:
        blocks = []
        for _ in range(-(-count // 32)):
            blocks.append(hashlib.sha256(self._key + self._counter.to_bytes(8, "big")).digest())
            self._counter += 1
        return b"".join(blocks)[:count]

    def uuid(self) -> uuid.UUID:
        """A version 4 UUID."""
        return uuid.UUID(bytes=self.bytes(16), version=4)

    def hex(self, count: int) -> str:
        """That many random bytes as lower-case hex."""
        return self.bytes(count).hex()

    def _floats(self) -> random.Random:
        if self._random is None:
            self._random = random.Random(self._key)
        return self._random

    def random(self) -> float:
        """A float, 0 inclusive to 1 exclusive."""
        return self._floats().random()

    def uniform(self, low: float, high: float) -> float:
        return self._floats().uniform(low, high)

    def randint(self, low: int, high: int) -> int:
        """An integer, both ends included."""
        return self._floats().randint(low, high)

    def choice(self, options: Sequence[T]) -> T:
        return self._floats().choice(options)

    def sample(self, options: Sequence[T], count: int) -> list[T]:
        return self._floats().sample(options, count)

    def shuffle(self, items: MutableSequence[T]) -> None:
        self._floats().shuffle(items)

    def happens(self, rate: float) -> bool:
        """True with probability `rate`, 0 to 1. Draws exactly one number whatever the rate."""
        return self._floats().random() < rate

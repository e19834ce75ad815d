"""Keys for devices to come: worker processes make them while earlier devices enrol."""

from __future__ import annotations

import os
from collections import deque
from types import TracebackType

import trio

from mdmsim.pki.key_pool import Filling, KeyPool

#: Seconds between two looks at the pool while it is being filled.
LOOK = 0.05


class KeysAhead:
    """A `KeySource` over the key pool, with worker processes filling it as long as the context is open.

    `wanted`: how many keys will be taken in all. One key or two are not worth a process.
    """

    def __init__(self, pool: KeyPool, wanted: int, *, workers: int | None = None) -> None:
        self._pool = pool
        self._wanted = wanted
        self._workers = workers or os.cpu_count() or 1
        self._filling: Filling | None = None
        self._ready: deque[bytes] = deque()
        self._turn = trio.Lock()

    def __enter__(self) -> KeysAhead:
        if self._wanted > 2:
            try:
                self._filling = self._pool.start_filling(self._wanted, workers=self._workers)
            except OSError:
                pass  # a pool that cannot be written to: keys are then made here, one by one
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._filling is not None:
            self._filling.stop()
            for key in self._ready:
                self._pool.put(key)
        self._ready.clear()

    async def reserve(self, count: int) -> None:
        """Wait until so many keys are at hand, or until nobody makes any more."""
        async with self._turn:
            for _ in range(count):
                while self._filling is not None and self._filling.running and not self._pool.available():
                    await trio.sleep(LOOK)
                if self._filling is not None and self._pool.available():
                    self._ready.append(self._pool.take())

    def take(self, *, bits: int = 2048) -> bytes:
        return self._ready.popleft() if self._ready and bits == 2048 else self._pool.take(bits=bits)

    def take_ec(self) -> bytes:
        return self._pool.take_ec()

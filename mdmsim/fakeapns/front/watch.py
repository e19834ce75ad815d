"""The clocks of a connection: silence, idleness, and answers that the client does not let through."""

from __future__ import annotations

from collections.abc import Callable

import trio

from mdmsim.fakeapns.front.http2 import ProviderConnection
from mdmsim.fakeapns.front.settings import FrontSettings

_PING = b"mdmsim-p"


class Times:
    """When the client was heard last, and when it asked for anything last; seconds of trio's clock."""

    __slots__ = ("asked", "heard")

    def __init__(self, now: float) -> None:
        self.heard = self.asked = now


class Watch:
    """Watches one connection. `go_on`: there is something to write; `end`: it is over, for that reason."""

    def __init__(
        self,
        settings: FrontSettings,
        http2: ProviderConnection,
        times: Times,
        go_on: Callable[[], None],
        end: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._http2 = http2
        self._times = times
        self._go_on = go_on
        self._end = end
        self._began = times.heard
        self._pinged: float | None = None
        self._blocked: float | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        while True:
            now = trio.current_time()
            await trio.sleep_until(
                min(self._silent(now), self._blocked_for_good(now), self._late(now), self._idle(now))
            )

    # Each says when it wants to look again.

    def _silent(self, now: float) -> float:
        settings, heard = self._settings, self._times.heard
        if not self._http2.begun:
            if now >= self._began + settings.handshake_timeout:
                self._end("preface-timeout")
            return min(self._began + settings.handshake_timeout, now + settings.ping_interval)
        if self._pinged is not None and heard <= self._pinged:
            if now >= self._pinged + settings.ping_timeout:
                self._end("no-answer-to-ping")
            return min(self._pinged + settings.ping_timeout, now + settings.ping_interval)
        self._pinged = None
        if now < heard + settings.ping_interval:
            return heard + settings.ping_interval
        self._pinged = now
        self._http2.ping(_PING)
        self._go_on()
        return now + min(settings.ping_timeout, settings.ping_interval)

    def _blocked_for_good(self, now: float) -> float:
        # A client that never opens its window gets no answer by it, and keeps its streams.
        if not self._http2.blocked:
            self._blocked = None
        elif self._blocked is None:
            self._blocked = now
        elif now >= self._blocked + self._settings.write_deadline:
            self._end("too-slow")
        return (now if self._blocked is None else self._blocked) + self._settings.write_deadline

    def _late(self, now: float) -> float:
        # A request without end keeps its stream, however slowly it goes on.
        timeout = self._settings.request_timeout
        # A frame that drips belongs to no stream yet, and every byte of it is a sign of life.
        unfinished = self._http2.unfinished_since
        if unfinished is not None and now >= unfinished + timeout:
            self._end("too-slow")
        if self._http2.open_streams:
            self._http2.give_up(now - timeout)
            if self._http2.backlog():
                self._go_on()
        return now + timeout / 2

    def _idle(self, now: float) -> float:
        timeout = self._settings.idle_timeout
        if timeout is None:
            return float("inf")
        if self._http2.open_streams:
            self._times.asked = now
        elif now >= self._times.asked + timeout and not self._http2.leaving:
            self._http2.leave(b'{"reason":"IdleTimeout"}', why="idle")
            self._go_on()
            return now + timeout
        return self._times.asked + timeout

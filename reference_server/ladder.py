"""When an enrollment with open commands is pushed to: a ladder of waits that grow, then a steady one.

A push can be lost, a phone can be off, and nobody tells the server. So it pushes again, ever more rarely, until the
device has connected and taken everything.
"""

from __future__ import annotations

from dataclasses import dataclass

from mdmsim.clock import SECOND


@dataclass(frozen=True, slots=True)
class Ladder:
    """Times of pushes after a start: `offsets_s` first, then every `repeat_s`. Steps count from 0."""

    offsets_s: tuple[int, ...]
    repeat_s: int

    def at(self, start_ms: int, step: int) -> int:
        """When step `step` of a ladder that began at `start_ms` is due."""
        last = len(self.offsets_s) - 1
        beyond = max(0, step - last)
        return start_ms + (self.offsets_s[min(step, last)] + beyond * self.repeat_s) * SECOND

    def after(self, start_ms: int, step: int, now_ms: int) -> tuple[int, int]:
        """The first step from `step` on that is due later than `now_ms`, and when.

        Rungs that passed while the server was down are skipped: one push says as much as ten.
        """
        while (due := self.at(start_ms, step)) <= now_ms:
            step += 1
        return step, due


@dataclass(frozen=True, slots=True)
class Rung:
    """Where an enrollment stands on its ladder. `due_ms` None: no push is planned.

    During a session `due_ms` may be earlier than the ladder says: a guard, should the device be lost half-way.
    """

    start_ms: int | None = None
    step: int = 0
    due_ms: int | None = None


NO_PUSH = Rung()


def begin(ladder: Ladder, now_ms: int) -> Rung:
    """Something was queued: push at once (or when the first rung says)."""
    return Rung(now_ms, 0, ladder.at(now_ms, 0))


def restart(ladder: Ladder, now_ms: int) -> Rung:
    """The device connected: its pushes arrive, so only the waits after the first one are left."""
    return Rung(now_ms, 1, ladder.at(now_ms, 1))


def guard(ladder: Ladder, rung: Rung, now_ms: int) -> Rung:
    """A command was just served: push again soon unless the device comes back. Its place on the ladder stays."""
    if rung.start_ms is None:
        return restart(ladder, now_ms)
    return Rung(rung.start_ms, rung.step, ladder.at(now_ms, 1))


def resume(ladder: Ladder, rung: Rung, now_ms: int) -> Rung:
    """A session left nothing but NotNow commands: go on from where the ladder stood."""
    if rung.start_ms is None:
        return restart(ladder, now_ms)
    step, due_ms = ladder.after(rung.start_ms, rung.step, now_ms)
    return Rung(rung.start_ms, step, due_ms)


def climb(ladder: Ladder, rung: Rung, now_ms: int, *, lost_since_ms: int | None) -> Rung:
    """A push is being sent: where the ladder stands next.

    `lost_since_ms`: when a device was last heard that has not finished its session; the ladder begins anew there.
    """
    start_ms, step = (lost_since_ms, 1) if lost_since_ms is not None else (rung.start_ms, rung.step)
    if start_ms is None:
        start_ms, step = now_ms, 0
    step, due_ms = ladder.after(start_ms, step + 1, now_ms)
    return Rung(start_ms, step, due_ms)

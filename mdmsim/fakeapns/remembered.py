"""What a token still tells of its pushes when the journal has forgotten them: what is certain, and what is in doubt.

A token keeps the last time of each step and the pushes that are under way, whatever the journal's size. From that, some
things follow for certain; the rest is not guessed.
"""

from __future__ import annotations

from collections.abc import Collection

import msgspec

from mdmsim.clock import iso
from mdmsim.fakeapns.session import Slot


class Remembered(msgspec.Struct, frozen=True, kw_only=True):
    """Of pushes since a moment: when one was accepted, is with the device, was acted upon (ms; None: not that is known).

    `doubt`: why nothing can be said of what came of the forgotten ones, for people; empty where there is no doubt.
    """

    accepted_ms: int | None = None
    delivered_ms: int | None = None
    acted_ms: int | None = None
    doubt: str = ""


def remembered(slot: Slot, since_ms: int, explained: Collection[int | None], *, known: bool) -> Remembered:
    """What is remembered of pushes accepted at `since_ms` or later.

    `explained`: when those were handed over that the journal still knows; `known`: whether it knows any accepted one.
    """
    accepted_ms = max(slot.accepted_ms, slot.kept.accepted_ms if slot.kept is not None else 0)
    accepted = accepted_ms if accepted_ms >= since_ms else None
    under_way = any(push is not None for push in (slot.kept, slot.held, slot.queued, slot.in_flight, slot.later))
    heard = slot.heard is not None and slot.heard[1] >= since_ms
    done = slot.heard is None and slot.handed_ms == accepted and slot.delivered_ms <= slot.acted_ms
    if accepted is not None and not under_way and done:
        # The last one that was accepted is the last one that was handed over; nothing has come since.
        return Remembered(accepted_ms=accepted, delivered_ms=slot.delivered_ms, acted_ms=slot.acted_ms)
    doubt = ""
    if slot.acted_ms >= since_ms:
        doubt = f"the device connected at {iso(slot.acted_ms)}; whether a push since then made it is forgotten"
    elif not heard and slot.delivered_ms >= since_ms and slot.delivered_ms not in explained:
        doubt = f"a push was handed to the device's connection at {iso(slot.delivered_ms)}; which one is forgotten"
    elif accepted is not None and not (known or heard or under_way):
        doubt = f"a push was accepted at {iso(accepted)}; what became of it is forgotten"
    return Remembered(accepted_ms=accepted, delivered_ms=slot.delivered_ms if heard else None, doubt=doubt)

"""What expired is let go of, now and then: nothing else would touch the pushes of devices that never come back.

Delivery does not wait for this: an expired push is never delivered, to the second (`Session`).
"""

from __future__ import annotations

import trio

from mdmsim.fakeapns.service import ApnsService

#: How many tokens are looked at in one go: a fraction of a millisecond.
PORTION = 1_000


async def sweep(service: ApnsService, *, every: float = 60.0) -> None:
    """Look at all tokens once in so many seconds, in portions, so that no request waits for it. Until cancelled.

    Seconds of the process, whose memory it is about, and not of the service's clock, which a test may move by hand.
    """
    while True:
        await trio.sleep(every)
        slots = service.slots()
        for start in range(0, len(slots), PORTION):
            service.deliveries.sweep(slots[start : start + PORTION])
            await trio.lowlevel.checkpoint()

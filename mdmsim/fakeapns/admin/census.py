"""How many tokens there are, by topic, and how they are: one look at all of them, in portions."""

from __future__ import annotations

from collections import Counter

import anyio.lowlevel

from mdmsim.fakeapns.admin.answered import Topic
from mdmsim.fakeapns.admin.search import PORTION
from mdmsim.fakeapns.service import ApnsService


async def census(service: ApnsService) -> list[Topic]:
    """All topics that a token or a certificate is for, by name."""
    now_ms = service.clock.now_ms()
    tokens: Counter[str] = Counter()
    retired: Counter[str] = Counter()
    listening: Counter[str] = Counter()
    pending: Counter[str] = Counter()
    for number, slot in enumerate(service.slots()):
        topic = slot.registration.topic
        tokens[topic] += 1
        if slot.registration.retired_ms is not None:
            retired[topic] += 1
        if slot.session is not None:
            listening[topic] += 1
        if slot.kept is not None and slot.kept.expires_ms > now_ms:
            pending[topic] += 1
        if number % PORTION == PORTION - 1:
            await anyio.lowlevel.checkpoint()
    certificates = Counter(topic for one in service.certificates.registered() for topic in one.topics)
    return [
        Topic(
            topic=topic,
            tokens=tokens[topic],
            retired=retired[topic],
            listening=listening[topic],
            pending=pending[topic],
            certificates=certificates[topic],
        )
        for topic in sorted(tokens.keys() | certificates.keys())
    ]

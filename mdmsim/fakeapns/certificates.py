"""The push certificates that the fake knows: which are good for what topic, at world time.

Apple's portal certificates come from Apple's authority; here any issuer will do, and registering a certificate is what
makes it known. A certificate that nobody registered fails in the TLS handshake, as a foreign one does at Apple's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from mdmsim.clock import Clock
from mdmsim.fakeapns.errors import ApnsError, BadPushCertificate
from mdmsim.pki.certificate import not_after_ms, not_before_ms
from mdmsim.pki.push_certificate import topic_of
from mdmsim.protocol.errors import Malformed


class PushCertificate(msgspec.Struct, frozen=True):
    """A registered certificate: DER, its topic (subject UID, OID 0.9.2342.19200300.100.1.1) and its dates."""

    der: bytes
    topic: str
    not_before_ms: int
    not_after_ms: int


class PushCertificates:
    """Registered push certificates, by their bytes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, PushCertificate] = {}
        self._watchers: list[Callable[[], None]] = []

    def register(self, der: bytes) -> str:
        """Make a certificate known; return its topic. Again is no mistake. Raises BadPushCertificate."""
        try:
            topic = topic_of(der)
            if topic is None:
                raise BadPushCertificate(
                    "push certificate: its subject has no UID (0.9.2342.19200300.100.1.1), which is where the topic is. "
                    "Use a certificate whose subject UID begins with com.apple.mgmt."
                )
            known = PushCertificate(der, topic, not_before_ms(der), not_after_ms(der))
        except Malformed as error:
            raise BadPushCertificate(f"push certificate: {error}") from None
        self._known[hashlib.sha256(der).digest()] = known
        for changed in self._watchers:
            changed()
        return topic

    def remove(self, der: bytes) -> None:
        """Forget a certificate; one that was not known is left alone."""
        self._known.pop(hashlib.sha256(der).digest(), None)
        for changed in self._watchers:
            changed()

    def registered(self) -> tuple[PushCertificate, ...]:
        """All that are known, in the order in which they were registered."""
        return tuple(self._known.values())

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every registration and removal: a TLS front keeps its trust up to date by it."""
        self._watchers.append(changed)

    def judge(self, der: bytes, *, dates: bool = True) -> str | ApnsError:
        """The topic that this certificate may push to now, or the refusal: unknown, expired, or not valid yet."""
        known = self._known.get(hashlib.sha256(der).digest())
        if known is None:
            return ApnsError.of("BadCertificate")
        if dates and not known.not_before_ms <= self._clock.now_ms() <= known.not_after_ms:
            return ApnsError.of("BadCertificate")
        return known.topic

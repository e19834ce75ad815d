"""The push certificates that the fake knows: which are good for what topics, where, at world time.

Apple's portal certificates come from Apple's authority; here any issuer will do, and registering a certificate is what
makes it known. A certificate that nobody registered fails in the TLS handshake, as a foreign one does at Apple's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import msgspec

from mdmsim.clock import Clock, iso
from mdmsim.fakeapns.errors import ApnsError, BadPushCertificate
from mdmsim.pki.certificate import not_after_ms, not_before_ms
from mdmsim.pki.push_certificate import push_rights
from mdmsim.protocol.errors import Malformed


class PushCertificate(msgspec.Struct, frozen=True):
    """A registered certificate: DER, its topics, where it may push, and its dates.

    `topic`: the UID of its subject (OID 0.9.2342.19200300.100.1.1). `topics`: all it may push to. `listed`: whether
    they stand in an extension of its own (1.2.840.113635.100.6.3.6), so that a push must name one. `environments`:
    those that Apple's extensions 6.3.2 and 6.3.1 mark it for. `revoked`: taken back in the portal.
    """

    der: bytes
    topic: str
    not_before_ms: int
    not_after_ms: int
    topics: tuple[str, ...]
    listed: bool
    environments: tuple[str, ...]
    revoked: bool = False


class PushCertificates:
    """Registered push certificates, by their bytes."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._known: dict[bytes, PushCertificate] = {}
        self._watchers: list[Callable[[], None]] = []
        #: Grows with every change, so that what was looked up can be kept until then.
        self.version = 0

    def register(self, der: bytes) -> str:
        """Make a certificate known; return its topic. Again is no mistake. Raises BadPushCertificate."""
        try:
            rights = push_rights(der)
            topic = rights.topic or (rights.topics[0] if rights.topics else None)
            if topic is None:
                raise BadPushCertificate(
                    "push certificate: its subject has no UID (0.9.2342.19200300.100.1.1), which is where the topic is. "
                    "Use a certificate whose subject UID begins with com.apple.mgmt."
                )
            marked = (("production", rights.production), ("sandbox", rights.sandbox))
            known = PushCertificate(
                der,
                topic,
                not_before_ms(der),
                not_after_ms(der),
                rights.topics or (topic,),
                bool(rights.topics),
                tuple(name for name, there in marked if there),
            )
        except Malformed as error:
            raise BadPushCertificate(f"push certificate: {error.reason}") from None
        self._known[hashlib.sha256(der).digest()] = known
        self._changed()
        return topic

    def revoke(self, der: bytes) -> None:
        """It was taken back: pushes with it get 403 BadCertificate. One that was not known is left alone."""
        key = hashlib.sha256(der).digest()
        if (known := self._known.get(key)) is not None:
            self._known[key] = msgspec.structs.replace(known, revoked=True)
            self._changed()

    def remove(self, der: bytes) -> None:
        """Forget a certificate; one that was not known is left alone."""
        self._known.pop(hashlib.sha256(der).digest(), None)
        self._changed()

    def registered(self) -> tuple[PushCertificate, ...]:
        """All that are known, in the order in which they were registered."""
        return tuple(self._known.values())

    def watch(self, changed: Callable[[], None]) -> None:
        """Call `changed` after every registration and removal: a TLS front keeps its trust up to date by it."""
        self._watchers.append(changed)

    def find(self, der: bytes) -> PushCertificate | None:
        """The certificate as it is known, or None."""
        return self._known.get(hashlib.sha256(der).digest())

    def judge(self, known: PushCertificate | None, *, dates: bool = True) -> tuple[ApnsError, str] | None:
        """None for a certificate that may push now; otherwise the refusal, and why in words."""
        if known is None:
            return ApnsError.of("BadCertificate"), "the client's certificate is not registered here"
        if known.revoked:
            return ApnsError.of("BadCertificate"), "the push certificate was revoked"
        if dates and not known.not_before_ms <= (now_ms := self._clock.now_ms()) <= known.not_after_ms:
            word = "expired" if now_ms > known.not_after_ms else "is not valid yet"
            return (
                ApnsError.of("BadCertificate"),
                f"the push certificate {word}: {iso(known.not_before_ms)} to {iso(known.not_after_ms)}",
            )
        return None

    def _changed(self) -> None:
        self.version += 1
        for changed in self._watchers:
            changed()

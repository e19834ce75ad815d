"""A provider's connection as the service sees it: who pushes, to which environment, by what right."""

from __future__ import annotations

from typing import Literal

from mdmsim.fakeapns.certificates import PushCertificate
from mdmsim.fakeapns.errors import ApnsError
from mdmsim.fakeapns.provider_tokens import TokenUse

Environment = Literal["production", "sandbox"]


class Provider:
    """One connection, from its handshake to its end. `certificate`: the client's, DER, or None without one.

    `refusal` is set when the connection is not to be served at all: Apple then sends a GOAWAY whose debug data is the
    reason, before any request is looked at (seen for certificates of the other environment).
    """

    __slots__ = (
        "accepted",
        "certificate",
        "closed_ms",
        "environment",
        "known",
        "known_version",
        "number",
        "opened_ms",
        "peer",
        "plain",
        "refusal",
        "refused",
        "tokens",
    )

    def __init__(
        self,
        number: int,
        certificate: bytes | None,
        environment: Environment,
        peer: str,
        opened_ms: int,
        plain: bool = False,
    ) -> None:
        self.number = number
        self.certificate = certificate
        self.environment: Environment = environment
        #: Address of the other end, for people; empty in process.
        self.peer = peer
        #: Whether it came without TLS, where nobody can show a certificate: its credential is not judged, and a push
        #: without a topic is for the one that its token is registered for. Ours; Apple has no such way in.
        self.plain = plain
        self.opened_ms = opened_ms
        self.closed_ms: int | None = None
        self.refusal: ApnsError | None = None
        #: The provider tokens seen on this connection.
        self.tokens = TokenUse()
        #: What the certificate is known as, and since which state of the register that is so.
        self.known: PushCertificate | None = None
        self.known_version = -1
        self.accepted = self.refused = 0

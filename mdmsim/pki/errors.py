"""What can be wrong with keys, certificates and signed messages from outside."""

from __future__ import annotations

from enum import StrEnum

from mdmsim.protocol.errors import Malformed


class MalformedKey(Malformed):
    """Not a private or public key that is understood here."""


class MalformedCertificate(Malformed):
    """Not an X.509 certificate, or one whose fields contradict each other."""


class MalformedName(Malformed):
    """A subject that cannot be turned into a distinguished name."""


class MalformedCSR(Malformed):
    """Not a PKCS#10 certificate request, or one whose own signature is wrong."""


class BadPushRequest(Malformed):
    """A request for a push certificate that Apple's portal would not take: malformed, or not signed by a vendor."""


class MalformedHeader(Malformed):
    """A proxy's client certificate header that holds no certificate in any known form."""


class CMSError(Malformed):
    """Anything wrong with a CMS message (RFC 5652)."""


class MalformedCMS(CMSError):
    """Not CMS, cut short, or of a shape or algorithm that is not understood."""


class BadSignature(CMSError):
    """Well-formed, but the signature, the digest or the content type does not hold."""


class CannotDecrypt(CMSError):
    """Not for this key, or altered. Deliberately one reason for all: it must not tell an attacker which."""


class CannotEncrypt(CMSError):
    """A recipient that cannot receive an envelope: its certificate holds no RSA key."""


class Distrust(StrEnum):
    """Why a certificate chain is not trusted."""

    MALFORMED = "malformed"
    UNKNOWN_ISSUER = "unknown_issuer"
    BAD_SIGNATURE = "bad_signature"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    NOT_A_CA = "not_a_ca"
    PURPOSE = "purpose"
    HOSTNAME = "hostname"
    TOO_LONG = "too_long"
    CRITICAL_EXTENSION = "critical_extension"


class UntrustedCertificate(ValueError):
    """A chain that must not be trusted.

    `reason` is for programs; `subject` and `issuer` name the certificate at which the chain broke, as text for people.
    """

    def __init__(self, message: str, *, reason: Distrust, subject: str = "", issuer: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.subject = subject
        self.issuer = issuer
